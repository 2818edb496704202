"""Stepping over iterations that repeat: when the state at a loop's head is what it was p iterations ago.

There are two ways to repeat. *In step*: all times, relative to the present issue, are equal; times before it count as
equal because nothing starts before it. *Ahead*: the host is so far ahead that no operation has waited for its launch
for p iterations and none will; then times relative to the devices count, and the host's clock follows from its own pace.

Stepping n periods over takes them out of the loop: kept times stay, ``clock[OFFSET]`` grows. What does not move with
the loop (ends of operations and queues outside it) moves back relative to it. At least one period is run afterwards.
"""

from typing import NamedTuple

import numpy as np

from codesign.engine.launch_places import come_free, oldest_first, start_of, take_out
from codesign.engine.list_schedule import (
    BOUND_AT,
    BOUND_PS,
    BUSY,
    HOST,
    ISSUE,
    ISSUED,
    LAUNCHES,
    LOW,
    NEVER,
    OFFSET,
    OVERFLOW,
    RECORDED,
    RECORDING,
    RUN,
    STATUS,
    STEPPED,
    STEPS,
    Log,
    State,
)  # fmt: skip
from codesign.engine.program import WAITS, Codes, Hardware, Indices, Ints, Operations, Rows
from traces.compiled import in_place, inner

LONGEST_PERIOD = 8
WORTH_WATCHING = 16
"""Loops that execute fewer operations than this are simply run."""

NOW, ANCHOR, BOUND, NUMBER, LAUNCHED_BY, ISSUED_BY, RECORD, LOWEST, PAST = range(9)
IN_STEP, AHEAD = 1, 2
"""The ways in which a loop repeats."""
FEW, UNKNOWN = 16, -1
"""More starts than these few are kept at a head only if all else is familiar there; how many there are is then unknown."""


class Watch(NamedTuple):
    """What a loop's state consists of, by loop."""

    watched: Codes  # [L]
    waits: Codes  # [L] does the host wait inside?
    queues: Codes  # [L, Q] used inside?
    carried_start: Indices
    carried: Indices  # operations whose end the next iteration needs
    outer_start: Indices
    outer: Indices  # pairs flattened: an operation outside, the one inside that waits for it
    seen: Indices  # [N] room: the last loop for which an operation was noted
    gap: int  # the longest gap


class Past(NamedTuple):
    """The last heads of each active loop, by nesting level; head number h of a loop stands at h % LONGEST_PERIOD."""

    heads: Ints  # [levels]
    size: Ints  # [levels] of the vectors
    in_step: Ints  # [levels, 9, V], the last is room for the present state
    ahead: Ints  # [levels, 9, V]
    mark: Ints  # [levels, 8, 9]
    total: Ints  # [levels, 8, Q]
    pending: Ints  # [levels, 8, Q] launches that had not started, UNKNOWN if they were not looked at
    starts: Ints  # [levels, 8, Q, depth]
    low: Ints  # [levels, 2] least start: before the loop, and of its iterations so far
    recent: Ints  # [depth] room for the starts of the launches that a queue holds


@inner
def prepare(tape: Rows, ops: Operations, loops: Rows, state: State) -> tuple[Watch, Past]:
    """Return what to watch, and room for the heads of loops that are watched."""
    m, queues, gap = len(loops), len(state.lane), 0
    for op in ops.op:
        gap = max(gap, op.gap)
    watched, waits, used = np.zeros(m, np.int8), np.zeros(m, np.int8), np.zeros((m, queues), np.int8)
    carried_start, outer_start, seen = np.zeros(m + 1, np.int32), np.zeros(m + 1, np.int32), np.full(len(ops.op), -1, np.int32)
    none = np.empty(0, np.int32)
    levels, longest = _survey(tape, ops, loops, Watch(watched, waits, used, carried_start, none, outer_start, none, seen, gap))
    carried, outer = np.empty(carried_start[m], np.int32), np.empty(outer_start[m], np.int32)
    watch = Watch(watched, waits, used, carried_start, carried, outer_start, outer, seen, gap)
    _note_all_inputs(ops, loops, watch)
    return watch, _new_past(levels, queues, state.ring.shape[1], longest + queues + 3)


