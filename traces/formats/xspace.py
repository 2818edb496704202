"""The XSpace message of JAX's profiler on the wire (XLA's ``xplane.proto``): planes of lines of events, times as whole numbers.

A plane's events and stats name their metadata by number. Times are picoseconds from the line's own nanoseconds, and stay integers: as a
double, nanoseconds since 1970 are known to 256 of them.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from traces.formats import wire

PS_PER_NS = 1_000

# Numbers of the fields that are read.
_SPACE_PLANES = 1
_PLANE_ID, _PLANE_NAME, _PLANE_LINES, _PLANE_EVENTS, _PLANE_STAT_NAMES, _PLANE_STATS = 1, 2, 3, 4, 5, 6
_LINE_NAME, _LINE_NS, _LINE_EVENTS = 2, 3, 4
_EVENT_METADATA, _EVENT_OFFSET, _EVENT_DURATION, _EVENT_STATS = 1, 2, 3, 4
_METADATA_NAME, _METADATA_STATS = 2, 5
_STAT_METADATA, _STAT_DOUBLE, _STAT_UNSIGNED, _STAT_SIGNED, _STAT_TEXT, _STAT_BYTES, _STAT_REFERENCE = 1, 2, 3, 4, 5, 6, 7
_KEY, _VALUE = 1, 2


class XEvent(NamedTuple):
    """One event: its name, begin and duration in ps, and stats by name, those of its metadata included."""

    name: str
    start_ps: int
    duration_ps: int
    stats: dict[str, Any]


@dataclass
class XLine:
    """A row of events, decoded when they are asked for."""

    plane: "XPlane"
    name: str = ""
    timestamp_ns: int = 0
    raw_events: list[bytes] = field(default_factory=list)

    def events(self) -> Iterator[XEvent]:
        """Yield the events in the order of the file. Raises WireError."""
        return map(self._event, self.raw_events)

    def _event(self, raw: bytes) -> XEvent:
        told = [0] * _EVENT_STATS
        own: dict[str, Any] = {}
        for number, _, value in wire.fields(raw):
            if isinstance(value, bytes):
                if number == _EVENT_STATS:
                    name, known = self.plane.stat(value)
                    own[name] = known
            elif number < _EVENT_STATS:
                told[number] = wire.signed(value)
        name, shared = self.plane.event_metadata(told[_EVENT_METADATA])
        start = self.timestamp_ns * PS_PER_NS + told[_EVENT_OFFSET]
        return XEvent(name, start, told[_EVENT_DURATION], shared | own if shared else own)


@dataclass
class XPlane:
    """What one device, or the host, did."""

    name: str = ""
    lines: list[XLine] = field(default_factory=list)
    _stat_names: dict[int, str] = field(default_factory=dict)
    _raw_stats: list[bytes] = field(default_factory=list)
    _raw_events: dict[int, bytes] = field(default_factory=dict)
    _events: dict[int, tuple[str, dict[str, Any]]] = field(default_factory=dict)
    _stats: dict[bytes, tuple[str, Any]] = field(default_factory=dict)
    """Decoded once: the events of a line say the same of themselves again and again."""

    def stats(self) -> dict[str, Any]:
        """Return what the plane says of itself. Raises WireError."""
        return dict(self.stat(raw) for raw in self._raw_stats)

    def stat(self, raw: bytes) -> tuple[str, Any]:
        """Return name and value of a stat."""
        if raw not in self._stats:
            self._stats[raw] = self._decoded(raw)
        return self._stats[raw]

    def event_metadata(self, number: int) -> tuple[str, dict[str, Any]]:
        """Return the name and the stats that events of one metadata share."""
        if number not in self._events:
            parts = list(wire.fields(self._raw_events.get(number, b"")))
            name = next((_text(value) for part, _, value in parts if part == _METADATA_NAME), "")
            self._events[number] = name, dict(self.stat(_bytes(value)) for part, _, value in parts if part == _METADATA_STATS)
        return self._events[number]

    def _decoded(self, raw: bytes) -> tuple[str, Any]:
        name: str = ""
        value: Any = None
        for number, _, told in wire.fields(raw):
            if number == _STAT_METADATA:
                name = self._stat_names.get(_int(told), "")
            elif number == _STAT_DOUBLE:
                value = wire.double(_int(told))
            elif number in (_STAT_UNSIGNED, _STAT_SIGNED):
                value = _int(told)
            elif number in (_STAT_TEXT, _STAT_BYTES):
                value = _text(told)
            elif number == _STAT_REFERENCE:  # text that several stats share is kept as the name of a stat's metadata
                value = self._stat_names.get(_int(told), "")
        return name, value


def planes(data: bytes) -> list[XPlane]:
    """Return the planes of a message. Raises WireError."""
    return [_plane(_bytes(value)) for number, _, value in wire.fields(data) if number == _SPACE_PLANES]


def _plane(raw: bytes) -> XPlane:
    made = XPlane()
    for number, _, value in wire.fields(raw):
        if number == _PLANE_NAME:
            made.name = _text(value)
        elif number == _PLANE_LINES:
            made.lines.append(_line(made, _bytes(value)))
        elif number == _PLANE_EVENTS:
            key, metadata = _entry(_bytes(value))
            made._raw_events[key] = metadata
        elif number == _PLANE_STAT_NAMES:
            key, metadata = _entry(_bytes(value))
            made._stat_names[key] = next((_text(v) for part, _, v in wire.fields(metadata) if part == _METADATA_NAME), "")
        elif number == _PLANE_STATS:
            made._raw_stats.append(_bytes(value))
    return made


def _line(plane: XPlane, raw: bytes) -> XLine:
    made = XLine(plane)
    for number, _, value in wire.fields(raw):
        if number == _LINE_NAME:
            made.name = _text(value)
        elif number == _LINE_NS:
            made.timestamp_ns = _int(value)
        elif number == _LINE_EVENTS:
            made.raw_events.append(_bytes(value))
    return made


def _entry(raw: bytes) -> tuple[int, bytes]:
    """Return key and value of a map's entry."""
    key, value = 0, b""
    for number, _, told in wire.fields(raw):
        if number == _KEY:
            key = _int(told)
        elif number == _VALUE:
            value = _bytes(told)
    return key, value


def _int(value: int | bytes) -> int:
    if isinstance(value, bytes):
        raise wire.WireError("a number must be no text, but this field has bytes", 0)
    return wire.signed(value)


def _bytes(value: int | bytes) -> bytes:
    if isinstance(value, int):
        raise wire.WireError("a message must be bytes, but this field has a number", 0)
    return value


def _text(value: int | bytes) -> str:
    return _bytes(value).decode(errors="replace")
