"""What a profiler saw: kernel launches with times and streams; and how that becomes a trace."""

import warnings
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from traces.errors import TraceError, nearest
from traces.formats import families
from traces.table import Table, Values

if TYPE_CHECKING:
    from traces.trace import Trace

Ints = NDArray[np.int64]

PS_PER_NS, PS_PER_US, PS_PER_S = 1_000, 1_000_000, 1_000_000_000_000
CLOCK_SLACK_NS = 1_000
"""Two kernels overlap only if they do by more: many profilers round begin and duration to microseconds, each on its own."""

KERNEL, COPY, MEMSET = "other", "copy", "memset"
"""What a launch is, as launch kinds of the schema: nobody but the compiler knows more about a kernel than that it is one."""

_INT32 = 2**31 - 1


class ProfileWarning(UserWarning):
    """Something in a profile that its reader should know."""


@dataclass(frozen=True, eq=False)
class Launches:
    """Kernels, copies and memory sets that a device ran: arrays of one length, in any order.

    ``start_ns`` is by the profiler's clock, -1 if not known; ``duration_ps`` is -1 if not measured; ``stream`` and ``device``
    are -1 if not known. ``columns`` are further columns of the kernels table (grid_x, registers, scope, ...).
    """

    name: list[str]
    kind: list[str]
    start_ns: Ints
    duration_ps: Ints
    stream: Ints
    device: Ints
    columns: dict[str, Values] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.name)

    def rows(self, pick: NDArray[Any]) -> "Launches":
        """Return the launches of some rows, in the order given."""
        take = [int(i) for i in pick]
        return Launches(
            name=[self.name[i] for i in take],
            kind=[self.kind[i] for i in take],
            start_ns=self.start_ns[take],
            duration_ps=self.duration_ps[take],
            stream=self.stream[take],
            device=self.device[take],
            columns={name: [values[i] for i in take] for name, values in self.columns.items()},
        )


@dataclass(frozen=True)
class Operands:
    """Tensors that the launches touch, where a format tells: the columns of the tensors and accesses tables.

    Kernels are rows of the profile's launches, which must then be in the order of the trace.
    """

    tensors: dict[str, list[Any]]
    accesses: dict[str, list[Any]]


@dataclass(frozen=True, eq=False)
class Profile:
    """All that a trace is made of. ``depends`` are pairs (launch, launch it waits for) beyond the order of each stream."""

    format: str
    path: str
    launches: Launches
    device_name: str = ""
    facts: dict[str, Any] = field(default_factory=dict)
    """What the profiler says about the device: sm_count, memory_bytes, compute_capability."""
    depends: Ints = field(default_factory=lambda: np.zeros((0, 2), np.int64))
    operands: Operands | None = None
    remarks: tuple[str, ...] = ()
    copies_are_kernels: bool = False
    """Whether copies and memory sets belong to the program, as in a trace that we wrote."""
    instead: str = ""
    """Of a file without launches, what it holds."""


def select(profile: Profile, *, copies: bool, device: int | None) -> tuple[Profile, dict[str, Any]]:
    """Return the profile with the wanted launches in order of their start, and what was left out.

    Raises TraceError if nothing is left, or no kernel ran on ``device``.
    """
    launches = profile.launches
    is_kernel = np.array([profile.copies_are_kernels or kind not in (COPY, MEMSET) for kind in launches.kind], dtype=np.bool_)
    here = np.ones(len(launches), np.bool_) if device is None else launches.device == device
    if device is not None and not here.any():
        raise TraceError(f"{profile.path} has no launch on device {device}; {nearest(str(device), map(str, np.unique(launches.device)))}")
    keep = here if copies else here & is_kernel
    if not (here & is_kernel).any():
        raise TraceError(
            f"{profile.path} must hold GPU kernels, but this {profile.format} file has none{_instead(profile)}: was the GPU's "
            "activity recorded (ProfilerActivity.CUDA, nsys --trace=cuda)? Where there is no GPU, capture the program itself (cd.capture)"
        )
    order = np.flatnonzero(keep)
    order = order[np.lexsort((order, launches.start_ns[order]))]
    dropped = here & ~keep
    left_out = {"copies": int(dropped.sum()), "copies_us": _us(launches.duration_ps[dropped])}
    return _reordered(profile, order), left_out