@in_place
def _survey(tape: Rows, ops: Operations, loops: Rows, watch: Watch) -> tuple[int, int]:
    """Find out what is watched and how much of it there is; return how deep loops nest, and the most that one loop carries."""
    levels = longest = 0
    for row in tape:
        if row.code == 1:
            levels = max(levels, row.b + 1)
    for loop in range(len(loops)):
        first, end = loops[loop].first, loops[loop].end
        carried, outer = watch.carried_start[loop], watch.outer_start[loop]
        watch.watched[loop] = loops[loop].count > 2 and _executed(loop, loops) >= WORTH_WATCHING
        if watch.watched[loop]:
            for i in range(first, end):
                if ops.op[i].flags & WAITS:
                    watch.waits[loop] = 1
                else:
                    watch.queues[loop, ops.op[i].queue] = 1
                for d in range(ops.op[i].dep_start, ops.op[i].dep_end):
                    if is_outside(ops.dep[d], first, end):
                        outer += 2
                    elif is_carried(ops.dep[d], i, loop, watch):
                        carried += 1
        longest = max(longest, carried - watch.carried_start[loop])
        watch.carried_start[loop + 1], watch.outer_start[loop + 1] = carried, outer
    return levels, longest


@in_place
def _note_all_inputs(ops: Operations, loops: Rows, watch: Watch) -> None:
    """Note which ends each loop that is watched needs of the iteration before, and of operations outside."""
    watch.seen[:] = -1
    for loop in range(len(loops)):
        if watch.watched[loop]:
            _note_inputs(loop, loops[loop].first, loops[loop].end, ops, watch)


@in_place
def _note_inputs(loop: int, first: int, end: int, ops: Operations, watch: Watch) -> None:
    carried, outer = watch.carried_start[loop], watch.outer_start[loop]
    for i in range(first, end):
        for d in range(ops.op[i].dep_start, ops.op[i].dep_end):
            on = ops.dep[d]
            if is_outside(on, first, end):
                watch.outer[outer], watch.outer[outer + 1] = on, i
                outer += 2
            elif is_carried(on, i, loop, watch):
                watch.carried[carried] = on
                carried += 1


@in_place
def is_outside(on: int, first: int, end: int) -> bool:
    """Is an operation none of ``first:end``?"""
    return bool(on < first or on >= end)


@in_place
def is_carried(on: int, i: int, loop: int, watch: Watch) -> bool:
    """Does operation ``i`` need the end of ``on`` in the iteration before, as the first in the loop that is found to?"""
    if on < i or watch.seen[on] == loop:
        return False
    watch.seen[on] = loop
    return True


@in_place
def _executed(loop: int, loops: Rows) -> float:
    """Operations that one pass through the loop executes, as far as `WORTH_WATCHING` needs to know."""
    executed = float(loops[loop].end - loops[loop].first)
    inner = loop + 1
    while inner < len(loops) and loops[inner].first < loops[loop].end:
        executed += float(loops[inner].end - loops[inner].first) * loops[inner].count
        inner += 1
    return float(executed * loops[loop].count)


@inner
def _new_past(levels: int, queues: int, deepest: int, size: int) -> Past:
    """Return room for the heads of ``levels`` nested loops, whose states are of so many times."""
    p = LONGEST_PERIOD
    return Past(
        np.zeros(levels, np.int64),
        np.zeros(levels, np.int64),
        np.empty((levels, p + 1, size), np.int64),
        np.empty((levels, p + 1, size), np.int64),
        np.empty((levels, p, 9), np.int64),
        np.empty((levels, p, queues), np.int64),
        np.empty((levels, p, queues), np.int64),
        np.empty((levels, p, queues, deepest), np.int64),
        np.empty((levels, 2), np.int64),
        np.empty(deepest, np.int64),
    )


@in_place
def enter(level: int, state: State, past: Past) -> None:
    """A loop begins."""
    past.heads[level] = 0
    past.low[level, 0], past.low[level, 1] = state.clock[LOW], NEVER
    state.clock[LOW] = NEVER


@in_place
def leave(level: int, state: State, past: Past) -> None:
    """A loop has ended."""
    state.clock[LOW] = min(state.clock[LOW], past.low[level, 0], past.low[level, 1])


