"""What planning needs of a trace, computed once a trace: its loops, its allocations, and when they end."""

from typing import TYPE_CHECKING, NamedTuple
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt

from codesign.engine.list_schedule import tape_of
from codesign.engine.program import LOOP, Indices, Ints, Rows
from traces.ranks import held

if TYPE_CHECKING:
    from traces.trace import Trace

KERNEL_ROW = np.dtype(
    [
        ("launches", "i8"),
        ("joins", "i4"),  # is it in the command buffer of the kernel before it?
        ("lockstep", "i4"),  # is it issued with the kernel of the rank before it, by a host of its own that keeps pace?
        ("buffered", "i4"),  # is it in any command buffer?
        ("read_start", "i4"),
        ("read_end", "i4"),
        ("write_start", "i4"),
        ("write_end", "i4"),
        ("dies_start", "i4"),  # allocations that end with it
        ("dies_end", "i4"),
    ],
    align=True,
)
LOOP_ROW = np.dtype([("trips", "i8"), ("asks", "i4"), ("dies_start", "i4"), ("dies_end", "i4")], align=True)
"""``asks``: does the device decide on another iteration?"""
ALLOCATION = np.dtype([("bytes", "i8"), ("initial", "i4"), ("tensor", "i4")], align=True)
"""An alias set: size, whether it exists before the trace, the row of its largest tensor."""


class Layout(NamedTuple):
    """A trace as arrays."""

    tape: Rows  # over kernels and loops, see `list_schedule.TAPE`
    kernel: Rows  # [K]
    loop: Rows  # [L]
    allocation: Rows  # [A]
    reads: Indices
    writes: Indices
    row_dies: Indices
    loop_dies: Indices


_layouts: "WeakKeyDictionary[Trace, Layout]" = WeakKeyDictionary()


def layout_of(trace: "Trace") -> Layout:
    """Return the layout of ``trace``, made at the first call."""
    if trace not in _layouts:
        _layouts[trace] = _make(trace)
    return _layouts[trace]


def _make(trace: "Trace") -> Layout:
    loops, asks = _loops(trace)
    count, buffer = len(trace.kernels), trace.kernels["command_buffer"]
    inner = _innermost(loops, count)
    kernel, loop = np.zeros(count, KERNEL_ROW), np.zeros(len(loops), LOOP_ROW)
    kernel["launches"], kernel["buffered"] = trace.kernels["launches"], buffer >= 0
    if held(trace) > 1:
        rank = trace.kernels["stream"]
        kernel["lockstep"][1:] = rank[1:] == rank[:-1] + 1
    kernel["joins"][1:] = (buffer[1:] >= 0) & (buffer[1:] == buffer[:-1]) & (inner[1:] == inner[:-1])
    kernel["read_start"], kernel["read_end"], reads = _accessed(trace, trace.access_needs)
    kernel["write_start"], kernel["write_end"], writes = _accessed(trace, trace.access_writes)
    allocation = _allocations(trace)
    first, last = _lifetimes(trace, len(allocation))
    allocation["initial"] = first < 0
    dies_row, dies_loop = _deaths(first, last, loops)
    kernel["dies_start"], kernel["dies_end"], row_dies = _grouped(dies_row, count)
    loop["trips"], loop["asks"] = loops["count"], asks
    loop["dies_start"], loop["dies_end"], loop_dies = _grouped(dies_loop, len(loops))
    return Layout(tape_of(count, loops), kernel, loop, allocation, reads, writes, row_dies, loop_dies)


def _loops(trace: "Trace") -> tuple[Rows, Indices]:
    """Return the loops that matter, outer ones first, and whose condition the device computes."""
    regions = trace.regions
    first, end, trips = regions["first_kernel"], regions["end_kernel"], regions["trip_count"]
    asks = np.asarray(regions["condition"] == "device")
    keep = np.flatnonzero((regions["kind"] == "loop") & (end > first) & ((trips > 1) | asks))
    keep = keep[np.lexsort((keep, -end[keep], first[keep]))]
    loops = np.zeros(len(keep), LOOP)
    loops["first"], loops["end"], loops["count"] = first[keep], end[keep], trips[keep]
    return loops, asks[keep].astype(np.int32)


def _innermost(loops: Rows, kernels: int) -> Indices:
    inner = np.full(kernels, -1, np.int32)
    for loop, (first, end, _) in enumerate(loops.tolist()):
        inner[first:end] = loop
    return inner


def _accessed(trace: "Trace", chosen: npt.NDArray[np.bool_]) -> tuple[Ints, Ints, Indices]:
    """Return the allocations that each kernel touches by the chosen accesses, each once."""
    wide = int(trace.alias_index.max(initial=-1)) + 1
    pairs = np.unique(trace.accesses["kernel"][chosen].astype(np.int64) * wide + trace.access_alias[chosen])
    start = np.searchsorted(pairs, np.arange(len(trace.kernels) + 1) * wide)
    return start[:-1], start[1:], (pairs % max(1, wide)).astype(np.int32)


def _allocations(trace: "Trace") -> Rows:
    """Return the bytes of each allocation, and the tensor that is that large."""
    alias, size = trace.alias_index, trace.tensors["bytes"]
    order = np.lexsort((-np.arange(len(size)), size, alias))
    tensor = np.full(int(alias.max(initial=-1)) + 1, -1, np.int32)
    tensor[alias[order]] = order
    allocation = np.zeros(len(tensor), ALLOCATION)
    allocation["bytes"], allocation["tensor"] = size[tensor], tensor
    return allocation


def _lifetimes(trace: "Trace", allocations: int) -> tuple[Ints, Ints]:
    """Return the first (-1: it exists before) and the last kernel (count of kernels: it stays) that need each allocation."""
    first, last = np.full(allocations, len(trace.kernels), np.int64), np.full(allocations, -1, np.int64)
    stays = np.where(trace.tensors["last_kernel"] < 0, len(trace.kernels), trace.tensors["last_kernel"])
    np.minimum.at(first, trace.alias_index, trace.tensors["first_kernel"])
    np.maximum.at(last, trace.alias_index, stays)
    return first, last


def _deaths(first: Ints, last: Ints, loops: Rows) -> tuple[Ints, Ints]:
    """Return at which kernel or at the end of which loop each allocation ends (-1: not there).

    That is the outermost loop around its last kernel that does not hold its whole life; without one, the kernel.
    """
    row, loop = last.copy(), np.full(len(last), -1, np.int64)
    for number, (begin, end, _) in reversed(list(enumerate(loops.tolist()))):
        loop[(last >= begin) & (last < end) & (first < begin)] = number
    row[loop >= 0] = -1
    return row, loop


def _grouped(place: Ints, count: int) -> tuple[Ints, Ints, Indices]:
    """Return which items each of ``count`` places has, as starts, ends and items; items elsewhere are left out."""
    order = np.argsort(place, kind="stable")
    order = order[(place[order] >= 0) & (place[order] < count)]
    start = np.searchsorted(place[order], np.arange(count + 1))
    return start[:-1], start[1:], order.astype(np.int32)
