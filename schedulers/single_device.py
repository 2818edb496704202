"""Everything on one device: what every other mapping is compared with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from schedulers.scheduler import Mapping, Scheduler
from traces.errors import MappingError, nearest

if TYPE_CHECKING:
    from arch.cost import CostTable
    from arch.machine import Machine
    from traces.trace import Trace


@dataclass(frozen=True)
class SingleDevice(Scheduler):
    """All kernels on ``device``: the id of one of the machine's devices, or its index. The first one by default."""

    name: ClassVar[str] = "single-device"
    device: str | int = 0

    def schedule(self, trace: Trace, machine: Machine, costs: CostTable) -> Mapping:
        """Return the mapping; raise MappingError if there is no such device or it refuses a kernel."""
        index = self._index(machine)
        mapping = Mapping(np.full(len(trace.kernels), index, dtype=np.int32), self.name, machine.devices[index].id)
        return mapping.check(trace, machine, costs)

    def _index(self, machine: Machine) -> int:
        ids = [device.id for device in machine.devices]
        if isinstance(self.device, str):
            if self.device not in ids:
                raise MappingError(f"machine {machine.id!r} has no device {self.device!r}; {nearest(self.device, ids)}")
            return ids.index(self.device)
        if not 0 <= self.device < len(ids):
            raise MappingError(f"`0 <= device < {len(ids)}` must hold for machine {machine.id!r}, but got device={self.device}")
        return self.device