@in_place
def head(
    level: int, loop: int, left: int, ops: Operations, loops: Rows, hardware: Hardware, watch: Watch, state: State, past: Past, log: Log
) -> int:
    """Note the state at the head of ``loop`` with ``left`` iterations to go; return how many of them are stepped over."""
    slot = past.heads[level] % LONGEST_PERIOD
    in_step, ahead = past.in_step[level, LONGEST_PERIOD], past.ahead[level, LONGEST_PERIOD]  # the present state, kept below if it is new
    past.size[level] = _describe(loop, watch, state, in_step, ahead)
    low = state.clock[LOW]
    past.low[level, 1] = min(past.low[level, 1], low)
    state.clock[LOW] = NEVER
    familiar = False
    for period in range(1, min(past.heads[level], LONGEST_PERIOD) + 1):
        if left < 2 * period:
            break
        then = (past.heads[level] - period) % LONGEST_PERIOD
        familiar |= _equal(in_step, past.in_step[level, then], past.size[level])
        way = _repeats(level, loop, then, period, low, in_step, ahead, hardware, watch, state, past)
        if way:
            past.heads[level] = 0
            return _step(level, loop, then, period, left // period - 1, way, loops, hardware, watch, state, past, log)
    for i in range(past.size[level]):
        past.in_step[level, slot, i], past.ahead[level, slot, i] = in_step[i], ahead[i]
    _note(level, loop, slot, low, familiar, ops, watch, state, past)
    return 0


@in_place
def _describe(loop: int, watch: Watch, state: State, in_step: Ints, ahead: Ints) -> int:
    """Fill in the times that make the state, relative to the present issue and to the devices; return how many."""
    clock = state.clock
    issue, anchor, size = clock[ISSUE], _anchor(loop, watch, state), 2
    in_step[0], ahead[0] = clock[HOST] - issue, 0
    in_step[1], ahead[1] = clock[BUSY] - issue, clock[BUSY] - anchor
    for q in range(len(state.lane)):
        if watch.queues[loop, q]:
            in_step[size], ahead[size] = max(state.lane[q].free - issue, -watch.gap), state.lane[q].free - anchor
            size += 1
    for c in range(watch.carried_start[loop], watch.carried_start[loop + 1]):
        end = state.end[watch.carried[c]]
        in_step[size], ahead[size] = max(end - issue, -watch.gap), end - anchor
        size += 1
    return size


@in_place
def _anchor(loop: int, watch: Watch, state: State) -> int:
    anchor = 0
    for q in range(len(state.lane)):
        if watch.queues[loop, q]:
            anchor = max(anchor, state.lane[q].free)
    return anchor


@in_place
def _note(level: int, loop: int, slot: int, low: int, familiar: bool, ops: Operations, watch: Watch, state: State, past: Past) -> None:
    """Keep what a later head needs to know of this one; many pending launches only if all else is ``familiar``."""
    clock, mark = state.clock, past.mark[level, slot]
    mark[NOW], mark[ANCHOR] = clock[ISSUE] + clock[OFFSET], _anchor(loop, watch, state) + clock[OFFSET]
    mark[BOUND], mark[NUMBER], mark[LAUNCHED_BY] = clock[BOUND_PS], clock[RUN], clock[LAUNCHES] + clock[STEPPED]
    mark[ISSUED_BY], mark[RECORD], mark[LOWEST] = clock[ISSUED], clock[RECORDED], low
    mark[PAST] = _outside_is_past(loop, ops, watch, state)
    for q in range(len(state.lane)):
        past.total[level, slot, q] = state.lane[q].total
        past.pending[level, slot, q] = 0
        if watch.queues[loop, q]:
            most = state.lane[q].noted if familiar else FEW
            past.pending[level, slot, q] = _pending(q, most, past.starts[level, slot, q], past.recent, state)
    past.heads[level] += 1


@in_place
def _pending(q: int, most: int, starts: Ints, recent: Ints, state: State) -> int:
    """Note the starts after the present issue, relative to it, the newest first; return how many, UNKNOWN if more than ``most``."""
    noted, issue = oldest_first(q, recent, state.lane, state.ring), state.clock[ISSUE] + state.lane[q].shift
    count = 0
    while count < noted and recent[noted - 1 - count] > issue:
        if count == most:
            return UNKNOWN
        starts[count] = recent[noted - 1 - count] - issue
        count += 1
    return count


@in_place
def _outside_is_past(loop: int, ops: Operations, watch: Watch, state: State) -> bool:
    """Has everything outside ended that operations inside wait for, by the time they last started?"""
    for pair in range(watch.outer_start[loop], watch.outer_start[loop + 1], 2):
        on, inside = watch.outer[pair], watch.outer[pair + 1]
        if state.end[on] > state.end[inside] - ops.op[inside].duration:
            return False
    return True


@in_place
def _repeats(
    level: int,
    loop: int,
    then: int,
    period: int,
    low: int,
    in_step: Ints,
    ahead: Ints,
    hardware: Hardware,
    watch: Watch,
    state: State,
    past: Past,
) -> int:
    """Is the state what it was at head ``then``, and in which way (0: it is not)?"""
    if not past.mark[level, then, PAST]:
        return 0
    size = past.size[level]
    unbound = state.clock[BOUND_AT] < past.mark[level, then, NUMBER] and not watch.waits[loop]
    if (
        unbound
        and _equal(ahead, past.ahead[level, then], size)
        and _stays_ahead(level, loop, then, period, low, hardware, watch, state, past)
    ):
        return AHEAD
    if _equal(in_step, past.in_step[level, then], size) and _same_pending(level, loop, then, watch, state, past):
        return IN_STEP
    return 0


@in_place
def _equal(a: Ints, b: Ints, size: int) -> bool:
    for i in range(size):  # noqa: SIM110 (compiled code has no generator for all())
        if a[i] != b[i]:
            return False
    return True


@in_place
def _same_pending(level: int, loop: int, then: int, watch: Watch, state: State, past: Past) -> bool:
    """Have the launches that have not started by the present issue the same starts, relative to it, as at ``then``?"""
    issue = state.clock[ISSUE]
    for q in range(len(state.lane)):
        if watch.queues[loop, q]:
            count = past.pending[level, then, q]
            if (
                count == UNKNOWN
                or count > state.lane[q].noted
                or (count < state.lane[q].noted and start_of(q, count + 1, state.lane, state.ring) > issue)
            ):
                return False
            for x in range(count):
                if start_of(q, x + 1, state.lane, state.ring) - issue != past.starts[level, then, q, x]:
                    return False
    return True


@in_place
def _stays_ahead(
    level: int, loop: int, then: int, period: int, low: int, hardware: Hardware, watch: Watch, state: State, past: Past
) -> bool:
    """Will no operation ever wait for its issue in this loop, if periods repeat, and is the host's time then known?

    ``soon`` bounds the starts of the next period from below. The host must be a whole period's issues before it, must not
    be slower than the devices, and no place in a queue may come free too late: neither to keep ahead, nor for the last
    period to decide the host's time (a place freed in one period must come free a period's issues later in the next).
    """
    clock, mark = state.clock, past.mark[level, then]
    takes = _anchor(loop, watch, state) + clock[OFFSET] - mark[ANCHOR]
    issues = (clock[ISSUED] - mark[ISSUED_BY]) * hardware.interval
    for back in range(1, period):
        low = min(low, past.mark[level, (past.heads[level] - back) % LONGEST_PERIOD, LOWEST])
    soon = low + takes - clock[OFFSET]
    lead = issues + hardware.latency
    if issues > takes or clock[HOST] + lead > soon:
        return False
    for q in range(len(state.lane)):
        launches = state.lane[q].total - past.total[level, then, q]
        used = watch.queues[loop, q] and launches > 0
        if used and not come_free(q, launches, 0, soon - lead, takes, clock[ISSUE], issues, past.recent, state.lane, state.ring):
            return False
    return True


@in_place
def _step(
    level: int,
    loop: int,
    then: int,
    period: int,
    times: int,
    way: int,
    loops: Rows,
    hardware: Hardware,
    watch: Watch,
    state: State,
    past: Past,
    log: Log,
) -> int:
    """Take ``times`` periods out of the loop; return how many iterations that is."""
    clock, mark = state.clock, past.mark[level, then]
    takes = clock[ISSUE] + clock[OFFSET] - mark[NOW]
    if way == AHEAD:
        takes = _anchor(loop, watch, state) + clock[OFFSET] - mark[ANCHOR]
    if takes > 0 and times > (NEVER - clock[OFFSET]) // takes:
        clock[STATUS] = OVERFLOW
        return 0
    _move_outside(loop, loops[loop].first, loops[loop].end, times * takes, watch, state)
    issues = clock[ISSUED] - mark[ISSUED_BY]
    if way == AHEAD:
        behind = times * (takes - issues * hardware.interval)
        clock[HOST] -= behind
        clock[ISSUE] -= behind
    else:
        clock[BOUND_AT] = clock[RUN]
    for q in range(len(state.lane)):
        take_out(q, state.lane[q].total - past.total[level, then, q], times, takes, way == AHEAD, past.recent, state.lane, state.ring)
    clock[OFFSET] += times * takes
    clock[BOUND_PS] += times * (clock[BOUND_PS] - mark[BOUND])
    clock[ISSUED] += times * issues
    clock[STEPPED] += times * (clock[LAUNCHES] + clock[STEPPED] - mark[LAUNCHED_BY])
    if clock[RECORDING]:
        row = log.steps[clock[STEPS]]
        row[0], row[1], row[2], row[3] = mark[RECORD], clock[RECORDED], times, takes
    clock[STEPS] += 1
    return times * period


@in_place
def _move_outside(loop: int, first: int, end: int, by: int, watch: Watch, state: State) -> None:
    """Times that do not move with the loop lie further back once iterations are taken out of it."""
    for on in range(first):
        state.end[on] -= by
    for on in range(end, len(state.end)):
        state.end[on] -= by
    for q in range(len(state.lane)):
        if not watch.queues[loop, q]:
            state.lane[q].free -= by
            state.lane[q].taken -= by
