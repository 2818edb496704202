"""Options that our own wave functions share, and the step that they describe. Importing this loads no framework."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from traces.errors import MissingExtra
from traces.workloads.workload import Option, Value

if TYPE_CHECKING:
    from traces.workloads.vmc.programs import Step
    from traces.workloads.vmc.system import Ansatz, System
    from traces.workloads.workload import Program

MOLECULES = ("LiH", "CH4", "C2H6", "C4H4", "H2", "He", "Cl")

TRAINING = (
    Option("task", "inference", "training adds the energy's gradient and the optimiser", choices=("inference", "training")),
    Option("optimizer", "kfac", "of a training step: KFAC (kfac-jax), or Adam (optax)", choices=("kfac", "adam")),
)

OPTIONS = (
    Option("molecule", "CH4", "the molecule, at a fixed geometry", choices=MOLECULES),
    Option("batch", 1024, "walkers (electron configurations)"),
    Option(
        "sampler", "metropolis", "proposal of the Markov chain: Gaussian, or drifted along the force", choices=("metropolis", "langevin")
    ),
    Option("steps", 60, "transitions of the Markov chain a step"),
    Option("pruning", "yes", "whether walkers whose psi vanishes are replaced, once a step", choices=("yes", "no")),
    Option(
        "laplacian",
        "forward",
        "forward: value, Jacobian and Laplacian together (folx); loop: linearise the gradient once, one tangent a coordinate; "
        "naive: gradient and tangent anew for each coordinate; hutchinson: one tangent along random signs (an estimate)",
        choices=("forward", "loop", "naive", "hutchinson"),
    ),
    *TRAINING,
)


def step_of(system: "System", ansatz: "Ansatz", settings: Mapping[str, Value]) -> "Step":
    """Return the parts of one step with a wave function."""
    from traces.workloads.vmc.programs import Step

    names = ("sampler", "laplacian")
    sampler, laplacian = (str(settings[name]) for name in names)
    return Step(system, ansatz, int(settings["batch"]), sampler, int(settings["steps"]), laplacian, settings["pruning"] == "yes")


def programs_of(name: str, runs: "Step", captured: "Step", settings: Mapping[str, Value]) -> "list[Program]":
    """Return the programs of one step. Raises MissingExtra without folx, or KFAC without kfac-jax."""
    from traces.workloads.vmc.programs import programs, training_programs

    import_folx(name)
    found = programs(runs, captured)
    if settings["task"] == "training":
        found += training_programs(runs, captured, str(settings["optimizer"]))
    return found


def import_folx(workload: str) -> None:
    """Raise MissingExtra where folx is not installed."""
    try:
        import folx  # noqa: F401
    except ModuleNotFoundError as error:
        raise MissingExtra("nnvmc", f"the workload {workload!r} ({error})") from error
