"""Measures what a replay cannot know: ``python -m traces.measure [--only PATTERN]`` writes traces/recorded/statistics.toml.

How far local energies scatter, and how many Markov steps apart two of them are independent (``traces.measuring``): with both, the time of a
step becomes the time to a given standard error. A chain that is in the table is not run again.
"""

import argparse
import logging
import os
import platform
import sys
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from fnmatch import fnmatch
from importlib.metadata import version
from pathlib import Path
from typing import Any

from traces.measuring import ESTIMATES, SAMPLERS, SEED, Estimate, Setting, chain, trained
from traces.recorded_statistics import STATISTICS, read_statistics

log = logging.getLogger("traces")

ENVIRONMENT = {
    "JAX_PLATFORMS": "cpu",
    # With two threads only, jaxlib 0.10.2 stops for ever in a step of KFAC: work waits for work that has no thread left.
    "NPROC": "8",
    # A few hundred steps do not pay for optimising programs of this size: compiling was most of the time.
    "XLA_FLAGS": "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true",
}
"""Set before JAX is imported, unless the user has set them."""
ALL = ("ferminet", "psiformer", "default", "orbformer")
SETTINGS = (
    *(Setting(workload, "LiH", 64, 150) for workload in ALL[:2]),
    Setting("default", "LiH", 64, 60),
    Setting("orbformer", "LiH", 32, 60),
    *(Setting(workload, "CH4", 16, 150, burn_in=100, samples=60) for workload in ALL[:3]),
    Setting("orbformer", "CH4", 16, 30, burn_in=100, samples=60),
    *(Setting(workload, "C2H6", 16, 30, burn_in=100, samples=40) for workload in ALL),
    *(Setting(workload, "C4H4", 16, 30, burn_in=100, samples=40) for workload in ("ferminet", "default")),
    *(Setting(workload, "C4H4", 8, 20, burn_in=50, samples=30) for workload in ("psiformer", "orbformer")),
    *(Setting("deepqmc-psiformer", molecule, 16, 30, burn_in=100, samples=40) for molecule in ("LiH", "Cl")),
)
"""The larger, the fewer walkers, steps and samples, so that each takes minutes of two cores; rows say how many."""


def measure(only: str, work: Path) -> None:
    """Measure every wave function and molecule whose name (``psiformer-lih``) fits the pattern and that is not in the table."""
    for setting in SETTINGS:
        samplers = missing(setting)
        if samplers and fnmatch(setting.name, only.lower()):
            _measure(setting, samplers, work)


def missing(setting: Setting, estimates: tuple[Estimate, ...] = ESTIMATES) -> list[str]:
    """Return the samplers of which the table lacks the row of an estimate."""
    names = ("workload", "molecule", "sampler", "laplacian", "precision")
    known = {tuple(row[name] for name in names) for row in read_statistics()}

    def measured(sampler: str) -> bool:
        wanted = (estimate for estimate in estimates if sampler in estimate.samplers)
        return all((setting.workload, setting.molecule, sampler, estimate.laplacian, estimate.precision) in known for estimate in wanted)

    return [sampler for sampler in SAMPLERS if not measured(sampler)]


def unmeasured(workload: str) -> dict[str, list[str]]:
    """Return by molecule the samplers of which nothing was measured, of a wave function whose traces ship; what measures is the module."""
    found = {setting.molecule: missing(setting, ESTIMATES[:1]) for setting in SETTINGS if setting.workload == workload}
    return {molecule: samplers for molecule, samplers in found.items() if samplers}


def _measure(setting: Setting, samplers: Iterable[str], work: Path) -> None:
    begun, start = time.process_time(), trained(setting, work)
    for sampler in samplers:
        head = _head(setting, sampler)
        rows = [head | row | _settings(setting) for row in chain(setting, start, sampler)]
        others = [row for row in read_statistics() if not head.items() <= row.items()]  # a chain's estimates are of the same walkers
        _write(sorted([*others, *rows], key=_place))
        log.info("%s %s after %.0f s of CPU: %s", setting.name, sampler, time.process_time() - begun, rows[0])


