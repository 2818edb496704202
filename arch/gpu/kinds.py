"""What sort of kernel each is, which depends on the trace alone: products, solvers, fused attention, and the unit that each asks for."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from arch import attention_calls
from arch.entry import Entry
from arch.facts import NEED_MATRIX, SOLVERS, Facts, facts, itemsize, once
from arch.gemm_choices import Products
from arch.library_calls import Distinct, distinct
from arch.measuring import drawn_by_programs
from arch.passes import Passes
from arch.pipes import matrix_unit
from arch.work import Bool, Float, Int, Work


@dataclass(frozen=True, eq=False)
class Matrices:
    """What solver kernels work on: which kernels they are, and of each the batch, rows and right-hand sides; shape [such kernels]."""

    rows: Int
    batch: Float
    m: Float
    columns: Float


@dataclass(frozen=True, eq=False)
class Kinds:
    """What depends on the trace alone; shapes [kernels] where nothing else is said."""

    product: Bool
    tiled: Bool
    """Products of a library whose grid is not known: ``arch.gemm`` chooses their tiles."""
    unit: Int
    """Which of ``asked`` each kernel asks for."""
    asked: list[tuple[str, str, bool]]
    """Distinct dtypes and precisions, without tensor cores and then with them."""
    wide: Bool
    """Of double precision."""
    rows: Int
    """The tiled kernels, shape [calls]."""
    calls: Products
    attention: list[attention_calls.Group]
    lu: Matrices
    solve: Matrices
    """Of the kernels that factorise and of those that solve."""
    passes: Passes
    """Of factorisations that pass over what is left of a matrix."""
    rotated: Matrices
    """Of those that rotate small matrices, a warp a matrix, until they are diagonal."""


def kinds(work: Work) -> Kinds:
    """Return what sort of kernel each of a trace is."""
    return once(work, "gpu kinds", lambda: _make_kinds(work, facts(work)))


def _make_kinds(work: Work, known: Facts) -> Kinds:
    product = known.family.isin(NEED_MATRIX) | (known.flops_matrix > 0)
    tiled = product & known.library & np.isnan(known.grid) & (known.k > 0)
    pair, pairs = known.dtype.pairs(known.precision)
    tensor_cores = (known.library | known.triton) & ~known.family.isin(SOLVERS)
    rows = np.flatnonzero(tiled)
    return Kinds(
        product=product,
        tiled=tiled,
        unit=np.where(tensor_cores, len(pairs), 0) + pair,
        asked=[(*each, allowed) for allowed in (False, True) for each in pairs],
        wide=known.dtype.is_("f64", "c128"),
        rows=rows,
        calls=products(known, rows),
        attention=attention_calls.groups(work, known),
        lu=_matrices(known, known.family.is_("lu")),
        solve=_matrices(known, known.family.is_("triangular_solve")),
        passes=Passes.of(known),
        rotated=_matrices(known, known.routine.is_("syevj_batched", "gesvdj_batched")),
    )


def products(known: Facts, rows: Int) -> Products:
    """Return the sizes of the products that the kernels ``rows`` compute."""
    parts = np.where(known.dtype.is_("c64", "c128"), 2.0, 1.0)[rows]  # a complex product is a real one of real and imaginary parts
    size = known.dtype.number(itemsize)[rows] / parts
    return Products(np.maximum(known.batch[rows], 1.0), parts * known.m[rows], parts * known.n[rows], known.k[rows], size)


def _matrices(known: Facts, which: Bool) -> Matrices:
    rows = np.flatnonzero(which)
    return Matrices(rows, np.maximum(known.batch[rows], 1.0), np.maximum(known.m[rows], 0.0), known.n[rows])


@dataclass(frozen=True, eq=False)
class Units:
    """Which unit serves the product of each kernel; shape [kernels]."""

    names: NDArray[np.str_]
    peak: Float
    tensor: Bool
    energy: Float
    """Joules a FLOP, NaN if unknown."""
    calls: list[Distinct]
    """The library calls of unknown grid by unit."""


def units(entry: Entry, work: Work) -> Units:
    """Return the unit of a GPU that serves each kernel: ``matrix_unit``, worked out once for each distinct combination."""
    found = kinds(work)
    served = [matrix_unit(entry, *each) for each in found.asked]
    names = tuple(name for name, _, _ in served)
    groups = entry.group("vector_energy_per_flop"), entry.group("matrix_energy_per_flop")
    named = np.array(names, dtype=np.str_)[found.unit]
    return Units(
        named,
        np.array([peak for _, peak, _ in served])[found.unit],
        np.array([tensor for _, _, tensor in served], dtype=np.bool_)[found.unit],
        np.array([groups[tensor].get(name, np.nan) * drawn_by_programs(entry, name) for name, _, tensor in served])[found.unit],
        once(work, ("gpu calls", names), lambda: distinct(named[found.rows], found.calls)),
    )
