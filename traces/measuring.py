"""How local energies scatter, and how long a chain remembers: one wave function, trained and sampled on a CPU.

Each is trained with KFAC; then a chain a sampler runs on its parameters, and the local energies of the same walkers are found with each
Laplacian and precision. Training is kept in a folder every few steps, so that an interrupted run goes on where it stopped.
"""

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

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
KEEP_EVERY = 10
"""Steps of training after which it is written down."""
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
