"""The events of a Kineto file: Chrome trace JSON, decoded as far as a trace needs, with what its writers get wrong mended.

Of each event only some fields are decoded, numbers from their text: a time of today in microseconds has more digits than a double,
so nanoseconds would be lost.
"""

import re
from collections.abc import Iterator
from decimal import Decimal
from typing import Any, NamedTuple

import msgspec

from traces.errors import TraceError
from traces.formats.profile import COPY, KERNEL, MEMSET
from traces.formats.source import Source

KINDS = {
    "kernel": KERNEL,
    "concurrent_kernel": KERNEL,
    "gpu_memcpy": COPY,
    "gpu_memset": MEMSET,
    "memcpy": COPY,
    "memset": MEMSET,
}
"""Category of an event (older versions capitalise it) to the kind of launch."""

OLD_KERNELS = b'"CUDA functions"'
"""The process that PyTorch's profiler before Kineto put kernels in, without a category."""

_NO_NUMBER = re.compile(rb"(?<=[:\[,\s])[-+]?(?:inf|nan|Infinity|NaN)(?=[\s,\]}])")
_CONTROL = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f]")
_LONE_BACKSLASH = re.compile(rb'\\(?:(["\\/bfnrt]|u[0-9a-fA-F]{4})|)')
_LAST_COMMA = re.compile(rb",(?=\s*[\]}])")
"""What some versions and scripts write and JSON does not allow: bare 'inf', control characters, backslashes of paths, a comma
behind the last element."""
_RAW = msgspec.Raw()


class Event(msgspec.Struct, gc=False):
    """One event; what is not there is empty."""

    ph: str | None = ""
    cat: str | None = ""
    name: msgspec.Raw = _RAW
    ts: msgspec.Raw = _RAW
    dur: msgspec.Raw = _RAW
    args: msgspec.Raw = _RAW
    pid: msgspec.Raw = _RAW
    tid: msgspec.Raw = _RAW


class DeviceProperties(msgspec.Struct, gc=False):
    """What the profiler says about one device; its first versions used CUDA's own names."""

    id: Any = None
    name: Any = None
    totalGlobalMem: Any = None
    computeMajor: Any = None
    computeMinor: Any = None
    numSms: Any = None
    major: Any = None
    minor: Any = None
    multiProcessorCount: Any = None


class Document(msgspec.Struct, gc=False):
    """A file."""

    traceEvents: list[Event]
    deviceProperties: Any = None
    computeProperties: Any = None
    """The name of deviceProperties in PyTorch 1.8."""
    baseTimeNanoseconds: Any = None
    unclosed: bool = False
    """Whether it is an array without its bracket at the end, which Chrome's format allows: nobody can tell whether events are missing."""


class Lane(NamedTuple):
    """A row of launches, where processes and threads are named for them: device and stream."""

    device: int
    stream: int


class Interval(NamedTuple):
    """An event that lasts: its place in the file, the texts of its begin and its duration in microseconds, its lane if it has one."""

    place: int
    event: Event
    start: str
    duration: str
    lane: Lane | None = None


def decode(source: Source) -> Document:
    """Return the events of a file. Raises TraceError for JSON that is truncated or foreign."""
    data = source.data
    try:
        return _parse_lines(data) if lines_of_events(source) else _parse_mended(data)
    except msgspec.ValidationError as error:
        raise TraceError(f"{source} must be a Kineto profile, but an event is not as the profiler writes it: {error}") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        events = data.count(b'"ph"')
        raise TraceError(
            f"{source} must be a whole JSON file, but is truncated or damaged after {events:,} events, {len(data):,} bytes: {error}"
        ) from error