def _instead(profile: Profile) -> str:
    if profile.instead:
        return f" ({profile.instead})"
    return f" ({len(profile.launches):,} copies and memory sets)" if len(profile.launches) else ""


def _reordered(profile: Profile, order: Ints) -> Profile:
    depends = profile.depends
    if len(depends):
        after, ahead = _standing_in(profile.launches, order)
        pairs = np.stack([after[depends[:, 0]], ahead[depends[:, 1]]], axis=1)
        depends = _beyond_streams(np.unique(pairs, axis=0), profile.launches.rows(order))
    if profile.operands is not None and not np.array_equal(order, np.arange(len(profile.launches))):
        raise TraceError(f"{profile.path}: a profile with operands must list its kernels in their order")
    kept = {k: v for k, v in vars(profile).items() if k not in ("launches", "depends")}
    return Profile(**kept, launches=profile.launches.rows(order), depends=depends)


def _standing_in(launches: Launches, order: Ints) -> tuple[Ints, Ints]:
    """Return for every launch who waits in its place, and whom others wait for in its place: numbers in the new order.

    That is the launch itself if it is left, else the next (the last) on its stream that is; -1 if none is.
    """
    none = len(order)
    new = np.full(len(launches), none, np.int64)
    new[order] = np.arange(none)
    after, ahead = new.copy(), np.where(new == none, -1, new)
    by_start = np.lexsort((np.arange(len(launches)), launches.start_ns))
    for device, stream in np.unique(np.stack([launches.device, launches.stream], axis=1), axis=0):
        rows = by_start[(launches.device[by_start] == device) & (launches.stream[by_start] == stream)]
        after[rows] = np.minimum.accumulate(new[rows][::-1])[::-1]
        ahead[rows] = np.maximum.accumulate(ahead[rows])
    return np.where(after == none, -1, after), ahead


def _beyond_streams(depends: Ints, launches: Launches) -> Ints:
    """Return the pairs that are left of a profile's, whose second began first, and that the order of a stream does not imply."""
    after, ahead = depends.T
    lane = np.stack([launches.device, launches.stream], axis=1)
    needed = (ahead >= 0) & (ahead < after) & (lane[after] != lane[ahead]).any(axis=1)
    left: Ints = depends[needed]
    return left


def _us(duration_ps: Ints) -> float:
    return int(np.maximum(duration_ps, 0).sum()) / PS_PER_US


def check_clock(profile: Profile) -> None:
    """Raise TraceError naming the first event whose time cannot be: before zero, or past what 64 bits hold."""
    launches = profile.launches
    bad = (launches.duration_ps < -1) | (launches.start_ns < -1)
    end = launches.start_ns.astype(np.float64) + launches.duration_ps / PS_PER_NS
    bad |= end >= 2.0**63
    if bad.any():
        row = int(np.flatnonzero(bad)[0])
        raise TraceError(
            f"{profile.path}: the clock must not overflow, but kernel {row} ({launches.name[row][:80]!r}) begins at "
            f"{launches.start_ns[row]} ns and takes {launches.duration_ps[row] / PS_PER_NS:.0f} ns; record the profile again"
        )


def gaps_and_overlaps(profile: Profile) -> dict[str, Any]:
    """Return span_us, idle_us (no kernel runs) and the longest gap of the profile; warn about overlaps on one stream."""
    launches = profile.launches
    timed = np.flatnonzero((launches.start_ns >= 0) & (launches.duration_ps >= 0))
    if not len(timed):
        return {"span_us": None, "idle_us": None, "longest_gap_us": None}
    start = launches.start_ns[timed] - launches.start_ns[timed].min()
    end = start + launches.duration_ps[timed] // PS_PER_NS
    _warn_of_overlaps(profile, timed, start, end)
    order = np.argsort(start, kind="stable")
    reached = np.maximum.accumulate(end[order])
    gaps = np.maximum(start[order][1:] - reached[:-1], 0)
    idle, span, longest = int(gaps.sum()), int(end.max()), int(gaps.max(initial=0))
    if idle > span / 2:
        warnings.warn(
            f"{profile.path}: no kernel runs in {idle / span:.0%} of the {span / 1e3:,.1f} us between the first and the last (longest gap "
            f"{longest / 1e3:,.1f} us); a replay issues kernels as fast as its host can and does not repeat these gaps",
            ProfileWarning,
            stacklevel=2,
        )
    return {"span_us": span / 1e3, "idle_us": idle / 1e3, "longest_gap_us": longest / 1e3}


