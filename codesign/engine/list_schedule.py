"""Replay in launch order: every operation starts at the latest of a few known times, so one pass suffices.

That holds while no two operations share a resource that cannot serve both at once. The pass watches for that and
gives up when it happens (status CONTENTION); then the event-driven engine takes over.
"""

from typing import NamedTuple

import numpy as np

from codesign.engine.program import ISSUES, LAUNCHED, LEAVES, LIMIT_PS, WAITS, Codes, Floats, Hardware, Indices, Ints, Loops, Operations
from traces.compiled import compiled

HOST, ISSUE, BUSY, OFFSET, BOUND_PS, BOUND_AT, RUN, LAUNCHES, STEPPED, ISSUED, LOW, WAITED, STATUS, RECORDED, STEPS, RECORDING = range(16)
"""Places in ``State.clock``: the host's next free moment, the present issue, the latest end so far, true minus kept time,
time bound by the host, number of the last operation that waited for its issue alone, operations and launches run, launches
stepped over, launches issued, least start since the last loop border (true), end of the last host wait (true), ..."""

FINE, OVERFLOW, CONTENTION, STUCK = range(4)
NEVER = LIMIT_PS
NO_CONTENTION = 1.0 - 1e-9
"""Demands up to this fraction of a capacity are served in full, whatever the rounding of their sum."""


class State(NamedTuple):
    """All that changes. Times are kept as if stepped iterations had never been (true = kept + clock[OFFSET])."""

    clock: Ints
    free: Ints  # [Q] when the queue's last operation ends
    end: Ints  # [N] end of the latest instance of each operation
    ring: Ints  # [Q, depth] starts of the last launches, plus shift
    shift: Ints  # [Q]
    place: Ints  # [Q] where in the ring the next launch goes, which is where the oldest is
    held: Ints  # [Q] launches in the ring
    total: Ints  # [Q] launches so far, stepped ones included


class Log(NamedTuple):
    """Records and steps (`program.Records`), filled up to clock[RECORDED] and clock[STEPS]."""

    op: Indices
    start: Ints
    stop: Ints
    steps: Ints  # [steps, 4] first, end, count, period


class Contention(NamedTuple):
    """Who may disturb whom: the largest demand of each queue on each resource (a claim counts in full), and their last ends."""

    demand: Floats  # [R, Q] bytes a ps
    end: Ints  # [R, Q]


class Tape(NamedTuple):
    """The loops as a straight program: run a stretch (0), begin a loop (1), end an iteration (2)."""

    code: Codes
    a: Indices  # first operation, or the loop
    b: Indices  # one past the last operation, or where the loop begins


@compiled
def make_tape(n: int, loops: Loops) -> Tape:
    """Return the tape of ``n`` operations."""
    m = len(loops.first)
    code, a, b = np.empty(4 * m + 1, np.int8), np.empty(4 * m + 1, np.int32), np.empty(4 * m + 1, np.int32)
    stack, begun = np.empty(m + 1, np.int32), np.empty(m + 1, np.int32)
    size = depth = at = loop = 0
    while loop < m or depth > 0 or at < n:
        border = n
        closes = depth > 0 and (loop == m or loops.first[loop] >= loops.end[stack[depth - 1]])
        if closes:
            border = loops.end[stack[depth - 1]]
        elif loop < m:
            border = loops.first[loop]
        if border > at:
            code[size], a[size], b[size] = 0, at, border
            size, at = size + 1, border
        if closes:
            depth -= 1
            code[size], a[size], b[size] = 2, stack[depth], begun[depth]
            size += 1
        elif loop < m:
            stack[depth], begun[depth] = loop, size
            code[size], a[size], b[size] = 1, loop, depth
            size, depth, loop = size + 1, depth + 1, loop + 1
    return Tape(code[:size], a[:size], b[:size])


@compiled
def new_state(n: int, hardware: Hardware) -> State:
    """Return the state before the first launch."""
    queues = len(hardware.depth)
    deepest = 1
    for depth in hardware.depth:
        deepest = max(deepest, depth)
    clock = np.zeros(16, np.int64)
    clock[LOW], clock[BOUND_AT] = NEVER, -1
    return State(
        clock,
        np.zeros(queues, np.int64),
        np.zeros(n, np.int64),
        np.empty((queues, deepest), np.int64),
        np.zeros(queues, np.int64),
        np.zeros(queues, np.int64),
        np.zeros(queues, np.int64),
        np.zeros(queues, np.int64),
    )