def _parse_mended(data: bytes) -> Document:
    """Parse what JSON allows, else what is left after mending; the error is then about the mended text."""
    try:
        return _parse(data)
    except msgspec.ValidationError:
        raise
    except (msgspec.DecodeError, UnicodeDecodeError):
        mended = _NO_NUMBER.sub(b"null", data.removeprefix(b"\xef\xbb\xbf"))
        mended = _LONE_BACKSLASH.sub(lambda found: found[0] if found[1] else rb"\\", _CONTROL.sub(b" ", mended))
        return _parse(_closed(_LAST_COMMA.sub(b"", mended)).decode(errors="replace").encode(), unclosed=_is_unclosed(mended))


def _parse(data: bytes, *, unclosed: bool = False) -> Document:
    if data.lstrip()[:1] == b"[":
        return Document(msgspec.json.decode(data, type=list[Event]), unclosed=unclosed)
    return msgspec.json.decode(data, type=Document)


def _is_unclosed(data: bytes) -> bool:
    """Say whether it is an array that ends behind a whole event: Chrome's format lets a writer that is killed leave the bracket out."""
    return data.lstrip()[:1] == b"[" and data.rstrip().rstrip(b",").rstrip()[-1:] == b"}"


def _closed(data: bytes) -> bytes:
    return data.rstrip().rstrip(b",") + b"]" if _is_unclosed(data) else data


def lines_of_events(source: Source) -> bool:
    """Say whether the file is one event a line, as scripts write that filter profiles."""
    first = source.start.removeprefix(b"\xef\xbb\xbf").lstrip().split(b"\n", 1)[0].rstrip().rstrip(b",")
    try:
        found = msgspec.json.decode(first)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return False
    return isinstance(found, dict) and "ph" in found


def _parse_lines(data: bytes) -> Document:
    lines = data.removeprefix(b"\xef\xbb\xbf").split(b"\n")
    return Document([msgspec.json.decode(bare, type=Event) for line in lines if (bare := line.strip().rstrip(b","))])


def properties(document: Document) -> dict[int, DeviceProperties]:
    """Return what the profiler says about each device, by number; nothing where it says nothing readable."""
    try:
        found = msgspec.convert(document.deviceProperties or document.computeProperties or [], list[DeviceProperties])
    except msgspec.ValidationError:
        return {}
    return {number(p.id) if p.id is not None else place: p for place, p in enumerate(found)}


def kind_of(event: Event) -> str | None:
    """Return what kind of launch an event is, None if it is none."""
    if not event.cat:
        old = bytes(event.pid) == OLD_KERNELS
        return None if not old else COPY if bytes(event.name).lower().startswith((b'"memcpy', b'"memset')) else KERNEL
    found = KINDS.get(event.cat)
    if found or "," not in event.cat:
        return found or KINDS.get(event.cat.lower())
    return next((KINDS[part] for part in event.cat.lower().split(",") if part in KINDS), None)  # Chrome allows several


def lanes(events: list[Event]) -> dict[tuple[bytes, bytes], Lane]:
    """Return the rows of launches by (process, thread) of a file whose events have no categories: JAX's ``*.trace.json.gz``.

    A GPU is a process '/device:GPU:n' with a thread 'Stream #k(...)' each, a TPU '/device:TPU:n' with the thread 'XLA Ops'; on a GPU that
    thread repeats what the streams have.
    """
    named = [event for event in events if event.ph == "M" and bytes(event.name) in (b'"process_name"', b'"thread_name"')]
    labels = [(event, _label(event)) for event in named]
    devices = {bytes(e.pid): m for e, label in labels if (m := re.match(r"/device:(GPU|TPU):(\d+)", label))}
    found = {}
    for event, label in labels:
        device = devices.get(bytes(event.pid))
        stream = re.match(r"Stream #(\d+)", label)
        if device and (stream or (device[1] == "TPU" and label == "XLA Ops")):
            found[bytes(event.pid), bytes(event.tid)] = Lane(number(device[2]), number(stream[1]) if stream else 0)
    return found


