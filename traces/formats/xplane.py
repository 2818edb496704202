"""JAX's profiler: the XSpace protobuf (``*.xplane.pb``) that ``jax.profiler.trace`` writes, read by jaxlib itself.

A GPU has a plane '/device:GPU:n' with a line a stream, a TPU '/device:TPU:n' with the line 'XLA Ops'; XLA's CPU backend writes
events with an hlo_op on the host's lines. Launches are named by their HLO instruction, as in a captured trace.
"""

import re
from collections.abc import Iterable
from typing import Any, ClassVar

import numpy as np

from traces.errors import TraceError
from traces.formats import families, wire
from traces.formats.format import Importer
from traces.formats.profile import COPY, KERNEL, MEMSET, Ints, Launches, Profile
from traces.formats.source import Source
from traces.table import Values

_PLANES, _NAME, _ID = 1, 2, 1
_DETAIL = re.compile(r"(\w+):(\d+(?:,\d+)*)")

_Event = tuple[str, str, float, float, dict[str, Any]]
"""HLO instruction, event's own name, start and duration in ns, stats."""


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
        from jax.profiler import ProfileData

        for _ in _checked(source):  # jaxlib ends the process on damaged bytes
            pass
        try:
            planes = list(ProfileData.from_serialized_xspace(source.data).planes)
        except RuntimeError as error:
            raise TraceError(f"{source} must be an XSpace protobuf, but jaxlib cannot read it: {error}") from error
        devices = [p for p in planes if re.match(r"/device:(GPU|TPU)", p.name)]
        found = [(_number(p.name), line, _events(lane)) for p in devices for line, lane in _lines(p)]
        if not found:
            found = [(0, i, _innermost(_events(lane))) for p in planes if p.name == "/host:CPU" for i, lane in enumerate(p.lines)]
        stats = {key: value for p in devices[:1] for key, value in p.stats}
        return Profile(
            self.name,
            str(source),
            _launches([(device, stream, event) for device, stream, events in found for event in events]),
            device_name=_device_name(devices, stats),
            facts={ours: stats[name] for ours, name in (("sm_count", "core_count"), ("memory_bytes", "memory_size")) if name in stats},
            remarks=() if devices else ("no GPU or TPU in this profile: these are the operations of XLA's CPU backend",),
        )


def _checked(source: Source) -> Iterable[int]:
    try:
        for number, _, value in wire.fields(source.data):
            if number == _PLANES and isinstance(value, bytes):
                yield sum(1 for _ in wire.fields(value))
    except wire.WireError as error:
        raise TraceError(f"{source} must be a whole XSpace protobuf, but is truncated or damaged: {error}") from error


def _number(plane: str) -> int:
    found = re.search(r":(\d+)", plane)
    return int(found[1]) if found else 0


def _lines(plane: Any) -> list[tuple[int, Any]]:
    """Return (stream, line) of the lines that hold launches: a GPU's streams, a TPU's operations."""
    lines = list(plane.lines)
    streams = [(int(m[1]), line) for line in lines if (m := re.match(r"Stream #(\d+)", line.name))]
    return streams or [(0, line) for line in lines if line.name == "XLA Ops"]


def _events(line: Any) -> list[_Event]:
    """Return the launches of a line: those of an HLO instruction, and on a GPU's stream all."""
    on_stream = line.name.startswith("Stream #") or line.name == "XLA Ops"
    found = []
    for event in line.events:
        stats = {key: value for key, value in event.stats if key}
        instruction = str(stats.get("hlo_op") or "")
        if instruction or on_stream:
            found.append((instruction or event.name, event.name, float(event.start_ns), float(event.duration_ns), stats))
    return found


def _innermost(events: list[_Event]) -> list[_Event]:
    """Leave out what encloses others: loops and calls."""
    ordered = sorted(events, key=lambda e: (e[2], -e[3]))
    following = [*ordered[1:], None]
    return [e for e, after in zip(ordered, following, strict=False) if after is None or after[2] >= e[2] + e[3]]


def _device_name(devices: list[Any], stats: dict[str, Any]) -> str:
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
        start_ns=np.array([round(start) for _, _, start, _, _ in events], np.int64),
        duration_ps=np.array([round(duration * 1_000) for _, _, _, duration, _ in events], np.int64),
        stream=np.array([stream for _, stream, _ in found], np.int64),
        device=np.array([device for device, _, _ in found], np.int64),
        columns=columns,
    )


def _kind(name: str) -> str:
    plain = name.lower()
    return COPY if plain.startswith("memcpy") else MEMSET if plain.startswith("memset") else KERNEL


def _numbers(details: list[dict[str, str]], key: str, axis: int = 0) -> Ints:
    parts = [detail.get(key, "").split(",") for detail in details]
    return np.array([int(p[axis]) if len(p) > axis and p[axis] else -1 for p in parts], np.int64)
