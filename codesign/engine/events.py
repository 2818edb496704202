"""Replay event by event: for programs whose operations share resources that cannot serve all of them at once.

At each moment, first everything that ends ends, the host issues what it can, and everything that can start starts, until
nothing more happens; then shares are computed anew. An operation's progress is counted in float64, its end is rounded up
to a picosecond.

Iterations are stepped over once all that is pending at a loop's head is what it was p iterations ago: from then on every
event repeats. What is pending belongs to the iterations after those stepped over, so a stretch of records that repeats is
one that was issued since, and has ended.
"""

from typing import NamedTuple

import numpy as np

from codesign.engine.list_schedule import (
    BOUND_PS, FINE, HOST, ISSUE, LAUNCHES, NEVER, OFFSET, OVERFLOW, RECORDED, RECORDING, RUN, STATUS, STEPPED, STEPS, STUCK, WAITED, Log,
    Tape, make_tape,
)  # fmt: skip
from codesign.engine.program import ISSUES, LAUNCHED, LEAVES, WAITS, Codes, Floats, Hardware, Indices, Ints, Loops, Operations
from codesign.engine.stepping import LONGEST_PERIOD, WORTH_WATCHING
from traces.compiled import compiled

NOW, TIME, BUSY, ENDED, AT, INSIDE, CHANGED, FULL = 16, 17, 18, 19, 20, 21, 22, 100
"""More places in the clock: the present time; the latest end (true); the latest end of the first ENDED instances, all of which
have ended; where the host is: place on the tape, and operation within a stretch; whether shares have to be computed anew."""

LONGEST_STATE = 50_000
"""A state of more numbers than this is not looked at: the loop is run."""


class Board(NamedTuple):
    """All that changes, but the clock. A queue's waiting instances stand in a ring, from ``head`` on, ``waiting`` of them."""

    clock: Ints
    head: Ints  # [Q]
    waiting: Ints  # [Q]
    op: Indices  # [Q, room]
    issue: Ints  # [Q, room]
    number: Ints  # [Q, room] instance, counted from 0 in launch order
    offset: Ints  # [Q, room] true minus kept time when it was issued
    need: Ints  # [Q, room, W] how many instances of each dependency must have ended
    held: Ints  # [Q] launches that have a place
    ready: Codes  # [Q] had the first waiting instance all inputs before now?
    running: Indices  # [Q] operation, -1: none
    running_number: Ints
    running_offset: Ints
    start: Ints
    left: Floats
    rate: Floats
    since: Ints
    finish: Ints
    free: Ints  # [Q]
    issued: Ints  # [N] instances
    done: Ints  # [N]
    ended_at: Ints  # [N] end of the instance that ended last
    elapsed: Ints  # [N]
    end: Ints  # [window] end of instance i at i % window; -1: it has not ended


class Track(NamedTuple):
    """Loops: iterations left, and for those watched the last heads by nesting level."""

    left: Ints  # [L]
    watched: Codes  # [L]
    level: Ints  # [L]
    heads: Ints  # [levels]
    mark: Ints  # [levels, 8, 4] true time, host-bound time, launches, instances
    elapsed: Ints  # [levels, 8, N]
    steady: Ints  # [levels, 6] period (0: not known), what each of the marks grows by, instances when it began
    grows: Ints  # [levels, N] how much each operation's elapsed time grows by


@compiled
def replay(ops: Operations, loops: Loops, hardware: Hardware, step_over: bool, log: Log, recording: bool, room: int) -> Board:
    """Replay event by event; the result's clock has the status (FULL: more room is needed)."""
    board = new_board(ops, hardware, room)
    board.clock[RECORDING] = recording
    tape = make_tape(len(ops.queue), loops)
    track = new_track(ops, loops, step_over)
    demand = demands(ops, hardware)
    share = np.zeros(len(board.free))
    states = [np.zeros(0)] * (LONGEST_PERIOD * len(track.heads) + 1)
    stretches = [(0, 0)]
    clock = board.clock
    clock[INSIDE] = -1
    while clock[STATUS] == FINE:
        moved = True
        while moved and clock[STATUS] == FINE:
            moved = end_all(ops, board, log)
            moved |= issue_all(tape, ops, loops, hardware, board, track, states, stretches, log)
            moved |= start_all(ops, hardware, board, log)
        if clock[CHANGED]:
            settle(ops, hardware, demand, share, board)
        if not to_next_moment(tape, ops, hardware, board):
            break
    return board


