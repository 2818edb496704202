"""Variational Monte Carlo with neural wave functions: sampling and local energy, as deepqmc runs them.

One step of deepqmc 1.2.0 without an optimiser (``deepqmc.fit.fit_wf``) is ``sampler.sample`` and then
``deepqmc.loss.energy.compute_local_energy``. Both are here for one molecule in one electronic state on one GPU: the two
batch axes of length one and the collectives between GPUs are left out, walkers are the one vmapped axis.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from traces.workloads.molecules import molecules
from traces.workloads.stages import DEEPQMC_STAGES
from traces.workloads.vmc_options import MOLECULES, TRAINING
from traces.workloads.workload import Option, Program, Value, Workload

if TYPE_CHECKING:
    from traces.workloads.systems import System
    from traces.workloads.vmc.training import Optimizer

PRECISION = "highest"
"""deepqmc computes matrix products in full FP32: importing it sets this for the whole process."""


def sampling(system: "System") -> Callable[..., Any]:
    """Return the Markov chain's program: the sampler's transitions of all walkers, in the scope phase_sampling.

    It maps (parameters, sampler state, nuclei [n_nuclei, 3] in bohr, key) to (sampler state, configuration, statistics);
    the configuration holds electrons r [batch, n_electrons, 3] and, repeated for every walker, nuclei R, both in bohr.
    """

    def sample(params: Any, state: Any, nuclei: Any, key: Any) -> Any:
        import jax

        with jax.named_scope("phase_sampling"):
            state, configuration, statistics = system.sampler.sample(key, state, params, nuclei)
            return state, _fields(configuration), statistics

    return sample


def local_energy(system: "System") -> Callable[..., Any]:
    """Return the estimator's program, in the scope phase_laplacian.

    It maps (parameters, configuration of all walkers) to local energies float32 [batch] in hartree. The means of six
    terms that deepqmc logs beside them are left out (12 to 13 small reductions a step).
    """

    def energy(params: Any, configuration: Any) -> Any:
        import jax
        from deepqmc.types import PhysicalConfiguration

        with jax.named_scope("phase_laplacian"):
            one_walker = system.hamiltonian.local_energy(system.ansatz.apply)
            energies, _ = jax.vmap(one_walker, (None, None, 0))(None, params, PhysicalConfiguration(**configuration))
            return energies

    return energy


def estimated_energy(system: "System") -> Callable[..., Any]:
    """Return the program of Hutchinson's estimate, which takes a key as well: each walker draws a probe."""

    def energy(params: Any, configuration: Any, key: Any) -> Any:
        import jax
        from deepqmc.types import PhysicalConfiguration

        from traces.workloads.systems import with_probe

        def one_walker(key: Any, configuration: Any) -> Any:
            return with_probe(system.hamiltonian, key).local_energy(system.ansatz.apply)(None, params, configuration)[0]

        with jax.named_scope("phase_laplacian"):
            keys = jax.random.split(key, configuration["r"].shape[0])
            return jax.vmap(one_walker)(keys, PhysicalConfiguration(**configuration))

    return energy


def update(optimizer: "Optimizer") -> Callable[..., Any]:
    """Return the optimiser's program: (params, its state, configuration, local energies, key) -> (params, state, statistics)."""

    def program(params: Any, optimizer_state: Any, configuration: Any, energies: Any, key: Any) -> Any:
        return optimizer.step(params, optimizer_state, configuration, energies, key)

    return program


def refresh(system: "System") -> Callable[..., Any]:
    """Return the program that evaluates psi of the walkers with new parameters (deepqmc's ``sampler.update``)."""

    def program(params: Any, state: Any, nuclei: Any) -> Any:
        import jax

        with jax.named_scope("phase_sampling"):
            return system.sampler.update(state, params, nuclei)

    return program


def optimizer_of(system: "System", name: str) -> "Optimizer":
    """Return the optimiser 'adam' or 'kfac' of a system's wave function."""
    from traces.workloads.vmc.training import optimizer

    def log_psi(params: Any, configuration: Any) -> Any:
        import jax
        from deepqmc.types import PhysicalConfiguration

        return jax.vmap(system.ansatz.apply, (None, 0))(params, PhysicalConfiguration(**configuration)).log

    return optimizer(name, log_psi)


def _initial_sampling(system: "System", batch: int, seed: int) -> tuple[Any, ...]:
    """Return parameters, sampler state, nuclei and a key: walkers are drawn around the nuclei, not yet equilibrated."""
    import jax

    key_params, key_electrons, key_walkers, key = jax.random.split(jax.random.PRNGKey(seed), 4)
    one = system.hamiltonian.init_sample(key_electrons, system.nuclei, 1)[0]
    params = system.ansatz.init(key_params, one)
    return params, system.sampler.init(key_walkers, params, batch, system.nuclei), system.nuclei, key


def _initial_energy(system: "System", batch: int, seed: int) -> tuple[Any, ...]:
    """Return parameters and the configuration of all walkers, equal to those that sampling starts from."""
    params, state, nuclei, _ = _initial_sampling(system, batch, seed)
    return params, _fields(system.sampler.phys_conf(nuclei, state["r"]))


def _initial_estimate(system: "System", batch: int, seed: int) -> tuple[Any, ...]:
    import jax

    return *_initial_energy(system, batch, seed), jax.random.PRNGKey(seed)


