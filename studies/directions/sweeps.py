"""One thing changed at a time: the link to PIM, the array's change of mode, and how tensors that do not fit are offloaded."""

from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np

import codesign as cd
from studies.directions.answers import MACHINES, PCIE, SEED, array_of_one_mode, array_on_the_gpus_silicon
from studies.directions.programs import GPU, alone, step

LINKS = (1, 2, 4, 8, 16, 32)
"""Bandwidths of the link to PIM, in those of PCIe 4."""
LINK_TRIALS = 20
PIM_PARAMETERS = ("pim_stacks", "pim_banks_per_unit", "pim_unit_clock_hz")
SWITCHES = {"nothing": 0.0, "as assumed": 1.0, "ten times": 10.0, "a hundred times": 100.0}
"""Bytes of a configuration over what the catalogue assumes; what is loaded at a change of mode."""
SWITCH_TRIALS = 20
OFFLOADED = "orbformer", "C4H4"


@cache
def over_a_link(ansatz: str, times: int) -> float:
    """Return how much faster a step on CH4 is with PIM behind ``times`` the bandwidth of PCIe 4, the PIM chosen for it."""
    machine = MACHINES[PCIE]()
    bandwidth = machine.parameters["link_bandwidth_bytes_per_s"].value
    space = cd.Space(machine=dict.fromkeys(PIM_PARAMETERS))
    wider = machine.with_(link_bandwidth_bytes_per_s=times * bandwidth)
    found = cd.explore(step(ansatz, "CH4"), wider, trials=LINK_TRIALS, seed=SEED, space=space)
    return alone(ansatz, "CH4").time_s / found.best.time_s


def link_gb_per_s(times: int) -> float:
    """Return a bandwidth of ``LINKS`` in GB/s."""
    return times * MACHINES[PCIE]().parameters["link_bandwidth_bytes_per_s"].value / 1e9


@cache
def switching(ansatz: str, cost: str) -> float:
    """Return how much faster than in its one mode for FP32 products a step on CH4 is whose configurations are ``cost`` of ``SWITCHES``."""
    array: Any = array_on_the_gpus_silicon().devices[0]
    configuration = array.entry["configuration"] * SWITCHES[cost]
    return _found_s(ansatz, array_of_one_mode()) / _found_s(ansatz, array_on_the_gpus_silicon(configuration=configuration))


def _found_s(ansatz: str, machine: cd.Machine) -> float:
    return cd.explore(step(ansatz, "CH4"), machine, space=cd.Space(machine={}), trials=SWITCH_TRIALS, seed=SEED).best.time_s


def roomy_gpu() -> cd.Machine:
    """Return the GPU with twice its memory at the same bandwidth."""
    gpu = cd.machine(GPU)
    packages, bandwidth = (gpu.parameters[name].value for name in ("memory_packages", "stack_bandwidth_bytes_per_s"))
    return gpu.with_(memory_packages=2 * packages, stack_bandwidth_bytes_per_s=bandwidth / 2)


@dataclass(frozen=True)
class Offloading:
    """A step whose idle tensors are in the host's DRAM: its time over that with room for all."""

    link: str
    change: str
    slower: float


@cache
def offloading() -> tuple[Offloading, ...]:
    """Return the step that does not fit, offloaded over two links, with one thing of the copies changed at a time."""
    program = step(*OFFLOADED)
    base = cd.replay(program, roomy_gpu(), record=False)
    found = []
    for link in ("pcie4", "pcie5"):
        machine = cd.machine(f"{GPU}+dram@{link}")
        chosen = cd.Mapping.from_dict(cd.replay(program, machine, "offload-idle", record=False).mapping)
        assert chosen.offload is not None
        for name, change in CHANGES.items():
            changed = replace(chosen, offload=replace(chosen.offload, **change))
            found.append(Offloading(link, name, cd.replay(program, machine, changed, record=False).time_s / base.time_s))
    return tuple(found)


CHANGES: dict[str, dict[str, Any]] = {
    "fetched 2 kernels ahead": {},
    "1 ahead": {"distance": 1},
    "4 ahead": {"distance": 4},
    "not ahead": {"distance": 0},
    "not ahead, and waiting for each copy": {"distance": 0, "synchronous": True},
    "pageable memory": {"pinned": False},
}


@dataclass(frozen=True)
class Moved:
    """A training step with some tensors in the host's DRAM: its time over that without, and by how much its memory shrinks."""

    ansatz: str
    what: str
    slower: float
    freed_bytes: float
    needed_bytes: float


@cache
def moved(ansatz: str, what: str, distance: int) -> Moved:
    """Return a training step on CH4 with the tensors of ``STATES`` in DRAM behind PCIe 4, fetched ``distance`` kernels ahead."""
    program, base = step(ansatz, "CH4", "training"), alone(ansatz, "CH4", "training")
    machine = cd.machine(f"{GPU}+dram@pcie4")
    dram = next(number for number, memory in enumerate(machine.memories) if memory.role == "dram")
    home = np.array([dram if STATES[what] in name else -1 for name in program.tensors["name"]], dtype=np.int32)
    away = cd.Mapping(np.zeros(len(program.kernels), np.int32), f"{what} in DRAM", offload=cd.Offload(home, distance))
    found = cd.replay(program, machine, away, record=False)
    needed, left = (timeline.peak_memory_bytes[f"{GPU}-memory"] for timeline in (base, found))
    return Moved(ansatz, what, found.time_s / base.time_s, needed - left, needed)


STATES = {"sampler's state": "state['", "optimiser's state": "optimizer_state", "parameters": "params"}
"""What the survey would move, and parameters beside it: a part of the tensors' names."""


def needed_gb() -> float:
    """Return the GB that the step needs at once."""
    return max(cd.replay(step(*OFFLOADED), roomy_gpu(), record=False).peak_memory_bytes.values()) / 1e9
