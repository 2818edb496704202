"""Attention where its cache lies: what AttAcc, NeuPIMs and their like do with a language model that decodes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import numpy.typing as npt

from schedulers.in_place import appended, appends_with_readers
from schedulers.scheduler import Mapping, Scheduler, first_accepting
from schedulers.tensors import Offload
from traces.ranks import held

if TYPE_CHECKING:
    from arch.cost import CostTable
    from arch.machine import Machine
    from traces.trace import Trace

Index = npt.NDArray[np.int32]


@dataclass(frozen=True)
class NearCache(Scheduler):
    """Each kernel that reads a cache runs on the device that takes least time for it, and appends to the cache go with it.

    A cache is what is appended to in place (`schedulers.in_place`), such as keys and values. Where its reader has a memory of its own,
    the cache lives there from the beginning (`Offload` in slices: a prompt's keys and values are sent when a GPU has made them), so that
    the GPU's memory has room for more sequences; PIM in the GPU's memory takes it over once. All else stays on devices[0], or the
    first that accepts it. The rule does not see hand-overs: for few or short sequences they may cost more than attention gains.

    Of n ranks side by side each has every n-th device, and rank r starts on devices[r].
    """

    name: ClassVar[str] = "near-cache"

    def schedule(self, trace: Trace, machine: Machine, costs: CostTable) -> Mapping:
        """Return the mapping; raise MappingError if every device refuses a kernel."""
        reads = ~trace.access_writes & appended(trace)[trace.access_alias]
        reader = np.unique(trace.accesses["kernel"][reads])
        seconds = np.where(_of_rank(trace, machine) & (costs.refusal == 0), costs.duration_s, np.inf)
        device = first_accepting(trace, machine, costs) if held(trace) == 1 else trace.kernels["stream"].astype(np.int32)
        device[reader] = seconds[:, reader].argmin(axis=0)
        device = appends_with_readers(trace, costs, device)
        home = _homes(trace, machine, device, reads)
        lives = held(trace) == 1 and bool((home >= 0).any())  # what ranks have is where they use it first
        return Mapping(device, self.name, "", Offload(home, slices=True) if lives else None)


def _of_rank(trace: Trace, machine: Machine) -> npt.NDArray[np.bool_]:
    """Return which devices the rank of each kernel has, bool[D, K]."""
    ranks, device = held(trace), np.arange(len(machine.devices))
    stream = trace.kernels["stream"] if ranks > 1 else np.zeros(len(trace.kernels), np.int32)
    return np.asarray(device[:, None] % ranks == stream, dtype=np.bool_)


def _homes(trace: Trace, machine: Machine, device: Index, reads: npt.NDArray[np.bool_]) -> Index:
    """Return for each tensor the memory of the device that reads its cache most often, int32[T]; -1: no cache, or the first device's."""
    at = [machine.memories.index(machine.memory(d.memory)) for d in machine.devices]
    memory = np.where(np.array(at) == at[0], -1, at).astype(np.int32)
    order = np.flatnonzero(reads)[np.argsort(trace.executions[trace.accesses["kernel"][reads]], kind="stable")]
    home = np.full(len(trace.alias_bytes), -1, np.int32)
    home[trace.access_alias[order]] = memory[device[trace.accesses["kernel"][order]]]
    found: Index = home[trace.alias_index]
    return found
