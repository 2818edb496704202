"""Appends go where their reader runs: who attends to a cache of keys and values also stores the new ones.

A kernel that updates a part of something in place makes the other devices' copies of the whole stale (docs/replay.md). So a cache that
one device appends to and another reads changes hands at every step; where the reader appends, only the new part does. AttAcc does so:
the GPU sends a token's keys and values, and the PIM, which holds the others, stores them (ASPLOS 2024).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from schedulers.per_trace import once_a_trace

if TYPE_CHECKING:
    from arch.cost import CostTable
    from traces.trace import Trace

Int = npt.NDArray[np.int64]


def appends_with_readers(trace: Trace, costs: CostTable, device: npt.NDArray[np.int32]) -> npt.NDArray[np.int32]:
    """Return ``device`` (int32[K]) with every append on the device of the kernel that reads next what it appends to, if that accepts it.

    An append does no arithmetic and writes nothing but parts of what existed before the trace (`Trace.access_updates`).
    """
    append, reader = next_readers(trace)
    wanted = device[reader]
    takes = costs.refusal[wanted, append] == 0
    moved = device.copy()
    moved[append[takes]] = wanted[takes]
    return moved


@once_a_trace
def next_readers(trace: Trace) -> tuple[Int, Int]:
    """Return the kernel rows of the appends that have a reader, and those of the next kernel that reads the same (int64[N] both).

    Next is the first behind it in the innermost loop around both, else the first of that loop's next iteration. Of an append to several
    allocations the first that is read counts.
    """
    kernel, alias = trace.accesses["kernel"].astype(np.int64), trace.access_alias.astype(np.int64)
    readers = np.unique(alias[~trace.access_writes] * len(trace.kernels) + kernel[~trace.access_writes])
    found = np.full(len(trace.kernels), -1, dtype=np.int64)
    for row in np.flatnonzero(_appends(trace))[::-1].tolist():
        reader = _next(readers, int(alias[row]), int(kernel[row]), trace)
        found[kernel[row]] = reader if reader >= 0 else found[kernel[row]]
    append = np.flatnonzero(found >= 0)
    return append, found[append]


def appended(trace: Trace) -> npt.NDArray[np.bool_]:
    """Return which alias sets are appended to: caches; bool[sets]."""
    found = np.zeros(len(trace.alias_bytes), dtype=np.bool_)
    found[trace.access_alias[_appends(trace)]] = True
    return found


def _appends(trace: Trace) -> npt.NDArray[np.bool_]:
    """Return which accesses are updates by an append, bool[accesses]."""
    found: npt.NDArray[np.bool_] = trace.access_updates & _appending(trace)[trace.accesses["kernel"]]
    return found


def _appending(trace: Trace) -> npt.NDArray[np.bool_]:
    """Return which kernels do no arithmetic and write nothing but parts of what existed, bool[K]."""
    kernels, owner = trace.kernels, trace.accesses["kernel"]
    flops = np.sum([kernels[name] for name in ("flops_matrix", "flops_vector", "flops_transcendental")], axis=0)
    others = np.bincount(owner[trace.access_writes & ~trace.access_updates], minlength=len(kernels)) > 0
    return np.asarray((flops == 0) & ~others, dtype=np.bool_)


def _next(readers: Int, alias: int, row: int, trace: Trace) -> int:
    """Return the next reader of an allocation behind a kernel row, -1 if there is none; ``readers`` are sorted, allocation * K + row."""
    regions, base = trace.regions, alias * len(trace.kernels)
    region = int(trace.kernels["region"][row])
    while region >= 0:
        first, end = int(regions["first_kernel"][region]), int(regions["end_kernel"][region])
        for begin in (row + 1, first) if regions["trip_count"][region] > 1 else (row + 1,):
            at = int(np.searchsorted(readers, base + begin))
            if at < len(readers) and readers[at] < base + end:
                return int(readers[at] - base)
        region = int(regions["parent"][region])
    return -1
