"""Memory-bound kernels away from the first device: a threshold on FLOP per unique byte."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import numpy.typing as npt

from schedulers.in_place import appends_with_readers
from schedulers.scheduler import Mapping, Scheduler, first_accepting
from traces.errors import MappingError

if TYPE_CHECKING:
    from arch.cost import CostTable
    from arch.machine import Machine
    from traces.trace import Trace

WORK = ("flops_matrix", "flops_vector", "flops_transcendental")


def intensity(trace: Trace) -> npt.NDArray[np.float64]:
    """Return each kernel's FLOP (from the HLO, all units) per unique byte, float64[K]; NaN where either is unknown.

    A kernel that touches no byte has infinite intensity: there is no traffic to save.
    """
    flops = np.sum([trace.kernels[column] for column in WORK], axis=0)
    moved = trace.kernels["bytes_unique"]
    ratio = np.divide(flops, moved, out=np.full(len(flops), np.inf), where=moved != 0)
    return np.where(np.isnan(flops) | np.isnan(moved), np.nan, ratio)


@dataclass(frozen=True)
class IntensityThreshold(Scheduler):
    """A kernel below ``threshold`` (FLOP per unique byte) goes to the first device after devices[0] that accepts it.

    All others, and those whose work is unknown, stay on devices[0], or the first that accepts them; appends go with their readers
    (`schedulers.in_place`). The rule sees neither hand-overs nor durations; the default of one FLOP a byte lies between streaming
    arithmetic (below one) and blocked matrix products (tens).
    """

    name: ClassVar[str] = "intensity-threshold"
    threshold: float = 1.0

    def __post_init__(self) -> None:
        if not self.threshold >= 0:
            raise MappingError(f"`threshold >= 0` (FLOP per byte) must hold, but got threshold={self.threshold}")

    def schedule(self, trace: Trace, machine: Machine, costs: CostTable) -> Mapping:
        """Return the mapping; raise MappingError if every device refuses a kernel."""
        stays = first_accepting(trace, machine, costs)
        device = np.where(intensity(trace) < self.threshold, first_other(costs, stays), stays)
        device = appends_with_readers(trace, costs, device)
        return Mapping(device, self.name, f"below {self.threshold:g} FLOP/B away from {machine.devices[0].id}")


def first_other(costs: CostTable, otherwise: npt.NDArray[np.int32]) -> npt.NDArray[np.int32]:
    """Return for each kernel the first device after devices[0] that accepts it, ``otherwise`` where none does."""
    accepts = costs.refusal == 0
    accepts[0] = False
    return np.where(accepts.any(axis=0), np.argmax(accepts, axis=0), otherwise).astype(np.int32)
