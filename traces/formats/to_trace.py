"""How a profile becomes a trace."""

import warnings
from typing import Any

import numpy as np

from traces.formats import families
from traces.formats.profile import PS_PER_S, Ints, Launches, Profile, ProfileWarning
from traces.formats.profile_times import check_clock, gaps_and_overlaps
from traces.formats.selecting import select
from traces.table import Table, Values
from traces.trace import Trace

_INT32 = 2**31 - 1


def to_trace(profile: Profile, *, target: str, program: str, copies: bool = False, device: int | None = None) -> Trace:
    """Return the trace: kernels in order of their start, each with what was measured, and waiting for the one ahead on its stream.

    Raises TraceError for a clock that overflowed and for a profile without kernels; warns (ProfileWarning) of kernels that overlap
    on one stream and of long gaps.
    """
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
