"""How much of each memory is taken over time."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from codesign.engine.expand import Instances, expand
from codesign.engine.program import PS, Floats, Indices, Ints, Program, Records, Rows
from traces.compiled import compiled
from traces.errors import CapacityError

if TYPE_CHECKING:
    from traces.trace import Trace

Moments = npt.NDArray[np.uint64]

WRITTEN_OUT = 1_000_000
"""A run of no more operations than this, chunks of transfers too, is written out whole."""
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
    instances = expand(records, None if program.executions.sum() <= WRITTEN_OUT else COPIES)
    return {name: _of_memory(memory, program, instances) for memory, name in enumerate(program.memories)}


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


def _of_memory(memory: int, program: Program, instances: Instances) -> Usage:
    changes = program.changes
    mine = np.flatnonzero(changes["memory"] == memory)
    order = mine[np.argsort(changes["op"][mine], kind="stable")]
    first = np.searchsorted(changes["op"][order], np.arange(len(program) + 1))
    seen = instances.op, instances.start_ps, instances.end_ps, instances.skipped_op, instances.skipped
    change, moment = _find_moments(*seen, changes, order, first)
    in_time = np.argsort(moment, kind="stable")  # quick, since launch order is nearly that
    return Usage(*_levels(program.memory_initial[memory], in_time, change, moment, changes))


@compiled
def _find_moments(
    op: Indices, start: Ints, end: Ints, skipped_op: Indices, skipped: Ints, changes: Rows, order: Ints, first: Ints
) -> tuple[Indices, Moments]:
    """Return which changes of a memory happen and when, in launch order; ``order[first[i]:first[i + 1]]`` are those of operation i.

    A moment is four times the time (ps) plus the turn that a change takes among those of that time.
    """
    total = 0
    for i in range(len(op)):
        if op[i] >= 0:
            total += first[op[i] + 1] - first[op[i]]
    change, moment = np.empty(total, np.int32), np.empty(total, np.uint64)
    seen, size = np.zeros(len(changes), np.int64), 0
    for i in range(len(op)):
        here = op[i] if op[i] >= 0 else skipped_op[i]
        for k in range(first[here], first[here + 1]):
            c = order[k]
            row = changes[c]
            wanted = row.every - 1 if row.at_end else 0
            if op[i] >= 0 and (row.every == 1 or seen[c] % row.every == wanted):
                turn = (0 if start[i] < end[i] else 2) if row.at_end else 1
                change[size], moment[size] = c, 4 * np.uint64(end[i] if row.at_end else start[i]) + np.uint64(turn)
                size += 1
            seen[c] += 1 if op[i] >= 0 else skipped[i]
    return change[:size], moment[:size]


@compiled
def _levels(initial: int, order: Ints, change: Indices, moment: Moments, changes: Rows) -> tuple[Floats, Ints, Indices]:
    """Add up the changes in order: times (s), bytes from then on, and the tensor of each change."""
    at, level, tensor = np.zeros(len(order) + 1), np.empty(len(order) + 1, np.int64), np.full(len(order) + 1, -1, np.int32)
    level[0] = initial
    for i in range(len(order)):
        row = changes[change[order[i]]]
        at[i + 1], level[i + 1], tensor[i + 1] = (moment[order[i]] >> np.uint64(2)) / PS, level[i] + row.bytes, row.tensor
    return at, level, tensor
