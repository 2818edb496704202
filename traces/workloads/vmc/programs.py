"""The programs of one step: sampling and local energy; each runs for real, and is what a capture compiles.

Parameters are the first argument of each, then what the step before left, then the molecule (positions in bohr, charges).
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from traces.workloads.stages import REST
from traces.workloads.vmc import energy, sampler
from traces.workloads.vmc.staged_forward import PREFIX
from traces.workloads.vmc.system import Ansatz, System, initial_walkers
from traces.workloads.vmc.training import Optimizer, optimizer
from traces.workloads.workload import Program, StageRules

PRECISION = "high"
"""Matrix products may use the tensor cores with TF32 in three passes; what the survey's Psiformer and Orbformer ran with."""

STAGES: StageRules = (
    ("E", r"transpose\("),
    ("A", r"[/(]nuclei[/)]"),
    ("C", r"[/(]orbital_generator[/)]"),
    ("E", r"phase_laplacian/(?!forward/).*while/body/"),
    ("A", r"[/(]features[/)]"),
    ("B", r"[/(]interaction_\d+[/)]"),
    ("C", r"[/(](orbitals|jastrow)[/)]"),
    ("D", r"[/(]determinants[/)]"),
    *REST,
)
"""As for deepqmc's wave functions: A to D are one evaluation of psi, or what the forward Laplacian carries through it; E the rest."""

assert PREFIX.startswith("phase_laplacian/forward/")


@dataclass(frozen=True)
class Step:
    """What the programs of one step share."""

    system: System
    ansatz: Ansatz
    batch: int
    sampler: str
    steps: int
    laplacian: str
    prune: bool

    def psi(self, params: Any, nuclei: Any, charges: Any, r: Any) -> Any:
        """Return Psi of all walkers r [batch, n, 3]; the molecule's part once."""
        import jax

        context = self.ansatz.molecule(params, nuclei, charges)
        return jax.vmap(self.ansatz.psi, (None, None, None, 0))(params, context, nuclei, r)

    def force(self, params: Any, nuclei: Any, charges: Any, r: Any) -> Any:
        """Return Psi of all walkers and the clipped gradient of log|psi|, like r."""
        import jax

        context = self.ansatz.molecule(params, nuclei, charges)

        def one(r: Any) -> Any:
            psi = self.ansatz.psi(params, context, nuclei, r)
            return psi.log, psi

        (_, psi), gradient = jax.vmap(jax.value_and_grad(one, has_aux=True))(r)
        return psi, sampler.clipped(gradient)

    def chain(self, params: Any, nuclei: Any, charges: Any) -> Callable[[Any, Any], tuple[Any, Any]]:
        psi, force = (partial(f, params, nuclei, charges) for f in (self.psi, self.force))
        return sampler.metropolis(psi) if self.sampler == "metropolis" else sampler.langevin(psi, force)

    def start(self, params: Any, nuclei: Any, charges: Any, r: Any) -> Any:
        """Return the chain's state at positions r."""
        force = partial(self.force, params, nuclei, charges) if self.sampler == "langevin" else None
        return sampler.initial(self.sampler, r, partial(self.psi, params, nuclei, charges), force)


def sampling(step: Step) -> Callable[..., Any]:
    """Return the chain's program: (params, state, nuclei, charges, key) -> (state, statistics of each transition)."""

    def sample(params: Any, state: Any, nuclei: Any, charges: Any, key: Any) -> Any:
        import jax

        with jax.named_scope("phase_sampling"):
            return sampler.run(step.chain(params, nuclei, charges), state, key, step.steps, nuclei, step.prune)

    return sample


def local_energy(step: Step) -> Callable[..., Any]:
    """Return the estimator's program: (params, r, nuclei, charges[, key]) -> local energies [batch] in hartree.

    Only Hutchinson's estimator takes a key: it draws a probe a walker.
    """

    def energies(params: Any, r: Any, nuclei: Any, charges: Any, keys: Any) -> Any:
        import jax

        context = step.ansatz.molecule(params, nuclei, charges)

        def one(r: Any, key: Any) -> Any:
            def log_psi(x: Any) -> Any:
                return step.ansatz.psi(params, context, nuclei, x).log

            return energy.kinetic(step.laplacian, log_psi, r, key, STAGES) + energy.coulomb(r, nuclei, charges)

        return jax.vmap(one, (0, None if keys is None else 0))(r, keys)

    def deterministic(params: Any, r: Any, nuclei: Any, charges: Any) -> Any:
        import jax

        with jax.named_scope("phase_laplacian"):
            return energies(params, r, nuclei, charges, None)

    def random(params: Any, r: Any, nuclei: Any, charges: Any, key: Any) -> Any:
        import jax

        with jax.named_scope("phase_laplacian"):
            return energies(params, r, nuclei, charges, jax.random.split(key, step.batch))

    return random if step.laplacian == "hutchinson" else deterministic


