"""What a search finds for a direction and a step, beside what no design of the direction's space can beat."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import codesign as cd
from studies.directions.programs import GPU, alone, step

ARRAY = "sn40l"
TRIALS, SEED = 40, 1
L2_TIMES = 16
IN_MEMORY = "PIM in the memory packages"
PCIE = "PIM behind PCIe 4"
FAST_LINK = "PIM behind a link of up to 32 times that"
MODES, ONE_MODE, UNCHAINED = "an array with modes on the GPU's silicon", "the same in one mode", "the same, kernels one by one"


@dataclass(frozen=True)
class Answer:
    """The fastest design that was found for a step.

    Attributes
    ----------
    speedup, bound
        How much faster than on the GPU alone; what nothing in the space can beat.
    energy
        Joules over those on the GPU alone.
    away, moving
        Shares of the kernel time that is not on the first device, and of the step's time in which data moves between devices.
    told
        Whether the gain over the GPU alone is more than the model's own error; None where the GPU is none of the designs.
    """

    direction: str
    ansatz: str
    molecule: str
    speedup: float
    bound: float
    energy: float
    away: float
    moving: float
    told: bool | None


@cache
def answer(direction: str, ansatz: str, molecule: str, task: str = "inference") -> Answer:
    """Search the space of a direction for the fastest step."""
    program, base, machine = step(ansatz, molecule, task), alone(ansatz, molecule, task), MACHINES[direction]()
    result = cd.explore(program, machine, trials=TRIALS, seed=SEED, space=SPACES.get(direction))
    best = cd.replay(program, machine.with_(**result.best.machine), result.best.mapping, record=False)
    first = machine.devices[0].id
    return Answer(
        direction,
        ansatz,
        molecule,
        speedup=base.time_s / best.time_s,
        bound=base.time_s / (result.lower_bound_s or 0.0),
        energy=(best.energy_j or 0.0) / (base.energy_j or 1.0),
        away=1 - best.shares("device").get(first, 0.0),
        moving=(best.transfer_s + best.hand_over_s) / best.time_s,
        told=_told(result) if first == GPU else None,
    )


def _told(result: cd.Result) -> bool:
    return any(comparison.told for comparison in result.told_apart if comparison.design == "single device")


def scaled_array(board: str) -> cd.Machine:
    """Return the array scaled to a GPU's die and memory bandwidth, beside a CPU that sorts."""
    gpu, array = cd.machine(board), cd.machine(ARRAY)
    scale = (gpu.area_mm2 or 0.0) / (array.area_at(gpu.entries[0].text["node"]) or 1.0)
    return cd.machine(f"{ARRAY}+cpu").with_(array_scale=scale, array_memory_bandwidth_bytes_per_s=gpu.memories[0].bandwidth)


def array_on_the_gpus_silicon(**changes: float) -> cd.Machine:
    """Return the array on the A5000's silicon; ``changes`` are numbers of its entry."""
    machine = scaled_array(GPU)
    return _with_array(machine, lambda device: replace(device, entry=device.entry.changed(changes))) if changes else machine


def array_of_one_mode() -> cd.Machine:
    """Return the same with its array in the mode for FP32 products throughout."""
    return _with_array(array_on_the_gpus_silicon(), lambda device: replace(device, forced="gemm32"))


def array_without_chains() -> cd.Machine:
    """Return the same whose kernels hand over through memory or buffers, one after another."""
    return _with_array(array_on_the_gpus_silicon(), lambda device: replace(device, fuses=False))


@cache
def with_large_l2(ansatz: str, molecule: str) -> float:
    """Return how much faster a step is on the GPU with the largest L2 that it declares: 101 MB, near to the array's 120 MB of buffers."""
    gpu = cd.machine(GPU)
    larger = gpu.with_(l2_bytes=L2_TIMES * gpu.parameters["l2_bytes"].value)
    return alone(ansatz, molecule).time_s / cd.replay(step(ansatz, molecule), larger, record=False).time_s


def _with_array(machine: cd.Machine, change: Callable[[Any], Any]) -> cd.Machine:
    return replace(machine, devices=(change(machine.devices[0]), *machine.devices[1:]))


MACHINES: dict[str, Callable[[], cd.Machine]] = {
    IN_MEMORY: lambda: cd.machine(f"{GPU}+aim-fp32"),
    PCIE: lambda: cd.machine(f"{GPU}+aim-fp32@pcie4"),
    FAST_LINK: lambda: cd.machine(f"{GPU}+aim-fp32@pcie4"),
    MODES: array_on_the_gpus_silicon,
    ONE_MODE: array_of_one_mode,
    UNCHAINED: array_without_chains,
}

SPACES = dict.fromkeys((PCIE, MODES, ONE_MODE, UNCHAINED), cd.Space(machine={}))
"""Machines as they are. Elsewhere all that a machine declares may vary: PIM in one package to all, its units, the link."""
