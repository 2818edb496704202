"""Every rank of a parallel program on a device of its own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from schedulers.scheduler import Mapping, Scheduler
from traces.errors import MappingError
from traces.ranks import held

if TYPE_CHECKING:
    from arch.cost import CostTable
    from arch.machine import Machine
    from traces.trace import Trace


@dataclass(frozen=True)
class Ranks(Scheduler):
    """Rank r of a trace that holds all ranks side by side on devices[r]; a trace of one rank on devices[0]."""

    name: ClassVar[str] = "ranks"

    def schedule(self, trace: Trace, machine: Machine, costs: CostTable) -> Mapping:
        """Return the mapping; raise MappingError if there are fewer devices than ranks."""
        ranks = held(trace)
        if ranks > len(machine.devices):
            raise MappingError(
                f"{ranks} ranks must have as many devices, but {machine.id!r} has {len(machine.devices)}; try {ranks}xh100-sxm"
            )
        device = trace.kernels["stream"] if ranks > 1 else np.zeros(len(trace.kernels), np.int32)
        return Mapping(device, self.name, f"{ranks} ranks" if ranks > 1 else "")