def _label(event: Event) -> str:
    """Return the name that a metadata event gives."""
    try:
        args = msgspec.json.decode(bytes(event.args))
    except (msgspec.DecodeError, UnicodeDecodeError):
        return ""
    return str(args.get("name") or "") if isinstance(args, dict) else ""


def _kind_on(lane: Lane | None, event: Event) -> str | None:
    if lane is None or event.cat:
        return kind_of(event)
    name = bytes(event.name).lower()
    return COPY if name.startswith(b'"memcpy') else MEMSET if name.startswith(b'"memset') else KERNEL


def intervals(events: list[Event]) -> Iterator[tuple[str, Interval]]:
    """Yield (kind, interval) of each launch: complete events, and pairs of begin and end. What does not end has no duration."""
    begun, rows = False, lanes(events)
    for place, event in enumerate(events):
        if event.ph == "X" or (not event.ph and event.dur):  # scripts that filter profiles leave the phase out
            lane = rows.get((bytes(event.pid), bytes(event.tid))) if rows else None
            kind = _kind_on(lane, event)
            if kind:
                yield kind, Interval(place, event, plain(event.ts), plain(event.dur), lane)
        elif event.ph == "B":
            begun = begun or kind_of(event) is not None
    if begun:
        yield from _pairs(events)


def _pairs(events: list[Event]) -> Iterator[tuple[str, Interval]]:
    """Pair begins and ends, which nest on each thread of each process."""
    edges = [(place, event) for place, event in enumerate(events) if event.ph in ("B", "E")]
    edges.sort(key=lambda edge: _sortable(plain(edge[1].ts)))
    open_: dict[tuple[bytes, bytes], list[tuple[int, Event]]] = {}
    for place, event in edges:
        stack = open_.setdefault((bytes(event.pid), bytes(event.tid)), [])
        if event.ph == "B":
            stack.append((place, event))
        elif stack:
            yield from _ended(*stack.pop(), plain(event.ts))
    for stack in open_.values():
        for place, event in stack:
            yield from _ended(place, event, None)


def _ended(place: int, event: Event, end: str | None) -> Iterator[tuple[str, Interval]]:
    kind = kind_of(event)
    if kind:
        start = plain(event.ts)
        yield kind, Interval(place, event, start, "" if end is None else str(Decimal(end) - Decimal(start)))


def _sortable(text: str) -> Decimal:
    """Return a time to sort by; what is no time goes first, where the check of launches finds it."""
    try:
        return Decimal(text)
    except ArithmeticError:
        return Decimal(-1)


def plain(raw: msgspec.Raw) -> str:
    """Return the text of a number; some versions write it as a string."""
    return bytes(raw).decode(errors="replace").strip('"')


def text(raw: msgspec.Raw) -> str:
    """Return a name; bytes that are no UTF-8 are replaced."""
    return str(msgspec.json.decode(bytes(raw).decode(errors="replace"))) if raw else ""


def number(value: Any) -> int:
    """Return an id as whole number, -1 for what is none; text may be decimal, an address (0x...), or end in a number (stream 7)."""
    if isinstance(value, str):
        found = re.fullmatch(r"\s*(?:\w+ )?(0[xX][0-9a-fA-F]+|\d+)\s*", value)
        return int(found[1], 0 if found[1][:2] in ("0x", "0X") else 10) if found else -1
    return int(value) if isinstance(value, (int, float)) and 0 <= value < 2**63 else -1


def id_of(raw: msgspec.Raw) -> int:
    """Return a process or thread as whole number, -1 for what is none."""
    try:
        return number(msgspec.json.decode(bytes(raw))) if raw else -1
    except (msgspec.DecodeError, UnicodeDecodeError):
        return -1


def three(value: Any, axis: int) -> int:
    """Return one axis of a grid or block: a list of three, or text of three numbers; -1 if it is none."""
    if isinstance(value, str):
        value = re.findall(r"\d+", value)
    return number(value[axis]) if isinstance(value, list) and len(value) > axis else -1
