"""Ranks of a parallel program: a trace is what one of n equal ranks does, with collectives in between; side by side they are n copies.

A collective is a kernel of the family ``collective`` whose opcode names it (HLO's names). Its operands are the rank's own: an
all-reduce reads and writes all of them; an all-gather reads an n-th of what it writes, a reduce-scatter writes an n-th of what it
reads; an all-to-all reads what the rank sends and writes what it gets.
"""

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from traces.errors import TraceError
from traces.interleaving import MOST, copies, streams_of
from traces.table import Table

if TYPE_CHECKING:
    from traces.trace import Trace

COLLECTIVES = ("all-reduce", "all-gather", "reduce-scatter", "all-to-all")
SHARED = ("tensor_parallel", "expert_parallel")
"""Options of a manifest that say how many ranks share a model, the same ones where both are set."""
PARALLEL = (*SHARED, "data_parallel")
"""All options that make a trace one of several ranks."""
SIDE_BY_SIDE = "ranks"
"""Key of the manifest's options that says how many ranks a trace holds."""

Bools = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]


def ranks_of(trace: "Trace") -> int:
    """Return how many ranks the program has, of which the trace is one or holds all; 1 for programs of one device."""
    options = trace.options
    return max(int(options.get(name, 1)) for name in SHARED) * int(options.get("data_parallel", 1))


def held(trace: "Trace") -> int:
    """Return how many ranks the trace holds side by side; 1: it is one of them."""
    return int(trace.options.get(SIDE_BY_SIDE, 1))


def collective_of(trace: "Trace") -> npt.NDArray[np.int8]:
    """Return which collective each kernel is (int8[K], an index of COLLECTIVES; -1: none). Raises TraceError for an unknown one."""
    found = np.full(len(trace.kernels), -1, np.int8)
    families = trace.kernels.categories("family")
    if "collective" not in families:
        return found
    for row in np.flatnonzero(trace.kernels.codes("family") == families.index("collective")):
        name = str(trace.kernels["opcodes"][row]).partition(":")[0]
        if name not in COLLECTIVES:
            raise TraceError(f"the opcode of a collective must be one of {', '.join(COLLECTIVES)}, but kernel {row} has {name!r}")
        found[row] = COLLECTIVES.index(name)
    return found


def side_by_side(trace: "Trace") -> "Trace":
    """Return all ranks of a program of which ``trace`` is one: kernels, command buffers and collectives of each rank in turn.

    Nothing is shared. Column ``stream`` says the rank. A trace of one rank, or that holds all of them, is returned as it is.

    Raises
    ------
    TraceError
        If the trace has been interleaved, or has collectives and does not say of how many ranks it is.
    """
    ranks = ranks_of(trace)
    if held(trace) == ranks:
        if ranks == 1 and (collective_of(trace) >= 0).any():
            raise TraceError(
                f"a trace with collectives must say of how many ranks it is one; set one of {', '.join(PARALLEL)} in its options"
            )
        return trace
    if streams_of(trace) > 1:
        raise TraceError(f"ranks must have one stream each, but {trace.program!r} is interleaved: take the original")
    return copies(trace, ranks, np.ones(int(trace.alias_index.max(initial=-1)) + 1, bool), SIDE_BY_SIDE)


def data_parallel(trace: "Trace", ranks: int, *, before: str = "optimizer", of: str = "gradient") -> "Trace":
    """Return the trace of one of ``ranks`` that each run it on their own part of the batch, and add up gradients.

    A gradient is what a kernel of the phase ``of`` wrote, one of the phase ``before`` reads later, and is as large as some parameter
    (what is larger or smaller depends on the batch: activations, energies). Each is all-reduced by a kernel of its own before it is read
    first. What an optimiser adds up beside gradients (KFAC's factors) is not told from its own work, and left out.

    Parameters
    ----------
    trace
        Captured at an n-th of the batch.

    Raises
    ------
    TraceError
        If ``ranks`` is not from 1 to 64, the trace is of several ranks already, or there is nothing to add up.
    """
    if not isinstance(ranks, int | np.integer) or not 1 <= ranks <= MOST:
        raise TraceError(f"`1 <= ranks <= {MOST}` must hold for a whole number of ranks, but got {ranks!r}")
    if ranks_of(trace) > 1:
        raise TraceError(f"a trace can be made data parallel once, but {trace.program!r} is of {ranks_of(trace)} ranks: take the original")
    if ranks == 1:
        return trace
    options = {**trace.options, "data_parallel": ranks}
    at, tensors = _to_add(trace, before, of)
    kernels, accesses = _with_reductions(trace, at, tensors, before)
    moved = {name: _later(trace.tensors[name], at) for name in ("first_kernel", "last_kernel")}
    regions = trace.regions.decoded()
    for name in ("first_kernel", "end_kernel"):  # before the first kernel of a region is inside it
        regions[name] = regions[name] + np.searchsorted(at, regions[name], side="left").astype(np.int32)
    table = Table.build("tensors", trace.tensors.decoded() | moved)
    return trace.with_(kernels=kernels, tensors=table, accesses=accesses, regions=Table.build("regions", regions), options=options)


