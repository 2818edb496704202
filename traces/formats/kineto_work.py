"""The work of a profile's kernels, from the shapes of the operator that launched them (PyTorch's ``record_shapes=True``).

An operator may launch several kernels. The FLOP of a product are those of its kernels of the family gemm (or attention), in
proportion to their measured times; the rest (changes of layout, sums of split products) stays unknown. What only moves elements is
shared by all kernels of the operator in the same way.
"""

import re
from collections import defaultdict
from dataclasses import dataclass, replace
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from traces.formats import families
from traces.formats.chakra_operators import DTYPES
from traces.formats.operator_shapes import Inputs, Movement, Product, movement, product
from traces.formats.profile import COPY, MEMSET, Launches
from traces.table import Values

Floats = NDArray[np.float64]

_PRODUCTS = ("gemm", "attention")


@dataclass(frozen=True)
class Called:
    """An operator's call: its external id, name, and arguments as the profiler wrote them."""

    id: int
    name: str
    args: msgspec.Raw


class _Shapes(msgspec.Struct, gc=False):
    dims: Any = msgspec.field(name="Input Dims", default=None)
    dims_of_old: Any = msgspec.field(name="Input dims", default=None)
    types: Any = msgspec.field(name="Input type", default=None)
    values: Any = msgspec.field(name="Concrete Inputs", default=None)


def known(launches: Launches, called: list[Called | None]) -> tuple[Launches, list[str]]:
    """Return the launches with the work that the operators' shapes tell, and remarks; as they were if no shapes were recorded."""
    rows: dict[int, list[int]] = defaultdict(list)
    calls: dict[int, tuple[str, Inputs]] = {}
    for row, one in enumerate(called):
        if one is None or launches.kind[row] in (COPY, MEMSET):
            continue
        rows[one.id].append(row)
        if one.id not in calls and (given := inputs(one.args)):
            calls[one.id] = one.name, given
    if not calls:
        return launches, []
    made = _Work.none(launches)
    for number, (name, given) in calls.items():
        made.share(launches, rows[number], name, given)
    return made.put(launches)


def inputs(args: msgspec.Raw) -> Inputs | None:
    """Return the arguments of a call, None if the profiler did not record shapes, or not as it should."""
    if b"Input Dims" not in bytes(args) and b"Input dims" not in bytes(args):
        return None
    try:
        found = msgspec.json.decode(bytes(args), type=_Shapes)
    except msgspec.DecodeError:
        return None
    dims = found.dims if found.dims is not None else found.dims_of_old
    if not isinstance(dims, list) or not isinstance(found.types, list) or len(dims) != len(found.types):
        return None
    types = tuple(str(kind) for kind in found.types)
    shapes = tuple(_shape(one, kind) for one, kind in zip(dims, types, strict=True))
    values = tuple(str(v) for v in found.values) if isinstance(found.values, list) else ()
    return Inputs(shapes, types, values)


def _shape(dims: Any, kind: str) -> Any:
    """Return a shape, a tuple of shapes for a list of tensors, None for what is no tensor: numbers, and nothing."""
    if not isinstance(dims, list) or kind in ("", "None") or kind.startswith(("Scalar", "GenericList[Scalar")) or kind == "string":
        return None
    if all(isinstance(n, int) for n in dims):
        return tuple(dims)
    return tuple(tuple(n for n in part if isinstance(n, int)) for part in dims if isinstance(part, list))


def dtype_of(given: Inputs) -> str:
    """Return XLA's name of the first floating-point tensor's type, else of the first that is known; '' if none is."""
    found = [DTYPES[kind] for kind in given.types if kind in DTYPES]
    return next((dtype for dtype in found if dtype[0] in "fbc"), found[0] if found else "")


@dataclass(eq=False)
class _Work:
    """Columns in the making."""

    flops_matrix: Floats
    flops_vector: Floats
    flops_transcendental: Floats
    bytes_unique: Floats
    sizes: NDArray[np.int64]
    dtype: list[str]
    kind: list[str]
    precision: list[str]
    family: list[str]

    @classmethod
    def none(cls, launches: Launches) -> "_Work":
        count = len(launches)
        matrix, vector, transcendental, moved = (np.full(count, np.nan) for _ in range(4))
        family = families.of_launches(launches.name, launches.kind)
        sizes = np.full((count, 4), -1, np.int64)
        return cls(matrix, vector, transcendental, moved, sizes, [""] * count, list(launches.kind), [""] * count, family)

    def share(self, launches: Launches, rows: list[int], name: str, given: Inputs) -> None:
        """Give the work of one call to the kernels that do it."""
        found: Product | Movement | None = product(name, given)
        if isinstance(found, Product):
            rows = [row for row in rows if self.family[row] in _PRODUCTS]
        else:
            found = movement(name, given)
        if found is None or not rows:
            return
        for row, part in zip(rows, _parts(launches, rows), strict=True):
            self.dtype[row] = dtype_of(given) or families.dtype_of(launches.name[row])
            self.bytes_unique[row] = part * found.elements * _itemsize(self.dtype[row])
            self.flops_vector[row] = 0.0 if isinstance(found, Product) else part * found.vector
            self.flops_transcendental[row] = 0.0 if isinstance(found, Product) else part * found.transcendental
            if isinstance(found, Product):
                self._product(launches.name[row], row, found, part, alone=len(rows) == found.times)
            else:
                self.flops_matrix[row] = 0.0

    def _product(self, name: str, row: int, found: Product, part: float, *, alone: bool) -> None:
        self.flops_matrix[row] = part * found.flops
        if alone:
            self.sizes[row] = found.batch, found.m, found.n, found.k
        self.kind[row] = "triton" if name.startswith("triton") else "library"
        self.precision[row] = "default" if families.rounds_to_tf32(name) else "highest"

    def put(self, launches: Launches) -> tuple[Launches, list[str]]:
        """Return the launches with these columns."""
        columns: dict[str, Values] = {
            **{name: self.sizes[:, place] for place, name in enumerate(("batch", "m", "n", "k"))},
            **{name: getattr(self, name) for name in ("flops_matrix", "flops_vector", "flops_transcendental", "bytes_unique")},
            "dtype": self.dtype,
            "precision": self.precision,
        }
        count = int(np.isfinite(self.bytes_unique).sum())
        total = sum(1 for kind in launches.kind if kind not in (COPY, MEMSET))
        remark = f"the operators' shapes tell the work of {count:,} of {total:,} kernels; bytes are those of operands, each once"
        return replace(launches, kind=self.kind, columns=launches.columns | columns), [remark]


def _itemsize(dtype: str) -> float:
    """Return the bytes of an element; NaN if the type is not known."""
    digits = re.match(r"[a-z]+(\d+)", dtype)
    return 1.0 if dtype == "pred" else int(digits[1]) / 8 if digits else float("nan")


def _parts(launches: Launches, rows: list[int]) -> list[float]:
    """Return each kernel's part of the work: its part of the time, equal parts where no time is known."""
    times = np.maximum(launches.duration_ps[rows], 0).astype(np.float64)
    total = times.sum()
    return (times / total if total > 0 else np.full(len(rows), 1 / len(rows))).tolist()
