"""Kernels in groups, such as one for each phase and family: the unit in which a search decides where kernels run."""

from __future__ import annotations

from collections.abc import Mapping as Dictionary
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from schedulers.in_place import appends_with_readers
from schedulers.scheduler import Mapping
from traces import schema
from traces.errors import SearchError, nearest

if TYPE_CHECKING:
    from arch.cost import CostTable
    from arch.machine import Machine
    from traces.trace import Trace


@dataclass(frozen=True)
class Groups:
    """The groups of a trace: their names, and the group of each kernel, int[K]."""

    trace: Trace
    names: tuple[str, ...]
    of_kernel: npt.NDArray[np.intp]

    @classmethod
    def of(cls, trace: Trace, columns: tuple[str, ...]) -> Groups:
        """Return the groups of kernels that agree in all of the text ``columns``, named by their values joined by '/'."""
        known = [column.name for column in schema.KERNELS if column.dtype == "string"]
        for column in columns:
            if column not in known:
                raise SearchError(f"kernels cannot be grouped by {column!r}; {nearest(column, known)}")
        names = ["/".join(values) for values in zip(*(trace.kernels[column] for column in columns), strict=True)]
        if not columns:
            names = ["all"] * len(trace.kernels)
        distinct, of_kernel = np.unique(np.array(names, dtype=np.str_), return_inverse=True)
        return cls(trace, tuple(distinct.tolist()), of_kernel)

    def choices(self, machine: Machine, costs: CostTable) -> dict[str, list[str]]:
        """Return for each group with a choice the ids of the devices that accept at least one of its kernels, the first among them."""
        found = {}
        for group, name in enumerate(self.names):
            accepts = (costs.refusal[:, self.of_kernel == group] == 0).any(axis=1)
            devices = [device.id for device, can in zip(machine.devices, accepts, strict=True) if can]
            if len(devices) > 1:
                found[name] = devices
        return found

    def fastest(self, machine: Machine, costs: CostTable, executions: npt.NDArray[np.int64]) -> dict[str, str]:
        """Return for each group the device on which it takes least time, kernels that it refuses left on the first that takes them."""
        elsewhere = costs.duration_s[costs.first_accepting, np.arange(len(executions))]
        alone = np.where(costs.refusal == 0, costs.duration_s, elsewhere) * executions
        total = np.stack([np.bincount(self.of_kernel, row, len(self.names)) for row in alone])
        return {name: machine.devices[d].id for name, d in zip(self.names, total.argmin(axis=0), strict=True)}

    def mapping(self, machine: Machine, costs: CostTable, device_of_group: Dictionary[str, str]) -> Mapping:
        """Return the mapping that sends each group to its device, else to the first; refused kernels go to the first that takes them.

        Appends go with their readers, whatever their group (`schedulers.in_place`).
        """
        index = {device.id: i for i, device in enumerate(machine.devices)}
        of_group = np.array([index[device_of_group.get(name, machine.devices[0].id)] for name in self.names], dtype=np.int32)
        device = of_group[self.of_kernel]
        accepted = costs.refusal[device, np.arange(len(device))] == 0
        device = appends_with_readers(self.trace, costs, np.where(accepted, device, costs.first_accepting))
        return Mapping(device, "groups", "a device for each group of kernels")
