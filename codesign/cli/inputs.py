"""What commands read: traces by file or by recorded name, machines with changed parameters."""

from pathlib import Path
from typing import TYPE_CHECKING

from codesign import files
from codesign.cli.options import parse_settings
from codesign.reading import read
from traces.errors import CodesignError, nearest

if TYPE_CHECKING:
    from arch.machine import Machine
    from codesign.engine.timeline import Timeline
    from codesign.search.result import Result
    from traces.trace import Trace


def load_trace(path: Path) -> "Trace":
    """Return the trace in a file, or the recorded one of that name if there is no such file."""
    from traces.files import load

    if not path.exists():
        from traces.recordings import load_recorded, recorded_traces

        if str(path) in recorded_traces():
            return load_recorded(str(path))
        raise CodesignError(f"there is no file {path}, and no recorded trace of that name; {nearest(path.stem, recorded_traces())}")
    files.check_readable(path)
    return load(path)


def read_any(path: Path) -> "Trace | Timeline | Result":
    """Return what the file holds, or the recorded trace of that name if there is no such file."""
    return read(path) if path.exists() else load_trace(path)


def build_machine(name: str, settings: list[str] | None) -> "Machine":
    """Return the machine of a name, its parameters changed by NAME=VALUE (SI, or with a unit). Raises MachineError."""
    from arch.build import machine

    return machine(name).with_(**parse_settings(settings))
