"""How much of each memory is taken over time."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from codesign.engine.expand import Instances, expand
from codesign.engine.program import PS, Floats, Indices, Ints, Program, Records, Rows
from traces.compiled import compiled
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
        "use a larger memory, a smaller batch, or a mapping that puts less there ('offload-idle' on a machine with '+dram' finds one)"
    )


def _moments(changes: Rows, instances: Instances, ops: int) -> tuple[Ints, Ints, Ints]:
    """Return which change happens at which time (ps) and in which turn of those of that time, in launch order."""
    order = np.argsort(changes["op"], kind="stable")
    first = np.searchsorted(changes["op"][order], np.arange(ops + 1))
    return _find_moments(instances.op, instances.start_ps, instances.end_ps, instances.skipped_op, instances.skipped, changes, order, first)


@compiled
def _find_moments(
    op: Indices, start: Ints, end: Ints, skipped_op: Indices, skipped: Ints, changes: Rows, order: Ints, first: Ints
) -> tuple[Ints, Ints, Ints]:
    """Walk over the instances and their changes; ``order[first[i]:first[i + 1]]`` are those of operation i."""
    total = 0
    for i in range(len(op)):
        if op[i] >= 0:
            total += first[op[i] + 1] - first[op[i]]
    change, time, turn = np.empty(total, np.int64), np.empty(total, np.int64), np.empty(total, np.int64)
    seen, size = np.zeros(len(changes), np.int64), 0
    for i in range(len(op)):
        here = op[i] if op[i] >= 0 else skipped_op[i]
        for k in range(first[here], first[here + 1]):
            c = order[k]
            row = changes[c]
            wanted = row.every - 1 if row.at_end else 0
            if op[i] >= 0 and (row.every == 1 or seen[c] % row.every == wanted):
                change[size], time[size] = c, end[i] if row.at_end else start[i]
                turn[size] = (0 if start[i] < end[i] else 2) if row.at_end else 1
                size += 1
            seen[c] += 1 if op[i] >= 0 else skipped[i]
    return change[:size], time[:size], turn[:size]


def _of_memory(memory: int, program: Program, change: Ints, time: Ints, turn: Ints) -> Usage:
    if (program.changes["memory"] != memory).any():
        mine = program.changes["memory"][change] == memory
        change, time, turn = change[mine], time[mine], turn[mine]
    return Usage(*_levels(program.memory_initial[memory], _in_time(time, turn), change, time, program.changes))


@compiled
def _levels(initial: int, order: Ints, change: Ints, time: Ints, changes: Rows) -> tuple[Floats, Ints, Indices]:
    """Add up the changes in order: times (s), bytes from then on, and the tensor of each change."""
    at, level, tensor = np.zeros(len(order) + 1), np.empty(len(order) + 1, np.int64), np.full(len(order) + 1, -1, np.int32)
    level[0] = initial
    for i in range(len(order)):
        row = changes[change[order[i]]]
        at[i + 1], level[i + 1], tensor[i + 1] = time[order[i]] / PS, level[i] + row.bytes, row.tensor
    return at, level, tensor


def _in_time(time: Ints, turn: Ints) -> Ints:
    """Return the order in time, and of one time by turn: one stable sort, quick where launch order is nearly that."""
    if time.max(initial=0) < 1 << 60:
        return np.argsort(4 * time + turn, kind="stable")
    return np.lexsort((turn, time))
