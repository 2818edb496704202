"""Writes Chrome trace JSON, which ui.perfetto.dev opens: rows of a trace, or of a replay's timeline.

The writer knows rows and counters and no engine: a slice is (track, name, start, duration, arguments), a counter a level over
time. Kernels carry the fields of PyTorch's profiler, so that an import of the file gives them back.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from traces.formats.format import Exporter
from traces.saving import replacing

if TYPE_CHECKING:
    from traces.trace import Trace

UNIT_S = 1e-6
"""What a kernel without a measured time is long: one microsecond."""

_US = 1e6


@dataclass(frozen=True)
class Slice:
    """Something on a track from ``start_s`` on for ``duration_s``; what nests in time nests in the picture."""

    track: str
    name: str
    start_s: float
    duration_s: float
    category: str = ""
    args: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Counter:
    """A level over time: ``values[i]`` from ``times_s[i]`` on."""

    name: str
    times_s: Sequence[float]
    values: Sequence[float]
    unit: str = ""


class Perfetto(Exporter):
    """A trace as slices: its kernels in order, a track a stream, regions around them."""

    name: ClassVar[str] = "perfetto"
    description: ClassVar[str] = "Chrome trace JSON, for ui.perfetto.dev"

    def write(self, trace: "Trace", path: Path) -> list[str]:
        """Write a trace: measured times where known, else one microsecond a kernel; loops once, their trip count beside them."""
        measured = trace.kernels["measured_s"]
        remarks = []
        if np.isnan(measured).any():
            remarks.append(
                f"{int(np.isnan(measured).sum()):,} of {len(measured):,} kernels were not measured and are shown one microsecond long: "
                "order and number mean something, length does not; replay the trace for times"
            )
        if (trace.regions["kind"] == "loop").any():
            remarks.append("each loop is shown once; trip_count stands beside it")
        write_rows(path, _regions_and_kernels(trace), (), {"program": trace.program, "target": trace.target, "remarks": remarks})
        return remarks


def write_rows(path: Path, slices: Iterable[Slice], counters: Iterable[Counter], metadata: dict[str, Any]) -> None:
    """Write slices and counters to ``path``, whole or not at all. Tracks are in order of appearance."""
    import msgspec

    tracks: dict[str, int] = {}
    events = [_slice_event(s, tracks.setdefault(s.track, len(tracks) + 1)) for s in slices]
    events += [event for counter in counters for event in _counter_events(counter)]
    names = [
        {"ph": "M", "name": what, "pid": 1, "tid": tid, "args": args}
        for track, tid in tracks.items()
        for what, args in (("thread_name", {"name": track}), ("thread_sort_index", {"sort_index": tid}))
    ]
    document = {"displayTimeUnit": "ns", "otherData": metadata, "traceEvents": [*names, *events]}
    with replacing(path) as temporary:
        temporary.write_bytes(msgspec.json.encode(document))


def _slice_event(one: Slice, tid: int) -> dict[str, Any]:
    times = {"ts": round(one.start_s * _US, 6), "dur": round(one.duration_s * _US, 6)}
    return {"ph": "X", "pid": 1, "tid": tid, "cat": one.category, "name": one.name, **times, "args": one.args}


def _counter_events(counter: Counter) -> Iterable[dict[str, Any]]:
    key = counter.unit or "value"
    for time, value in zip(counter.times_s, counter.values, strict=True):
        yield {"ph": "C", "pid": 1, "name": counter.name, "ts": round(float(time) * _US, 6), "args": {key: float(value)}}


def _regions_and_kernels(trace: "Trace") -> Iterable[Slice]:
    measured = trace.kernels["measured_s"]
    times = np.where(np.isnan(measured), UNIT_S, measured)
    length, start = times.tolist(), [0.0, *np.cumsum(times).tolist()]
    regions = trace.regions
    for row in range(len(regions)):
        first, end = int(regions["first_kernel"][row]), int(regions["end_kernel"][row])
        args = {"kind": regions["kind"][row], "trip_count": int(regions["trip_count"][row]), "condition": regions["condition"][row]}
        yield Slice("regions", regions["name"][row], start[first], start[end] - start[first], "region", args)
    columns = {name: trace.kernels[name] for name in trace.kernels.columns}
    for row in range(len(trace.kernels)):
        stream = int(columns["stream"][row])
        track = f"stream {stream}" if stream >= 0 else "kernels"
        yield Slice(track, columns["name"][row], start[row], length[row], "kernel", _arguments(trace, columns, row))


def _arguments(trace: "Trace", columns: dict[str, Any], row: int) -> dict[str, Any]:
    """Return what the slice of a kernel tells: PyTorch's names for what PyTorch's profiler has, ours for the rest."""
    made: dict[str, Any] = {"device": 0, "correlation": row, "executions": int(trace.executions[row])}
    for word in ("grid", "block"):
        size = [int(columns[f"{word}_{axis}"][row]) for axis in "xyz"]
        if size[0] >= 0:
            made[word] = size
    made["stream"] = int(columns["stream"][row])  # also where it is not known: else a reader takes the track for it
    named = {"registers": "registers per thread", "shared_bytes": "shared memory", "launches": "launches"}
    made |= {theirs: int(columns[ours][row]) for ours, theirs in named.items() if columns[ours][row] >= 0}
    amounts = ("flops_matrix", "flops_vector", "flops_transcendental", "bytes_unique", "bytes_requested")
    made |= {name: float(columns[name][row]) for name in amounts if not np.isnan(columns[name][row])}
    made |= {name: columns[name][row] for name in ("family", "phase", "stage", "scope", "dtype", "launch_kind") if columns[name][row]}
    return made | ({} if not np.isnan(columns["measured_s"][row]) else {"not measured": True})