@compiled
def largest_demands(ops: Operations, hardware: Hardware) -> Contention:
    """Return what each queue asks of each resource at most; resources that can serve all at once are set to zero."""
    demand = np.zeros((len(hardware.capacity), len(hardware.depth)))
    for i in range(len(ops.queue)):
        for u in range(ops.use_start[i], ops.use_start[i + 1]):
            r = ops.use_resource[u]
            if ops.duration[i] > 0:
                asked = min(ops.use_bytes[u] / ops.duration[i], hardware.capacity[r]) + ops.use_claim[u] * hardware.capacity[r]
                demand[r, ops.queue[i]] = max(demand[r, ops.queue[i]], asked)
    for r in range(len(demand)):
        if demand[r].sum() <= hardware.capacity[r] * NO_CONTENTION:
            demand[r] = 0.0
    return Contention(demand, np.zeros(demand.shape, np.int64))


@compiled
def contends(i: int, q: int, start: int, stop: int, ops: Operations, hardware: Hardware, contention: Contention) -> bool:
    """Could operation ``i``, running from start to stop, have to share with one launched before it on another queue?"""
    for u in range(ops.use_start[i], ops.use_start[i + 1]):
        r = ops.use_resource[u]
        asked = contention.demand[r, q]
        if asked == 0.0:
            continue
        for other in range(contention.demand.shape[1]):
            if other != q and contention.end[r, other] > start:
                asked += contention.demand[r, other]
        if asked > hardware.capacity[r] * NO_CONTENTION and asked > contention.demand[r, q]:
            return True
        contention.end[r, q] = stop
    return False


@compiled
def run_stretch(first: int, end: int, ops: Operations, hardware: Hardware, state: State, contention: Contention, log: Log) -> None:
    """Run operations ``first:end`` once."""
    clock = state.clock
    host, issue, busy, offset = clock[HOST], clock[ISSUE], clock[BUSY], clock[OFFSET]
    bound, bound_at, number, launches, issued = clock[BOUND_PS], clock[BOUND_AT], clock[RUN], clock[LAUNCHES], clock[ISSUED]
    low, record, recording = NEVER, clock[RECORDED], clock[RECORDING] != 0
    shared = len(hardware.capacity) > 0
    for i in range(first, end):
        flags = ops.flags[i]
        if flags & ISSUES:
            s = ops.slot[i]
            issue = host
            if state.held[s] >= hardware.depth[s]:
                issue = max(issue, state.ring[s, state.place[s]] - state.shift[s])
            host = issue + hardware.interval
            issued += 1
        if flags & WAITS:
            start = busy
            stop = start + ops.duration[i]
            host = max(host, stop)
            clock[WAITED] = max(clock[WAITED], stop + offset)
        else:
            q = ops.queue[i]
            start = state.free[q] + ops.gap[i]
            for d in range(ops.dep_start[i], ops.dep_start[i + 1]):
                start = max(start, state.end[ops.dep[d]])
            ready = issue
            if flags & LAUNCHED:
                ready += hardware.latency
                launches += 1
            if ready > start:
                bound += max(ready - busy, 0)
                start, bound_at = ready, number
            stop = start + ops.duration[i]
            state.free[q] = stop
            busy = max(busy, stop)
            if flags & LEAVES:
                at = state.place[q]
                state.ring[q, at] = start + state.shift[q]
                state.place[q] = at + 1 if at + 1 < hardware.depth[q] else 0
                state.held[q] = min(state.held[q] + 1, hardware.depth[q])
                state.total[q] += 1
            if shared and contends(i, q, start, stop, ops, hardware, contention):
                clock[STATUS] = CONTENTION
                return
        state.end[i] = stop
        low = min(low, start)
        if recording:
            log.op[record], log.start[record], log.stop[record] = i, start + offset, stop + offset
            record += 1
        number += 1
        if stop > NEVER - offset:
            clock[STATUS] = OVERFLOW
            return
    clock[HOST], clock[ISSUE], clock[BUSY] = host, issue, busy
    clock[BOUND_PS], clock[BOUND_AT], clock[RUN], clock[LAUNCHES], clock[ISSUED] = bound, bound_at, number, launches, issued
    clock[LOW], clock[RECORDED] = min(clock[LOW], low + offset), record
