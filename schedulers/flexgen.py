"""FlexGen's placement: weights and the cache of keys and values on several tiers, attention over a cache in DRAM on the CPU."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import numpy.typing as npt

from schedulers.in_place import appends_with_readers
from schedulers.offload import device_in_dram, memory_of_role, spread
from schedulers.scheduler import Mapping, Scheduler, first_accepting
from schedulers.tensors import Offload
from traces.errors import MappingError

if TYPE_CHECKING:
    from arch.cost import CostTable
    from arch.machine import Machine
    from traces.trace import Trace


@dataclass(frozen=True)
class FlexGen(Scheduler):
    """The placement of FlexGen (Sheng et al., ICML 2023, arXiv 2303.06865) for a language model's trace; by default that of OPT-30B.

    Parameters
    ----------
    weights_dram, weights_ssd, cache_dram, cache_ssd
        Shares of the bytes of tensors called 'weights[...' and 'cache[...' that live there; the rest stays with the GPU.
    host_attention
        Attention of the phase decode, and what it appends to the cache, runs on the device that works in the DRAM: the stage
        'cache' of traces with attention=host, fused attention of others.
    distance, slices, synchronous, pinned, write_backs
        As of `schedulers.tensors.Offload`. FlexGen moves a layer at a time: slices, since layers are stacked in one tensor.
    """

    name: ClassVar[str] = "flexgen"
    weights_dram: float = 0.8
    weights_ssd: float = 0.0
    cache_dram: float = 1.0
    cache_ssd: float = 0.0
    host_attention: bool = True
    distance: int = 1
    slices: bool = True
    synchronous: bool = False
    pinned: bool = True
    write_backs: int = 2

    def __post_init__(self) -> None:
        for what in ("weights", "cache"):
            dram, ssd = getattr(self, f"{what}_dram"), getattr(self, f"{what}_ssd")
            if not (dram >= 0 and ssd >= 0 and dram + ssd <= 1 + 1e-9):
                raise MappingError(f"the shares of {what} must not be negative and add up to at most 1, but got {dram} and {ssd}")

    def schedule(self, trace: Trace, machine: Machine, costs: CostTable) -> Mapping:
        """Return the mapping; raise MappingError if the machine lacks such a memory or a device that works in the DRAM."""
        device = first_accepting(trace, machine, costs)
        if self.host_attention:
            device[self._attention(trace)] = device_in_dram(machine, "host_attention")
            device = appends_with_readers(trace, costs, device)
        copies = Offload(self._homes(trace, machine), self.distance, self.slices, self.synchronous, self.pinned, self.write_backs)
        return Mapping(device, self.name, "", copies)

    def _attention(self, trace: Trace) -> npt.NDArray[np.bool_]:
        family, stage = trace.kernels["family"], trace.kernels["stage"]
        fused = (stage == "attention") & (family == "attention")
        mine: npt.NDArray[np.bool_] = (trace.kernels["phase"] == "decode") & (fused | (stage == "cache"))
        return mine

    def _homes(self, trace: Trace, machine: Machine) -> npt.NDArray[np.int32]:
        alias, name = trace.alias_index, trace.tensors["name"].astype(str)
        size = trace.alias_bytes
        homes = np.full(len(size), -1, np.int32)
        parts = {"weights[": (self.weights_dram, self.weights_ssd), "cache[": (self.cache_dram, self.cache_ssd)}
        for prefix, (dram, ssd) in parts.items():
            mine = np.unique(alias[np.char.startswith(name, prefix)])
            shares = {memory_of_role(machine, role): share for role, share in (("dram", dram), ("ssd", ssd)) if share > 0}
            homes[mine] = spread(size[mine], shares)
        home: npt.NDArray[np.int32] = homes[alias]
        return home
