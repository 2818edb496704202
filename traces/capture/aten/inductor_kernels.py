"""Inductor's nodes as kernels: generated ones with the work of all operators that were fused, library calls by the rules of eager mode."""

import warnings
from collections import Counter
from math import nan, prod
from typing import Any

import torch
from torch import Tensor

from traces.capture.aten import operators
from traces.capture.aten.call import dtype_name, on_meta, read_call
from traces.capture.aten.inductor import Lowered
from traces.capture.aten.inductor_launch import of_reduction
from traces.capture.aten.kernel import Kernel
from traces.capture.aten.kernels import kernel_of
from traces.capture.aten.recorder import Launch, Memory, MemoryAccess, Recorder
from traces.capture.work import Flops, opcodes_text

PRIMITIVES = {"convert_element_type": "_to_copy", "broadcast_in_dim": "expand", "inductor_random": "rand", "inductor_seeds": "empty"}
"""Names of prims operators that the table of ATen operators has under others."""


class Buffers:
    """Memories of Inductor's buffers, by name."""

    def __init__(self, recorder: Recorder, lowered: Lowered, label: str) -> None:
        self.recorder, self.graph, self.label = recorder, lowered.graph, label
        self.rows: dict[str, int] = {}
        placeholders = list(lowered.graph.graph_input_names)
        for buffer, (name, tensor) in zip(placeholders, lowered.inputs, strict=True):
            self.rows[buffer] = recorder.memory(tensor, "parameter", name)

    def row(self, name: str) -> int:
        """Return the memory of a buffer, made if it is new; one that was changed in place has the memory of what it was."""
        name = self.graph.scheduler.mutation_real_name.get(name, name)
        if name not in self.rows:
            size, dtype = self.size(name), self.dtype(name)
            self.recorder.memories.append(Memory(self.label + name, dtype_name(dtype), str(size), size * dtype.itemsize, "temporary"))
            self.rows[name] = len(self.recorder.memories) - 1
        return self.rows[name]

    def size(self, name: str) -> int:
        """Return the number of elements of a buffer."""
        return int(self.graph.get_numel(name))

    def dtype(self, name: str) -> torch.dtype:
        """Return the type of a buffer's elements."""
        made: torch.dtype = self.graph.get_dtype(name)
        return made


def record(recorder: Recorder, lowered: Lowered, label: str = "") -> dict[str, int]:
    """Write the nodes' kernels into the recorder; return the memories of the graph's results by their buffers' names.

    ``label`` stands before the names of the graph's buffers, which another graph has too.
    """
    first = len(recorder.memories)
    buffers = Buffers(recorder, lowered, label)
    last: dict[int, int] = {}
    for node in lowered.nodes:
        launch = _launch(node, buffers, recorder, lowered)
        if launch is not None:
            recorder.launches.append(launch)
            last |= {access.memory: len(recorder.launches) for access in launch.accesses}
    known = set(buffers.rows) | set(lowered.graph.name_to_buffer)
    outputs = {name: buffers.row(name) for name in lowered.graph.get_output_names() if name in known}
    for row in range(first, len(recorder.memories)):
        if recorder.memories[row].kind == "temporary" and row not in outputs.values():
            recorder.memories[row].died = last.get(row)
    return outputs


def _launch(node: Any, buffers: Buffers, recorder: Recorder, lowered: Lowered) -> Launch | None:
    kind = type(node.node).__name__
    if type(node).__name__ == "NopKernelSchedulerNode" or kind == "MultiOutput":
        return None
    if type(node).__name__ == "ExternKernelSchedulerNode":
        return _library_call(node, buffers, recorder)
    return _generated(node, buffers, lowered)


def _generated(node: Any, buffers: Buffers, lowered: Lowered) -> Launch:
    """A kernel that Inductor writes: it reads and writes what no other part of itself keeps in registers."""
    accesses = [_access(dependency, False, buffers) for dependency in _distinct(node.read_writes.reads)]
    inside = set(node.get_operation_names())
    kept = {output.get_name() for output in node.get_outputs() if _only_inside(output, inside)}
    accesses += [_access(d, True, buffers) for d in _distinct(node.read_writes.writes) if d.name not in kept]
    origins = _origins(node)
    reduces = any(part.is_reduction() for part in node.get_nodes())
    flops, opcodes = _work(origins, prod(int(side) for side in node.group[1]))
    names = sorted({_plain(origin) for origin in origins} - {"getitem"})
    grid, block = of_reduction(node, lowered)
    kernel = Kernel(
        f"triton_{'red' if reduces else 'poi'}_fused_{'_'.join(names)}"[:120],
        "reduce" if reduces else "elementwise" if opcodes else "transpose",
        [],
        flops,
        launch_kind="fusion",
        opcodes=opcodes or "transpose:1",
        dtype=_dtype(accesses, buffers),
        precision="highest",
        grid=grid,
        block=block,
    )
    return Launch(kernel, 0, "", False, accesses)


def _distinct(dependencies: Any) -> list[Any]:
    """Of several accesses to a buffer, such as its halves, all; weak dependencies, which only order, not."""
    return [d for d in dependencies if type(d).__name__ in ("MemoryDep", "StarDep")]


def _only_inside(output: Any, inside: set[str]) -> bool:
    users = [user for user in output.users if not user.is_weak]
    return bool(users) and all(user.get_name() in inside for user in users)


