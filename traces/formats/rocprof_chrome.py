"""AMD's first profiler as Chrome JSON: the ``results.json`` of ``rocprof --hip-trace``, ``--sys-trace`` or ``--hsa-trace`` (roctracer).

Events have no category. What ran on a GPU has the number of its device among its arguments (``dev-id``, in the table of kernels
``gpu-id``), copies of HSA stand in a process ``COPY``; calls of HIP and HSA have neither. Times in ``ts`` are whole microseconds: those
in the arguments, ``BeginNs`` and ``EndNs``, count. Every number is written as text.
"""

import re
from typing import Any, ClassVar

import msgspec
import numpy as np

from traces.errors import TraceError
from traces.formats import rocprof
from traces.formats.format import Importer
from traces.formats.profile import COPY, KERNEL, MEMSET, PS_PER_NS, Launches, Profile
from traces.formats.source import Source

_COPIES = re.compile(r"^(hc|hip)?(Memcpy|Copy)", re.IGNORECASE)
_SETS = re.compile(r"^(hc|hip)?(Memset|FillBuffer)", re.IGNORECASE)
_MARKERS = re.compile(r"^(hcCommand)?Marker", re.IGNORECASE)
"""Barriers between queues, which the profiler lists among what a device runs."""
_DEVICE, _STREAM = ("dev-id", "gpu-id"), ("stream-id", "queue-id")
_COUNTS = {"grid": "grd", "block": "wgr", "registers": "vgpr", "shared": "lds"}


class _Event(msgspec.Struct, gc=False):
    ph: str = ""
    name: str = ""
    pid: Any = None
    args: dict[str, Any] | None = None


class _Document(msgspec.Struct, gc=False):
    traceEvents: list[_Event]


class RocprofChrome(Importer):
    """The trace that AMD's first profiler writes for Chrome."""

    name: ClassVar[str] = "rocprof-chrome"
    description: ClassVar[str] = "rocprof --hip-trace: results.json"

    def recognises(self, source: Source) -> bool:
        """Say whether it is Chrome JSON with times as AMD's profiler writes them."""
        return source.is_json and source.has_key("traceEvents") and source.has_key("BeginNs")

    def read(self, source: Source) -> Profile:
        """Return the profile. Raises TraceError for JSON that is truncated, and for a launch whose times are no whole numbers."""
        try:
            events = msgspec.json.decode(source.data, type=_Document).traceEvents
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise TraceError(f"{source} must be a whole JSON file of rocprof, but is truncated or damaged: {error}") from error
        copying = {str(event.pid) for event in events if event.ph == "M" and (event.args or {}).get("name") == "COPY"}
        ran = [(event, kind) for event in events if (kind := _kind(event, copying))]
        markers = sum(1 for event in events if _on_gpu(event) and _MARKERS.match(event.name))
        remarks = (f"{markers:,} barriers of queues are left out",) if markers else ()
        instead = f"{len(events):,} events, none of a GPU"
        return Profile(self.name, str(source), _launches(source, ran), remarks=remarks, instead="" if ran else instead)


def _on_gpu(event: _Event) -> bool:
    args = event.args or {}
    return event.ph == "X" and "BeginNs" in args and any(name in args for name in _DEVICE)


def _kind(event: _Event, copying: set[str]) -> str:
    """Return what kind of launch an event is, '' if it is none."""
    if event.ph == "X" and str(event.pid) in copying:
        return COPY
    if not _on_gpu(event) or _MARKERS.match(event.name):
        return ""
    return COPY if _COPIES.match(event.name) else MEMSET if _SETS.match(event.name) else KERNEL


def _launches(source: Source, ran: list[tuple[_Event, str]]) -> Launches:
    args = [event.args or {} for event, _ in ran]
    begin, end = (np.array([_whole(source, each, name) for each in args], np.int64) for name in ("BeginNs", "EndNs"))
    sizes = {ours: np.array([_number(each.get(theirs)) for each in args], np.int64) for ours, theirs in _COUNTS.items()}
    return Launches(
        name=[rocprof.plain_name(event.name) for event, _ in ran],
        kind=[kind for _, kind in ran],
        start_ns=begin,
        duration_ps=np.where(end >= begin, (end - begin) * PS_PER_NS, -2),  # negative: found by the check of the clock
        stream=np.array([_first(each, _STREAM) for each in args], np.int64),
        device=np.array([_first(each, _DEVICE) for each in args], np.int64),
        columns={
            "grid_x": rocprof.blocks(sizes["grid"], sizes["block"]),
            "block_x": sizes["block"],
            "registers": sizes["registers"],
            "shared_bytes": sizes["shared"],
        },
    )


def _whole(source: Source, args: dict[str, Any], name: str) -> int:
    found = _number(args.get(name))
    if found < 0:
        raise TraceError(f"{source}: a launch must have BeginNs and EndNs as whole nanoseconds, but one has {name} {args.get(name)!r}")
    return found


def _first(args: dict[str, Any], names: tuple[str, ...]) -> int:
    """Return the first of some numbers that is there; -1 if none is."""
    return next((_number(args[name]) for name in names if name in args), -1)


def _number(value: Any) -> int:
    """Return a whole number, which may be written as text; -1 if it is none or beyond 64 bits."""
    text = str(value)
    return int(text) if text.isdecimal() and int(text) < 2**63 else -1