def update(chosen: Optimizer) -> Callable[..., Any]:
    """Return the optimiser's program: (params, its state, r, local energies, nuclei, charges, key) -> (params, state, statistics)."""

    def program(params: Any, optimizer_state: Any, r: Any, energies: Any, nuclei: Any, charges: Any, key: Any) -> Any:
        configuration = {"r": r, "nuclei": nuclei, "charges": charges}
        return chosen.step(params, optimizer_state, configuration, energies, key)

    return program


def refresh(step: Step) -> Callable[..., Any]:
    """Return the program that evaluates psi of the walkers with new parameters: (params, state, nuclei, charges) -> state."""

    def program(params: Any, state: Any, nuclei: Any, charges: Any) -> Any:
        import jax

        with jax.named_scope("phase_sampling"):
            return step.start(params, nuclei, charges, state["r"]) | {"tau": state["tau"]}

    return program


def _initial(step: Step, seed: int) -> tuple[Any, Any, Any, Any]:
    """Return parameters, walkers around the nuclei, the molecule, and a key."""
    import jax
    import jax.numpy as jnp

    key_params, key_walkers, key = jax.random.split(jax.random.PRNGKey(seed), 3)
    molecule = jnp.asarray(step.system.nuclei), jnp.asarray(step.system.charges)
    return step.ansatz.init(key_params), initial_walkers(key_walkers, step.system, step.batch), molecule, key


def _initial_sampling(step: Step, seed: int) -> tuple[Any, ...]:
    params, r, (nuclei, charges), key = _initial(step, seed)
    return params, step.start(params, nuclei, charges, r), nuclei, charges, key


def _initial_energy(step: Step, seed: int) -> tuple[Any, ...]:
    params, r, molecule, key = _initial(step, seed)
    return params, r, *molecule, *([key] if step.laplacian == "hutchinson" else [])


def _initial_update(step: Step, chosen: Optimizer, seed: int) -> tuple[Any, ...]:
    import jax.numpy as jnp

    params, r, (nuclei, charges), key = _initial(step, seed)
    energies = jnp.zeros(step.batch)
    state = chosen.init(params, {"r": r, "nuclei": nuclei, "charges": charges}, energies, key)
    return params, state, r, energies, nuclei, charges, key


def training(step: Step, name: str) -> Optimizer:
    """Return the optimiser 'adam' or 'kfac' of a step's wave function."""
    return optimizer(name, lambda params, c: step.psi(params, c["nuclei"], c["charges"], c["r"]).log)


def programs(step: Step, captured: Step) -> list[Program]:
    """Return the programs of one step; ``captured`` is the step that a capture compiles where it is another than the one that runs."""
    numerics: dict[str, Any] = {"precision": PRECISION, "x64": False, "stage_rules": STAGES}
    sample = Program(
        name="sampling",
        phase="sampling",
        function=sampling(step),
        captured=sampling(captured),
        initial=partial(_initial_sampling, step),
        doc=f"{step.steps} {step.sampler} steps",
        **numerics,
    )
    estimate = Program(
        name="local_energy",
        phase="laplacian",
        function=local_energy(step),
        captured=local_energy(captured),
        initial=partial(_initial_energy, step),
        feeds={"r": "output[0]['r']"},
        doc=f"{step.laplacian} Laplacian",
        **numerics,
    )
    return [sample, estimate]


def _initial_refresh(step: Step, seed: int) -> tuple[Any, ...]:
    return _initial_sampling(step, seed)[:-1]


def training_programs(step: Step, captured: Step, name: str) -> list[Program]:
    """Return what a training step has besides: the update with the optimiser 'adam' or 'kfac', and psi with the new parameters."""
    chosen = training(step, name)
    numerics: dict[str, Any] = {"precision": PRECISION, "x64": False, "stage_rules": STAGES}
    updating = Program(
        name="update",
        phase="optimizer",
        function=update(chosen),
        captured=update(training(captured, name)),
        initial=partial(_initial_update, step, chosen),
        feeds={"r": "output[0]['r']", "energies": "output"},
        doc=f"gradient and {name}",
        **numerics,
    )
    refreshing = Program(
        name="refresh",
        phase="sampling",
        function=refresh(step),
        captured=refresh(captured),
        initial=partial(_initial_refresh, step),
        feeds={"state['r']": "output[0]['r']"},
        doc="psi of the walkers with the new parameters",
        **numerics,
    )
    return [updating, refreshing]
