"""Several copies of a trace as streams that run side by side, sharing what none of them writes."""

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from traces.errors import TraceError
from traces.table import Table

if TYPE_CHECKING:
    from traces.trace import Trace

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
MOST = 64
STREAMS = "interleave"
"""Key of the manifest's options that says how many streams a trace has."""


def interleave(trace: "Trace", streams: int) -> "Trace":
    """Return ``streams`` copies of a trace (of a sub-batch), launched in turn: a kernel or command buffer of each, then the next.

    Parameters and constants that no kernel writes are shared; all other tensors are each copy's own. Loops run all copies. Column
    ``stream`` of the kernels says which copy one is of; on a machine, streams of one device take turns, each in its own order.

    Raises
    ------
    TraceError
        If ``streams`` is not from 1 to 64, or the trace has been interleaved already.
    """
    if not hasattr(trace, "manifest"):
        raise TraceError(f"what is interleaved must be a trace, but got {trace!r:.80}: load one with codesign.load(name)")
    if not isinstance(streams, int | np.integer) or not 1 <= streams <= MOST:
        raise TraceError(f"`1 <= streams <= {MOST}` must hold for a whole number of streams, but got {streams!r}")
    if streams_of(trace) > 1:
        raise TraceError(f"a trace can be interleaved once, but {trace.program!r} has {streams_of(trace)} streams: interleave the original")
    return copies(trace, streams, written(trace), STREAMS)


def copies(trace: "Trace", count: int, own: Bools, option: str) -> "Trace":
    """Return ``count`` copies of a trace in turn; each has its own of the alias sets in ``own`` (bool[A]). ``option`` of the manifest
    is set to ``count``."""
    place = _places(trace, count)
    tensor = _tensor_rows(trace, count, own)
    return trace.with_(
        kernels=_kernels(trace, place),
        tensors=_tensors(trace, place, tensor),
        accesses=_accesses(trace, place, tensor),
        regions=_regions(trace, count),
        options={**trace.options, option: count},
    )


def written(trace: "Trace") -> Bools:
    """Return which alias sets are more than parameters and constants that nothing writes (bool[A])."""
    alias, kind = trace.alias_index, trace.tensors["kind"]
    own = np.zeros(int(alias.max(initial=-1)) + 1, bool)
    own[trace.access_alias[trace.access_writes]] = True
    own[alias[~np.isin(kind.astype(str), ["parameter", "constant"])]] = True
    return own


def streams_of(trace: "Trace") -> int:
    """Return how many streams `interleave` made of a trace; 1 for others."""
    return int(trace.options.get(STREAMS, 1))


def _places(trace: "Trace", streams: int) -> Ints:
    """Return the row of every kernel in each copy (int64[streams, K]): a unit of all copies, then the next unit.

    A unit is a kernel or a command buffer; a collective is one by itself, since all copies take part in it.
    """
    buffer, region = trace.kernels["command_buffer"], trace.kernels["region"]
    meets = trace.kernels["family"] == "collective"
    count = len(buffer)
    begins = np.ones(count, bool)
    begins[1:] = (buffer[1:] < 0) | (buffer[1:] != buffer[:-1]) | (region[1:] != region[:-1]) | meets[1:] | meets[:-1]
    first = np.flatnonzero(begins)
    unit = np.cumsum(begins) - 1
    size = np.diff(np.append(first, count))
    start = first[unit] if count else np.zeros(0, np.int64)
    within = np.arange(count) - start
    return np.stack([streams * start + copy * size[unit] + within for copy in range(streams)]).astype(np.int64)


def _tensor_rows(trace: "Trace", streams: int, own: Bools) -> Ints:
    """Return the row of every tensor in each copy (int64[streams, T]): shared ones have one."""
    mine = own[trace.alias_index]
    rows = np.tile(np.arange(len(mine)), (streams, 1)).astype(np.int64)
    for copy in range(1, streams):
        rows[copy, mine] = len(mine) + (copy - 1) * int(mine.sum()) + np.arange(int(mine.sum()))
    return rows


def _kernels(trace: "Trace", place: Ints) -> Table:
    order = np.argsort(place.reshape(-1), kind="stable")
    streams, count = place.shape
    copy, row = np.divmod(order, max(1, count))
    buffer = trace.kernels["command_buffer"][row]
    changed = {"command_buffer": np.where(buffer >= 0, buffer * streams + copy, buffer), "stream": copy}
    return trace.kernels.take(row, changed)


def _tensors(trace: "Trace", place: Ints, tensor: Ints) -> Table:
    streams, count = len(place), len(trace.tensors)
    own = tensor[-1] >= count if streams > 1 else np.zeros(count, bool)
    first, last, alias = (trace.tensors[name] for name in ("first_kernel", "last_kernel", "alias_set"))
    wide = int(alias.max(initial=-1)) + 1
    copy = np.repeat(np.arange(streams), [count, *[int(own.sum())] * (streams - 1)])
    row = np.concatenate([np.arange(count), np.tile(np.flatnonzero(own), streams - 1)]).astype(np.int64)
    until = np.where(own[row], copy, streams - 1)  # what is shared lives as long as the last copy needs it
    changed = {"first_kernel": _moved(first[row], copy, place), "last_kernel": _moved(last[row], until, place)}
    changed["alias_set"] = alias[row] + copy * wide
    return trace.tensors.take(row, changed)


def _moved(kernel: npt.NDArray[Any], copy: Ints, place: Ints) -> npt.NDArray[Any]:
    """Return where rows of kernels of copies stand now; -1 stays."""
    return np.where(kernel >= 0, place[copy, np.maximum(kernel, 0)] if place.size else kernel, kernel)


def _accesses(trace: "Trace", place: Ints, tensor: Ints) -> Table:
    of, touched, streams = trace.accesses["kernel"], trace.accesses["tensor"], len(place)
    kernel = np.concatenate([place[copy][of] for copy in range(streams)])
    order = np.argsort(kernel, kind="stable")
    copy, row = np.divmod(order, max(1, len(of)))
    return trace.accesses.take(row, {"kernel": kernel[order], "tensor": tensor[copy, touched[row]]})


def _regions(trace: "Trace", streams: int) -> Table:
    changed = {name: trace.regions[name] * streams for name in ("first_kernel", "end_kernel")}
    return trace.regions.take(np.arange(len(trace.regions)), changed)
