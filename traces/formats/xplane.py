"""JAX's profiler: the XSpace protobuf (``*.xplane.pb``) that ``jax.profiler.trace`` writes.

A GPU has a plane '/device:GPU:n' with a line a stream, a TPU '/device:TPU:n' with the line 'XLA Ops'; XLA's CPU backend writes
events with an hlo_op on the host's lines. Launches are named by their HLO instruction, as in a captured trace.
"""

import re
from itertools import zip_longest
from typing import Any, ClassVar, NamedTuple

import numpy as np

from traces.errors import TraceError
from traces.formats import families, wire, xspace
from traces.formats.format import Importer
from traces.formats.profile import COPY, KERNEL, MEMSET, Ints, Launches, Profile
from traces.formats.source import Source
from traces.table import Values

_PLANES, _NAME, _ID = 1, 2, 1
_OPERATIONS = "XLA Ops"
_DETAIL = re.compile(r"(\w+):(\d+(?:,\d+)*)")


class _Event(NamedTuple):
    """One launch: its HLO instruction, the event's own name, begin and duration in ps, stats."""

    instruction: str
    name: str
    start_ps: int
    duration_ps: int
    stats: dict[str, Any]


class XPlane(Importer):
    """Profiles of jax.profiler."""

    name: ClassVar[str] = "xplane"
    description: ClassVar[str] = "JAX profiler XSpace protobuf (*.xplane.pb)"

    def recognises(self, source: Source) -> bool:
        """Say whether it begins with a plane: a field of bytes that begin with a number or a name."""
        start = source.start
        if start[:1] != bytes([_PLANES << 3 | wire.BYTES]):
            return False
        try:
            size, at = wire.read_varint(start, 1)
        except wire.WireError:
            return False
        first = start[at : at + 1]
        return size > 2 and first in (bytes([_ID << 3]), bytes([_NAME << 3 | wire.BYTES]))

    def read(self, source: Source) -> Profile:
        """Return the profile of the GPUs or TPUs, without any of the CPU. Raises TraceError for a truncated file."""
        try:
            return self._profile(source, xspace.planes(source.data))
        except wire.WireError as error:
            raise TraceError(
                f"{source} must be a whole XSpace protobuf, but is truncated, damaged or another (Perfetto's are not read: write the "
                f"tool's JSON or CSV): {error}"
            ) from error

    def _profile(self, source: Source, planes: list[xspace.XPlane]) -> Profile:
        devices = [p for p in planes if re.match(r"/device:(GPU|TPU):\d+\b(?! SparseCore)", p.name)]
        found = [(_number(p.name), stream, _events(line)) for p in devices for stream, line in _lines(p)]
        if not found:
            found = [(0, i, _innermost(_events(line))) for p in planes if p.name == "/host:CPU" for i, line in enumerate(p.lines)]
        stats = devices[0].stats() if devices else {}
        return Profile(
            self.name,
            str(source),
            _launches([(device, stream, event) for device, stream, events in found for event in events]),
            device_name=_device_name(devices, stats),
            facts={ours: stats[name] for ours, name in (("sm_count", "core_count"), ("memory_bytes", "memory_size")) if name in stats},
            remarks=() if devices else ("no GPU or TPU in this profile: these are the operations of XLA's CPU backend",),
        )


def _number(plane: str) -> int:
    found = re.search(r":(\d+)", plane)
    return int(found[1]) if found else 0


def _lines(plane: xspace.XPlane) -> list[tuple[int, xspace.XLine]]:
    """Return (stream, line) of the lines that hold launches: a GPU's streams, a TPU's operations."""
    streams = [(int(m[1]), line) for line in plane.lines if (m := re.match(r"Stream #(\d+)", line.name))]
    return streams or [(0, line) for line in plane.lines if line.name == _OPERATIONS]


def _events(line: xspace.XLine) -> list[_Event]:
    """Return the launches of a line: those of an HLO instruction, on a GPU's stream and a TPU's line of operations all."""
    on_device = line.name.startswith("Stream #") or line.name == _OPERATIONS
    found = []
    for event in line.events():
        instruction = str(event.stats.get("hlo_op") or "")
        if instruction or on_device:
            found.append(_Event(instruction or event.name, event.name, event.start_ps, event.duration_ps, event.stats))
    return _innermost(found) if line.name == _OPERATIONS else found


def _innermost(events: list[_Event]) -> list[_Event]:
    """Leave out what encloses others: loops and calls."""
    ordered = sorted(events, key=lambda e: (e.start_ps, -e.duration_ps))
    follow = zip_longest(ordered, ordered[1:])
    return [e for e, after in follow if after is None or after.start_ps >= e.start_ps + e.duration_ps]


def _device_name(devices: list[xspace.XPlane], stats: dict[str, Any]) -> str:
    if not devices:
        return "CPU"
    return str(stats.get("device_type_string") or stats.get("device_name") or stats.get("device_type") or "")


def _launches(found: list[tuple[int, int, _Event]]) -> Launches:
    events = [event for _, _, event in found]
    details = [dict(_DETAIL.findall(str(stats.get("kernel_details", "")))) for *_, stats in events]
    own = [families.family_of(name) for _, name, *_ in events]
    columns: dict[str, Values] = {
        "scope": [str(stats.get("tf_op") or "") for *_, stats in events],
        "registers": _numbers(details, "regs"),
        "shared_bytes": np.where(
            _numbers(details, "static_shared") < 0,
            -1,
            _numbers(details, "static_shared") + np.maximum(_numbers(details, "dynamic_shared"), 0),
        ),
        "family": [
            "copy" if _kind(name) != KERNEL else family if family != "other" else families.family_of(instruction)
            for (instruction, name, *_), family in zip(events, own, strict=True)
        ],
    }
    for word in ("grid", "block"):
        for axis, letter in enumerate("xyz"):
            columns[f"{word}_{letter}"] = _numbers(details, word, axis)
    return Launches(
        name=[instruction for instruction, *_ in events],
        kind=[_kind(name) for _, name, *_ in events],
        start_ns=np.array([event.start_ps // xspace.PS_PER_NS for event in events], np.int64),
        duration_ps=np.array([event.duration_ps for event in events], np.int64),
        stream=np.array([stream for _, stream, _ in found], np.int64),
        device=np.array([device for device, _, _ in found], np.int64),
        columns=columns,
    )


def _kind(name: str) -> str:
    plain = name.lower()
    return COPY if plain.startswith("memcpy") else MEMSET if plain.startswith("memset") else KERNEL


def _numbers(details: list[dict[str, str]], key: str, axis: int = 0) -> Ints:
    parts = [detail[key].split(",") if key in detail else () for detail in details]
    return np.array([int(p[axis]) if len(p) > axis and p[axis] else -1 for p in parts], np.int64)
