"""What real runs of the wave functions measured: recorded/statistics.toml, written by ``python -m traces.measure``."""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

STATISTICS = Path(__file__).parent / "recorded" / "statistics.toml"


def read_statistics() -> list[dict[str, Any]]:
    """Return what real runs of the wave functions measured on a CPU, a row each; empty where nothing was measured.

    Keys: workload, molecule, sampler, laplacian, precision; energy, energy_error (hartree); variance, variance_error, variance_unclipped
    (hartree^2) of one local energy; tau_transitions, tau_error (integrated autocorrelation time, 1/2 + sum of rho, in Markov transitions);
    inefficiency (2 tau in steps of ``spacing`` transitions); difference (root mean square from FP32, hartree; rows of other precisions);
    acceptance; and the run's settings: walkers, samples, stride, burn_in, training (steps of ``optimizer``), seed, date, versions, cpu.
    """
    if not STATISTICS.exists():
        return []
    rows: list[dict[str, Any]] = tomllib.loads(STATISTICS.read_text(encoding="utf-8"))["row"]
    return rows


def statistics_of(workload: str, options: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the rows of a workload with these options: its molecule, sampler and Laplacian, those that are given."""
    given = {name: options[name] for name in ("molecule", "sampler", "laplacian") if name in options}
    given = {"workload": workload} | given
    if given.get("laplacian") in ("loop", "naive"):
        given["laplacian"] = "forward"
    return [row for row in read_statistics() if all(row[name] == value for name, value in given.items())]