def _warn_of_overlaps(profile: Profile, timed: Ints, start: Ints, end: Ints) -> None:
    stream, device = profile.launches.stream[timed], profile.launches.device[timed]
    order = np.lexsort((timed, start, stream, device))
    a, b = order[:-1], order[1:]
    together = (stream[a] == stream[b]) & (device[a] == device[b]) & (stream[a] >= 0)
    over = np.flatnonzero(together & (end[a] - start[b] > CLOCK_SLACK_NS))
    if len(over):
        first, second = timed[a[over[0]]], timed[b[over[0]]]
        early, late = (f"{profile.launches.name[row][:80]!r} (kernel {row})" for row in (second, first))
        overlap_us = (end[a[over[0]]] - start[b[over[0]]]) / 1e3
        warnings.warn(
            f"{profile.path}: kernels on one stream must follow each other, but {len(over)} begin before the one ahead has ended, first "
            f"{early} {overlap_us:,.3f} us before the end of {late} on stream {profile.launches.stream[second]}; "
            "a replay runs them one after the other",
            ProfileWarning,
            stacklevel=3,
        )


def to_trace(profile: Profile, *, target: str, program: str, copies: bool = False, device: int | None = None) -> "Trace":
    """Return the trace: kernels in order of their start, each with what was measured, and waiting for the one ahead on its stream.

    Raises TraceError for a clock that overflowed and for a profile without kernels; warns (ProfileWarning) of kernels that overlap
    on one stream and of long gaps.
    """
    from traces.trace import Trace

    check_clock(profile)
    chosen, left_out = select(profile, copies=copies, device=device)
    times = gaps_and_overlaps(chosen)
    _warn_of_devices(chosen)
    kernels = _kernels(chosen)
    tensors, accesses = _dependencies(chosen)
    region: dict[str, Values] = {
        "parent": [-1], "kind": ["sequence"], "name": [program], "trip_count": [1], "condition": ["host"],
        "first_kernel": [0], "end_kernel": [len(chosen.launches)],
    }  # fmt: skip
    captured = {
        "how": "imported",
        "format": profile.format,
        "file": profile.path.rsplit("/", 1)[-1],
        "device": profile.device_name,
        "facts": profile.facts,
        "copies": copies and not profile.copies_are_kernels,
        "left_out": left_out,
        **times,
        "remarks": list(profile.remarks),
    }
    manifest = {"program": program, "target": target, "options": {}, "captured": captured, "versions": {}}
    return Trace(kernels, tensors, accesses, Table.build("regions", region), manifest)


def _warn_of_devices(profile: Profile) -> None:
    devices = np.unique(profile.launches.device).tolist()
    if len(devices) > 1:
        warnings.warn(
            f"{profile.path}: kernels of the devices {', '.join(map(str, devices))} are in one trace, which a replay runs on one; choose "
            "one with the option device",
            ProfileWarning,
            stacklevel=3,
        )


def _kernels(profile: Profile) -> Table:
    launches, count = profile.launches, len(profile.launches)
    measured = np.where(launches.duration_ps >= 0, launches.duration_ps / PS_PER_S, np.nan)
    kinds = launches.kind
    columns: dict[str, Values] = {
        "name": [name or "(no name)" for name in launches.name],
        "region": np.zeros(count, np.int32),
        "family": families.of_launches(launches.name, kinds),
        "launch_kind": kinds,
        "launches": np.ones(count, np.int64),
        "stream": _small_numbers(profile, launches.stream),
        "measured_s": measured,
    }
    return Table.build("kernels", columns | launches.columns)


