"""Loops cut into stretches, so that something may be decided between two of them."""

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from traces.errors import TraceError
from traces.table import Table

if TYPE_CHECKING:
    from traces.trace import Trace

Ints = npt.NDArray[np.int64]


def split_loops(trace: "Trace", every: int) -> tuple["Trace", Ints]:
    """Return the trace with each loop of its top level cut into loops of ``every`` iterations (the last of what is left), one after
    another; and for each of its kernels the row that it was (int64[K]).

    What lives within an iteration is each stretch's own; all else is shared. Raises TraceError if ``every`` is below 1.
    """
    if every < 1:
        raise TraceError(f"`every >= 1` must hold, but got {every}")
    regions = trace.regions
    cut = (regions["parent"] == 0) & (regions["kind"] == "loop") & (regions["trip_count"] > every)
    cut &= regions["end_kernel"] > regions["first_kernel"]
    origin = np.arange(len(trace.kernels), dtype=np.int64)
    for row in np.flatnonzero(cut)[::-1].tolist():  # from behind: rows before stay
        trace, kept = _split(trace, row, every)
        origin = origin[kept]
    return trace, origin


def _split(trace: "Trace", region: int, every: int) -> tuple["Trace", Ints]:
    """Cut one loop; return the trace and the row that each kernel was."""
    regions = trace.regions
    first, end, trips = (int(regions[name][region]) for name in ("first_kernel", "end_kernel", "trip_count"))
    pieces = -(-trips // every)
    more = (pieces - 1) * (end - first)
    order = np.concatenate([np.arange(first), np.tile(np.arange(first, end), pieces), np.arange(end, len(trace.kernels))]).astype(np.int64)
    before, after = np.zeros(first, np.int64), np.zeros(len(trace.kernels) - end, np.int64)
    piece = np.concatenate([before, np.repeat(np.arange(pieces), end - first), after])
    table, place = _regions(trace, region, every, pieces, more)
    kernels = {name: values[order] for name, values in trace.kernels.decoded().items()}
    kernels["region"] = place[kernels["region"], piece].astype(np.int32)
    ids = int(kernels["command_buffer"].max(initial=-1)) + 1
    kernels["command_buffer"] = np.where(kernels["command_buffer"] >= 0, kernels["command_buffer"] + ids * piece, -1).astype(np.int32)
    own = _own(trace, first, end)
    tensors, tensor = _tensors(trace, first, end, pieces, more, own)
    accesses = _accesses(trace, order, piece, tensor)
    return trace.with_(kernels=Table.build("kernels", kernels), tensors=tensors, accesses=accesses, regions=table), order


def _regions(trace: "Trace", region: int, every: int, pieces: int, more: int) -> tuple[Table, Ints]:
    """Return the regions, and the row of each in each piece (int64[R, pieces])."""
    columns = trace.regions.decoded()
    first, end, trips = (int(columns[name][region]) for name in ("first_kernel", "end_kernel", "trip_count"))
    count = len(trace.regions)
    size = 1
    while region + size < count and int(columns["first_kernel"][region + size]) < end and int(columns["parent"][region + size]) >= region:
        size += 1
    order = np.concatenate([np.arange(region), np.tile(np.arange(region, region + size), pieces), np.arange(region + size, count)])
    piece = np.concatenate([np.zeros(region, np.int64), np.repeat(np.arange(pieces), size), np.zeros(count - region - size, np.int64)])
    place = np.tile(np.arange(count)[:, None], (1, pieces))
    place[region : region + size] += size * np.arange(pieces)
    place[region + size :] += size * (pieces - 1)
    new: dict[str, Any] = {name: values[order] for name, values in columns.items()}
    inside = (order >= region) & (order < region + size)
    shift = np.where(inside, piece * (end - first), 0)
    for name in ("first_kernel", "end_kernel"):
        after = (new[name] >= end) & ~inside
        new[name] = (new[name] + shift + more * after).astype(np.int32)
    new["parent"] = np.where(new["parent"] >= 0, place[np.maximum(new["parent"], 0), piece], -1).astype(np.int32)
    top = order == region
    new["trip_count"] = np.where(top, np.where(piece < pieces - 1, every, trips - every * (pieces - 1)), new["trip_count"])
    return Table.build("regions", new), place


def _own(trace: "Trace", first: int, end: int) -> npt.NDArray[np.bool_]:
    """Return which alias sets live within an iteration of the loop: touched nowhere else, and written there before they are read."""
    sets = int(trace.alias_index.max(initial=-1)) + 1
    low, high = np.full(sets, len(trace.kernels), np.int64), np.full(sets, -1, np.int64)
    stays = np.where(trace.tensors["last_kernel"] < 0, len(trace.kernels), trace.tensors["last_kernel"])
    np.minimum.at(low, trace.alias_index, trace.tensors["first_kernel"])
    np.maximum.at(high, trace.alias_index, stays)
    kernel, alias = trace.accesses["kernel"], trace.access_alias
    begun = np.full(sets, -1, np.int64)  # the first kernel that touches it
    begun[alias[::-1]] = kernel[::-1]
    reads = np.zeros(sets, bool)
    reads[alias[(kernel == begun[alias]) & ~trace.access_writes]] = True
    found: npt.NDArray[np.bool_] = (low >= first) & (high < end) & (begun >= 0) & ~reads
    return found


def _tensors(trace: "Trace", first: int, end: int, pieces: int, more: int, own: npt.NDArray[np.bool_]) -> tuple[Table, Ints]:
    """Return the tensors, and the row of each in each piece (int64[T, pieces])."""
    columns, mine = trace.tensors.decoded(), own[trace.alias_index]
    count, copies = len(mine), int(mine.sum())
    rows = np.tile(np.arange(count)[:, None], (1, pieces))
    rows[mine] = np.concatenate(
        [np.flatnonzero(mine)[:, None], count + np.arange(copies)[:, None] + copies * np.arange(pieces - 1)[None, :]], axis=1
    )
    wide = int(columns["alias_set"].max(initial=-1)) + 1
    parts: dict[str, list[Any]] = {name: [values] for name, values in columns.items()}
    begins, ends = columns["first_kernel"], columns["last_kernel"]
    parts["first_kernel"] = [begins + more * (begins >= end)]
    parts["last_kernel"] = [ends + more * ((ends >= end) | ((ends >= first) & ~mine))]
    for piece in range(1, pieces):
        moved = piece * (end - first)
        for name, values in columns.items():
            add = moved if name in ("first_kernel", "last_kernel") else wide * piece if name == "alias_set" else 0
            parts[name].append(values[mine] + add if add else values[mine])
    whole = {name: np.concatenate(values) for name, values in parts.items()}
    return Table.build(
        "tensors", whole | {name: whole[name].astype(np.int32) for name in ("first_kernel", "last_kernel", "alias_set")}
    ), rows


def _accesses(trace: "Trace", order: Ints, piece: Ints, tensor: Ints) -> Table:
    """Return the accesses of all kernels in their new order."""
    offsets = trace.access_offsets
    count = offsets[order + 1] - offsets[order]
    rows = np.repeat(offsets[order] - np.cumsum(count) + count, count) + np.arange(int(count.sum()))
    columns = {name: values[rows] for name, values in trace.accesses.decoded().items()}
    kernel = np.repeat(np.arange(len(order)), count)
    columns["tensor"] = tensor[columns["tensor"], piece[kernel]].astype(np.int32)
    columns["kernel"] = kernel.astype(np.int32)
    return Table.build("accesses", columns)