@compiled
def new_board(ops: Operations, hardware: Hardware, room: int) -> Board:
    """Return the board before the first launch."""
    n, q, width = len(ops.queue), len(hardware.depth), 1
    for i in range(n):
        width = max(width, ops.dep_start[i + 1] - ops.dep_start[i])
    return Board(
        np.zeros(23, np.int64), np.zeros(q, np.int64), np.zeros(q, np.int64),
        np.empty((q, room), np.int32), np.empty((q, room), np.int64), np.empty((q, room), np.int64), np.empty((q, room), np.int64),
        np.empty((q, room, width), np.int64), np.zeros(q, np.int64), np.zeros(q, np.int8),
        np.full(q, -1, np.int32), np.zeros(q, np.int64), np.zeros(q, np.int64), np.zeros(q, np.int64), np.zeros(q), np.zeros(q),
        np.zeros(q, np.int64), np.full(q, NEVER, np.int64), np.zeros(q, np.int64),
        np.zeros(n, np.int64), np.zeros(n, np.int64), np.full(n, -1, np.int64), np.zeros(n, np.int64), np.full(4 * room, -1, np.int64),
    )  # fmt: skip


@compiled
def new_track(ops: Operations, loops: Loops, step_over: bool) -> Track:
    """Return the loops before any is entered."""
    m, levels = len(loops.first), 1
    watched, level = np.zeros(m, np.int8), np.zeros(m, np.int64)
    for loop in range(m):
        for outer in range(loop):
            if loops.first[outer] <= loops.first[loop] and loops.end[loop] <= loops.end[outer]:
                level[loop] += 1
        size = float(loops.end[loop] - loops.first[loop]) * loops.count[loop]
        watched[loop] = step_over and loops.count[loop] > 2 and size >= WORTH_WATCHING
        levels = max(levels, level[loop] + 1)
    if not watched.any():
        levels = 0
    shape = (levels, LONGEST_PERIOD)
    return Track(
        np.zeros(m, np.int64), watched, level, np.zeros(levels, np.int64), np.zeros((*shape, 4), np.int64),
        np.zeros((*shape, len(ops.queue)), np.int64), np.zeros((levels, 6), np.int64), np.zeros((levels, len(ops.queue)), np.int64),
    )  # fmt: skip


@compiled
def demands(ops: Operations, hardware: Hardware) -> Floats:
    """Return what each use asks of its resource, bytes a ps: never more than there is."""
    demand = np.zeros(len(ops.use_bytes))
    for i in range(len(ops.queue)):
        for u in range(ops.use_start[i], ops.use_start[i + 1]):
            demand[u] = min(ops.use_bytes[u] / ops.duration[i], hardware.capacity[ops.use_resource[u]])
    return demand


@compiled
def end_all(ops: Operations, board: Board, log: Log) -> bool:
    """End what ends now; return whether anything did."""
    clock, moved = board.clock, False
    now = clock[NOW]
    for q in range(len(board.free)):
        i = board.running[q]
        if i >= 0 and board.finish[q] == now:
            moved = True
            board.running[q] = -1
            board.free[q] = board.ended_at[i] = now
            board.done[i] += 1
            board.elapsed[i] += now - board.start[q]
            number, true = board.running_number[q], now + board.running_offset[q]
            board.end[number % len(board.end)] = now
            clock[TIME] = max(clock[TIME], true)
            if clock[RECORDING]:
                log.stop[number] = true
            if ops.use_start[i] < ops.use_start[i + 1]:
                clock[CHANGED] = 1
    while clock[ENDED] < clock[RUN] and board.end[clock[ENDED] % len(board.end)] >= 0:
        clock[BUSY] = max(clock[BUSY], board.end[clock[ENDED] % len(board.end)])
        clock[ENDED] += 1
    if clock[TIME] > NEVER:
        clock[STATUS] = OVERFLOW
    return moved


@compiled
def start_all(ops: Operations, hardware: Hardware, board: Board, log: Log) -> bool:
    """Start what can start now; return whether anything did."""
    moved, now = False, board.clock[NOW]
    for q in range(len(board.free)):
        if board.running[q] < 0 and board.waiting[q] > 0:
            ready = board.ready[q]
            if earliest(q, ops, hardware, board) <= now:
                start(q, ready == 1, ops, hardware, board, log)
                moved = True
    return moved


