"""Which of the survey's directions pays, for which ansatz, and how far could it go (arXiv 2603.18126, section IV)?

    python -m studies.directions [PAGE]

A step of four ansaetze on CH4, against the survey's A5000 alone: PIM in half of its memory packages, PIM behind its link (both the
hypothetical FP32 form of AiM: as sold it computes in BF16), an array with modes on the GPU's silicon with the GPU's bandwidth, and
extensions of the GPU. Each cell is what a search found and what no design of its space can beat. Then what does not fit: C4H4 on a
GPU of 24 GiB whose idle tensors leave for the host's DRAM.
"""

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import codesign as cd
from studies.beyond_attention import RECORDED, outcomes, trace
from studies.printing import console, table

GPU, ARRAY = "a5000", "sn40l"
TRIALS, SEED = 40, 1
PCIE = "PIM behind PCIe 4"
MODES, ONE_MODE = "an array with modes on the GPU's silicon", "the same in one mode"
PAGE_HEAD = """# Which direction pays?

Made by `python -m studies.directions docs/directions.md`. The survey names five directions and leaves open which one pays. A step of each
ansatz on CH₄, modelled, against an RTX A5000 alone: *found* is the best of {trials} designs, *bound* what no design of the same space can
beat. PIM may take one package to all, with other units; the array is an SN40L scaled to the GPU's die and bandwidth, with a CPU for what
it cannot run. No such hardware exists; [validation.md](validation.md) says how far to trust the A5000's times.
"""
MEMORY = """

**Memory.** Orbformer's step on C₄H₄ needs {needed:.1f} GB and does not fit the A5000. With its idle tensors in the host's DRAM
(`offload-idle`, [schedulers.md](schedulers.md)) it does, and takes {said} than with twice the memory at the same bandwidth.
"""


@dataclass(frozen=True)
class Answer:
    """How much faster a step is than on the GPU alone: what was found, and what nothing in the space can beat."""

    direction: str
    ansatz: str
    found: float
    bound: float
    how: str


def answers(ansatz: str) -> Iterator[Answer]:
    """Yield the answer of every direction for an ansatz."""
    base = cd.replay(trace(ansatz), cd.machine(GPU), record=False).time_s
    for direction, make in MACHINES.items():
        result = cd.explore(trace(ansatz), make(), trials=TRIALS, seed=SEED, space=SPACES.get(direction))
        how = str(result.best.policy["name"])
        yield Answer(direction, ansatz, base / result.best.time_s, base / (result.lower_bound_s or 0.0), how)
    by_name = {outcome.variant: outcome.speedup for outcome in outcomes(ansatz)}
    ceiling = by_name["all but products, attention, solvers free"]
    yield Answer("extensions of the GPU: layout engine, units near L2, fused chains", ansatz, by_name["all three"], ceiling, "cut-points")
    attention = by_name["fused attention kernels free"]
    yield Answer("attention alone, in no time (for comparison)", ansatz, attention, attention, "single-device")


def array_on_the_gpus_silicon() -> cd.Machine:
    """Return the array scaled to the GPU's die and memory bandwidth, beside a CPU that sorts."""
    gpu, array = cd.machine(GPU), cd.machine(ARRAY)
    scale = (gpu.area_mm2 or 0.0) / (array.area_at(gpu.entries[0].text["node"]) or 1.0)
    return cd.machine(f"{ARRAY}+cpu").with_(array_scale=scale, array_memory_bandwidth_bytes_per_s=gpu.memories[0].bandwidth)


def array_of_one_mode() -> cd.Machine:
    """Return the same with its array in the mode for FP32 products throughout."""
    machine = array_on_the_gpus_silicon()
    array: Any = machine.devices[0]
    return replace(machine, devices=(replace(array, forced="gemm32"), *machine.devices[1:]))


MACHINES: dict[str, Callable[[], cd.Machine]] = {
    "PIM in the memory packages": lambda: cd.machine(f"{GPU}+aim-fp32"),
    PCIE: lambda: cd.machine(f"{GPU}+aim-fp32@pcie4"),
    "PIM behind a link of up to 32 times that": lambda: cd.machine(f"{GPU}+aim-fp32@pcie4"),
    MODES: array_on_the_gpus_silicon,
    ONE_MODE: array_of_one_mode,
}

SPACES = dict.fromkeys((PCIE, MODES, ONE_MODE), cd.Space(machine={}))
"""Machines as they are. Elsewhere all that a machine declares may vary: PIM in one package to all, its units, the link."""


@cache
def every_answer() -> tuple[tuple[Answer, ...], ...]:
    """Return the answers, a tuple an ansatz."""
    return tuple(tuple(answers(ansatz)) for ansatz in RECORDED)


def offloaded(ansatz: str, molecule: str, link: str) -> tuple[float, float]:
    """Return how much longer a step takes with idle tensors in DRAM than with more memory, and the GB that such a memory holds."""
    program = cd.load(f"{ansatz}-{molecule}-{GPU}")
    gpu = cd.machine(GPU)
    packages, bandwidth = (gpu.parameters[name].value for name in ("memory_packages", "stack_bandwidth_bytes_per_s"))
    roomy = gpu.with_(memory_packages=2 * packages, stack_bandwidth_bytes_per_s=bandwidth / 2)
    base = cd.replay(program, roomy, record=False)
    away = cd.replay(program, cd.machine(f"{GPU}+dram@{link}"), "offload-idle", record=False)
    return away.time_s / base.time_s, max(base.peak_memory_bytes.values()) / 1e9


def columns() -> tuple[str, ...]:
    """Return the heads of ``rows``."""
    return ("direction", *(f"{name}, found (bound)" for name in RECORDED.values()))


def rows() -> list[tuple[str, ...]]:
    """Return a row a direction, a cell an ansatz."""
    return [(line[0].direction, *(f"{a.found:.2f} ({a.bound:.2f})" for a in line)) for line in zip(*every_answer(), strict=True)]


def page() -> str:
    """Return the page of the documentation."""
    lines = [PAGE_HEAD.format(trials=TRIALS), _line(columns()), _line(["---"] * (1 + len(RECORDED)))]
    lines += [_line(row) for row in rows()]
    slower = {link: offloaded("orbformer", "c4h4", link) for link in ("pcie4", "pcie5")}
    needed = max(gigabytes for _, gigabytes in slower.values())
    said = " and ".join(f"{100 * (ratio - 1):.0f} % longer over {link}" for link, (ratio, _) in slower.items())
    return "\n".join(lines) + MEMORY.format(needed=needed, said=said)


def _line(cells: "list[str] | tuple[str, ...]") -> str:
    return "| " + " | ".join(cells) + " |"


def main(arguments: Sequence[str] = ()) -> None:
    """Print the table; write the page if its name is given."""
    console().print(table(columns(), rows(), f"A step on CH4 faster than on {GPU} alone by"))
    if arguments:
        Path(arguments[0]).write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
