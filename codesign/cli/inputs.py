"""What commands read: traces by file or by recorded name, machines with changed parameters."""

from pathlib import Path
from typing import TYPE_CHECKING

from codesign import files
from codesign.cli.options import parse_settings
from traces.errors import CodesignError, MachineError

if TYPE_CHECKING:
    from arch.machine import Machine
    from traces.trace import Trace


def load_trace(path: Path) -> "Trace":
    """Return the trace in a file, or the recorded one of that name if there is no such file."""
    from traces.recordings import load

    if files.exists(path):
        files.check_readable(path)
    return load(path)


def build_machine(name: str, settings: list[str] | None) -> "Machine":
    """Return the machine of a name, its parameters changed by NAME=VALUE (SI, or with a unit). Raises MachineError."""
    from arch.building import machine

    return machine(name).with_(**parse_settings(settings))


def target_of(trace: "Trace") -> str:
    """Return the machine that a trace is replayed on where none is named: what it was captured for. Raises CodesignError without one."""
    from arch.registered import find

    if not trace.target:
        raise CodesignError("a trace that names no target needs a machine to be replayed on: give --machine")
    try:
        find(trace.target)
    except MachineError as error:
        own = f"such as your {trace.target}.toml"
        raise CodesignError(
            f"the trace was captured for {trace.target!r}, which the catalogue does not have; give --machine, {own}"
        ) from error
    return trace.target