@compiled
def earliest(q: int, ops: Operations, hardware: Hardware, board: Board) -> int:
    """Return when the first waiting instance of a queue can start as far as is known; NEVER while inputs are missing."""
    at = board.head[q]
    i = board.op[q, at]
    if not board.ready[q]:
        first = ops.dep_start[i]
        for d in range(first, ops.dep_start[i + 1]):
            if board.done[ops.dep[d]] < board.need[q, at, d - first]:
                return NEVER
        board.ready[q] = 1
    latency = hardware.latency if ops.flags[i] & LAUNCHED else 0
    return max(board.issue[q, at] + latency, board.free[q] + ops.gap[i])


@compiled
def start(q: int, had_inputs: bool, ops: Operations, hardware: Hardware, board: Board, log: Log) -> None:
    """Start the first waiting instance of a queue."""
    clock, at = board.clock, board.head[q]
    i, now, number = board.op[q, at], clock[NOW], board.number[q, at]
    launched = (ops.flags[i] & LAUNCHED) != 0
    ready = board.issue[q, at] + (hardware.latency if launched else 0)
    if ready == now and board.free[q] + ops.gap[i] < now and clock[ENDED] == number and (had_inputs or not _input_ends(i, now, ops, board)):
        clock[BOUND_PS] += max(0, now - clock[BUSY])
    board.head[q] = at + 1 if at + 1 < board.op.shape[1] else 0
    board.waiting[q] -= 1
    board.ready[q] = 0
    board.running[q], board.running_number[q], board.running_offset[q] = i, number, board.offset[q, at]
    board.start[q] = board.since[q] = now
    board.left[q], board.rate[q], board.finish[q] = float(ops.duration[i]), -1.0, NEVER
    if ops.use_start[i] == ops.use_start[i + 1] or ops.duration[i] == 0:
        board.finish[q] = now + ops.duration[i]
    else:
        clock[CHANGED] = 1
    if ops.flags[i] & LEAVES:
        board.held[q] -= 1
    if clock[RECORDING]:
        log.start[number] = now + board.offset[q, at]


@compiled
def _input_ends(i: int, now: int, ops: Operations, board: Board) -> bool:
    """Does an input end at this very moment (so that the launch was not all it waited for)?"""
    for d in range(ops.dep_start[i], ops.dep_start[i + 1]):  # noqa: SIM110 (compiled code has no generator for any())
        if board.ended_at[ops.dep[d]] == now:
            return True
    return False


@compiled
def to_next_moment(tape: Tape, ops: Operations, hardware: Hardware, board: Board) -> bool:
    """Advance the time to the next event; return False if there is none."""
    clock = board.clock
    now, soon, busy = clock[NOW], NEVER, False
    for q in range(len(board.free)):
        if board.running[q] >= 0:
            soon, busy = min(soon, board.finish[q]), True
        elif board.waiting[q] > 0:
            soon, busy = min(soon, earliest(q, ops, hardware, board)), True
    if clock[AT] < len(tape.code) and clock[HOST] > now:
        soon = min(soon, clock[HOST])
    if soon < NEVER:
        clock[NOW] = soon
        return True
    if busy or clock[AT] < len(tape.code):
        clock[STATUS] = STUCK
    return False


@compiled
def settle(ops: Operations, hardware: Hardware, demand: Floats, share: Floats, board: Board) -> None:
    """Give every running operation its shares, and the rate and the end that follow."""
    clock, queues = board.clock, len(board.free)
    now = clock[NOW]
    clock[CHANGED] = 0
    share[:] = 1.0
    for r in range(len(hardware.capacity)):
        divide(r, ops, hardware, demand, share, board)
    for q in range(queues):
        i = board.running[q]
        if i >= 0 and ops.use_start[i] < ops.use_start[i + 1] and ops.duration[i] > 0 and share[q] != board.rate[q]:
            if board.rate[q] > 0.0:
                board.left[q] -= board.rate[q] * (now - board.since[q])
            board.rate[q], board.since[q], board.finish[q] = share[q], now, NEVER
            if share[q] > 0.0:
                takes = np.ceil(board.left[q] / share[q])
                board.finish[q] = now + max(1, np.int64(takes)) if takes < NEVER - now else NEVER


