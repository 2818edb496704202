"""Where the joules of a replay go: kernels by what they spend it on, transfers, mode switches, refresh, and static power."""

from typing import TYPE_CHECKING

import numpy as np

from arch.energy import PARTS as OF_KERNELS
from arch.energy import part_of
from codesign.engine.program import HAND_OVER, KERNEL, TRANSFER, Floats, Ints, Program

if TYPE_CHECKING:
    from arch.cost import CostTable
    from arch.machine import Machine

NOT_SPLIT = "not_split"
"""Joules of kernels on devices that know only their sum."""
PARTS = (*OF_KERNELS, NOT_SPLIT, "transfers", "refresh", "static")


def parts(program: Program, machine: "Machine", costs: "CostTable", launches: Ints, time_s: float) -> dict[str, float | None]:
    """Return joules by part of ``PARTS``, which add up to `energy`; None where they are not known.

    ``mode_switches`` are changes of a device's mode and hand-overs in a shared memory, what they lay out anew included; ``static`` is
    all power that does not depend on what runs, over the makespan, less what is known to be ``refresh``.
    """
    found = dict.fromkeys(PARTS, 0.0) | _of_kernels(program, costs, launches)
    joules = program.executions * program["energy"]
    found["transfers"] = float(joules[program["kind"] == TRANSFER].sum())
    found["mode_switches"] += float(joules[program["kind"] == HAND_OVER].sum())
    watts = np.nan if machine.static_watts is None else machine.static_watts
    found["refresh"] = machine.refresh_watts * time_s
    found["static"] = watts * time_s - found["refresh"]
    return {name: None if np.isnan(value) else value for name, value in found.items()}


def _of_kernels(program: Program, costs: "CostTable", launches: Ints) -> dict[str, float]:
    """Joules of all kernels by part: of devices that know the terms, each term's; of others the sum."""
    mine = program["kind"] == KERNEL
    found = dict.fromkeys((*OF_KERNELS, NOT_SPLIT), 0.0)
    for number, terms in enumerate(costs.energy_terms or [{}] * len(costs.duration_s)):
        here = mine & (program.device == number)
        kernel, times = program["kernel"][here], program.executions[here]
        if not len(kernel):
            continue
        shares: Floats = times / launches[kernel]
        for name, joules in (terms or {NOT_SPLIT: costs.energy_j[number]}).items():
            found[part_of(name) if terms else NOT_SPLIT] += float((shares * joules[kernel]).sum())
    return found
