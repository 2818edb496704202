"""Library calls of a trace whose grid is not known: products of ``arch.gemm``, each distinct shape worked out once."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from arch import gemm
from arch.catalog import Entry
from arch.device import Float, Int
from arch.gemm_library import library

_MIX = np.array([0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9, 0x27D4EB2F165667C5, 0x85EBCA77C2B2AE63], dtype=np.uint64)


@dataclass(frozen=True, eq=False)
class Calls:
    """Terms of library calls; arrays of shape [calls]."""

    compute_s: Float
    """On the busiest SM at the clock that the power cap leaves."""
    l2_bytes: Float
    extra_s: Float
    """What does not overlap: adding up the parts of a split product."""
    again_bytes: Float
    """What DRAM serves again because it did not stay in L2 between waves of tiles."""


def calls(entry: Entry, unit: NDArray[Any], work: gemm.Products) -> Calls:
    """Return the terms of products; ``unit`` names the dtype of the peak that serves each. Shape [calls]."""
    known = [np.zeros(len(unit)) for _ in range(4)]
    for name in np.unique(unit):
        rows = np.flatnonzero(unit == name)
        first, inverse = _distinct(work[rows])
        terms = _terms(entry, str(name), work[rows[first]])
        for values, term in zip(known, terms, strict=True):
            values[rows] = term[inverse]
    return Calls(*known)


def _terms(entry: Entry, name: str, work: gemm.Products) -> tuple[Float, Float, Float, Float]:
    unit = library(entry, name, tuned=True)
    chosen = gemm.plan(unit, work, gemm.resident(unit, work))
    share = gemm.clock_share(entry, unit, chosen, 0.0)
    return np.maximum(chosen.compute_s, chosen.l2_s) / share, chosen.l2_bytes, chosen.extra_s, chosen.again_bytes


def _distinct(work: gemm.Products) -> tuple[Int, Int]:
    """Return the first row of each distinct product and where each row's is among them."""
    columns = (work.batch, work.m, work.n, work.k, work.size)
    mixed = np.zeros(len(work.m), dtype=np.uint64)
    for column, factor in zip(columns, _MIX, strict=True):
        mixed = (mixed ^ column.view(np.uint64)) * factor
        mixed ^= mixed >> np.uint64(29)
    _, first, inverse = np.unique(mixed, return_index=True, return_inverse=True)
    if all(np.array_equal(column[first][inverse], column) for column in columns):
        return first, inverse
    every = np.arange(len(work.m))
    return every, every