@compiled
def divide(r: int, ops: Operations, hardware: Hardware, demand: Floats, share: Floats, board: Board) -> None:
    """Divide one resource: lower ``share`` (of what each queue's operation asks) where it gets less.

    Demands are filled from the smallest up; those that cannot be filled get the same.
    """
    claimed, asked, users = 0.0, np.empty(len(board.free)), 0
    for q in range(len(board.free)):
        i = board.running[q]
        if i >= 0:
            for u in range(ops.use_start[i], ops.use_start[i + 1]):
                if ops.use_resource[u] == r:
                    claimed += ops.use_claim[u]
                    if ops.use_bytes[u] > 0.0:
                        asked[users] = demand[u]
                        users += 1
    if users == 0:
        return
    left, level = hardware.capacity[r] * max(0.0, 1.0 - claimed), np.inf
    asked = np.sort(asked[:users])
    for served in range(users):
        if asked[served] > left / (users - served):
            level = left / (users - served)
            break
        left -= asked[served]
    for q in range(len(board.free)):
        i = board.running[q]
        if i >= 0:
            for u in range(ops.use_start[i], ops.use_start[i + 1]):
                if ops.use_resource[u] == r and ops.use_bytes[u] > 0.0:
                    share[q] = min(share[q], min(demand[u], level) / demand[u])


@compiled
def issue_all(
    tape: Tape, ops: Operations, loops: Loops, hardware: Hardware, board: Board, track: Track, states: list[Floats], stretches: list[tuple[int, int]], log: Log
) -> bool:
    """Let the host issue what it can now; return whether it did anything."""
    clock, moved = board.clock, False
    while clock[AT] < len(tape.code) and clock[STATUS] == FINE:
        at = clock[AT]
        if tape.code[at] == 0:
            if clock[INSIDE] < 0:
                clock[INSIDE] = tape.a[at]
            while clock[INSIDE] < tape.b[at]:
                if not issue(clock[INSIDE], ops, hardware, board, log):
                    return moved
                moved = True
                clock[INSIDE] += 1
            clock[INSIDE] = -1
        elif tape.code[at] == 1:
            enter(tape.a[at], ops, loops, hardware, board, track, states, stretches, log)
        else:
            track.left[tape.a[at]] -= 1
            if track.left[tape.a[at]] > 0:
                look(tape.a[at], ops, loops, hardware, board, track, states, stretches, log)
                clock[AT] = tape.b[at]
        clock[AT] += 1
    return moved


@compiled
def issue(i: int, ops: Operations, hardware: Hardware, board: Board, log: Log) -> bool:
    """Issue an operation, if it can be now."""
    clock, q, flags = board.clock, ops.queue[i], ops.flags[i]
    if flags & WAITS:
        return wait(i, ops, board, log)
    if flags & ISSUES:
        if clock[HOST] > clock[NOW] or board.held[ops.slot[i]] >= hardware.depth[ops.slot[i]]:
            return False
        board.held[ops.slot[i]] += 1
        clock[ISSUE] = clock[NOW]
        clock[HOST] = clock[NOW] + hardware.interval
    if board.waiting[q] == board.op.shape[1] or clock[RUN] - clock[ENDED] >= len(board.end):
        clock[STATUS] = FULL
        return False
    at = (board.head[q] + board.waiting[q]) % board.op.shape[1]
    board.waiting[q] += 1
    board.op[q, at], board.issue[q, at], board.number[q, at], board.offset[q, at] = i, clock[ISSUE], clock[RUN], clock[OFFSET]
    first = ops.dep_start[i]
    for d in range(first, ops.dep_start[i + 1]):
        board.need[q, at, d - first] = board.issued[ops.dep[d]]
    if flags & LAUNCHED:
        clock[LAUNCHES] += 1
    count(i, -1, board, log)
    return True


@compiled
def count(i: int, end: int, board: Board, log: Log) -> None:
    """Give an instance its number."""
    clock = board.clock
    board.end[clock[RUN] % len(board.end)] = end
    board.issued[i] += 1
    if clock[RECORDING]:
        log.op[clock[RUN]] = i
    clock[RUN] += 1
    clock[RECORDED] = clock[RUN]