def _place(row: Mapping[str, Any]) -> tuple[int, int]:
    """Return where a row stands in the table: in the order of the settings, then of the samplers."""
    places = {(setting.workload, setting.molecule): place for place, setting in enumerate(SETTINGS)}
    return places[row["workload"], row["molecule"]], SAMPLERS.index(row["sampler"])


def _head(setting: Setting, sampler: str) -> dict[str, Any]:
    return {"workload": setting.workload, "molecule": setting.molecule, "sampler": sampler}


def _settings(setting: Setting) -> dict[str, Any]:
    """Return what a row says about how it was made; ``samples`` is each estimate's own."""
    made = {key: value for key, value in asdict(setting).items() if key not in ("workload", "molecule", "samples")}
    packages = " ".join(f"{name} {version(name)}" for name in ("jax", "kfac-jax", "folx", "deepqmc"))
    return made | {"optimizer": "kfac", "seed": SEED, "date": time.strftime("%Y-%m-%d"), "versions": packages, "cpu": platform.machine()}


HEAD = """# Scatter of local energies and memory of the chain, by `python -m traces.measure`, on a CPU; docs/workloads.md has its use.
# energy, energy_error in hartree, variance in hartree^2: of local energies clipped to five mean deviations around the median, as in
# training (variance_unclipped: without). tau_transitions: integrated autocorrelation time, 1/2 + sum of rho, in Markov transitions of
# all electrons; inefficiency: 2 tau in steps of `spacing` transitions. *_error: standard errors, of variance and tau by the jackknife
# over walkers. difference: root mean square from the FP32 energies of the same walkers, hartree.
# laplacian: forward also stands for loop and naive. precision: tf32 rounds the operands of every matrix product to 10 bits of mantissa.
# Networks are trained for `training` steps of KFAC from random parameters: variances fall as training goes on.
"""


def _write(rows: Iterable[Mapping[str, Any]]) -> None:
    """Write the table beside its place and rename it."""
    lines = [HEAD]
    for row in rows:
        lines += ["", "[[row]]", *(f"{key} = {value!r}".replace("'", '"') for key, value in row.items())]
    beside = STATISTICS.with_suffix(".part")
    beside.write_text("\n".join(lines) + "\n", encoding="utf-8")
    beside.replace(STATISTICS)


def table(rows: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return the lines of the table in docs/workloads.md: a row for each estimate in FP32."""
    heads = ("", "molecule", "sampler", "Laplacian", "walkers, steps of KFAC", "energy, hartree", "variance, hartree²", "τ, transitions")
    lines = ["| " + " | ".join((*heads, "2τ in steps of 10, 60 transitions")) + " |", "| " + " | ".join(["---"] * (len(heads) + 1)) + " |"]
    for row in rows:
        if row["precision"] != "fp32":
            continue
        measured = (f"{row[name]:.{digits}f} ± {row[error]:.{digits}f}" for name, error, digits in _SHOWN)
        apart = ", ".join(f"{row['inefficiency'][row['spacing'].index(count)]:.2f}" for count in (10, 60))
        made = (f"`{row['workload']}`", row["molecule"], row["sampler"], row["laplacian"], f"{row['walkers']}, {row['training']}")
        lines.append("| " + " | ".join((*made, *measured, apart)) + " |")
    return lines


_SHOWN = (("energy", "energy_error", 3), ("variance", "variance_error", 2), ("tau_transitions", "tau_error", 1))


def main(arguments: list[str] | None = None) -> int:
    """Measure what is missing; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m traces.measure", description="Measure the statistics of the wave functions on a CPU.")
    parser.add_argument("--only", default="*", metavar="PATTERN", help="as in a shell: 'psiformer-*'")
    parser.add_argument("--work", type=Path, default=Path("build/statistics"), metavar="FOLDER", help="where trained networks are kept")
    parser.add_argument(
        "--table", action="store_true", help="print what was measured as the table in docs/workloads.md, and measure nothing"
    )
    options = parser.parse_args(arguments)
    if options.table:
        sys.stdout.write("\n".join([*table(read_statistics()), ""]))
        return 0
    logging.basicConfig(format="%(asctime)s %(message)s")
    log.setLevel(logging.INFO)  # packages tell at length how they group parameters
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str((options.work / "compiled").resolve()))
    measure(options.only, options.work)
    return 0


if __name__ == "__main__":
    sys.exit(main())
