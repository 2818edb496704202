"""Reads a profile of any registered format."""

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from traces import registry
from traces.errors import TraceError, nearest
from traces.formats.format import Exporter, Importer
from traces.formats.profile import Profile
from traces.formats.source import Source
from traces.formats.to_trace import to_trace

if TYPE_CHECKING:
    from traces.trace import Trace

_SHOWN = 8
"""Files of an archive that a message names."""


def importers() -> dict[str, Importer]:
    """Return the registered formats that can be read, by name."""
    return {name: made for name, made in _formats().items() if isinstance(made, Importer)}


def exporters() -> dict[str, Exporter]:
    """Return the registered formats that can be written, by name."""
    return {name: made for name, made in _formats().items() if isinstance(made, Exporter)}


def exporter(name: str) -> Exporter:
    """Return the format of a name. Raises TraceError with the nearest that can be written."""
    known = exporters()
    if name not in known:
        raise TraceError(f"a format to write must be registered, but got {name!r}; {nearest(name, known)}")
    return known[name]


def _formats() -> dict[str, Any]:
    return {name: made() if isinstance(made, type) else made for name, made in registry.load("formats").items()}


def read_profile(path: "str | os.PathLike[str]", format: str | None = None, member: str | None = None) -> Profile:
    """Return what a profile's file holds.

    Parameters
    ----------
    path
        The file.
    format
        A registered format's name; None: the one that recognises the content.
    member
        Of an archive with several profiles the one that is meant; None: the first (of several ranks the lowest), and a remark of the
        profile says which it is and names the others.

    Raises
    ------
    TraceError
        If the file cannot be read, no format recognises it, or it is not what the format says.
    """
    source = Source(path, member)
    known = importers()
    if format is not None and format not in known:
        raise TraceError(f"a format to read must be registered, but got {format!r}; {nearest(format, known)}")
    if member is None and len(source.members) > 1:
        return _of_archive(source, known, format)
    return _reader(source, known, format).read(source)


def _reader(source: Source, known: dict[str, Importer], format: str | None) -> Importer:
    """Return the format of a name, else the one that recognises the content. Raises TraceError if none does."""
    if format is not None:
        return known[format]
    for importer in known.values():
        if importer.recognises(source):
            return importer
    remedy = source.remedy()
    raise TraceError(
        f"{source} must be a profile of one of these formats, but its content is of none{f' ({remedy})' if remedy else ''}: "
        + "; ".join(f"{name} ({importer.description})" for name, importer in known.items())
    )


def _of_archive(source: Source, known: dict[str, Importer], format: str | None) -> Profile:
    """Return the first profile of several, with a remark that says so."""
    found = [source.of(name) for name in source.members]
    readers = [importer for importer in known.values() if format in (None, importer.name)]
    profiles = [(one, reader) for one in found if (reader := next((r for r in readers if r.recognises(one)), None))]
    if not profiles:
        raise TraceError(
            f"{source} must hold a profile of one of the formats {', '.join(known)}, but none of its {len(found)} files is one: "
            + ", ".join(list(source.members)[:_SHOWN])
        )
    first, reader = profiles[0]
    others = [str(one.member) for one, _ in profiles[1:]]
    remark = f"of the archive's {len(found)} files this is {first.member}, the first profile"
    if others:
        more = f" and {len(others) - _SHOWN} more" if len(others) > _SHOWN else ""
        remark += f"; others, to be named by the option member: {', '.join(others[:_SHOWN])}{more}"
    made = reader.read(first)
    return replace(made, remarks=(remark, *made.remarks))


def import_profile(
    path: "str | os.PathLike[str]",
    *,
    target: str = "",
    format: str | None = None,
    copies: bool = False,
    device: int | None = None,
    member: str | None = None,
) -> "Trace":
    """Return the trace of a profile; see ``traces.formats.to_trace.to_trace``."""
    stem = Path(path).name.split(".")[0]
    return to_trace(read_profile(path, format, member), target=target, program=stem or "profile", copies=copies, device=device)