def _initial_refresh(system: "System", batch: int, seed: int) -> tuple[Any, ...]:
    return _initial_sampling(system, batch, seed)[:-1]


def _initial_update(system: "System", optimizer: "Optimizer", batch: int, seed: int) -> tuple[Any, ...]:
    import jax
    import jax.numpy as jnp

    params, configuration = _initial_energy(system, batch, seed)
    energies, key = jnp.zeros(batch), jax.random.PRNGKey(seed)
    return params, optimizer.init(params, configuration, energies, key), configuration, energies, key


def _fields(configuration: Any) -> dict[str, Any]:
    """Return deepqmc's configuration as a plain dictionary, whose entries have names in a trace."""
    return {name: getattr(configuration, name) for name in ("R", "r", "mol_idx")}


def _deepqmc_programs(ansatz: str, settings: Mapping[str, Value]) -> list[Program]:
    from traces.workloads.numerics import numerics
    from traces.workloads.systems import import_deepqmc, system

    molecule, batch = molecules()[str(settings["molecule"])], int(settings["batch"])
    sampler, steps, laplacian = str(settings["sampler"]), int(settings["steps"]), str(settings["laplacian"])
    import_deepqmc()
    with numerics(PRECISION, x64=False):
        parts = system(ansatz, molecule, sampler, steps, laplacian)
    random = laplacian == "hutchinson"
    chain = Program(
        name="sampling",
        phase="sampling",
        function=sampling(parts),
        initial=partial(_initial_sampling, parts, batch),
        doc=f"{steps} {sampler} steps",
        **_NUMERICS,
    )
    estimate = Program(
        name="local_energy",
        phase="laplacian",
        function=estimated_energy(parts) if random else local_energy(parts),
        initial=partial(_initial_estimate if random else _initial_energy, parts, batch),
        feeds=_WALKERS,
        doc=f"{laplacian} Laplacian",
        **_NUMERICS,
    )
    return [chain, estimate, *_training(parts, batch, settings)]


_NUMERICS: dict[str, Any] = {"precision": PRECISION, "x64": False, "stage_rules": DEEPQMC_STAGES}
_WALKERS = {"configuration['r']": "output[1]['r']", "configuration['R']": "output[1]['R']"}


def _training(parts: "System", batch: int, settings: Mapping[str, Value]) -> list[Program]:
    """Return what a training step has besides: the update, and psi of the walkers with the new parameters; nothing for inference."""
    if settings["task"] == "inference":
        return []
    name = str(settings["optimizer"])
    optimizer = optimizer_of(parts, name)
    updating = Program(
        name="update",
        phase="optimizer",
        function=update(optimizer),
        initial=partial(_initial_update, parts, optimizer, batch),
        feeds=_WALKERS | {"energies": "output"},
        doc=f"gradient and {name}",
        **_NUMERICS,
    )
    refreshing = Program(
        name="refresh",
        phase="sampling",
        function=refresh(parts),
        initial=partial(_initial_refresh, parts, batch),
        feeds={"state['r']": "output[1]['r']"},
        doc="psi of the walkers with the new parameters",
        **_NUMERICS,
    )
    return [updating, refreshing]


PACKAGES = ("deepqmc", "dm-haiku", "folx")

OPTIONS = (
    Option("molecule", "CH4", "the molecule, at a fixed geometry", choices=MOLECULES),
    Option("batch", 1024, "walkers (electron configurations)"),
    Option(
        "sampler", "metropolis", "proposal of the Markov chain: Gaussian, or drifted along the force", choices=("metropolis", "langevin")
    ),
    Option("steps", 10, "transitions of the Markov chain a step"),
    Option(
        "laplacian",
        "loop",
        "loop: linearise the gradient once, one tangent a coordinate; forward: value, Jacobian and Laplacian together (folx); "
        "naive: gradient and tangent anew for each coordinate; hutchinson: one tangent along random signs (an estimate)",
        choices=("loop", "forward", "naive", "hutchinson"),
    ),
    *TRAINING,
)

FERMINET = Workload(
    name="ferminet",
    framework="jax",
    description="FermiNet (4 interactions, width 256, 16 determinants): Metropolis sampling and local energy",
    source="deepqmc 1.2.0, ansatz/ferminet",
    options=OPTIONS,
    build=partial(_deepqmc_programs, "ferminet"),
    packages=PACKAGES,
)

DEFAULT = Workload(
    name="default",
    framework="jax",
    description="deepqmc's default ansatz (3 interactions, width 128, Jastrow, cusps), which the survey calls PauliNet",
    source="deepqmc 1.2.0, ansatz/default",
    options=OPTIONS,
    build=partial(_deepqmc_programs, "default"),
    packages=PACKAGES,
)

DEEPQMC_PSIFORMER = Workload(
    name="deepqmc-psiformer",
    framework="jax",
    description="deepqmc's own Psiformer (4 attention layers, width 256, 16 determinants, 30 Metropolis steps)",
    source="deepqmc 1.2.0, ansatz/psiformer",
    options=tuple(replace(option, default=30) if option.name == "steps" else option for option in OPTIONS),
    build=partial(_deepqmc_programs, "psiformer"),
    packages=PACKAGES,
)