def _access(dependency: Any, writes: bool, buffers: Buffers) -> MemoryAccess:
    size = buffers.size(dependency.name)
    item = buffers.dtype(dependency.name).itemsize
    if type(dependency).__name__ == "StarDep":
        return MemoryAccess(buffers.row(dependency.name), writes, float(size * item), float(size * item))
    asked = 1
    for extent in dependency.size:
        asked *= int(extent)
    indirect = bool(dependency.is_indirect())
    unique = min(asked if indirect else int(dependency.get_numel()), size)
    once = asked < 2 * unique  # the parts of a split reduction may end behind the operand
    stride = "gather" if indirect else "contiguous" if dependency.is_contiguous() or once else "broadcast"
    return MemoryAccess(buffers.row(dependency.name), writes, float(unique * item), float(max(asked, unique) * item), stride)


def _origins(node: Any) -> list[Any]:
    """ATen calls of the fused nodes, each once."""
    found: dict[Any, None] = {}
    for part in node.get_nodes():
        for origin in getattr(part.node, "origins", ()):
            found[origin] = None
    return [origin for origin in found if hasattr(origin.target, "_schema")]


def _plain(origin: Any) -> str:
    name = str(origin.target._schema.name).partition("::")[2] if hasattr(origin.target, "_schema") else str(origin.name)
    return PRIMITIVES.get(name, name)


def _work(origins: list[Any], elements: int) -> tuple[Flops, str]:
    """Add up the table's arithmetic; a conversion of type is one operation, as in eager mode.

    A kernel computes at most its own ``elements`` of an operator: a reduction may be split into two, or only a slice be needed.
    """
    total, opcodes = Flops(), Counter[str]()
    for origin in origins:
        known = operators.operator(_plain(origin))
        values = _tensors(origin.meta.get("val"))
        given = [t for argument in origin.all_input_nodes for t in _tensors(argument.meta.get("val"))]
        result, operand = (min(max((t.numel() for t in tensors), default=0), elements) for tensors in (values, given))
        if _plain(origin) in _BIASES:
            added = result if _plain(origin) == "convolution" else given[0].numel()
            total, opcodes = total + Flops(vector=float(added)), opcodes + Counter({"add": 1})
        elif _plain(origin) == "_to_copy":
            total, opcodes = total + Flops(vector=float(result)), opcodes + Counter({"convert": 1})
        elif known.kind in ("elementwise", "reduce", "rows", "random", "scatter", "fill"):
            total, opcodes = total + known.flops(result, operand), opcodes + Counter(known.opcodes)
        elif not known.kind and _plain(origin) not in _VIEWS and not _is_view(origin.target):
            warnings.warn(f"the operator {origin.target} has no rule for its FLOP: its work is unknown (null) in the trace", stacklevel=2)
            return Flops(nan, nan, nan), opcodes_text(opcodes)
    return total, opcodes_text(opcodes)


_BIASES = ("convolution", "convolution_backward")
"""Operators of which Inductor fuses the bias, or its gradient, with what stands beside; the rest is a library call."""
_VIEWS = ("expand", "clone", "getitem")


def _is_view(target: Any) -> bool:
    return any(given.alias_info is not None and not given.alias_info.is_write for given in target._schema.arguments)


def _tensors(value: Any) -> list[Tensor]:
    if isinstance(value, Tensor):
        return [value]
    return [t for item in value for t in _tensors(item)] if isinstance(value, list | tuple) else []


def _dtype(accesses: list[MemoryAccess], buffers: Buffers) -> str:
    reads = [access for access in accesses if not access.writes] or accesses[:1]
    return buffers.recorder.memories[max(reads, key=lambda access: access.unique).memory].dtype if reads else ""


def _library_call(node: Any, buffers: Buffers, recorder: Recorder) -> Launch | None:
    """A product, a convolution or fused attention: the rule that eager mode has for the ATen call, on the buffers' shapes."""
    origin = next((o for o in _origins(node) if not _is_view(o.target)), None)
    if origin is None:
        return None
    metas: dict[int, Tensor] = {}

    def moved(value: Any) -> Any:
        if isinstance(value, torch.fx.Node):
            value = value.meta["val"]
        if isinstance(value, Tensor):
            return metas.setdefault(id(value), torch.empty_strided(value.shape, value.stride(), dtype=value.dtype, device="meta"))
        return type(value)(moved(item) for item in value) if isinstance(value, list | tuple) else value

    args, kwargs = tuple(moved(a) for a in origin.args), {name: moved(a) for name, a in origin.kwargs.items()}
    call = read_call(origin.target, args, kwargs, moved(origin.meta["val"]))
    kernel = kernel_of(call, recorder.setting, recorder.warned)
    if kernel is None:
        return None
    names = [given.get_name() for given in node.node.inputs if hasattr(given, "get_name")]
    of = {id(tensor): name for tensor, name in zip(on_meta(list(args)), names, strict=False)}
    results = list(getattr(node.node, "outputs", None) or [node.node])
    of |= {id(tensor): made.get_name() for tensor, made in zip(call.fresh, results, strict=False) if hasattr(made, "get_name")}
    accesses = [
        MemoryAccess(buffers.row(of[id(touch.tensor)]), touch.writes, touch.unique, touch.requested, touch.stride)
        for touch in kernel.touches
        if id(touch.tensor) in of
    ]
    kernel.touches = []
    return Launch(kernel, 0, "", False, accesses)
