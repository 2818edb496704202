"""How much of each memory is taken over time."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from codesign.engine.expand import Instances, expand
from codesign.engine.program import PS, Floats, Indices, Ints, Program, Records, Rows
from traces.errors import CapacityError

if TYPE_CHECKING:
    from traces.trace import Trace

WRITTEN_OUT = 200_000
"""A run of no more launches than this is written out whole."""
COPIES = 8
"""In a longer one: how often a stretch that was stepped over is written out: its operations reach into fewer later iterations than this."""


@dataclass(frozen=True, eq=False)
class Usage:
    """One memory over time: from ``time_s[i]`` on, ``bytes[i]`` are taken; ``tensor[i]`` changed that (-1: the start)."""

    time_s: Floats
    bytes: Ints
    tensor: Indices

    @property
    def peak(self) -> int:
        """Most bytes ever taken."""
        return int(self.bytes.max())


def usage(program: Program, records: Records) -> dict[str, Usage]:
    """Return the use of each memory over time; of long runs repeated stretches a few times each.

    At one moment releases come before takes, but for those of operations that take no time: they release what they have just taken.
    """
    instances = expand(records, None if program.launches <= WRITTEN_OUT else COPIES)
    change, time, turn = _moments(program.changes, instances, len(program))
    return {name: _of_memory(memory, program, change, time, turn) for memory, name in enumerate(program.memories)}


def check_capacity(program: Program, used: dict[str, Usage], trace: "Trace") -> None:
    """Raise CapacityError naming tensor, memory, time and excess if a memory ever holds more than it can."""
    for memory, (name, of_memory) in enumerate(used.items()):
        capacity = int(program.memory_capacity[memory])
        over = np.flatnonzero(of_memory.bytes > capacity)
        if len(over):
            row = int(over[0])
            tensor = int(of_memory.tensor[row])
            raise too_much(name, capacity, int(of_memory.bytes[row]), tensor, float(of_memory.time_s[row]), trace)


def too_much(memory: str, capacity: int, needed: int, tensor: int, time_s: float | None, trace: "Trace") -> CapacityError:
    """Return the error about ``tensor`` (a row; -1: the tensors that exist before the trace)."""
    what = (
        f"the tensor {trace.tensors['name'][tensor]!r} ({trace.tensors['bytes'][tensor]:,} bytes)"
        if tensor >= 0
        else "what exists before the trace"
    )
    when = "" if time_s is None else f" at {time_s:.6g} s"
    return CapacityError(
        f"the memory {memory!r} holds {capacity:,} bytes, but with {what} it would need {needed:,}{when}, {needed - capacity:,} too many: "
        "use a larger memory, a smaller batch, or a mapping that puts less there"
    )


def _moments(changes: Rows, instances: Instances, ops: int) -> tuple[Ints, Ints, Ints]:
    """Return which change happens at which time (ps) and in which turn of those of that time, in no order."""
    order = np.argsort(instances.op, kind="stable")
    first = np.searchsorted(instances.op[order], np.arange(ops + 1))
    counts = np.diff(first)[changes["op"]] if len(changes["op"]) else np.zeros(0, np.int64)
    change = np.repeat(np.arange(len(changes["op"])), counts)
    within = np.arange(len(change)) - np.repeat(np.cumsum(counts) - counts, counts)
    instance = order[first[changes["op"][change]] + within]
    happens = np.ones(len(change), bool)
    for row in np.flatnonzero(changes["every"] > 1):
        mine = change == row
        happens[mine] = _every(changes, int(row), instances)[instance[mine]]
    at_end = changes["at_end"][change] != 0
    start, end = instances.start_ps[instance], instances.end_ps[instance]
    time = np.where(at_end, end, start)
    turn = np.where(at_end, np.where(start < end, 0, 2), 1)
    return change[happens], time[happens], turn[happens]


def _every(changes: Rows, row: int, instances: Instances) -> npt.NDArray[np.bool_]:
    """Say at which instances a change happens that does not happen at each."""
    weight = np.where(instances.op == changes["op"][row], 1, 0) + np.where(instances.skipped_op == changes["op"][row], instances.skipped, 0)
    number = np.cumsum(weight) - weight
    wanted = changes["every"][row] - 1 if changes["at_end"][row] else 0
    return np.asarray(number % changes["every"][row] == wanted)


def _of_memory(memory: int, program: Program, change: Ints, time: Ints, turn: Ints) -> Usage:
    changes = program.changes
    mine = changes["memory"][change] == memory
    change, time, turn = change[mine], time[mine], turn[mine]
    taken = changes["bytes"][change]
    order = np.lexsort((turn, time))
    level = program.memory_initial[memory] + np.concatenate([[0], np.cumsum(taken[order])])
    return Usage(
        np.concatenate([[0.0], time[order] / PS]),
        level.astype(np.int64),
        np.concatenate([[-1], changes["tensor"][change[order]]]).astype(np.int32),
    )
