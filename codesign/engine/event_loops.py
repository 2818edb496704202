"""Replay event by event: stepping over iterations once all that is pending at a loop's head is what it was p iterations ago.

From then on every event repeats. What is pending belongs to the iterations after those stepped over, so a stretch of records that
repeats is one that was issued since, and has ended.

As in `stepping` there are two ways to repeat. *In step*: the host's clock and the places that came free since its last issue are, seen from
now, what they were. *Ahead*: nothing has waited for its launch for p iterations and nothing will; then the host's clock follows from its
own pace.
"""

from typing import NamedTuple

import numpy as np

from codesign.engine.event_board import BUSY, CHANGED, ENDED, NOW, Board, place_of
from codesign.engine.launch_places import come_free, start_of, take_out
from codesign.engine.list_schedule import (
    BOUND_AT,
    BOUND_PS,
    HOST,
    ISSUE,
    LAUNCHES,
    NEVER,
    OFFSET,
    OVERFLOW,
    RECORDING,
    RUN,
    STATUS,
    STEPPED,
    STEPS,
    Log,
)  # fmt: skip
from codesign.engine.program import LAUNCHED, Floats, Hardware, Ints, Operations, Rows
from codesign.engine.stepping import AHEAD, FEW, IN_STEP, LONGEST_PERIOD, WORTH_WATCHING
from traces.compiled import in_place, inlined, inner

LONGEST_STATE, WORTH_DESCRIBING = 50_000, 64
"""A state of more numbers than this, and than so many an instance of what may be a period, is not looked at: the loop is run."""


class Track(NamedTuple):
    """Loops: iterations left, and for those watched the last heads by nesting level."""

    left: Ints  # [L]
    watched: Ints  # [L]
    level: Ints  # [L]
    heads: Ints  # [levels]
    mark: Ints  # [levels, 8, 6] true time, host-bound time, launches, instances, what can be told of the state at a glance, is it kept?
    started: Ints  # [levels, 8, Q] launches
    elapsed: Ints  # [levels, 8, N]
    steady: Ints  # [levels, 7] period (0: not known), what each of the first marks grows by, instances when it began, the way it repeats
    launches: Ints  # [levels, Q] how many start in a period
    grows: Ints  # [levels, N] how much each operation's time grows by
    recent: Ints  # [depth] room for the starts of the launches that a queue holds


class Search(NamedTuple):
    """All that looking for iterations that repeat needs."""

    ops: Operations
    loops: Rows
    hardware: Hardware
    board: Board
    track: Track
    states: list[Floats]  # of the devices at the last heads, by level and slot
    hosts: list[Floats]  # of the host
    stretches: list[tuple[int, int]]  # of records that repeat
    log: Log


@inner
def new_track(ops: Operations, loops: Rows, hardware: Hardware, step_over: bool) -> Track:
    """Return the loops before any is entered."""
    n, queues, level, watched = len(ops.op), len(hardware.depth), _levels(loops), np.zeros(len(loops), np.int64)
    levels, deepest = 0, 1
    for loop in range(len(loops)):
        row = loops[loop]
        if step_over and hardware.spread == 0.0 and row.count > 2 and (row.end - row.first) * float(row.count) >= WORTH_WATCHING:
            watched[loop], levels = 1, max(levels, level[loop] + 1)
    for depth in hardware.depth:
        deepest = max(deepest, depth)
    left, heads, recent = np.empty(len(loops), np.int64), np.empty(levels, np.int64), np.empty(deepest, np.int64)
    mark, started = np.empty((levels, LONGEST_PERIOD, 6), np.int64), np.empty((levels, LONGEST_PERIOD, queues), np.int64)
    elapsed, steady = np.empty((levels, LONGEST_PERIOD, n), np.int64), np.empty((levels, 7), np.int64)
    launches, grows = np.empty((levels, queues), np.int64), np.empty((levels, n), np.int64)
    return Track(left, watched, level, heads, mark, started, elapsed, steady, launches, grows, recent)


@inner
def _levels(loops: Rows) -> Ints:
    """Return in how many others each loop lies."""
    level = np.zeros(len(loops), np.int64)
    for outer in range(len(loops)):
        inside = outer + 1
        while inside < len(loops) and loops[inside].first < loops[outer].end:
            level[inside] += 1
            inside += 1
    return level