@compiled
def wait(i: int, ops: Operations, board: Board, log: Log) -> bool:
    """Let the host wait for all that was issued, if it has ended."""
    clock = board.clock
    for q in range(len(board.free)):
        if board.running[q] >= 0 or board.waiting[q] > 0:
            return False
    begin = clock[BUSY]
    stop = begin + ops.duration[i]
    clock[HOST] = max(clock[HOST], stop)
    clock[TIME] = max(clock[TIME], stop + clock[OFFSET])
    if clock[RECORDING]:
        log.start[clock[RUN]], log.stop[clock[RUN]] = begin + clock[OFFSET], stop + clock[OFFSET]
    board.elapsed[i] += ops.duration[i]
    board.done[i] += 1
    board.ended_at[i] = stop
    count(i, 0, board, log)
    clock[ENDED] += 1
    return True


@compiled
def enter(loop: int, ops: Operations, loops: Loops, hardware: Hardware, board: Board, track: Track, states: list[Floats], stretches: list[tuple[int, int]], log: Log) -> None:
    """A loop begins."""
    track.left[loop] = loops.count[loop]
    if track.watched[loop]:
        track.heads[track.level[loop]] = track.steady[track.level[loop], 0] = 0
        look(loop, ops, loops, hardware, board, track, states, stretches, log)


@compiled
def look(loop: int, ops: Operations, loops: Loops, hardware: Hardware, board: Board, track: Track, states: list[Floats], stretches: list[tuple[int, int]], log: Log) -> None:
    """At the head of a loop: find out whether it repeats, and step over it when that is known."""
    if not track.watched[loop]:
        return
    level = track.level[loop]
    period = track.steady[level, 0]
    if period == 0:
        compare(loop, ops, loops, hardware, board, track, states, stretches)
    elif track.left[loop] >= 2 * period and has_settled(level, board, track, states, stretches):
        times = track.left[loop] // period - 1
        step(loop, times, loops, board, track, states, stretches, log)
        track.left[loop] -= times * period
        track.heads[level] = track.steady[level, 0] = 0


@compiled
def compare(loop: int, ops: Operations, loops: Loops, hardware: Hardware, board: Board, track: Track, states: list[Floats], stretches: list[tuple[int, int]]) -> None:
    """Compare the state with that at earlier heads, and keep it."""
    level = track.level[loop]
    state = describe(ops, hardware, board)
    if len(state) == 0:
        track.heads[level] = 0
        return
    heads = track.heads[level]
    slot = heads % LONGEST_PERIOD
    first, end, clock = loops.first[loop], loops.end[loop], board.clock
    now = np.array([clock[NOW] + clock[OFFSET], clock[BOUND_PS], clock[LAUNCHES] + clock[STEPPED], clock[RUN]])
    for period in range(1, min(heads, LONGEST_PERIOD) + 1):
        then = (heads - period) % LONGEST_PERIOD
        if same(state, states[level * LONGEST_PERIOD + then]):
            track.steady[level, 0] = period
            track.steady[level, 1:5] = now - track.mark[level, then]
            track.steady[level, 5] = track.mark[level, then, 3]
            track.grows[level, first:end] = board.elapsed[first:end] - track.elapsed[level, then, first:end]
            return
    states[level * LONGEST_PERIOD + slot] = state
    track.mark[level, slot] = now
    track.elapsed[level, slot, first:end] = board.elapsed[first:end]
    track.heads[level] = heads + 1


@compiled
def has_settled(level: int, board: Board, track: Track, states: list[Floats], stretches: list[tuple[int, int]]) -> bool:
    """Has a whole period ended of instances issued since everything repeats, and does no stretch that repeats begin before it?"""
    begin = board.clock[ENDED] - track.steady[level, 4]
    row = len(stretches) - 1
    while row >= 0 and stretches[row][1] > begin:
        if stretches[row][0] < begin:
            return False
        row -= 1
    return begin >= track.steady[level, 5]


@compiled
def same(a: Floats, b: Floats) -> bool:
    """Are two states equal?"""
    if len(a) != len(b):
        return False
    for i in range(len(a)):  # noqa: SIM110 (compiled code has no generator for all())
        if a[i] != b[i]:
            return False
    return True


