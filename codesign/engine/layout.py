"""What planning needs of a trace, computed once a trace: its loops, its allocations, and when they end."""

from typing import TYPE_CHECKING, NamedTuple
from weakref import WeakKeyDictionary

import numpy as np

from codesign.engine.list_schedule import make_tape
from codesign.engine.program import Codes, Indices, Ints, Loops

if TYPE_CHECKING:
    from traces.trace import Trace


class Layout(NamedTuple):
    """A trace as arrays. An allocation is an alias set; ``x_start[i]:x_start[i + 1]`` are the entries of row i."""

    code: Codes  # the tape (see `list_schedule.Tape`) over kernels and loops
    a: Indices
    b: Indices
    trips: Ints  # [L]
    asks: Codes  # [L] does the device decide on another iteration?
    launches: Ints  # [K]
    joins: Codes  # [K] is it in the command buffer of the kernel before it?
    buffered: Codes  # [K] is it in any command buffer?
    read_start: Indices
    reads: Indices
    write_start: Indices
    writes: Indices
    bytes: Ints  # [A]
    initial: Codes  # [A] does it exist before the trace?
    tensor: Indices  # [A] its largest tensor
    row_dies_start: Indices
    row_dies: Indices
    loop_dies_start: Indices
    loop_dies: Indices


_layouts: "WeakKeyDictionary[Trace, Layout]" = WeakKeyDictionary()


def layout_of(trace: "Trace") -> Layout:
    """Return the layout of ``trace``, made at the first call."""
    if trace not in _layouts:
        _layouts[trace] = _make(trace)
    return _layouts[trace]


def _make(trace: "Trace") -> Layout:
    loops, asks = _loops(trace)
    kernels, count = trace.kernels, len(trace.kernels)
    inner = _innermost(loops, count)
    buffer = kernels["command_buffer"]
    joins = np.zeros(count, np.int8)
    joins[1:] = (buffer[1:] >= 0) & (buffer[1:] == buffer[:-1]) & (inner[1:] == inner[:-1])
    tape = make_tape(count, loops)
    reads = _accessed(trace, ~trace.access_writes)
    writes = _accessed(trace, trace.access_writes)
    size, tensor = _sizes(trace)
    first, last = _lifetimes(trace, len(size))
    row, loop = _deaths(first, last, loops)
    return Layout(
        tape.code, tape.a, tape.b, loops.count, asks, kernels["launches"].astype(np.int64), joins, (buffer >= 0).astype(np.int8),
        *reads, *writes, size, (first < 0).astype(np.int8), tensor, *_grouped(row, count), *_grouped(loop, len(loops.first)),
    )  # fmt: skip


def _loops(trace: "Trace") -> tuple[Loops, Codes]:
    """Return the loops that matter, outer ones first, and whose condition the device computes."""
    regions = trace.regions
    first, end, trips = regions["first_kernel"], regions["end_kernel"], regions["trip_count"]
    asks = np.asarray(regions["condition"] == "device")
    keep = np.flatnonzero((regions["kind"] == "loop") & (end > first) & ((trips > 1) | asks))
    keep = keep[np.lexsort((keep, -end[keep], first[keep]))]
    return Loops(first[keep].astype(np.int32), end[keep].astype(np.int32), trips[keep].astype(np.int64)), asks[keep].astype(np.int8)


def _innermost(loops: Loops, kernels: int) -> Indices:
    inner = np.full(kernels, -1, np.int32)
    for loop, (first, end) in enumerate(zip(loops.first, loops.end, strict=True)):
        inner[first:end] = loop
    return inner


def _accessed(trace: "Trace", chosen: np.ndarray) -> tuple[Indices, Indices]:
    """Return the allocations that each kernel touches by the chosen accesses, each once."""
    pairs = np.stack([trace.accesses["kernel"][chosen], trace.access_alias[chosen]], axis=1).astype(np.int64)
    pairs = np.unique(pairs, axis=0) if len(pairs) else pairs.reshape(0, 2)
    start = np.searchsorted(pairs[:, 0], np.arange(len(trace.kernels) + 1)).astype(np.int32)
    return start, pairs[:, 1].astype(np.int32)


def _sizes(trace: "Trace") -> tuple[Ints, Indices]:
    """Return the bytes of each allocation, and the tensor that is that large."""
    alias, size = trace.alias_index, trace.tensors["bytes"]
    order = np.lexsort((-np.arange(len(size)), size, alias))
    tensor = np.full(int(alias.max(initial=-1)) + 1, -1, np.int32)
    tensor[alias[order]] = order
    return size[tensor].astype(np.int64), tensor


def _lifetimes(trace: "Trace", allocations: int) -> tuple[Ints, Ints]:
    """Return the first (-1: it exists before) and the last kernel (count of kernels: it stays) that need each allocation."""
    first, last = np.full(allocations, len(trace.kernels), np.int64), np.full(allocations, -1, np.int64)
    stays = np.where(trace.tensors["last_kernel"] < 0, len(trace.kernels), trace.tensors["last_kernel"])
    np.minimum.at(first, trace.alias_index, trace.tensors["first_kernel"])
    np.maximum.at(last, trace.alias_index, stays)
    return first, last


def _deaths(first: Ints, last: Ints, loops: Loops) -> tuple[Ints, Ints]:
    """Return at which kernel or at the end of which loop each allocation ends (-1: not there).

    That is the outermost loop around its last kernel that does not hold its whole life; without one, the kernel.
    """
    row, loop = last.copy(), np.full(len(last), -1, np.int64)
    for number in range(len(loops.first) - 1, -1, -1):
        holds = (last >= loops.first[number]) & (last < loops.end[number])
        loop[holds & (first < loops.first[number])] = number
    row[loop >= 0] = -1
    return row, loop


def _grouped(place: Ints, count: int) -> tuple[Indices, Indices]:
    """Return which items each of ``count`` places has, as starts and items; items elsewhere are left out."""
    order = np.argsort(place, kind="stable")
    order = order[(place[order] >= 0) & (place[order] < count)]
    return np.searchsorted(place[order], np.arange(count + 1)).astype(np.int32), order.astype(np.int32)
