"""Nsight Systems, exported as JSON: ``nsys export --type json``, one event a line.

By "JSON and Text Format Description" of NVIDIA's documentation of the exporter: each line is an event by its kind, ``CudaEvent`` for what
ran on the device (with ``kernel``, ``memcpy`` or ``memset`` in it); names are numbers of a table of strings, which is one line
``{"data": [...]}`` or, with ``--separate-strings true``, a line a string.
"""

from collections import Counter
from collections.abc import Iterator
from typing import Any, ClassVar

import msgspec

from traces.errors import TraceError
from traces.formats import nsys_rows
from traces.formats.format import Importer
from traces.formats.profile import COPY, KERNEL, MEMSET, Profile
from traces.formats.source import Source

_EVENT = "CudaEvent"
_OTHERS = ("TraceProcessEvent", "NvtxEvent", "SchedEvent", "CommEvent", "DiagnosticEvent")
_KINDS = {"kernel": KERNEL, "memcpy": COPY, "memset": MEMSET}
_NAMES = ("demangledName", "shortName", "mangledName")
_ON_THE_HOST = frozenset({"sync", "cudaEventRecord", "eventRecord"})
"""Kinds of CudaEvent that are no work of the device."""


class NsysJson(Importer):
    """Nsight Systems, exported as JSON."""

    name: ClassVar[str] = "nsys-json"
    description: ClassVar[str] = "Nsight Systems: nsys export --type json"

    def recognises(self, source: Source) -> bool:
        """Say whether it is JSON with events by the names of Nsight Systems; a long table of strings may stand before them."""
        if not source.is_json or source.has_key("traceEvents"):
            return False
        return source.has_key(_EVENT, *_OTHERS) or (source.has_key("data", "type") and source.has_key(_EVENT, everywhere=True))

    def read(self, source: Source) -> Profile:
        """Return the profile. Raises TraceError naming the line for a truncated file and for a value that is no number."""
        strings: dict[int, str] = {}
        events: list[tuple[int, dict[str, Any]]] = []
        for place, line in _lines(source):
            if isinstance(line.get(_EVENT), dict):
                events.append((place, line[_EVENT]))
            else:
                strings |= _strings(line)
        kinds = [next((kind for key, kind in _KINDS.items() if isinstance(event.get(key), dict)), "") for _, event in events]
        launched = [(place, event, kind) for (place, event), kind in zip(events, kinds, strict=True) if kind]
        rows = [_row(source, place, event) for place, event, _ in launched]
        nsys_rows.number_streams(rows)
        names = [_name(event, strings) if kind == KERNEL else kind.capitalize() for _, event, kind in launched]
        others = [event for (_, event), kind in zip(events, kinds, strict=True) if not kind]
        return Profile(
            self.name,
            str(source),
            nsys_rows.launches(rows, names, [kind for *_, kind in launched]),
            remarks=_left_out(others),
            instead=f"{len(events):,} events of CUDA",
        )


def _lines(source: Source) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the lines that matter with their numbers from 1. Raises TraceError for one that is no JSON object."""
    for place, line in enumerate(source.data.removeprefix(b"\xef\xbb\xbf").splitlines(), 1):
        if b'"CudaEvent"' not in line and b'"data"' not in line and b'"String"' not in line:
            continue
        try:
            yield place, msgspec.json.decode(line.decode(errors="replace"), type=dict[str, Any])
        except msgspec.DecodeError as error:
            raise TraceError(
                f"{source} must be one JSON object a line, as `nsys export --type json` writes, but line {place:,} is truncated or "
                f"damaged: {error}"
            ) from error


def _strings(line: dict[str, Any]) -> dict[int, str]:
    """Return the strings by number that a line holds: all of them, or one."""
    data = line.get("data")
    if isinstance(data, list):
        return {place: str(text) for place, text in enumerate(data)}
    if line.get("type") == "String" and str(line.get("id")).isdecimal():
        return {int(line["id"]): str(line.get("value") or "")}
    return {}


def _row(source: Source, place: int, event: dict[str, Any]) -> dict[str, Any]:
    """Return an event under the names of Nsight's tables. Raises TraceError for a value that is no whole number."""
    inner = event.get("kernel") if isinstance(event.get("kernel"), dict) else {}
    given = {**(inner or {}), **event, "start": event.get("startNs"), "end": event.get("endNs") or None}  # protobuf leaves a zero out
    try:
        return {name: int(value) for name in nsys_rows.READ if (value := given.get(name)) is not None}
    except (TypeError, ValueError) as error:
        raise TraceError(f"{source}: the numbers of an event must be whole, but in line {place:,} one is not: {error}") from error


def _name(event: dict[str, Any], strings: dict[int, str]) -> str:
    """Return the kernel's name: a number of the table of strings, or the text itself."""
    given = [str(event["kernel"][name]) for name in _NAMES if event["kernel"].get(name) is not None]
    found = [strings[int(text)] for text in given if text.isdecimal() and int(text) in strings]
    return next(iter(found or given), "")


def _left_out(others: list[dict[str, Any]]) -> tuple[str, ...]:
    """Say which events of the device are none that we know, such as launches of whole CUDA graphs."""
    unknown = Counter(key for event in others for key, value in event.items() if isinstance(value, dict) and key not in _ON_THE_HOST)
    return tuple(
        f"{count:,} events of the kind {key!r} are left out: of CUDA graphs, `nsys profile --cuda-graph-trace=node` records kernels"
        for key, count in unknown.most_common()
    )
