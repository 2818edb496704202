"""Programs of the two other kinds on the same questions: a sampler of spin glasses, and language models that generate."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import codesign as cd
from studies.directions.answers import SEED, scaled_array

BOARD, RECORDED = "a100-sxm-80gb", "a100-sxm-40gb"
"""The GPU, and the board of the same chip that the traces were captured for."""
PROGRAMS = {
    "flashvan": "FlashVAN, a training step",
    "llama-2-7b": "Llama 2 7B, 8 sequences",
    "llama-3-8b": "Llama 3 8B, 8 sequences",
    "opt-6.7b": "OPT 6.7B, 8 sequences",
}
TRIALS = 24
POLICIES = ("single-device", "intensity-threshold", "cut-points", "groups", "near-cache")
MACHINES: dict[str, Callable[[], cd.Machine]] = {
    "HBM-PIM in the memory": lambda: cd.machine(f"{BOARD}+hbm-pim"),
    "NeuPIMs in the memory": lambda: cd.machine(f"{BOARD}+neupims"),
    "AttAcc behind NVLink 3": lambda: cd.machine(f"{BOARD}+attacc-bank@nvlink3"),
    "Duplex in the stacks": lambda: cd.machine(f"{BOARD}+duplex"),
    "array on the GPU's silicon": lambda: scaled_array(BOARD),
    "twice the memory bandwidth": lambda: cd.machine(BOARD, stack_bandwidth_bytes_per_s=2 * _stack_bandwidth()),
}


@dataclass(frozen=True)
class Other:
    """The fastest mapping that was found: how much faster than on the GPU alone, and joules over those there."""

    speedup: float
    energy: float


def _stack_bandwidth() -> float:
    return cd.machine(BOARD).parameters["stack_bandwidth_bytes_per_s"].value


@cache
def alone(program: str) -> cd.Timeline:
    """Return a program on the GPU alone."""
    return cd.replay(cd.load(f"{program}-{RECORDED}"), BOARD, record=False)


@cache
def other(program: str, direction: str) -> Other:
    """Return the fastest mapping of a program to the machine of a direction, as it is."""
    trace, machine, base = cd.load(f"{program}-{RECORDED}"), MACHINES[direction](), alone(program)
    if len(machine.devices) > 1:
        best = cd.explore(trace, machine, trials=TRIALS, seed=SEED, space=cd.Space(machine={}, policies=POLICIES)).best
        return Other(base.time_s / best.time_s, (best.energy_j or 0.0) / (base.energy_j or 1.0))
    found = cd.replay(trace, machine, record=False)
    return Other(base.time_s / found.time_s, (found.energy_j or 0.0) / (base.energy_j or 1.0))
