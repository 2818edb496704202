"""The traces that ship with codesign: captured by ``python -m traces.record``, usable without any extra."""

import tomllib
from pathlib import Path
from typing import Any

from traces.errors import TraceError, nearest
from traces.files import load
from traces.trace import Trace

FOLDER = Path(__file__).parent / "recorded"
SUFFIX = ".trace"
STATISTICS = FOLDER / "statistics.toml"


def recorded_traces() -> list[str]:
    """Return the names of all recorded traces: ``<workload>-<molecule>-<target>``, lower case, sorted."""
    return sorted(path.stem for path in FOLDER.glob(f"*{SUFFIX}"))


def load_recorded(name: str) -> Trace:
    """Return a recorded trace by name, for example 'ferminet-ch4-a5000'. Raises TraceError with the nearest names."""
    if name not in (known := recorded_traces()):
        raise TraceError(f"there is no recorded trace {name!r}; {nearest(name, known)}")
    return load(FOLDER / f"{name}{SUFFIX}")


def read_statistics() -> list[dict[str, Any]]:
    """Return what real runs of the wave functions measured, a row each: energies' variance and the chain's autocorrelation time.

    Keys: workload, molecule, sampler, precision, laplacian; energy, energy_error (hartree), variance, variance_unclipped
    (hartree^2), autocorrelation_steps (Markov transitions), acceptance; and the run's settings. Empty where nothing was measured.
    """
    if not STATISTICS.exists():
        return []
    return tomllib.loads(STATISTICS.read_text(encoding="utf-8"))["row"]  # type: ignore[no-any-return]
