"""Reads a profile of any registered format."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from traces import registry
from traces.errors import TraceError, nearest
from traces.formats.format import Exporter, Importer
from traces.formats.profile import Profile, to_trace
from traces.formats.source import Source

if TYPE_CHECKING:
    from traces.trace import Trace


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


def read_profile(path: "str | os.PathLike[str]", format: str | None = None) -> Profile:
    """Return what a profile's file holds.

    Parameters
    ----------
    path
        The file.
    format
        A registered format's name; None: the one that recognises the content.

    Raises
    ------
    TraceError
        If the file cannot be read, no format recognises it, or it is not what the format says.
    """
    source = Source(path)
    known = importers()
    if format is not None:
        if format not in known:
            raise TraceError(f"a format to read must be registered, but got {format!r}; {nearest(format, known)}")
        return known[format].read(source)
    for importer in known.values():
        if importer.recognises(source):
            return importer.read(source)
    raise TraceError(
        f"{path} must be a profile of one of these formats, but its content is of none: "
        + "; ".join(f"{name} ({importer.description})" for name, importer in known.items())
    )


def import_profile(
    path: "str | os.PathLike[str]", *, target: str = "", format: str | None = None, copies: bool = False, device: int | None = None
) -> "Trace":
    """Return the trace of a profile; see ``traces.formats.profile.to_trace``."""
    stem = Path(path).name.split(".")[0]
    return to_trace(read_profile(path, format), target=target, program=stem or "profile", copies=copies, device=device)
