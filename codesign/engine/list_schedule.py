"""Replay in launch order: every operation starts at the latest of a few known times, so one pass suffices.

That holds while no two operations share a resource that cannot serve both at once. The pass watches for that and
gives up when it happens (status CONTENTION); then the event-driven engine takes over.
"""

from typing import NamedTuple

import numpy as np

from codesign.engine.launch_places import RING_FIELDS, note_start
from codesign.engine.program import ISSUES, LAUNCHED, LEAVES, LIMIT_PS, WAITS, Floats, Hardware, Ints, Operations, Rows
from traces.compiled import compiled, in_place, inlined, inner

HOST, ISSUE, BUSY, OFFSET, BOUND_PS, BOUND_AT, RUN, LAUNCHES, STEPPED, ISSUED, LOW, WAITED, STATUS, RECORDED, STEPS, RECORDING = range(16)
"""Places in ``State.clock``: the host's next free moment, the present issue, the latest end so far, true minus kept time,
time bound by the host, number of the last operation that waited for its issue alone, operations and launches run, launches
stepped over, launches issued, least start since the last loop border (true), end of the last host wait (true), ..."""

FINE, OVERFLOW, CONTENTION, STUCK = range(4)
NEVER = LIMIT_PS
NO_CONTENTION = 1.0 - 1e-9
"""Demands up to this fraction of a capacity are served in full, whatever the rounding of their sum."""

LANE = np.dtype(
    [
        ("free", "i8"),  # when its last operation ends
        *RING_FIELDS,
        ("wire", "i8"),  # -1: none
        ("taken", "i8"),  # from when on others may have its wire: after the start of its last operation, even if that takes no time
        ("guest", "i8"),  # is it a guest's?
    ],
    align=True,
)
"""A queue."""

RECORD = np.dtype([("op", "i8"), ("start", "i8"), ("stop", "i8")], align=True)
TAPE = np.dtype([("code", "i4"), ("a", "i4"), ("b", "i4")], align=True)
"""The loops as a straight program: run operations a to b (0), begin loop a at level b (1), end an iteration of a that b begins (2)."""


class State(NamedTuple):
    """All that changes. Times are kept as if stepped iterations had never been (true = kept + clock[OFFSET])."""

    clock: Ints
    lane: Rows  # [Q] of LANE
    ring: Ints  # [Q, depth]
    end: Ints  # [N] end of the latest instance of each operation


class Log(NamedTuple):
    """Rows of RECORD, and steps (first, end, count, period), filled up to clock[RECORDED] and clock[STEPS]."""

    record: Rows
    steps: Ints


class Contention(NamedTuple):
    """Who may disturb whom: the largest demand of each queue on each resource (a claim counts in full), and their last ends."""

    demand: Floats  # [R, Q] bytes a ps
    end: Ints  # [R, Q]


@compiled
def make_tape(n: int, loops: Rows, tape: Rows, stack: Ints, begun: Ints) -> int:
    """Write the tape of ``n`` operations (room for 4 rows a loop and 1) and return its length; ``stack``, ``begun``: room, one a loop."""
    m = len(loops)
    size = depth = at = loop = 0
    while loop < m or depth > 0 or at < n:
        border = n
        closes = depth > 0 and (loop == m or loops[loop].first >= loops[stack[depth - 1]].end)
        if closes:
            border = loops[stack[depth - 1]].end
        elif loop < m:
            border = loops[loop].first
        if border > at:
            tape[size].code, tape[size].a, tape[size].b = 0, at, border
            size, at = size + 1, border
        if closes:
            depth -= 1
            tape[size].code, tape[size].a, tape[size].b = 2, stack[depth], begun[depth]
            size += 1
        elif loop < m:
            stack[depth], begun[depth] = loop, size
            tape[size].code, tape[size].a, tape[size].b = 1, loop, depth
            size, depth, loop = size + 1, depth + 1, loop + 1
    return size


def tape_of(n: int, loops: Rows) -> Rows:
    """Return the tape of ``n`` operations."""
    tape = np.zeros(4 * len(loops) + 1, TAPE)
    return tape[: make_tape(n, loops, tape, np.empty(len(loops), np.int64), np.empty(len(loops), np.int64))]


@inner
def new_state(n: int, hardware: Hardware, recording: bool) -> State:
    """Return the state before the first launch."""
    lane, deepest = np.zeros(len(hardware.depth), LANE), 1
    for q in range(len(lane)):
        lane[q].depth, lane[q].wire, lane[q].guest = hardware.depth[q], hardware.wire[q], hardware.guest[q]
        deepest = max(deepest, hardware.depth[q])
    clock = np.zeros(16, np.int64)
    clock[LOW], clock[BOUND_AT], clock[RECORDING] = NEVER, -1, recording
    return State(clock, lane, np.empty((len(lane), deepest), np.int64), np.zeros(n, np.int64))


@inner
def new_contention(ops: Operations, hardware: Hardware) -> Contention:
    """Return what each queue asks of each resource at most, before any operation has run."""
    shape = len(hardware.capacity), len(hardware.depth)
    contention = Contention(np.zeros(shape), np.zeros(shape, np.int64))
    _note_demands(ops, hardware, contention.demand)
    return contention


