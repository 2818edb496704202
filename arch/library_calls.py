"""Library calls of a trace whose grid is not known: products of ``arch.gemm``, each distinct shape worked out once."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from arch import gemm, measuring
from arch.entry import Entry
from arch.facts import once
from arch.gemm_choices import CHUNK, Choices, Products, choices
from arch.gemm_library import Tiling, library
from arch.work import Float, Int, Work

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


@dataclass(frozen=True, eq=False)
class Distinct:
    """The distinct products that one unit serves, and which of them each call is."""

    unit: str
    """The dtype of the peak."""
    work: Products
    rows: Int
    """The calls of this unit, shape [its calls]."""
    inverse: Int
    """The product of each of them, shape [its calls]."""


def distinct(unit: NDArray[Any], work: Products) -> list[Distinct]:
    """Return the distinct products of calls by unit; ``unit`` names the dtype of the peak that serves each, shape [calls]."""
    found = []
    for name in np.unique(unit):
        rows = np.flatnonzero(unit == name)
        first, inverse = _distinct(work[rows])
        found.append(Distinct(str(name), work[rows[first]], rows, inverse))
    return found


def calls(entry: Entry, work: Work, parts: list[Distinct], count: int) -> Calls:
    """Return the terms of ``count`` library calls of a trace, of which ``parts`` are the distinct ones; shape [calls]."""
    known = [np.zeros(count) for _ in range(4)]
    for part in parts:
        for values, term in zip(known, _terms(entry, work, part), strict=True):
            values[part.rows] = term[part.inverse]
    return Calls(*known)


def _terms(entry: Entry, work: Work, part: Distinct) -> tuple[Float, Float, Float, Float]:
    unit = library(entry, part.unit, tuned=True, drawn=measuring.drawn_by_programs(entry, part.unit))
    chosen = gemm.fastest(unit, _choices(entry, work, part, unit.tiling), np.zeros(len(part.work.m)))
    return gemm.on_sm_s(unit, chosen), chosen.l2_bytes, chosen.extra_s, chosen.again_bytes


def _choices(entry: Entry, work: Work, part: Distinct, tiling: Tiling) -> Iterable[Choices]:
    """The choices for products of a trace, kept with it if they are few: GPUs of other clocks and bandwidths have the same."""
    held = {name: entry[name] for name in gemm.HELD_BY}

    def make() -> Iterator[Choices]:
        return choices(tiling, part.work, gemm.resident(held, part.work))

    if len(part.work.m) > CHUNK:
        return make()
    return once(work, ("gemm choices", part, tiling, *held.values()), lambda: tuple(make()))


def _distinct(work: Products) -> tuple[Int, Int]:
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
