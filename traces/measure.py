"""Measures what a replay cannot know: ``python -m traces.measure [--only PATTERN]`` writes traces/recorded/statistics.toml.

How far local energies scatter, and how many Markov steps apart two of them are independent: with both, the time of a step becomes the time
to a given standard error. Each wave function is trained with KFAC on a CPU; then a chain a sampler runs on its parameters, and the local
energies of the same walkers are found with each Laplacian and precision. Training is kept in ``--work`` every few steps, and a chain that
is in the table is not run again, so an interrupted run goes on where it stopped.
"""

import argparse
import logging
import os
import platform
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from fnmatch import fnmatch
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from traces.recorded_statistics import STATISTICS, read_statistics
from traces.statistics import Series, autocorrelation_time, clipped, variance

if TYPE_CHECKING:
    from traces.workloads.running import Run
    from traces.workloads.workload import Program

log = logging.getLogger("traces")

SAMPLERS = ("metropolis", "langevin")
SPACINGS = (10, 30, 60)
"""Transitions of one step, at which the statistical inefficiency is measured besides the chain's own stride."""

SEED = 0
TRANSITIONS = 10
"""Metropolis transitions between two updates of the training."""
ENVIRONMENT = {
    "JAX_PLATFORMS": "cpu",
    # With two threads only, jaxlib 0.10.2 stops for ever in a step of KFAC: work waits for work that has no thread left.
    "NPROC": "8",
    # A few hundred steps do not pay for optimising programs of this size: compiling was most of the time.
    "XLA_FLAGS": "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true",
}
"""Set before JAX is imported, unless the user has set them."""
KEEP_EVERY = 10
SEVERAL = 8
"""Estimates that only test the rounding are made of one sample in so many."""


@dataclass(frozen=True)
class Setting:
    """How a wave function is measured: walkers, steps of KFAC, then transitions before the first sample, samples and their distance."""

    workload: str
    molecule: str
    walkers: int
    training: int
    burn_in: int = 200
    samples: int = 100
    stride: int = 5

    @property
    def name(self) -> str:
        return f"{self.workload}-{self.molecule}".lower()


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


@dataclass(frozen=True)
class Estimate:
    """One way to find local energies. ``every``: of how many samples one; ``samplers``: whose walkers."""

    laplacian: str
    precision: str
    every: int = 1
    samplers: tuple[str, ...] = SAMPLERS


ESTIMATES = (
    Estimate("forward", "fp32"),
    Estimate("hutchinson", "fp32"),
    Estimate("forward", "tf32", SEVERAL, SAMPLERS[:1]),
    Estimate("forward", "fp64", SEVERAL, SAMPLERS[:1]),
)
"""loop and naive give the energies of forward, up to rounding. TF32: operands of every product rounded, as tensor cores do."""


def _options(setting: Setting, **changed: Any) -> dict[str, Any]:
    plain = {"attention": "plain"} if setting.workload == "orbformer" else {}  # fused, it is interpreted on a CPU
    return {"molecule": setting.molecule, "batch": setting.walkers, "laplacian": "forward", "task": "training"} | plain | changed


def _run(setting: Setting, **changed: Any) -> "Run":
    from traces import registry
    from traces.workloads.running import Run

    workload = registry.get("workloads", setting.workload)
    known = {option.name for option in workload.options}
    return Run(workload, {name: value for name, value in _options(setting, **changed).items() if name in known}, seed=SEED)


def trained(setting: Setting, work: Path) -> "Run":
    """Return a run after its training with KFAC, from where ``work`` holds it."""
    run = _run(setting, steps=TRANSITIONS, optimizer="kfac")
    names, kept = tuple(run.values), work / f"{setting.name}-{setting.walkers}.npz"
    done = _restore(run, kept)
    while done < setting.training:
        count = min(KEEP_EVERY, setting.training - done)
        energies = run.train(count)
        done += count
        _keep(run, names, kept, done)
        log.info("%s: step %d of %d, energy %.4f in the last %d", setting.name, done, setting.training, energies.mean(), count)
    return run


def _keep(run: "Run", names: Iterable[str], path: Path, done: int) -> None:
    """Write what the next step takes beside its place and rename it."""
    import jax

    leaves = [np.asarray(leaf) for leaf in jax.tree.leaves({name: run.values[name] for name in names})]
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_suffix(".part.npz")
    np.savez(beside, done, *leaves)
    beside.replace(path)


