"""A program that does not fit: the tensors that are idle longest leave for the host's DRAM, as few as make room."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import numpy.typing as npt

from schedulers.offload import memory_of_role
from schedulers.scheduler import Mapping, Scheduler, first_accepting
from schedulers.tensors import Offload
from traces.errors import MappingError
from traces.liveness import live_bytes

if TYPE_CHECKING:
    from arch.cost import CostTable
    from arch.machine import Machine
    from traces.trace import Trace

Int = npt.NDArray[np.int64]
Float = npt.NDArray[np.float64]


@dataclass(frozen=True)
class OffloadIdle(Scheduler):
    """Kernels on the first device that takes them; idle allocations in DRAM, until what is left fits devices[0]'s memory.

    Where the program needs most room, the allocation leaves whose copies stick out least, for each byte, beyond the time in which
    nothing needs it; then the next place. What loops touch stays. Gains are counted in the order of the trace, so the replay decides.

    Parameters
    ----------
    headroom
        Share of the memory that stays free.
    distance
        Kernels ahead of its use that a tensor is fetched, as of `schedulers.tensors.Offload`; a gap between uses must be longer than
        twice that to count.
    pinned, write_backs
        As of `schedulers.tensors.Offload`.
    """

    name: ClassVar[str] = "offload-idle"
    headroom: float = 0.02
    distance: int = 2
    pinned: bool = True
    write_backs: int = 2

    def __post_init__(self) -> None:
        if not 0 <= self.headroom < 1:
            raise MappingError(f"`0 <= headroom < 1` must hold, but got headroom={self.headroom}")

    def schedule(self, trace: Trace, machine: Machine, costs: CostTable) -> Mapping:
        """Return the mapping; raise MappingError without DRAM, if every device refuses a kernel, or if too little is idle."""
        device = first_accepting(trace, machine, costs)
        dram = memory_of_role(machine, "dram")
        room = machine.memory(machine.devices[0].memory).capacity_bytes * (1 - self.headroom)
        ends_s = np.cumsum(costs.duration_s[device, np.arange(len(device))] * trace.executions)
        gaps = _Gaps.of(trace, self.distance, ends_s, _seconds_per_byte(machine, dram))
        away = leaving(live_bytes(trace), room, gaps, trace.alias_bytes)
        home = np.where(away[trace.alias_index], dram, -1).astype(np.int32)
        where = f"{int(away.sum())} idle allocations in {machine.memories[dram].id}"
        return Mapping(device, self.name, where, Offload(home, self.distance, pinned=self.pinned, write_backs=self.write_backs))


def _seconds_per_byte(machine: Machine, dram: int) -> float:
    """Of a copy between devices[0]'s memory and DRAM, by the link that joins them; by the DRAM itself where none does so alone."""
    ends = {machine.devices[0].memory, machine.memories[dram].id}
    bandwidths = [min(link.bandwidths) for link in machine.links if {link.source, link.target} == ends]
    return 1 / max(bandwidths, default=machine.memories[dram].bandwidth)


@dataclass(frozen=True)
class _Gaps:
    """Stretches of kernel rows [begin, end) in which an allocation need not be there; all shape [gaps]."""

    alias: Int
    begin: Int
    end: Int
    stall_s: Float
    """By how much a copy each way outlasts the stretch."""

    @classmethod
    def of(cls, trace: Trace, distance: int, ends_s: Float, s_per_byte: float) -> _Gaps:
        """Return the gaps between uses, and before the first use of what exists at the start; none of what a loop touches."""
        touches = np.unique(np.stack([trace.access_alias, trace.accesses["kernel"]], axis=1).astype(np.int64), axis=0)
        looped = np.unique(touches[(trace.executions > 1)[touches[:, 1]], 0])
        alias, row = touches[~np.isin(touches[:, 0], looped)].T
        first = np.append(True, alias[1:] != alias[:-1])[: len(alias)]
        given = np.zeros(len(trace.alias_bytes), np.bool_)
        given[trace.alias_index[trace.tensors["first_kernel"] < 0]] = True
        begin = np.where(first, 0, np.append(-1, row[:-1])[: len(row)] + distance + 1)
        end = row - distance - 1
        kept = (begin < end) & (~first | given[alias])
        alias, begin, end = alias[kept], begin[kept], end[kept]
        idle_s = ends_s[end - 1] - ends_s[begin]
        return cls(alias, begin, end, np.maximum(2 * s_per_byte * trace.alias_bytes[alias] - idle_s, 0.0))


def leaving(level: Int, room: float, gaps: _Gaps, size: Int) -> npt.NDArray[np.bool_]:
    """Return which allocations leave, bool[A], so that the bytes ``level`` [rows] come down to ``room`` everywhere.

    Raises MappingError if no idle allocation is left where there are still too many.
    """
    level, away = level.copy(), np.zeros(len(size), np.bool_)
    stall = np.bincount(gaps.alias, gaps.stall_s, minlength=len(size)) / np.maximum(size, 1)
    while level.max(initial=0) > room:
        row = int(level.argmax())
        here = gaps.alias[(gaps.begin <= row) & (row < gaps.end)]
        here = here[~away[here]]
        if not len(here):
            raise MappingError(
                f"what is idle must make room, but at kernel {row} {level[row]:,} bytes are needed at once and there is room for "
                f"{int(room):,}: take a larger memory, a smaller batch, or a smaller distance"
            )
        chosen = here[np.lexsort((-size[here], stall[here]))[0]]
        away[chosen] = True
        for begin, end in zip(gaps.begin[gaps.alias == chosen], gaps.end[gaps.alias == chosen], strict=True):
            level[begin:end] -= size[chosen]
    return away
