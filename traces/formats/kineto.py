"""Profiles of PyTorch's profiler (Kineto): Chrome trace JSON, plain or gzip, of CUDA and ROCm."""

import re
import warnings
from collections import Counter
from decimal import Decimal, InvalidOperation
from typing import Any, ClassVar, NamedTuple

import msgspec
import numpy as np

from traces.errors import TraceError
from traces.formats import families, kineto_work
from traces.formats.format import Importer
from traces.formats.kineto_events import (
    KINDS,
    DeviceProperties,
    Document,
    Event,
    Interval,
    decode,
    id_of,
    intervals,
    lines_of_events,
    number,
    properties,
    text,
    three,
)
from traces.formats.kineto_work import Called
from traces.formats.profile import KERNEL, PS_PER_US, Ints, Launches, Profile, ProfileWarning
from traces.formats.rocprof_chrome import RocprofChrome
from traces.formats.source import Source
from traces.table import Values

__all__ = ["KINDS", "Kineto"]

_NS = 1_000
"""Nanoseconds of a microsecond, the unit of ts."""

_OPERATORS = ("cpu_op", "operator")
_CALLS = ("cuda_runtime", "cuda_driver", "hip_runtime", "xpu_runtime", "xpu_driver", "runtime")
"""Categories of the framework's operators, and of calls of the runtime that launch."""


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
    hlo_op: Any = None
    details: Any = msgspec.field(name="kernel_details", default=None)
    """JAX's: the HLO instruction, and 'regs:16 static_shared:0 dynamic_shared:0 grid:1,1,1 block:256,1,1'."""


class _Launch(NamedTuple):
    """One launch, decoded; its place among all events of the file for messages."""

    place: int
    kind: str
    name: str
    start_ns: int
    duration_ps: int
    args: _Args
    device: int
    stream: int
    kernel: str = ""
    """The kernel's own name where ``name`` is that of its HLO instruction."""


class Kineto(Importer):
    """PyTorch's profiler."""

    name: ClassVar[str] = "kineto"
    description: ClassVar[str] = "PyTorch profiler (Kineto) JSON, plain or gzip, CUDA and ROCm"

    def recognises(self, source: Source) -> bool:
        """Say whether it is JSON with Chrome trace events, wherever in the file they begin."""
        if not source.is_json or RocprofChrome().recognises(source):
            return False
        if source.start.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] == b"[" or lines_of_events(source):
            return source.has_key("ph")
        return source.has_key("traceEvents", "deviceProperties") or source.has_key("traceEvents", everywhere=True)

    def read(self, source: Source) -> Profile:
        """Return the profile. Raises TraceError for JSON that is truncated, foreign, or whose events cannot be."""
        document = decode(source)
        if document.unclosed:
            warnings.warn(
                f"{source}: the list of events has no end, which Chrome's format allows; if its writer was stopped, events are missing "
                f"after the {len(document.traceEvents):,} that it has",
                ProfileWarning,
                stacklevel=3,
            )
        events = document.traceEvents
        launches = _launches(source, document)
        called = _called(events, launches)
        made, remarks = kineto_work.known(_columns(launches, called), called)
        ours = _own_properties(document, launches)
        return Profile(
            format=self.name,
            path=str(source),
            launches=made,
            device_name=str(ours.name or "") if ours else "",
            facts=_facts(ours),
            depends=_waits(events, launches),
            remarks=(*_unfinished(launches), *remarks),
            instead=_seen(events) if not launches else "",
        )


def _seen(events: list[Event]) -> str:
    """Say what a file without launches holds."""
    counts = Counter(event.cat or "none" for event in events)
    found = f"{len(events):,} events" + "".join(f", {count:,} of category {cat}" for cat, count in counts.most_common(3))
    return f"{found}; of nvprof, import the SQLite file that this was made from" if "cuda" in counts else found


