"""What device models need of a trace, as plain arrays: worked out once a trace and kept while the trace lives."""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

import numpy as np

from arch.text import Text
from arch.work import Bool, Float, Int, Work
from traces.table import Table

T = TypeVar("T")
_KEPT = 24
_kept: "WeakKeyDictionary[Table, OrderedDict[Any, tuple[Any, Any, Any]]]" = WeakKeyDictionary()

NEED_VECTOR = frozenset({"elementwise", "reduce"})
NEED_MATRIX = frozenset({"gemm", "attention"})
SOLVERS = frozenset({"lu", "triangular_solve"})


def once(work: Work, key: object, make: Callable[[], T]) -> T:
    """Return ``make()``, kept for this trace (tables and reuse distances, not ``cold``) under ``key``."""
    kept = _kept.setdefault(work.kernels, OrderedDict())
    found = kept.get(key)
    if found is not None and found[0] is work.accesses and found[1] is work.reuse_distance:
        kept.move_to_end(key)
        value: T = found[2]
        return value
    value = make()
    kept[key] = (work.accesses, work.reuse_distance, value)
    while len(kept) > _KEPT:
        kept.popitem(last=False)
    return value


@dataclass(frozen=True, eq=False)
class Facts:
    """Arrays of shape [kernels], and below them of shape [accesses].

    Amounts that are not known are 0: ``unknown`` says where that matters. Unknown grids and times are NaN, counts -1.
    """

    family: Text
    library: Bool
    routine: Text
    """The library's routine, '' where it is none."""
    triton: Bool
    dtype: Text
    precision: Text
    launches: Float
    grid: Float
    threads: Float
    shared: Int
    registers: Int
    spill: Float
    batch: Float
    m: Float
    n: Float
    k: Float
    flops_matrix: Float
    flops_vector: Float
    flops_transcendental: Float
    instructions: Float
    """None for concatenations: their count is of straight-line code, of which a thread runs one branch."""
    bytes_unique: Float
    measured: Float
    has_accesses: Bool
    unknown: Bool
    """The work is not known well enough for a price."""
    owner: Int
    """The kernel of each access."""
    unique: Float
    requested: Float
    writes: Bool
    stride: Text
    itemsize: Float
    tensor_bytes: Float
    tensor_dtype: Text
    row: Float
    """Elements of the innermost dimension of what the access's kernel writes, inf where not known."""
    reuse: Float


def facts(work: Work) -> Facts:
    """Return the facts of a trace."""
    return once(work, "facts", lambda: _make(work))


def _make(work: Work) -> Facts:
    kernels, accesses, tensors = work.kernels, work.accesses, work.tensors
    count = {name: kernels[name].astype(np.float64) for name in ("batch", "m", "n", "k", "launches")}
    kind, family = Text.of(kernels, "launch_kind"), Text.of(kernels, "family")
    owner = accesses["kernel"].astype(np.int64)
    unique = accesses["bytes_unique"]
    requested = np.fmax(accesses["bytes_requested"], unique)
    tensor = accesses["tensor"]
    dtype = Text.of(tensors, "dtype").at(tensor)
    fields = {name: kernels[name] for name in ("flops_matrix", "flops_vector", "flops_transcendental", "instructions", "bytes_unique")}
    # an imported kernel's accesses may only tell the order of launches: if none has known bytes, the kernel's own count holds
    has = np.bincount(owner, weights=~np.isnan(unique), minlength=len(kernels)) > 0
    bad = has & (np.bincount(owner, weights=np.isnan(unique), minlength=len(kernels)) > 0)
    unknown = _unknown(family, fields, count, bad | (~has & np.isnan(fields["bytes_unique"]))) | _opaque(kind, family, fields)
    fields["instructions"] = np.where(family.is_("slice_concat"), 0.0, fields["instructions"])
    unique, requested = np.nan_to_num(unique), np.nan_to_num(requested)
    return Facts(
        family=family,
        library=kind.is_("library"),
        routine=Text.of(kernels, "library"),
        triton=kind.is_("triton"),
        dtype=Text.of(kernels, "dtype"),
        precision=Text.of(kernels, "precision"),
        grid=_product(kernels, "grid"),
        threads=_product(kernels, "block"),
        shared=np.maximum(kernels["shared_bytes"], 0),
        registers=kernels["registers"],
        spill=np.maximum(kernels["spill_bytes"], 0).astype(np.float64),
        measured=kernels["measured_s"],
        has_accesses=has,
        unknown=unknown,
        owner=owner,
        unique=unique,
        requested=requested,
        writes=Text.of(accesses, "mode").is_("write"),
        stride=Text.of(accesses, "stride"),
        itemsize=dtype.number(itemsize),
        tensor_bytes=np.fmax(tensors["bytes"][tensor].astype(np.float64), unique),
        tensor_dtype=dtype,
        row=_row(Text.of(tensors, "shape").at(tensor), owner, Text.of(accesses, "mode").is_("write"), len(kernels)),
        reuse=work.reuse_distance,
        **{name: np.nan_to_num(values) for name, values in fields.items()},
        **count,
    )


def _row(shape: Text, owner: Int, writes: Bool, kernels: int) -> Float:
    """Innermost dimension of the widest result of each access's kernel."""
    innermost = shape.number(lambda dims: float(dims.split("x")[-1]) if dims and dims.split("x")[-1].isdigit() else np.inf)
    widest = np.zeros(kernels)
    np.maximum.at(widest, owner[writes], innermost[writes])
    return np.where(widest > 0, widest, np.inf)[owner]


def _product(kernels: Table, name: str) -> Float:
    """Blocks of a grid or threads of a block, NaN where not known."""
    x, y, z = (kernels[f"{name}_{axis}"].astype(np.float64) for axis in "xyz")
    return np.where(x > 0, x * np.maximum(y, 1) * np.maximum(z, 1), np.nan)


def _unknown(family: Text, fields: dict[str, Float], count: dict[str, Float], bytes_unknown: Bool) -> Bool:
    """Elementwise kernels and reductions need vector FLOP, products matrix FLOP, solvers a size, all of them bytes."""
    vector = family.isin(NEED_VECTOR) & np.isnan(fields["flops_vector"])
    matrix = family.isin(NEED_MATRIX) & np.isnan(fields["flops_matrix"])
    no_size = (count["m"] < 0) | (count["batch"] < 0)  # helpers of solvers (pivots to permutations) have none, and no FLOP
    solver = family.isin(SOLVERS) & no_size & (fields["flops_matrix"] != 0)
    return np.asarray(bytes_unknown | vector | matrix | solver, dtype=np.bool_)


def _opaque(kind: Text, family: Text, fields: dict[str, Float]) -> Bool:
    """Library calls of no family known to be bound by bytes (eigenvalues, say), whose FLOP nobody counted."""
    counted = ~(np.isnan(fields["flops_matrix"]) & np.isnan(fields["flops_vector"]))
    return np.asarray(kind.isin(frozenset({"library", "triton"})) & family.is_("other") & ~counted, dtype=np.bool_)


def itemsize(dtype: str) -> float:
    """Return the bytes of an element of an XLA type: 4 for 'f32', 'c64' 8, 'pred' 1; 4 if not known."""
    if dtype == "pred":
        return 1.0
    digits = "".join(c for c in dtype.split("e")[0] if c.isdigit())
    return max(int(digits) / 8, 1.0) if digits else 4.0


def total(owner: Int, values: Float, kernels: int) -> Float:
    """Return the sum of ``values`` over the accesses of each kernel."""
    return np.bincount(owner, weights=values, minlength=kernels).astype(np.float64, copy=False)