@inlined
def at_a_glance(clock: Ints) -> int:
    """Return a number in which states that are equal agree, and most others do not."""
    return int((clock[RUN] - clock[ENDED]) * 1_000_003 + clock[BUSY] - clock[NOW])


@inlined
def passes_by(level: int, clock: Ints, track: Track) -> bool:
    """Can the state at this head be none of the last ones, at a glance, and does nothing repeat yet? Then count the head: that is all."""
    heads, glance = track.heads[level], at_a_glance(clock)
    if track.steady[level, 0] > 0:
        return False
    for period in range(1, min(heads, LONGEST_PERIOD) + 1):
        if track.mark[level, (heads - period) % LONGEST_PERIOD, 4] == glance:
            return False
    mark = track.mark[level, heads % LONGEST_PERIOD]
    mark[3], mark[4], mark[5] = clock[RUN], glance, 0
    track.heads[level] = heads + 1
    return True


@inner
def look(loop: int, search: Search) -> None:
    """At the head of a loop: find out whether it repeats, and step over it when that is known."""
    track = search.track
    level = track.level[loop]
    period = track.steady[level, 0]
    if period > 0 and track.left[loop] >= 2 * period and has_settled(level, search):
        track.heads[level] = track.steady[level, 0] = 0
        if track.steady[level, 6] == IN_STEP or stays_ahead(level, search):
            times = track.left[loop] // period - 1
            step(loop, times, search)
            track.left[loop] -= times * period
    elif period == 0:
        compare(loop, search)


@inner
def compare(loop: int, search: Search) -> None:
    """Compare the state with those kept at earlier heads, and keep it: at a glance it may be one of them (`passes_by`)."""
    board, track = search.board, search.track
    level, clock = track.level[loop], board.clock
    heads, base = track.heads[level], level * LONGEST_PERIOD
    glance = at_a_glance(clock)
    now = np.array([clock[NOW] + clock[OFFSET], clock[BOUND_PS], clock[LAUNCHES] + clock[STEPPED], clock[RUN], glance, 0])
    state, familiar = np.zeros(0), False
    for period in range(1, min(heads, LONGEST_PERIOD) + 1):
        then = (heads - period) % LONGEST_PERIOD
        if track.mark[level, then, 4] != glance:
            continue
        if len(state) == 0:
            most = max(LONGEST_STATE, WORTH_DESCRIBING * (clock[RUN] - track.mark[level, then, 3]))
            state = describe(most, search.ops, search.hardware, board)
        if len(state) > 0 and track.mark[level, then, 5] and same(state, search.states[base + then]):
            keep_growth(loop, period, now, search)
            if track.steady[level, 6]:
                return
            familiar = True
    slot = heads % LONGEST_PERIOD
    search.states[base + slot] = state
    search.hosts[base + slot] = describe_host(board, len(track.recent) if familiar else FEW)
    keep_mark(loop, now, len(state) > 0, search)


@inner
def keep_growth(loop: int, period: int, now: Ints, search: Search) -> None:
    """The devices' state is that of ``period`` iterations ago. If the host repeats too, keep the way, and what everything has grown by."""
    track, board = search.track, search.board
    level = track.level[loop]
    then = (track.heads[level] - period) % LONGEST_PERIOD
    for q in range(len(board.queue)):
        track.launches[level, q] = board.queue[q].total - track.started[level, then, q]
    track.steady[level, 1:5] = (now - track.mark[level, then])[:4]
    track.steady[level, 6] = way_of_host(level, then, search)
    if track.steady[level, 6]:
        track.steady[level, 0], track.steady[level, 5] = period, track.mark[level, then, 3]
        for i in range(search.loops[loop].first, search.loops[loop].end):
            track.grows[level, i] = board.tally[i].elapsed - track.elapsed[level, then, i]


@inner
def way_of_host(level: int, then: int, search: Search) -> int:
    """In which way does the host repeat since head ``then`` (0: it does not)?"""
    if search.board.clock[BOUND_AT] < search.track.mark[level, then, 3] and stays_ahead(level, search):
        return AHEAD
    before = search.hosts[level * LONGEST_PERIOD + then]
    if len(before) > 0 and same(describe_host(search.board, len(before)), before):
        return IN_STEP
    return 0