def _to_add(trace: "Trace", before: str, of: str) -> tuple[Ints, Ints]:
    """Return the gradients' tensors and the kernel that each is read by first, in that order."""
    phase, kernel = trace.kernels["phase"].astype(str), trace.accesses["kernel"]
    if not (phase == before).any():
        known = ", ".join(sorted(set(phase.tolist()))) or "none"
        raise TraceError(f"there must be kernels of the phase {before!r} to add gradients up before, but the trace's phases are: {known}")
    writer, size = trace.last_writer, trace.tensors["bytes"]
    parameters = np.unique(size[trace.tensors["kind"] == "parameter"])
    tensor = trace.accesses["tensor"]
    read = ~trace.access_writes & (phase[kernel] == before) & (writer >= 0) & (writer < kernel)
    rows = np.flatnonzero(read & np.isin(size[tensor], parameters))
    rows = rows[phase[writer[rows]] == of]
    _, first = np.unique(np.stack([trace.access_alias[rows], writer[rows]]), axis=1, return_index=True)
    rows = rows[np.sort(first)]
    if not len(rows):
        raise TraceError(f"the phase {before!r} must read something as large as a parameter that the phase {of!r} wrote, but it does not")
    return kernel[rows].astype(np.int64), tensor[rows].astype(np.int64)


def _with_reductions(trace: "Trace", at: Ints, tensors: Ints, phase: str) -> tuple[Table, Table]:
    """Return kernels and accesses with an all-reduce of each of ``tensors`` before kernel ``at`` (sorted)."""
    kernels, accesses, more = trace.kernels.decoded(), trace.accesses.decoded(), len(tensors)
    own: dict[str, Any] = dict.fromkeys(kernels, None)
    size = trace.tensors["bytes"][tensors].astype(np.float64)
    own |= {"family": "collective", "opcodes": "all-reduce:1", "library": "nccl", "launch_kind": "library", "phase": phase}
    own |= {"region": kernels["region"][at], "launches": 1, "bytes_unique": 2 * size, "bytes_requested": 2 * size}
    own |= {
        "name": np.array([f"all-reduce of {name}" for name in trace.tensors["name"][tensors]]),
        "dtype": trace.tensors["dtype"][tensors],
    }
    own |= dict.fromkeys(("flops_matrix", "flops_transcendental"), 0.0) | {"flops_vector": size / 4}
    rows = {name: _inserted(values, at, _filled(values, own[name], more)) for name, values in kernels.items()}
    cut = np.repeat(np.searchsorted(accesses["kernel"], at), 2)
    new: dict[str, Any] = {"kernel": np.repeat(at + np.arange(more), 2), "tensor": np.repeat(tensors, 2), "stride": "contiguous"}
    new |= {"mode": np.tile(["read", "write"], more), "bytes_unique": np.repeat(size, 2), "bytes_requested": np.repeat(size, 2)}
    accesses["kernel"] = _later(accesses["kernel"], at)
    joined = {name: _inserted(values, cut, _filled(values, new[name], 2 * more)) for name, values in accesses.items()}
    return Table.build("kernels", rows), Table.build("accesses", joined)


def _filled(like: npt.NDArray[Any], value: Any, count: int) -> npt.NDArray[Any]:
    """Return a column of ``count`` values; None: missing."""
    if value is None:
        value = "" if like.dtype.kind not in "if" else (np.nan if like.dtype.kind == "f" else -1)
    filled: npt.NDArray[Any] = np.broadcast_to(np.asarray(value), (count,))
    return filled


def _inserted(values: npt.NDArray[Any], at: Ints, new: npt.NDArray[Any]) -> npt.NDArray[Any]:
    return np.insert(values, at, new.astype(values.dtype))


def _later(rows: npt.NDArray[Any], at: Ints) -> npt.NDArray[Any]:
    """Return where rows of kernels are once one has been inserted before each of ``at``; -1 stays."""
    moved: npt.NDArray[Any] = rows + np.searchsorted(at, rows, side="right").astype(rows.dtype)
    return moved