def _launches(source: Source, document: Document) -> list[_Launch]:
    base = document.baseTimeNanoseconds
    base_ns = int(base) if isinstance(base, (int, float)) and 0 < base < 2**62 else 0
    found = [_launch(source, kind, interval, base_ns) for kind, interval in intervals(document.traceEvents)]
    found.sort(key=lambda one: one.place)
    if any(one.start_ns < 0 for one in found):  # times may be relative to a base, and a device's clock a little behind it
        return [one._replace(start_ns=one.start_ns + base_ns) for one in found]
    return found


def _launch(source: Source, kind: str, interval: Interval, base_ns: int) -> _Launch:
    event = interval.event
    try:
        name = text(event.name)
        start, duration = _scaled(interval.start, _NS), _scaled(interval.duration or "0", PS_PER_US)
        args = (msgspec.json.decode(bytes(event.args), type=_Args | None) if event.args else None) or _Args()
        if not interval.duration and event.ph != "B":
            raise ValueError("no duration")
    except (InvalidOperation, ValueError, OverflowError, msgspec.DecodeError) as error:
        raise TraceError(
            f"{source}: an event must have name, ts and dur (microseconds), but event {interval.place} has name {_show(event.name)}, "
            f"ts {_show(event.ts)}, dur {_show(event.dur)} ({error.__class__.__name__})"
        ) from error
    if not (-base_ns <= start < 2**63 - base_ns and 0 <= duration < 2**63 and start + duration // 1_000 < 2**63 - base_ns):
        raise TraceError(
            f"{source}: the clock must not overflow, but event {interval.place} ({name[:80]!r}) begins at {interval.start} us and takes "
            f"{interval.duration} us; record the profile again"
        )
    known = interval.duration and not args.unmeasured
    measured = duration if known else -1
    if interval.lane:
        return _Launch(interval.place, kind, str(args.hlo_op or name), start, measured, _of_jax(args), *interval.lane, kernel=name)
    device = number(args.device) if args.device is not None else id_of(event.pid)
    stream = number(args.stream) if args.stream is not None else id_of(event.tid)
    return _Launch(interval.place, kind, name, start, measured, args, device, stream)


def _of_jax(args: _Args) -> _Args:
    """Fill in the launch's sizes from the text that JAX's profiler writes them in."""
    told = dict(re.findall(r"(\w+):(\d+(?:,\d+)*)", str(args.details or "")))
    shared = [int(told[name]) for name in ("static_shared", "dynamic_shared") if told.get(name, "").isdecimal()]
    args.grid, args.block, args.registers = told.get("grid"), told.get("block"), told.get("regs")
    args.shared = sum(shared) if shared else None
    return args


def _unfinished(launches: list[_Launch]) -> list[str]:
    count = sum(1 for one in launches if one.duration_ps < 0 and not one.args.unmeasured)
    return [f"{count:,} launches begin and do not end: they count as not measured"] if count else []


def _side_args(event: Event) -> _Args:
    """Return the arguments of an event that is no launch: of no use if they are no object."""
    try:
        return msgspec.json.decode(bytes(event.args), type=_Args)
    except msgspec.DecodeError:
        return _Args()


def _show(raw: msgspec.Raw) -> str:
    return bytes(raw)[:60].decode(errors="replace") or "none"


def _scaled(written: str, factor: int) -> int:
    """Return a number times ``factor``, exactly."""
    return int(Decimal(written) * factor)


def _external(args: _Args) -> int:
    return number(args.external_of_old if args.external is None else args.external)


def _columns(launches: list[_Launch], called: list[Called | None]) -> Launches:
    args = [launch.args for launch in launches]
    columns: dict[str, Values] = {}
    for axis, letter in enumerate("xyz"):
        columns[f"grid_{letter}"] = [three(a.grid, axis) for a in args]
        columns[f"block_{letter}"] = [three(a.block, axis) for a in args]
    columns["registers"] = [number(a.registers) for a in args]
    columns["shared_bytes"] = [number(a.shared) for a in args]
    columns["scope"] = [one.name if one else "" for one in called]
    if any(launch.kernel for launch in launches):
        columns["family"] = [_family(launch) for launch in launches]
    return Launches(
        name=[launch.name for launch in launches],
        kind=[launch.kind for launch in launches],
        start_ns=np.array([launch.start_ns for launch in launches], np.int64),
        duration_ps=np.array([launch.duration_ps for launch in launches], np.int64),
        stream=np.array([launch.stream for launch in launches], np.int64),
        device=np.array([launch.device for launch in launches], np.int64),
        columns=columns,
    )


def _family(launch: _Launch) -> str:
    """Return the family by the kernel's own name, else by its instruction's."""
    own = families.family_of(launch.kernel)
    return "copy" if launch.kind != KERNEL else own if own != "other" else families.family_of(launch.name)


def _called(events: list[Event], launches: list[_Launch]) -> list[Called | None]:
    """Return for each launch the operator that issued it: by external id, else by that of the runtime's call of its correlation."""
    external = [_external(one.args) for one in launches]
    correlation = [number(one.args.correlation) for one in launches]
    lost = {c for c, e in zip(correlation, external, strict=True) if e < 0 <= c}
    of_call: dict[int, int] = {}
    found: dict[int, Called] = {}
    for event in events:
        category = (event.cat or "").lower()
        if category in _OPERATORS and event.args:
            number_ = _external(_side_args(event))
            if number_ >= 0 and number_ not in found:
                found[number_] = Called(number_, text(event.name), event.args)
        elif lost and category in _CALLS and event.args:
            args = _side_args(event)
            if number(args.correlation) in lost:
                of_call[number(args.correlation)] = _external(args)
    wanted = [e if e >= 0 else of_call.get(c, -1) for e, c in zip(external, correlation, strict=True)]
    return [found.get(w) for w in wanted]


def _own_properties(document: Document, launches: list[_Launch]) -> DeviceProperties | None:
    """Return what the profiler says of the first device that something was launched on."""
    return properties(document).get(min((one.device for one in launches if one.device >= 0), default=0))


def _facts(found: DeviceProperties | None) -> dict[str, Any]:
    if found is None:
        return {}
    sms = found.multiProcessorCount if found.numSms is None else found.numSms
    counts = {"sm_count": number(sms), "memory_bytes": number(found.totalGlobalMem)}
    facts: dict[str, Any] = {name: count for name, count in counts.items() if count > 0}
    major, minor = (found.major, found.minor) if found.computeMajor is None else (found.computeMajor, found.computeMinor)
    if number(major) >= 0:
        facts["compute_capability"] = f"{number(major)}.{max(number(minor), 0)}"
    return facts


def _waits(events: list[Event], launches: list[_Launch]) -> Ints:
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
        after = _next(by_stream, number(args.stream), number(args.correlation), last=False)
        ahead = _next(by_stream, number(args.wait_on_stream), number(args.recorded), last=True)
        if after >= 0 and ahead >= 0 and launches[ahead].start_ns <= launches[after].start_ns:
            pairs.append((after, ahead))
    return np.array(sorted(set(pairs)), np.int64).reshape(-1, 2)


def _issue_order(launches: list[_Launch]) -> dict[int, tuple[Ints, Ints]]:
    """Return by stream the sorted correlation numbers of its launches, and their rows."""
    rows: dict[int, list[tuple[int, int]]] = {}
    for row, launch in enumerate(launches):
        rows.setdefault(launch.stream, []).append((number(launch.args.correlation), row))
    return {stream: (np.array(sorted(found))[:, 0], np.array(sorted(found))[:, 1]) for stream, found in rows.items()}


def _next(by_stream: dict[int, tuple[Ints, Ints]], stream: int, correlation: int, *, last: bool) -> int:
    """Return the row of the last launch of a stream up to a correlation number, or the first past it; -1 if none."""
    if stream not in by_stream or correlation < 0:
        return -1
    numbers, rows = by_stream[stream]
    place = int(np.searchsorted(numbers, correlation, side="right")) - (1 if last else 0)
    return int(rows[place]) if 0 <= place < len(rows) else -1