@in_place
def stays_ahead(level: int, search: Search) -> bool:
    """Will nothing ever wait for its launch in this loop, if periods repeat, and is the host's time then known?

    Nothing starts before now. The host must be a whole period's issues before that, must not be slower than the devices, and no place in
    a queue may come free too late (see `launch_places.come_free`).
    """
    board, clock, launches = search.board, search.board.clock, search.track.launches[level]
    issues, takes = launches.sum() * search.hardware.interval, search.track.steady[level, 1]
    needed = clock[NOW] - issues - search.hardware.latency
    if issues > takes or clock[HOST] > needed:
        return False
    for q in range(len(board.queue)):
        held, recent = board.queue[q].held, search.track.recent
        if launches[q] > 0 and not come_free(q, launches[q], held, needed, takes, clock[ISSUE], issues, recent, board.queue, board.ring):
            return False
    return True


@inner
def keep_mark(loop: int, now: Ints, kept: bool, search: Search) -> None:
    """Keep what a later head is compared with; ``kept``: is there a state?"""
    track = search.track
    level = track.level[loop]
    slot = track.heads[level] % LONGEST_PERIOD
    track.mark[level, slot] = now
    track.mark[level, slot, 5] = kept
    for q in range(len(search.board.queue)):
        track.started[level, slot, q] = search.board.queue[q].total
    for i in range(search.loops[loop].first, search.loops[loop].end):
        track.elapsed[level, slot, i] = search.board.tally[i].elapsed
    track.heads[level] += 1


@inner
def has_settled(level: int, search: Search) -> bool:
    """Has a whole period ended of instances issued since everything repeats, and does no stretch that repeats begin before it?"""
    begin = search.board.clock[ENDED] - search.track.steady[level, 4]
    row = len(search.stretches) - 1
    while row >= 0 and search.stretches[row][1] > begin:
        if search.stretches[row][0] < begin:
            return False
        row -= 1
    return bool(begin >= search.track.steady[level, 5])


@inlined
def same(a: Floats, b: Floats) -> bool:
    """Are two states equal?"""
    if len(a) != len(b):
        return False
    for i in range(len(a)):  # noqa: SIM110 (compiled code has no generator for all())
        if a[i] != b[i]:
            return False
    return True


@inner
def step(loop: int, times: int, search: Search) -> None:
    """Take ``times`` periods out of the loop."""
    board, track, log = search.board, search.track, search.log
    clock, level = board.clock, track.level[loop]
    grows = track.steady[level]
    takes = grows[1]
    if takes > 0 and times > (NEVER - clock[OFFSET]) // takes:
        clock[STATUS] = OVERFLOW
        return
    clock[OFFSET] += times * takes
    clock[BOUND_PS] += times * grows[2]
    clock[STEPPED] += times * grows[3]
    for i in range(search.loops[loop].first, search.loops[loop].end):
        board.tally[i].elapsed += times * track.grows[level, i]
    move_host(level, times, search)
    search.stretches.append((clock[ENDED] - grows[4], clock[ENDED]))
    if clock[RECORDING]:
        row = log.steps[clock[STEPS]]
        row[0], row[1], row[2], row[3] = clock[ENDED] - grows[4], clock[ENDED], times, takes
    clock[STEPS] += 1
    postpone(times * takes, board, log)


@in_place
def move_host(level: int, times: int, search: Search) -> None:
    """``times`` periods have been taken out: the host issued them at its own pace if it is ahead, and places came free in them."""
    board, track = search.board, search.track
    launches, takes, ahead = track.launches[level], track.steady[level, 1], track.steady[level, 6] == AHEAD
    for q in range(len(board.queue)):
        take_out(q, launches[q], times, takes, ahead, track.recent, board.queue, board.ring)
    if ahead:
        behind = times * (takes - launches.sum() * search.hardware.interval)
        board.clock[HOST] -= behind
        board.clock[ISSUE] -= behind


@in_place
def postpone(by: int, board: Board, log: Log) -> None:
    """All that is pending happens later in true time."""
    clock = board.clock
    for q in range(len(board.queue)):
        queue = board.queue[q]
        for w in range(queue.waiting):
            board.waiting[q, (queue.head + w) % board.waiting.shape[1]].offset += by
        if queue.running >= 0:
            queue.offset += by
            if clock[RECORDING]:
                log.record[queue.number].start += by
    if clock[RECORDING]:
        for number in range(clock[ENDED], clock[RUN]):
            if board.end[place_of(number, board.end)] >= 0:
                log.record[number].start += by
                log.record[number].stop += by


