"""Measures what a replay cannot know: ``python -m traces.measure [--only PATTERN]`` writes traces/recorded/statistics.toml.

How far local energies scatter, and how many Markov steps apart two of them are independent: with both, the time of a step becomes the time
to a given standard error. Each wave function is trained for a few steps of Adam on a CPU; then one chain a sampler and precision runs on
its parameters, and the local energies of the same walkers are found with each Laplacian. A table that is there is kept, so an interrupted
run goes on where it stopped.
"""

import argparse
import logging
import os
import platform
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from fnmatch import fnmatch
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from traces.recordings import STATISTICS, read_statistics

if TYPE_CHECKING:
    from traces.workloads.running import Run

log = logging.getLogger("traces")

WORKLOADS = ("psiformer", "ferminet", "default", "orbformer")
TF32 = ("psiformer", "orbformer")
"""Those whose matrix products may use TF32 (measured with Metropolis); deepqmc asks for full FP32."""

SAMPLERS = ("metropolis", "langevin")
LAPLACIANS = ("forward", "hutchinson")
"""loop and naive give the energies of forward, up to rounding."""

WINDOW = 5.0
"""The sum over correlations ends at this many autocorrelation times (Sokal 1989)."""


@dataclass(frozen=True)
class Setting:
    """How a molecule is measured: walkers, Adam steps (of ten transitions each), transitions before, samples and their distance."""

    molecule: str
    walkers: int
    training: int
    burn_in: int
    samples: int
    stride: int


SETTINGS = (Setting("LiH", 16, 80, 100, 50, 4), Setting("CH4", 8, 20, 60, 30, 4))