def _small_numbers(profile: Profile, stream: Ints) -> Ints:
    """Streams are ids; some runtimes use addresses, which are numbered by first appearance."""
    if not len(stream) or stream.max() <= _INT32:
        return stream
    values, first, inverse = np.unique(stream, return_index=True, return_inverse=True)
    warnings.warn(
        f"{profile.path}: stream ids must fit in 32 bits, but one is {values[-1]}; streams are numbered by appearance", ProfileWarning,
        stacklevel=4,
    )  # fmt: skip
    rank = np.empty(len(values), np.int64)
    rank[np.argsort(first, kind="stable")] = np.arange(len(values))
    numbered = rank[inverse]
    return np.asarray(np.where(stream < 0, -1, numbered), dtype=np.int64)


def _dependencies(profile: Profile) -> tuple[Table, Table]:
    """Return tensors and accesses: those the format tells, and tensors of no bytes that carry the order of streams and events.

    One a stream is read and written by each of its launches; one a launch that another stream waits for is written by the first
    and read by those that wait. Their accesses have unknown bytes, so that nobody takes the kernels' traffic for known. Launches
    whose operands are known are ordered by these instead.
    """
    known = profile.operands
    tensors = {name: list(known.tensors[name]) if known else [] for name in _TENSOR_COLUMNS}
    accesses = {name: list(known.accesses[name]) if known else [] for name in _ACCESS_COLUMNS}
    alias = 1 + max(tensors["alias_set"], default=-1)
    for name, writers, readers in [*([] if known else _stream_tokens(profile.launches)), *_event_tokens(profile.depends)]:
        number = len(tensors["name"])
        values = (name, "", "", 0, "temporary", alias, int(min(writers[0], readers[0])), int(max(writers[-1], readers[-1])))
        for column, value in zip(_TENSOR_COLUMNS, values, strict=True):
            tensors[column].append(value)
        _touch(accesses, readers, number, "read")
        _touch(accesses, writers, number, "write")
        alias += 1
    return Table.build("tensors", tensors), Table.build("accesses", _sorted_by_kernel(accesses))


def _stream_tokens(launches: Launches) -> list[tuple[str, Ints, Ints]]:
    keys, lane = np.unique(np.stack([launches.device, launches.stream], axis=1), axis=0, return_inverse=True)
    rows = [np.flatnonzero(lane.reshape(-1) == i) for i in range(len(keys))]
    return [(f"order of stream {s} on device {d}", mine, mine) for (d, s), mine in zip(keys.tolist(), rows, strict=True)]


def _event_tokens(depends: Ints) -> list[tuple[str, Ints, Ints]]:
    pairs = depends[np.lexsort((depends[:, 0], depends[:, 1]))]
    producers, first = np.unique(pairs[:, 1], return_index=True)
    ends = [*first[1:].tolist(), len(pairs)]
    return [(f"end of kernel {p}", np.array([p]), pairs[a:b, 0]) for p, a, b in zip(producers.tolist(), first.tolist(), ends, strict=False)]


_TENSOR_COLUMNS = ("name", "dtype", "shape", "bytes", "kind", "alias_set", "first_kernel", "last_kernel")
_ACCESS_COLUMNS = ("kernel", "tensor", "mode", "bytes_unique", "bytes_requested", "stride")


def _touch(accesses: dict[str, list[Any]], rows: Ints, tensor: int, mode: str) -> None:
    count = len(rows)
    values = rows.tolist(), [tensor] * count, [mode] * count, [np.nan] * count, [np.nan] * count, ["contiguous"] * count
    for column, more in zip(_ACCESS_COLUMNS, values, strict=True):
        accesses[column].extend(more)


def _sorted_by_kernel(accesses: dict[str, list[Any]]) -> dict[str, Values]:
    order = np.argsort(np.array(accesses["kernel"], np.int64), kind="stable")
    return {name: [values[i] for i in order] for name, values in accesses.items()}
