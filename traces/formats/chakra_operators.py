"""A Chakra trace of the host alone (PyTorch's execution trace observer): operators, their tensors, no times.

Each innermost operator that touches data is taken for one kernel, and each matrix product (which may copy its bias first); what only
makes views, allocates or asks launches nothing.
Tensors are known here, so bytes and dependencies are; the storage is the alias set.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from math import prod
from typing import Any

import numpy as np

from traces.errors import TraceError
from traces.formats.profile import KERNEL, Launches, Operands, Profile
from traces.formats.source import Source
from traces.table import Values

NO_LAUNCH = re.compile(
    r"^(aten::)?(empty|as_strided|_?reshape|view|detach|t$|transpose|permute|expand|slice|select|squeeze|unsqueeze|narrow|unbind|split|chunk|"
    r"unfold|alias|lift_fresh|is_|size|stride|numel|item|_local_scalar|resize|result_type|to$|contiguous$|requires_grad|set_|movedim|diagonal|"
    r"record_function|resolve_|_version|output_nr|data$|_unsafe_view|flatten|detach_)"
    r"|^(torch::autograd::|autograd::engine)|\w*Backward\d*$"
)
DTYPES = {
    "float": "f32", "double": "f64", "c10::Half": "f16", "c10::BFloat16": "bf16", "long": "s64", "long int": "s64", "int": "s32",
    "short int": "s16", "short": "s16", "signed char": "s8", "unsigned char": "u8", "bool": "pred", "c10::complex<float>": "c64",
    "c10::complex<double>": "c128", "c10::Float8_e4m3fn": "f8e4m3fn", "c10::Float8_e5m2": "f8e5m2",
}  # fmt: skip

_PRODUCTS = {"aten::mm": 0, "aten::bmm": 0, "aten::addmm": 1, "aten::baddbmm": 1}
"""Which of the operands is the left factor."""


@dataclass(frozen=True)
class _Tensor:
    """[tensor id, storage id, offset, elements, bytes an element, device], as PyTorch writes it, with type and shape."""

    storage: int
    elements: int
    itemsize: int
    device: str
    dtype: str
    shape: tuple[int, ...]

    @property
    def bytes(self) -> int:
        return self.elements * self.itemsize

    @property
    def key(self) -> tuple[Any, ...]:
        return self.storage, self.bytes, self.dtype, self.shape


@dataclass
class _Made:
    """Operands that were met so far."""

    rows: dict[tuple[Any, ...], int] = field(default_factory=dict)
    tensors: list[_Tensor] = field(default_factory=list)
    accesses: list[tuple[int, int, str]] = field(default_factory=list)

    def touch(self, kernel: int, tensor: _Tensor, mode: str) -> None:
        row = self.rows.setdefault(tensor.key, len(self.rows))
        if row == len(self.tensors):
            self.tensors.append(tensor)
        if (kernel, row, mode) not in self.accesses[-16:]:
            self.accesses.append((kernel, row, mode))


def operators_profile(source: Source, nodes: list[dict[str, Any]]) -> Profile:
    """Return the operators that launch work, as kernels. Raises TraceError for operands that are not as PyTorch writes them."""
    outer = _outer(nodes)
    inner = [node for node in nodes if _launches(node) and (node["id"] not in outer or node.get("name") in _PRODUCTS)]
    read = [(node, list(_tensors(source, node, "inputs")), list(_tensors(source, node, "outputs"))) for node in inner]
    on_gpu = any(t.device.startswith("cuda") for _, inputs, outputs in read for t in inputs + outputs)
    chosen = [(n, i, o) for n, i, o in read if i + o and (not on_gpu or any(t.device.startswith("cuda") for t in i + o))]
    made = _Made()
    for kernel, (_, inputs, outputs) in enumerate(chosen):
        for mode, touched in (("read", inputs), ("write", outputs)):
            for tensor in touched:
                made.touch(kernel, tensor, mode)
    none = np.full(len(chosen), -1, np.int64)
    names = [str(node.get("name", "")) for node, _, _ in chosen]
    launches = Launches(names, [KERNEL] * len(chosen), none, none, none, none, _columns(chosen, made))
    remark = "a trace of the host has no kernels and no times: each innermost operator that touches data counts as one kernel"
    return Profile("chakra", str(source), launches, operands=_operands(made), remarks=(remark,))


def _launches(node: dict[str, Any]) -> bool:
    return not NO_LAUNCH.match(str(node.get("name", "")))


def _outer(nodes: list[dict[str, Any]]) -> set[Any]:
    """Return the ids of what encloses an operator that launches; views and questions that an operator asks first do not count."""
    parent = {node["id"]: node.get("ctrl_deps", node.get("parent")) for node in nodes}
    found: set[Any] = set()
    for node in nodes:
        above = parent[node["id"]] if _launches(node) else None
        while above is not None and not isinstance(above, list) and above not in found:
            found.add(above)
            above = parent.get(above)
    return found


def _tensors(source: Source, node: dict[str, Any], side: str) -> Iterator[_Tensor]:
    given = node.get(side) or {}
    try:
        if isinstance(given, list):  # schema 1.0.1 and before: input_types and input_shapes beside inputs
            yield from _walk(given, node.get(f"{side[:-1]}_types", []), node.get(f"{side[:-1]}_shapes", []))
        else:
            yield from _walk(given.get("values", []), given.get("types", []), given.get("shapes", []))
    except (TypeError, ValueError, AttributeError, IndexError) as error:
        where = f"node {node['id']} ({node.get('name')!r})"
        raise TraceError(f"{source}: {side} must have values, types and shapes, but those of {where} are wrong: {error}") from error


def _walk(values: Any, types: Any, shapes: Any) -> Iterator[_Tensor]:
    for value, kind, shape in zip(values, types, shapes, strict=False):
        text = str(kind)
        if text.startswith("Tensor"):
            if isinstance(value, list) and len(value) >= 6:
                yield _tensor(value, text, shape)
        elif text.startswith("GenericList") and "Tensor" in text and isinstance(value, list):
            inner = text[text.index("[") + 1 : -1]
            parts = [inner] * len(value) if inner.startswith("GenericList") else inner.split(",")
            yield from _walk(value, parts, shape if isinstance(shape, list) else [])


def _tensor(value: list[Any], kind: str, shape: Any) -> _Tensor:
    dtype = DTYPES.get(kind[len("Tensor(") : -1], "")
    sizes = tuple(int(n) for n in shape) if isinstance(shape, list) else ()
    elements = prod(sizes) if sizes else int(value[3])
    return _Tensor(int(value[1]), elements, int(value[4]), str(value[5]), dtype, sizes)


def _columns(chosen: list[tuple[dict[str, Any], list[_Tensor], list[_Tensor]]], made: _Made) -> dict[str, Values]:
    sizes = [_product(str(node.get("name")), inputs) for node, inputs, _ in chosen]
    total = np.zeros(len(chosen))
    for kernel, tensor, _ in made.accesses:
        total[kernel] += made.tensors[tensor].bytes
    columns: dict[str, Values] = {name: [size[i] for size in sizes] for i, name in enumerate(("batch", "m", "n", "k"))}
    columns["flops_matrix"] = [2.0 * prod(size) if min(size) >= 0 else np.nan for size in sizes]
    columns["bytes_unique"] = total
    columns["dtype"] = [next((t.dtype for t in outputs + inputs), "") for _, inputs, outputs in chosen]
    return columns


def _product(name: str, inputs: list[_Tensor]) -> tuple[int, int, int, int]:
    """Return batch, m, n, k of a matrix product, -1 each for other operators."""
    at = _PRODUCTS.get(name)
    if at is None or len(inputs) < at + 2:
        return -1, -1, -1, -1
    left, right = inputs[at].shape, inputs[at + 1].shape
    if len(left) < 2 or len(right) < 2:
        return -1, -1, -1, -1
    return prod(left[:-2]), left[-2], right[-1], left[-1]


def _operands(made: _Made) -> Operands:
    """Tensors read before anything wrote their storage exist before the trace, and last to its end."""
    tensors = made.tensors
    storages = {s: i for i, s in enumerate(dict.fromkeys(t.storage for t in tensors))}
    first: dict[int, int] = {}
    last: dict[int, int] = {}
    given: set[int] = set()
    for kernel, tensor, mode in made.accesses:
        storage = tensors[tensor].storage
        if storage not in first and mode == "read":
            given.add(storage)
        first.setdefault(storage, kernel)
        last[storage] = kernel
    shape = ["x".join(map(str, t.shape)) for t in tensors]
    return Operands(
        tensors={
            "name": [f"storage {t.storage}" for t in tensors],
            "dtype": [t.dtype for t in tensors],
            "shape": shape,
            "bytes": [t.bytes for t in tensors],
            "kind": ["parameter" if t.storage in given else "temporary" for t in tensors],
            "alias_set": [storages[t.storage] for t in tensors],
            "first_kernel": [-1 if t.storage in given else first[t.storage] for t in tensors],
            "last_kernel": [-1 if t.storage in given else last[t.storage] for t in tensors],
        },
        accesses={
            "kernel": [k for k, _, _ in made.accesses],
            "tensor": [t for _, t, _ in made.accesses],
            "mode": [m for _, _, m in made.accesses],
            "bytes_unique": [float(tensors[t].bytes) for _, t, _ in made.accesses],
            "bytes_requested": [float(tensors[t].bytes) for _, t, _ in made.accesses],
            "stride": ["contiguous"] * len(made.accesses),
        },
    )
