"""The board on which a replay event by event is played: all that changes, and room for it."""

from typing import NamedTuple

import numpy as np

from codesign.engine.launch_places import RING_FIELDS
from codesign.engine.list_schedule import BOUND_AT, NEVER, RECORDING
from codesign.engine.program import Hardware, Ints, Operations, Rows
from traces.compiled import in_place, inlined, inner

NOW, TIME, BUSY, ENDED, AT, INSIDE, CHANGED, IDLE, FULL = 16, 17, 18, 19, 20, 21, 22, 23, 100
"""More places in the clock: the present time; the latest end (true); the latest end of the first ENDED instances, all of which
have ended; where the host is: place on the tape, and operation within a stretch; whether shares have to be computed anew; how many of
the program's own queues neither run nor have anything to run, and will have."""

QUEUE = np.dtype(
    [
        ("head", "i8"),  # ring of waiting instances: where the first stands, how many there are
        ("waiting", "i8"),
        ("held", "i8"),  # launches that have a place
        *RING_FIELDS,
        ("ready", "i8"),  # 1 + when the first waiting instance was seen to have all inputs, 0: it has not
        ("running", "i8"),  # operation, -1: none
        ("number", "i8"),  # of the running instance, in launch order
        ("offset", "i8"),  # true minus kept time of the running instance
        ("start", "i8"),
        ("since", "i8"),  # when the rate last changed
        ("finish", "i8"),
        ("free", "i8"),  # end of the last instance
        ("last", "i8"),  # place on the tape behind which it gets no more operations
        ("left", "f8"),  # ps still to go at ``since``, if alone
        ("rate", "f8"),  # -1: not known yet
    ],
    align=True,
)
WAITING = np.dtype([("op", "i8"), ("issue", "i8"), ("number", "i8"), ("offset", "i8")], align=True)
TALLY = np.dtype([("issued", "i8"), ("done", "i8"), ("ended_at", "i8"), ("done_before", "i8"), ("elapsed", "i8")], align=True)
"""Of each operation: instances issued and ended, the end of the last, how many had ended before that moment, the time of all."""


class Board(NamedTuple):
    """All that changes."""

    clock: Ints
    queue: Rows  # [Q] of QUEUE
    waiting: Rows  # [Q, room] of WAITING
    need: Ints  # [Q, room, W] how many instances of each dependency must have ended
    tally: Rows  # [N] of TALLY
    end: Ints  # [a power of two] end of instance i at `place_of` i; -1: it has not ended
    wire: Ints  # [W, 2] the queue that runs on each wire (-1: none), the queue that ran last
    ring: Ints  # [Q, depth] when the last launches of each queue started


@inner
def new_board(ops: Operations, hardware: Hardware, room: int, recording: bool) -> Board:
    """Return the board before the first launch."""
    queues, deepest, width, ends = len(hardware.depth), 1, 1, 1
    queue, tally = np.zeros(queues, QUEUE), np.zeros(len(ops.op), TALLY)
    for q in range(queues):
        queue[q].depth, queue[q].running, queue[q].finish = hardware.depth[q], -1, NEVER
        deepest = max(deepest, hardware.depth[q])
    for i in range(len(ops.op)):
        tally[i].ended_at = -1
        width = max(width, ops.op[i].dep_end - ops.op[i].dep_start)
    while ends < 2 * room:
        ends *= 2
    clock = np.zeros(24, np.int64)
    clock[INSIDE], clock[BOUND_AT], clock[RECORDING] = -1, -1, recording
    wires = 0
    for q in range(queues):
        wires = max(wires, hardware.wire[q] + 1)
    waiting, need = np.empty((queues, room), WAITING), np.empty((queues, room, width), np.int64)
    end, wire, ring = np.full(ends, -1, np.int64), np.full((wires, 2), -1, np.int64), np.empty((queues, deepest), np.int64)
    return Board(clock, queue, waiting, need, tally, end, wire, ring)


@in_place
def note_last(tape: Rows, ops: Operations, hardware: Hardware, board: Board) -> None:
    """Note where on the tape each queue gets its last operation: at the end of the outermost loop around it.

    What the host waits for, and what it issues to guests, is as if for all queues.
    """
    depth = outer = 0
    for queue in board.queue:
        queue.last = -1
    for at in range(len(tape) - 1, -1, -1):
        if tape[at].code == 2:
            outer = outer if depth > 0 else at
            depth += 1
        elif tape[at].code == 1:
            depth -= 1
        else:
            for i in range(tape[at].a, tape[at].b):
                q = ops.op[i].queue
                for other in range(len(board.queue)):
                    if other == q or q < 0 or hardware.guest[q]:
                        board.queue[other].last = max(board.queue[other].last, outer if depth > 0 else at)


@inlined
def place_of(number: int, end: Ints) -> int:
    """Return where the end of an instance stands: its number modulo the length, which is a power of two."""
    return number & (len(end) - 1)