def _restore(run: "Run", path: Path) -> int:
    """Put what was kept into the run, and return the steps that it was trained for; 0 where nothing was kept."""
    import jax
    import jax.numpy as jnp

    if not path.exists():
        return 0
    with np.load(path) as kept:
        done, *leaves = (kept[name] for name in kept.files)
    run.values = jax.tree.unflatten(jax.tree.structure(run.values), [jnp.asarray(leaf) for leaf in leaves])
    return int(done)


def chain(setting: Setting, start: "Run", sampler: str) -> Iterator[dict[str, Any]]:
    """Yield the row of each estimate, from one chain of the sampler on trained parameters."""
    run = _run(setting, steps=setting.stride, sampler=sampler, optimizer="adam", pruning="no")  # walkers that do not depend on each other
    run.adopt(start)
    for _ in range(setting.burn_in // setting.stride):
        run.sample()
    evaluate = {estimate: energies_of(setting, estimate) for estimate in ESTIMATES if sampler in estimate.samplers}
    found: dict[Estimate, list[np.ndarray]] = {estimate: [] for estimate in evaluate}
    acceptance = []
    for sample in range(setting.samples):
        told = run.sample()
        acceptance.append(float(np.mean(next(value for name, value in told.items() if name.endswith("acceptance")))))
        for estimate, energies in evaluate.items():
            if sample % estimate.every == 0:
                found[estimate].append(energies(run))
    series = {estimate: np.array(values, np.float64) for estimate, values in found.items()}
    head = {"acceptance": _short(np.mean(acceptance))}
    yield from (_told(estimate) | row | head for estimate, row in rows_of(series, setting.stride))


def _told(estimate: Estimate) -> dict[str, Any]:
    return {"laplacian": estimate.laplacian, "precision": estimate.precision}


@cache
def energies_of(setting: Setting, estimate: Estimate) -> "Callable[[Run], np.ndarray]":
    """Return the function that finds the local energies [walkers] of a run's walkers in one way."""
    import jax

    from traces import registry
    from traces.workloads.numerics import numerics
    from traces.workloads.rounding import tf32

    options = _options(setting, laplacian=estimate.laplacian, task="inference")
    program: Program = next(p for p in registry.get("workloads", setting.workload).programs(**options) if p.name == "local_energy")
    compiled = jax.jit(tf32(program.function) if estimate.precision == "tf32" else program.function)
    double = estimate.precision == "fp64"

    def energies(run: "Run") -> np.ndarray:
        with numerics(program.precision, double):
            given = run.given(program)
            return np.asarray(compiled(*(jax.tree.map(_doubled, given) if double else given)))

    return energies


def _doubled(leaf: Any) -> Any:
    import jax.numpy as jnp

    return leaf.astype(jnp.float64) if leaf.dtype == jnp.float32 else leaf


def rows_of(series: Mapping[Estimate, Series], stride: int) -> Iterator[tuple[Estimate, dict[str, Any]]]:
    """Yield what each estimate's local energies [samples, walkers] tell; those of few samples have the correlations of the first."""
    first, *_ = series.values()
    for estimate, energies in series.items():
        correlated = first if estimate.every > 1 else energies
        rounding = {"difference": _short(_difference(energies, first[:: estimate.every]))} if estimate.precision != "fp32" else {}
        yield estimate, {**_scatter(energies), **_memory(correlated, stride), **rounding}


def _scatter(series: Series) -> dict[str, float]:
    kept = clipped(series)
    scatter, error = variance(kept)
    time_, _ = autocorrelation_time(kept)
    return {
        "energy": _short(kept.mean(), 7),
        "energy_error": _short(np.sqrt(scatter * 2 * time_ / kept.size)),
        "variance": _short(scatter),
        "variance_error": _short(error),
        "variance_unclipped": _short(series.var()),
        "samples": len(series),
    }


def _memory(series: Series, stride: int) -> dict[str, Any]:
    """Return tau in transitions, and 2 tau in steps of several lengths."""
    kept = clipped(series)
    time_, error = autocorrelation_time(kept)
    every = [1, *(spacing // stride for spacing in SPACINGS if spacing > stride)]
    return {
        "tau_transitions": _short(time_ * stride),
        "tau_error": _short(error * stride),
        "spacing": [stride * count for count in every],
        "inefficiency": [_short(2 * np.mean([autocorrelation_time(kept[shift::count])[0] for shift in range(count)])) for count in every],
    }


def _difference(energies: Series, exact: Series) -> float:
    """Return the root mean square difference of two estimates of the same walkers' energies, outliers at nodes clipped."""
    return float(np.sqrt((clipped(energies - exact) ** 2).mean()))


def _short(value: Any, digits: int = 4) -> float:
    return float(f"{float(value):.{digits}g}")


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