@in_place
def _note_demands(ops: Operations, hardware: Hardware, demand: Floats) -> None:
    """Note what each queue asks of each resource at most; resources that can serve all at once are set to zero."""
    for op in ops.op:
        if op.duration > 0:
            for u in range(op.use_start, op.use_end):
                r = ops.use[u].resource
                asked = min(ops.use[u].bytes / op.duration, hardware.capacity[r]) + ops.use[u].claim * hardware.capacity[r]
                demand[r, op.queue] = max(demand[r, op.queue], asked)
    for r in range(len(demand)):
        total = 0.0
        for q in range(demand.shape[1]):
            total += demand[r, q]
        if total <= hardware.capacity[r] * NO_CONTENTION:
            for q in range(demand.shape[1]):
                demand[r, q] = 0.0


@inlined
def wire_is_taken(q: int, start: int, lane: Rows) -> bool:
    """May an operation launched before on another queue of the same wire run at ``start``, or have begun then, out of its turn?"""
    for other in range(len(lane)):  # noqa: SIM110 (compiled code has no generator for any())
        if lane[other].wire == lane[q].wire and other != q and lane[other].taken > start:
            return True
    return False


@inlined
def has_to_share(i: int, start: int, stop: int, ops: Operations, hardware: Hardware, contention: Contention) -> bool:
    """Could operation ``i``, from ``start`` to ``stop``, have to share with one that was launched before on another queue?"""
    q = ops.op[i].queue
    for u in range(ops.op[i].use_start, ops.op[i].use_end):
        r = ops.use[u].resource
        asked, others = contention.demand[r, q], 0.0
        if asked > 0.0:
            for other in range(contention.demand.shape[1]):
                if other != q and contention.end[r, other] > start:
                    others += contention.demand[r, other]
            if others > 0.0 and asked + others > hardware.capacity[r] * NO_CONTENTION:
                return True
            contention.end[r, q] = stop
    return False


@inlined
def issued_at(i: int, host: int, ops: Operations, lane: Rows, ring: Ints) -> int:
    """Return when the host, free from ``host`` on, issues operation ``i``: not before its queue has a place."""
    slot = lane[ops.op[i].slot]
    if slot.noted < slot.depth:
        return host
    return int(max(host, ring[ops.op[i].slot, slot.place] - slot.shift))


@inlined
def can_start(i: int, ops: Operations, lane: Rows, latest: Ints) -> int:
    """Return when operation ``i`` could start if it had been launched: its queue is free and its inputs have ended."""
    op = ops.op[i]
    start = lane[op.queue].free + op.gap
    for d in range(op.dep_start, op.dep_end):
        start = max(start, latest[ops.dep[d]])
    return int(start)


@inlined
def occupies(i: int, start: int, stop: int, ops: Operations, hardware: Hardware, state: State, contention: Contention) -> bool:
    """Let operation ``i`` have its queue from ``start`` to ``stop``; return False if others may want what it uses (CONTENTION)."""
    lane, q = state.lane, ops.op[i].queue
    if lane[q].wire >= 0:
        if wire_is_taken(q, start, lane):
            return False
        lane[q].taken = max(stop, start + 1)
    lane[q].free = stop
    if ops.op[i].flags & LEAVES:
        note_start(q, start, lane, state.ring)
    return not has_to_share(i, start, stop, ops, hardware, contention)


@in_place
def run_stretch(first: int, end: int, ops: Operations, hardware: Hardware, state: State, contention: Contention, log: Log) -> None:
    """Run operations ``first:end`` once."""
    clock, lane, latest = state.clock, state.lane, state.end
    host, issue, busy, offset = clock[HOST], clock[ISSUE], clock[BUSY], clock[OFFSET]
    bound, bound_at, number, launches, issued = clock[BOUND_PS], clock[BOUND_AT], clock[RUN], clock[LAUNCHES], clock[ISSUED]
    low, record, recording = NEVER, clock[RECORDED], clock[RECORDING] != 0
    for i in range(first, end):
        op = ops.op[i]
        if op.flags & ISSUES:
            issue = issued_at(i, host, ops, lane, state.ring)
            host, issued = issue + hardware.interval, issued + 1
        if op.flags & WAITS:
            start, stop = busy, busy + op.duration
            host, clock[WAITED] = max(host, stop), max(clock[WAITED], stop + offset)
        else:
            start, ready = can_start(i, ops, lane, latest), issue
            if op.flags & LAUNCHED:
                ready, launches = ready + hardware.latency, launches + 1
            if ready > start:
                bound += max(ready - busy, 0)
                start, bound_at = ready, number
            stop = start + op.duration
            if not occupies(i, start, stop, ops, hardware, state, contention):
                clock[STATUS] = CONTENTION
                return
            if not lane[op.queue].guest:
                busy = max(busy, stop)
        latest[i], low = stop, min(low, start)
        if recording:
            log.record[record].op, log.record[record].start, log.record[record].stop = i, start + offset, stop + offset
            record += 1
        number += 1
        if stop > NEVER - offset:
            clock[STATUS] = OVERFLOW
            return
    clock[HOST], clock[ISSUE], clock[BUSY] = host, issue, busy
    clock[BOUND_PS], clock[BOUND_AT], clock[RUN], clock[LAUNCHES], clock[ISSUED] = bound, bound_at, number, launches, issued
    clock[LOW], clock[RECORDED] = min(clock[LOW], low + offset), record
