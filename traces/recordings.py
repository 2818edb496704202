"""The traces that ship with codesign: captured by ``python -m traces.record``, usable without any extra."""

from pathlib import Path

from traces.errors import TraceError, nearest
from traces.files import load
from traces.trace import Trace

FOLDER = Path(__file__).parent / "recorded"
SUFFIX = ".trace"


def recorded_traces() -> list[str]:
    """Return the names of all recorded traces: ``<workload>-<molecule>-<target>``, lower case, sorted."""
    return sorted(path.stem for path in FOLDER.glob(f"*{SUFFIX}"))


def load_recorded(name: str) -> Trace:
    """Return a recorded trace by name, for example 'ferminet-ch4-a5000'. Raises TraceError with the nearest names."""
    if name not in (known := recorded_traces()):
        raise TraceError(f"there is no recorded trace {name!r}; {nearest(name, known)}")
    return load(FOLDER / f"{name}{SUFFIX}")