def autocorrelation_time(series: npt.NDArray[np.float64]) -> float:
    """Return the integrated autocorrelation time in samples, 1 + 2 sum rho, of a series [samples, walkers] of independent walkers.

    Correlations are averaged over walkers about the common mean; the sum ends where it is a fifth of the distance (Sokal's window).
    """
    centred = series - series.mean()
    count = len(series)
    covariance = np.array([(centred[: count - lag] * centred[lag:]).mean() for lag in range(count // 2)])
    if covariance[0] <= 0:
        return 1.0
    times = 2 * np.cumsum(covariance / covariance[0]) - 1
    ended = np.flatnonzero(np.arange(len(times)) >= WINDOW * times)
    return float(max(1.0, times[ended[0] if len(ended) else -1]))


def trained(workload: str, setting: Setting) -> "Run":
    """Return a run of ten Metropolis transitions a step after its training, with the exact Laplacian."""
    from traces import registry
    from traces.workloads.running import Run

    run = Run(registry.get("workloads", workload), _options(workload, setting) | {"steps": 10, "task": "training", "optimizer": "adam"})
    run.train(setting.training)
    return run


def _options(workload: str, setting: Setting) -> dict[str, Any]:
    plain = {"attention": "plain"} if workload == "orbformer" else {}
    return {"molecule": setting.molecule, "batch": setting.walkers, "laplacian": "forward"} | plain


def chains(workload: str, setting: Setting, start: "Run", sampler: str, precision: str) -> Iterator[dict[str, Any]]:
    """Yield the row of each Laplacian, from one chain."""
    from traces import registry
    from traces.workloads.rounding import tf32
    from traces.workloads.running import Run

    change = tf32 if precision == "tf32" else lambda function: function
    options = _options(workload, setting) | {"steps": setting.stride, "sampler": sampler, "task": "training", "optimizer": "adam"}
    exact, estimate = (Run(registry.get("workloads", workload), options | {"laplacian": name}, change=change) for name in LAPLACIANS)
    exact.adopt(start)
    for _ in range(setting.burn_in // setting.stride):
        exact.sample()
    acceptance, energies = [], []
    for _ in range(setting.samples):
        told = exact.sample()
        acceptance.append(float(np.mean(next(value for name, value in told.items() if name.endswith("acceptance")))))
        estimate.values |= {name: exact.values[name] for name in exact.values if name != "key"}
        energies.append([exact.local_energies(), estimate.local_energies()])
    found = np.array(energies, np.float64)
    for number, laplacian in enumerate(LAPLACIANS):
        yield _row(found[:, number], setting.stride) | {"laplacian": laplacian, "acceptance": round(float(np.mean(acceptance)), 4)}


def _row(series: npt.NDArray[np.float64], stride: int) -> dict[str, float]:
    """Return mean, error and variance of clipped local energies [samples, walkers] in hartree, and their autocorrelation time."""
    kept = clipped(series)
    samples = autocorrelation_time(kept)
    error = np.sqrt(kept.var() * samples / kept.size)
    return {
        "energy": _short(kept.mean()),
        "energy_error": _short(error),
        "variance": _short(kept.var()),
        "variance_unclipped": _short(series.var()),
        "autocorrelation_steps": _short(samples * stride),
    }


def clipped(series: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Clip energies to their median plus and minus five mean absolute deviations, as a training step does: at a node they have no limit."""
    centre = np.median(series)
    width = 5.0 * np.abs(series - centre).mean()
    return np.clip(series, centre - width, centre + width)


def _short(value: Any) -> float:
    return float(f"{float(value):.5g}")


def measure(only: str) -> None:
    """Measure every wave function and molecule whose name (``psiformer-lih``) fits the pattern and is not in the table."""
    rows = read_statistics()
    for setting in SETTINGS:
        for workload in WORKLOADS:
            done = {(r["sampler"], r["precision"]) for r in rows if (r["workload"], r["molecule"]) == (workload, setting.molecule)}
            missing = [chain for chain in planned(workload) if chain not in done]
            if missing and fnmatch(f"{workload}-{setting.molecule}".lower(), only.lower()):
                _measure(workload, setting, missing)


def planned(workload: str) -> list[tuple[str, str]]:
    """Return the chains of a wave function: (sampler, precision)."""
    return [*((sampler, "fp32") for sampler in SAMPLERS), *([(SAMPLERS[0], "tf32")] if workload in TF32 else [])]


def _measure(workload: str, setting: Setting, missing: list[tuple[str, str]]) -> None:
    begun = time.monotonic()
    start = trained(workload, setting)
    for sampler, precision in missing:
        head = {"workload": workload, "molecule": setting.molecule, "sampler": sampler, "precision": precision}
        found = [head | row | asdict(setting) for row in chains(workload, setting, start, sampler, precision)]
        _write(read_statistics() + found)
        log.info("%s %s %s after %.0f s: %s", workload, setting.molecule, (sampler, precision), time.monotonic() - begun, found)


HEAD = f"""# Scatter of local energies and distance of independent samples, by `python -m traces.measure`, on a CPU ({platform.machine()}).
# energy, its error (hartree) and variance (hartree^2) of local energies, clipped to five mean deviations around the median as in training
# (variance_unclipped: without); autocorrelation_steps: integrated, in Markov transitions.
# Networks are trained for only `training` steps of Adam from random parameters: variances fall as training goes on, mostly together.
# laplacian: forward also stands for loop and naive. precision: tf32 rounds the operands of every matrix product to 10 bits of mantissa.
"""


def _write(rows: list[Mapping[str, Any]] | list[dict[str, Any]]) -> None:
    """Write the table beside its place and rename it."""
    lines = [HEAD]
    for row in rows:
        lines += ["", "[[row]]", *(f"{key} = {value!r}".replace("'", '"') for key, value in row.items())]
    beside = STATISTICS.with_suffix(".part")
    beside.write_text("\n".join(lines) + "\n", encoding="utf-8")
    beside.replace(STATISTICS)


def main(arguments: list[str] | None = None) -> int:
    """Measure what is missing; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m traces.measure", description="Measure the statistics of the wave functions on a CPU.")
    parser.add_argument("--only", default="*", metavar="PATTERN", help="as in a shell: 'psiformer-*'")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    logging.getLogger("jax").setLevel(logging.WARNING)
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    measure(options.only)
    return 0


if __name__ == "__main__":
    sys.exit(main())
