"""Profiles of PyTorch's profiler (Kineto): Chrome trace JSON, plain or gzip, of CUDA and ROCm.

Of each event only the fields that a trace needs are decoded, numbers from their text: a time of today in microseconds has more
digits than a double, so nanoseconds would be lost.
"""

import re
from decimal import Decimal, InvalidOperation
from typing import Any, ClassVar, NamedTuple

import msgspec
import numpy as np

from traces.errors import TraceError
from traces.formats.format import Importer
from traces.formats.profile import COPY, KERNEL, MEMSET, PS_PER_US, Ints, Launches, Profile
from traces.formats.source import Source
from traces.table import Values

KINDS = {"kernel": KERNEL, "gpu_memcpy": COPY, "gpu_memset": MEMSET, "memcpy": COPY, "memset": MEMSET}
"""Category of an event (older versions capitalise it) to the kind of launch."""

_NO_NUMBER = re.compile(rb"(?<=[:\[,\s])-?(?:inf|nan|Infinity|NaN)(?=[\s,\]}])")
_CONTROL = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f]")
_LONE_BACKSLASH = re.compile(rb'\\(?:(["\\/bfnrt]|u[0-9a-fA-F]{4})|)')
"""What some versions write and JSON does not allow: bare 'inf', control characters, backslashes of paths."""
_RAW = msgspec.Raw()


class _Event(msgspec.Struct, gc=False):
    ph: str = ""
    cat: str = ""
    name: msgspec.Raw = _RAW
    ts: msgspec.Raw = _RAW
    dur: msgspec.Raw = _RAW
    args: msgspec.Raw = _RAW


class _DeviceProperties(msgspec.Struct, gc=False):
    id: Any = None
    name: Any = None
    totalGlobalMem: Any = None
    computeMajor: Any = None
    computeMinor: Any = None
    numSms: Any = None


class _Document(msgspec.Struct, gc=False):
    traceEvents: list[_Event]
    deviceProperties: list[_DeviceProperties] = []


class _Args(msgspec.Struct, gc=False):
    device: Any = None
    stream: Any = None
    correlation: Any = None
    external: Any = msgspec.field(name="External id", default=None)
    external_of_old: Any = msgspec.field(name="external id", default=None)
    grid: Any = None
    block: Any = None
    registers: Any = msgspec.field(name="registers per thread", default=None)
    shared: Any = msgspec.field(name="shared memory", default=None)
    unmeasured: Any = msgspec.field(name="not measured", default=None)
    """Written by our own export, for a kernel whose length means nothing."""
    sync: Any = msgspec.field(name="cuda_sync_kind", default=None)
    wait_on_stream: Any = None
    recorded: Any = msgspec.field(name="wait_on_cuda_event_record_corr_id", default=None)


class _Launch(NamedTuple):
    """One launch, decoded; its place among all events of the file for messages."""

    place: int
    kind: str
    name: str
    start_ns: int
    duration_ps: int
    args: _Args


class Kineto(Importer):
    """PyTorch's profiler."""

    name: ClassVar[str] = "kineto"
    description: ClassVar[str] = "PyTorch profiler (Kineto) JSON, plain or gzip, CUDA and ROCm"

    def recognises(self, source: Source) -> bool:
        """Say whether it is JSON with Chrome trace events, wherever in the file they begin."""
        if not source.is_json:
            return False
        if source.start.lstrip()[:1] == b"[":
            return source.has_key("ph")
        return source.has_key("traceEvents", "deviceProperties") or source.has_key("traceEvents", everywhere=True)

    def read(self, source: Source) -> Profile:
        """Return the profile. Raises TraceError for JSON that is truncated, foreign, or whose events cannot be."""
        document = _decode(source)
        launches = _launches(source, document.traceEvents)
        device_ids = sorted({_int(launch.args.device) for launch in launches if _int(launch.args.device) >= 0})
        properties = {_int(p.id): p for p in document.deviceProperties}
        ours = properties.get(device_ids[0] if device_ids else 0)
        return Profile(
            format=self.name,
            path=str(source),
            launches=_columns(launches, _operators(document.traceEvents)),
            device_name=str(ours.name or "") if ours else "",
            facts=_facts(ours),
            depends=_waits(document.traceEvents, launches),
        )