@compiled
def step(loop: int, times: int, loops: Loops, board: Board, track: Track, states: list[Floats], stretches: list[tuple[int, int]], log: Log) -> None:
    """Take ``times`` periods out of the loop."""
    clock, level = board.clock, track.level[loop]
    grows = track.steady[level]
    takes = grows[1]
    if takes > 0 and times > (NEVER - clock[OFFSET]) // takes:
        clock[STATUS] = OVERFLOW
        return
    clock[OFFSET] += times * takes
    clock[BOUND_PS] += times * grows[2]
    clock[STEPPED] += times * grows[3]
    for i in range(loops.first[loop], loops.end[loop]):
        board.elapsed[i] += times * track.grows[level, i]
    stretches.append((clock[ENDED] - grows[4], clock[ENDED]))
    if clock[RECORDING]:
        row = log.steps[clock[STEPS]]
        row[0], row[1], row[2], row[3] = clock[ENDED] - grows[4], clock[ENDED], times, takes
    clock[STEPS] += 1
    postpone(times * takes, board, log)


@compiled
def postpone(by: int, board: Board, log: Log) -> None:
    """All that is pending happens later in true time."""
    clock = board.clock
    for q in range(len(board.free)):
        for w in range(board.waiting[q]):
            board.offset[q, (board.head[q] + w) % board.op.shape[1]] += by
        if board.running[q] >= 0:
            board.running_offset[q] += by
            if clock[RECORDING]:
                log.start[board.running_number[q]] += by
    if clock[RECORDING]:
        for number in range(clock[ENDED], clock[RUN]):
            if board.end[number % len(board.end)] >= 0:
                log.start[number] += by
                log.stop[number] += by


@compiled
def describe(ops: Operations, hardware: Hardware, board: Board) -> Floats:
    """Return all that the future depends on, relative to now; empty if that is too much to look at."""
    clock, queues = board.clock, len(board.free)
    pending = clock[RUN] - clock[ENDED]
    size = 5 + 9 * queues + pending + len(ops.queue)
    for q in range(queues):
        size += board.waiting[q] * (3 + board.need.shape[2])
    if size > LONGEST_STATE:
        return np.zeros(0)
    state, now = np.zeros(size), clock[NOW]
    state[0], state[1], state[2], state[3] = clock[HOST] - now, clock[ISSUE] - now, clock[BUSY] - now, clock[CHANGED]
    state[4] = pending
    at = 5
    for number in range(clock[ENDED], clock[RUN]):
        end = board.end[number % len(board.end)]
        state[at] = -1.0 if end < 0 else now - end
        at += 1
    for q in range(queues):
        at = _describe_running(q, at, ops, board, state)
        for w in range(board.waiting[q]):
            at = _describe_waiting(q, (board.head[q] + w) % board.op.shape[1], at, ops, hardware, board, state)
    for on in ops.dep:
        if board.ended_at[on] == now:
            state[size - 1 - on] = 1.0
    return state


@compiled
def _describe_running(q: int, at: int, ops: Operations, board: Board, state: Floats) -> int:
    now = board.clock[NOW]
    state[at], state[at + 1] = board.held[q], board.waiting[q]
    state[at + 2], state[at + 3] = board.ready[q], board.running[q]
    state[at + 4] = max(board.free[q] - now, -ops.gap.max() - 1)
    if board.running[q] >= 0:
        state[at + 4] = board.clock[RUN] - board.running_number[q]
        state[at + 5], state[at + 6], state[at + 7] = board.left[q], board.rate[q], board.since[q] - now
        state[at + 8] = board.finish[q] - now if board.finish[q] < NEVER else -1.0
    return at + 9


@compiled
def _describe_waiting(q: int, place: int, at: int, ops: Operations, hardware: Hardware, board: Board, state: Floats) -> int:
    i, now = board.op[q, place], board.clock[NOW]
    latency = hardware.latency if ops.flags[i] & LAUNCHED else 0
    state[at], state[at + 1] = i, max(board.issue[q, place] + latency - now, -1)
    state[at + 2] = board.clock[RUN] - board.number[q, place]
    first = ops.dep_start[i]
    for d in range(first, ops.dep_start[i + 1]):
        state[at + 3 + d - first] = max(0, board.need[q, place, d - first] - board.done[ops.dep[d]])
    return at + 3 + board.need.shape[2]
