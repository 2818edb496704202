"""Tensors in the host's memory or on an SSD between uses, fetched ahead of the kernels that need them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import numpy.typing as npt

from schedulers.scheduler import Mapping, Scheduler, first_accepting
from schedulers.tensors import Offload
from traces.errors import MappingError

if TYPE_CHECKING:
    from arch.cost import CostTable
    from arch.machine import Machine
    from traces.trace import Trace


@dataclass(frozen=True)
class OffloadTensors(Scheduler):
    """Kernels on devices[0]; the tensors of some kinds live in the machine's first memories of role 'dram' and 'ssd'.

    Parameters
    ----------
    kinds
        Kinds of tensors that are offloaded, joined by commas (parameter, temporary, ...).
    names
        Only tensors whose name holds this text.
    dram, ssd
        Shares of their bytes that live there, spread evenly over the tensors in the order of the trace; the rest stays.
    host_phase
        Kernels of this phase (the optimiser's update) run on the device that works in that DRAM.
    slices
        As of `schedulers.tensors.Offload`; None: where kernels touch less than half of the bytes that would move whole, as they do of
        the layers of a language model that lie in one tensor.
    distance, synchronous, pinned, write_backs
        As of `schedulers.tensors.Offload`.
    """

    name: ClassVar[str] = "offload"
    kinds: str = "parameter"
    names: str = ""
    dram: float = 1.0
    ssd: float = 0.0
    host_phase: str = ""
    distance: int = 1
    slices: bool | None = None
    synchronous: bool = False
    pinned: bool = True
    write_backs: int = 2

    def __post_init__(self) -> None:
        if not (self.dram >= 0 and self.ssd >= 0 and self.dram + self.ssd <= 1 + 1e-9):
            raise MappingError(f"`dram >= 0`, `ssd >= 0` and `dram + ssd <= 1` must hold, but got {self.dram} and {self.ssd}")

    def schedule(self, trace: Trace, machine: Machine, costs: CostTable) -> Mapping:
        """Return the mapping; raise MappingError if the machine lacks such a memory, or every device refuses a kernel."""
        shares = {memory_of_role(machine, role): share for role, share in (("dram", self.dram), ("ssd", self.ssd)) if share > 0}
        kinds = [kind.strip() for kind in self.kinds.split(",")]
        chosen = np.isin(trace.tensors["kind"].astype(str), kinds)
        chosen &= np.array([self.names in name for name in trace.tensors["name"]], bool)
        alias = trace.alias_index
        offloaded = np.unique(alias[chosen])
        homes = np.full(len(trace.alias_bytes), -1, np.int32)
        homes[offloaded] = spread(trace.alias_bytes[offloaded], shares)
        slices = _touches_parts(trace, machine, homes >= 0) if self.slices is None else self.slices
        copies = Offload(homes[alias], self.distance, slices, self.synchronous, self.pinned, self.write_backs)
        where = ", ".join(f"{share:.0%} of {self.kinds} in {machine.memories[m].id}" for m, share in shares.items())
        return Mapping(self._devices(trace, machine, costs), self.name, where, copies)

    def _devices(self, trace: Trace, machine: Machine, costs: CostTable) -> npt.NDArray[np.int32]:
        device = first_accepting(trace, machine, costs)
        if self.host_phase:
            host = device_in_dram(machine, "host_phase")
            mine = (trace.kernels["phase"].astype(str) == self.host_phase) & (costs.refusal[host] == 0)
            device[mine] = host
        return device


def _touches_parts(trace: Trace, machine: Machine, offloaded: npt.NDArray[np.bool_]) -> bool:
    """Return whether kernels touch less than half of the ``offloaded`` allocations (bool[sets]) that they use; never beside a hand-over."""
    mine = offloaded[trace.access_alias]
    times = trace.executions[trace.accesses["kernel"][mine]].astype(np.float64)
    whole = times @ trace.alias_bytes[trace.access_alias[mine]]
    return not machine.hand_overs and bool(2 * (times @ trace.accesses["bytes_unique"][mine]) < whole)


def memory_of_role(machine: Machine, role: str) -> int:
    """Return the index of the machine's first memory of a role."""
    for number, memory in enumerate(machine.memories):
        if memory.role == role:
            return number
    roles = ", ".join(f"{m.id} ({m.role})" for m in machine.memories)
    raise MappingError(f"offloading needs a memory of role {role!r}, but {machine.id!r} has {roles}: add '+{role}' to the machine")


def device_in_dram(machine: Machine, what: str) -> int:
    """Return the index of the first device that works in the machine's DRAM; the error names ``what`` needs one."""
    dram = machine.memories[memory_of_role(machine, "dram")].id
    for number, device in enumerate(machine.devices):
        if device.memory == dram:
            return number
    raise MappingError(f"{what} needs a device that works in {dram!r}, but {machine.id!r} has none: add '+cpu'")


def spread(size: npt.NDArray[np.int64], shares: dict[int, float]) -> npt.NDArray[np.int32]:
    """Return for each allocation (bytes) a memory of ``shares`` or -1, so that at each point every memory is near its share."""
    home, seen = np.full(len(size), -1, np.int32), 0
    wanted = {**shares, -1: 1.0 - sum(shares.values())}
    held = dict.fromkeys(wanted, 0)
    for a, nbytes in enumerate(size.tolist()):
        seen += nbytes
        memory = max(wanted, key=lambda m: wanted[m] * seen - held[m])
        home[a] = memory
        held[memory] += nbytes
    return home