@inner
def describe(most: int, ops: Operations, hardware: Hardware, board: Board) -> Floats:
    """Return all that the future depends on beside the host, relative to now; empty if that are more than ``most`` numbers."""
    clock, width, gap = board.clock, board.need.shape[2], 0
    pending = clock[RUN] - clock[ENDED]
    size = 3 + 9 * len(board.queue) + pending + len(ops.op) + len(board.wire)
    for queue in board.queue:
        size += queue.waiting * (3 + width)
    if size > most:
        return np.zeros(0)
    for op in ops.op:
        gap = max(gap, op.gap)
    state, now = np.zeros(size), clock[NOW]
    state[0], state[1], state[2] = clock[BUSY] - now, clock[CHANGED], pending
    at = 3
    for number in range(clock[ENDED], clock[RUN]):
        end = board.end[place_of(number, board.end)]
        state[at] = -1.0 if end < 0 else now - end
        at += 1
    for q in range(len(board.queue)):
        at = _describe_queue(q, at, gap, board, state)
        for w in range(board.queue[q].waiting):
            at = _describe_waiting(q, (board.queue[q].head + w) % board.waiting.shape[1], at, ops, hardware, board, state)
    for wire in range(len(board.wire)):
        state[at] = board.wire[wire, 1]
        at += 1
    for on in ops.dep:
        if board.tally[on].ended_at == now:
            state[size - 1 - on] = 1 + board.tally[on].done - board.tally[on].done_before
    return state


@inner
def describe_host(board: Board, most: int) -> Floats:
    """Return all that the next issues depend on, relative to now: the host's clock, and starts after its last issue, which freed places.

    Empty if that are more than ``most`` numbers.
    """
    clock, size = board.clock, 2
    count = np.zeros(len(board.queue), np.int64)
    for q in range(len(board.queue)):
        while count[q] < board.queue[q].noted and start_of(q, count[q] + 1, board.queue, board.ring) > clock[ISSUE]:
            count[q] += 1
            size += 1
            if size > most:
                return np.zeros(0)
    state, at = np.zeros(size + len(count)), 2
    state[0], state[1] = clock[HOST] - clock[NOW], clock[ISSUE] - clock[NOW]
    for q in range(len(count)):
        state[at] = count[q]
        for back in range(1, count[q] + 1):
            state[at + back] = start_of(q, back, board.queue, board.ring) - clock[NOW]
        at += 1 + count[q]
    return state


@inlined
def _describe_queue(q: int, at: int, gap: int, board: Board, state: Floats) -> int:
    queue, now = board.queue[q], board.clock[NOW]
    ready = 0 if queue.ready == 0 else 1 if queue.ready <= now else 2
    state[at], state[at + 1], state[at + 2], state[at + 3] = queue.held, queue.waiting, ready, queue.running
    state[at + 4] = max(queue.free - now, -gap - 1)
    if queue.running >= 0:
        state[at + 4] = board.clock[RUN] - queue.number
        state[at + 5], state[at + 6], state[at + 7] = queue.left, queue.rate, queue.since - now
        state[at + 8] = queue.finish - now if queue.finish < NEVER else -1.0
    return at + 9


@inlined
def _describe_waiting(q: int, place: int, at: int, ops: Operations, hardware: Hardware, board: Board, state: Floats) -> int:
    waiting = board.waiting[q, place]
    op = ops.op[waiting.op]
    latency = hardware.latency if op.flags & LAUNCHED else 0
    state[at], state[at + 1] = waiting.op, max(waiting.issue + latency - board.clock[NOW], -1)
    state[at + 2] = board.clock[RUN] - waiting.number
    for d in range(op.dep_start, op.dep_end):
        tally = board.tally[ops.dep[d]]
        done = tally.done_before if tally.ended_at == board.clock[NOW] else tally.done
        state[at + 3 + d - op.dep_start] = max(0, board.need[q, place, d - op.dep_start] - done)
    return int(at + 3 + board.need.shape[2])