def _decode(source: Source) -> _Document:
    data = source.data
    try:
        return _parse_mended(data)
    except msgspec.ValidationError as error:
        raise TraceError(f"{source} must be a Kineto profile, but an event is not as the profiler writes it: {error}") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        events = data.count(b'"ph"')
        raise TraceError(
            f"{source} must be a whole JSON file, but is truncated or damaged after {events:,} events, {len(data):,} bytes: {error}"
        ) from error


def _parse_mended(data: bytes) -> _Document:
    """Parse what JSON allows, else what is left after mending; the error is then about the mended text."""
    try:
        return _parse(data)
    except msgspec.ValidationError:
        raise
    except (msgspec.DecodeError, UnicodeDecodeError):
        mended = _NO_NUMBER.sub(b"null", data.removeprefix(b"\xef\xbb\xbf"))
        mended = _LONE_BACKSLASH.sub(lambda found: found[0] if found[1] else rb"\\", _CONTROL.sub(b" ", mended))
        return _parse(mended.decode(errors="replace").encode())


def _text(raw: msgspec.Raw) -> str:
    """Return a name; bytes that are no UTF-8 are replaced."""
    return str(msgspec.json.decode(bytes(raw).decode(errors="replace"))) if raw else ""


def _parse(data: bytes) -> _Document:
    if data.lstrip()[:1] == b"[":
        return _Document(msgspec.json.decode(data, type=list[_Event]))
    return msgspec.json.decode(data, type=_Document)


def _launches(source: Source, events: list[_Event]) -> list[_Launch]:
    found = []
    for place, event in enumerate(events):
        kind = KINDS.get(event.cat.lower()) if event.ph == "X" else None
        if kind:
            found.append(_launch(source, place, kind, event))
    return found


