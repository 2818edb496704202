"""Psiformer of our own: declaration of its programs (``traces.workloads.vmc`` has the code)."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from traces.workloads.molecules import molecules
from traces.workloads.vmc_options import OPTIONS
from traces.workloads.workload import Program, Value, Workload

if TYPE_CHECKING:
    from traces.workloads.vmc.programs import Step


def step(settings: Mapping[str, Value]) -> "Step":
    """Return the parts of one step."""
    from traces.workloads.vmc.psiformer import psiformer
    from traces.workloads.vmc.system import system_of
    from traces.workloads.vmc_options import step_of

    system = system_of(molecules()[str(settings["molecule"])])
    return step_of(system, psiformer(system), settings)


def _programs(settings: Mapping[str, Value]) -> list[Program]:
    from traces.workloads.vmc_options import programs_of

    one = step(settings)
    return programs_of("psiformer", one, one, settings)


PSIFORMER = Workload(
    name="psiformer",
    framework="jax",
    description="Psiformer (4 attention layers, width 256, 16 determinants): Metropolis sampling and local energy",
    source="ours; network of von Glehn et al. (2022), sizes of the survey's runs",
    options=OPTIONS,
    build=_programs,
    packages=("folx",),
)
