"""The traces that ship with codesign: captured by ``python -m traces.record``, usable without any extra."""

import os
from pathlib import Path

from traces import loading
from traces.errors import TraceError, nearest
from traces.trace import Trace

FOLDER = Path(__file__).parent / "recorded"
SUFFIX = ".trace"


def recorded_traces() -> list[str]:
    """Return the names of all recorded traces: ``<workload>-<molecule>-<target>``, lower case, sorted."""
    return sorted(path.stem for path in FOLDER.glob(f"*{SUFFIX}"))


def recorded_of(workload: str) -> list[str]:
    """Return the names of the recorded traces of one workload, sorted."""
    return [name for name in recorded_traces() if name.startswith(f"{workload}-")]


def load_recorded(name: str) -> Trace:
    """Return a recorded trace by name, for example 'ferminet-ch4-a5000'. Raises TraceError with the nearest names."""
    if name not in (known := recorded_traces()):
        raise TraceError(f"there is no recorded trace {name!r}; {nearest(name, known)}")
    return loading.load(FOLDER / f"{name}{SUFFIX}")


def load(path: str | os.PathLike[str]) -> Trace:
    """Read a trace from a file, upgrading an older format, or the recorded one of that name ('ferminet-ch4-a5000') if there is no file.

    Raises TraceError if there is neither, or the file is no trace, is damaged, or was written by a newer version.
    """
    if os.path.exists(path):  # also of a name that is too long for a file, unlike Path.exists
        return loading.load(path)
    name = os.fspath(path).removesuffix(SUFFIX)
    if name not in (known := recorded_traces()):
        near = nearest(Path(name).name, known)
        hint = near if near.endswith("?") else "`codesign workloads NAME` lists those of a workload, such as ferminet-ch4-a5000"
        raise TraceError(f"there is no file {path}, and no recorded trace of that name; {hint}")
    return load_recorded(name)