def _launch(source: Source, place: int, kind: str, event: _Event) -> _Launch:
    try:
        name = _text(event.name)
        start, duration = _scaled(event.ts, 1_000), _scaled(event.dur, PS_PER_US)
        args = msgspec.json.decode(bytes(event.args), type=_Args) if event.args else _Args()
    except (InvalidOperation, ValueError, msgspec.DecodeError) as error:
        raise TraceError(
            f"{source}: an event must have name, ts and dur (microseconds), but event {place} has name {_show(event.name)}, ts "
            f"{_show(event.ts)}, dur {_show(event.dur)} ({error.__class__.__name__})"
        ) from error
    if not (0 <= start < 2**63 and 0 <= duration < 2**63 and start + duration // 1_000 < 2**63):
        raise TraceError(
            f"{source}: the clock must not overflow, but event {place} ({name[:80]!r}) begins at {_show(event.ts)} us and takes "
            f"{_show(event.dur)} us; record the profile again"
        )
    return _Launch(place, kind, name, start, -1 if args.unmeasured else duration, args)


def _side_args(event: _Event) -> _Args:
    """Return the arguments of an event that is no launch: of no use if they are no object."""
    try:
        return msgspec.json.decode(bytes(event.args), type=_Args)
    except msgspec.DecodeError:
        return _Args()


def _show(raw: msgspec.Raw) -> str:
    return bytes(raw)[:60].decode(errors="replace") or "none"


def _scaled(raw: msgspec.Raw, factor: int) -> int:
    """Return a number times ``factor``, exactly; some versions write it as a string."""
    return int(Decimal(bytes(raw).decode().strip('"')) * factor)


def _int(value: Any) -> int:
    """Return an id as whole number, -1 for what is none."""
    if isinstance(value, str) and value.lstrip("-").isdigit():
        return int(value)
    return int(value) if isinstance(value, (int, float)) and value >= 0 else -1


def _external(args: _Args) -> int:
    return _int(args.external_of_old if args.external is None else args.external)


def _three(value: Any, axis: int) -> int:
    return _int(value[axis]) if isinstance(value, list) and len(value) > axis else -1


def _columns(launches: list[_Launch], operators: dict[int, str]) -> Launches:
    args = [launch.args for launch in launches]
    columns: dict[str, Values] = {}
    for axis, letter in enumerate("xyz"):
        columns[f"grid_{letter}"] = [_three(a.grid, axis) for a in args]
        columns[f"block_{letter}"] = [_three(a.block, axis) for a in args]
    columns["registers"] = [_int(a.registers) for a in args]
    columns["shared_bytes"] = [_int(a.shared) for a in args]
    columns["scope"] = [operators.get(_external(a), "") for a in args]
    return Launches(
        name=[launch.name for launch in launches],
        kind=[launch.kind for launch in launches],
        start_ns=np.array([launch.start_ns for launch in launches], np.int64),
        duration_ps=np.array([launch.duration_ps for launch in launches], np.int64),
        stream=np.array([_int(a.stream) for a in args], np.int64),
        device=np.array([_int(a.device) for a in args], np.int64),
        columns=columns,
    )


def _operators(events: list[_Event]) -> dict[int, str]:
    """Return by external id the name of the operator that launched."""
    found: dict[int, str] = {}
    for event in events:
        if event.cat == "cpu_op" and event.args:
            external = _external(_side_args(event))
            if external >= 0:
                found.setdefault(external, _text(event.name))
    return found


def _facts(properties: _DeviceProperties | None) -> dict[str, Any]:
    if properties is None:
        return {}
    counts = {"sm_count": _int(properties.numSms), "memory_bytes": _int(properties.totalGlobalMem)}
    facts: dict[str, Any] = {name: count for name, count in counts.items() if count > 0}
    if _int(properties.computeMajor) >= 0:
        facts["compute_capability"] = f"{_int(properties.computeMajor)}.{max(_int(properties.computeMinor), 0)}"
    return facts


def _waits(events: list[_Event], launches: list[_Launch]) -> Ints:
    """Return pairs (launch, launch it waits for) of streams that wait for an event of another stream.

    The launch that follows the wait on its stream waits for the last one that was issued to the other stream before the event was
    recorded; correlation numbers tell the order of issue.
    """
    by_stream = _issue_order(launches)
    pairs = []
    for event in events:
        if event.cat != "cuda_sync" or not event.args:
            continue
        args = _side_args(event)
        if args.sync != "Stream Wait Event":
            continue
        after = _next(by_stream, _int(args.stream), _int(args.correlation), last=False)
        ahead = _next(by_stream, _int(args.wait_on_stream), _int(args.recorded), last=True)
        if after >= 0 and ahead >= 0 and launches[ahead].start_ns <= launches[after].start_ns:
            pairs.append((after, ahead))
    return np.array(sorted(set(pairs)), np.int64).reshape(-1, 2)


def _issue_order(launches: list[_Launch]) -> dict[int, tuple[Ints, Ints]]:
    """Return by stream the sorted correlation numbers of its launches, and their rows."""
    rows: dict[int, list[tuple[int, int]]] = {}
    for row, launch in enumerate(launches):
        rows.setdefault(_int(launch.args.stream), []).append((_int(launch.args.correlation), row))
    return {stream: (np.array(sorted(found))[:, 0], np.array(sorted(found))[:, 1]) for stream, found in rows.items()}


def _next(by_stream: dict[int, tuple[Ints, Ints]], stream: int, correlation: int, *, last: bool) -> int:
    """Return the row of the last launch of a stream up to a correlation number, or the first past it; -1 if none."""
    if stream not in by_stream or correlation < 0:
        return -1
    numbers, rows = by_stream[stream]
    place = int(np.searchsorted(numbers, correlation, side="right")) - (1 if last else 0)
    return int(rows[place]) if 0 <= place < len(rows) else -1
