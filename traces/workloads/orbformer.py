"""Orbformer of our own: declaration of its programs (``traces.workloads.vmc`` has the code)."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from traces.workloads.molecules import molecules
from traces.workloads.vmc_options import OPTIONS
from traces.workloads.workload import Conflict, Option, Program, Value, Workload

if TYPE_CHECKING:
    from traces.workloads.vmc.programs import Step

NO_JVP = "the fused kernel has a VJP and a forward Laplacian, but no JVP"
INSTEAD = "choose laplacian=forward, or attention=plain"


def step(settings: Mapping[str, Value], attention: str) -> "Step":
    """Return the parts of one step; attention is plain, fused or interpreted."""
    from traces.workloads.vmc.orbformer import Shape, orbformer
    from traces.workloads.vmc.system import system_of
    from traces.workloads.vmc_options import step_of

    system = system_of(molecules()[str(settings["molecule"])])
    return step_of(system, orbformer(system, Shape(attention=attention)), settings)


def _programs(settings: Mapping[str, Value]) -> list[Program]:
    from traces.workloads.vmc_options import programs_of

    runs, captured = ("interpreted", "fused") if settings["attention"] == "flash" else ("plain", "plain")
    return programs_of("orbformer", step(settings, runs), step(settings, captured), settings)


ORBFORMER = Workload(
    name="orbformer",
    framework="jax",
    description="Orbformer (orbitals generated from the molecule, 4 attention layers, 16 determinants): Metropolis sampling, local energy",
    source="ours, after a layer-by-layer description of Orbformer-SE; flash attention is folx's Pallas kernel",
    options=(
        *OPTIONS,
        Option(
            "attention", "flash", "flash: one kernel (folx, Pallas; interpreted on a CPU); plain: products, softmax", ("flash", "plain")
        ),
    ),
    build=_programs,
    conflicts=(
        *(Conflict({"attention": "flash", "laplacian": name}, NO_JVP, INSTEAD) for name in ("loop", "naive", "hutchinson")),
        Conflict({"attention": "flash"}, "Triton's kernels need 8.0", "choose attention=plain", before=(8, 0)),
    ),
    packages=("folx",),
)
