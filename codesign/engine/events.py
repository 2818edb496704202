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

from codesign.engine.jitter import varied
from codesign.engine.list_schedule import (
    BOUND_PS,
    FINE,
    HOST,
    ISSUE,
    LAUNCHES,
    NEVER,
    OFFSET,
    OVERFLOW,
    RECORDED,
    RECORDING,
    RUN,
    STATUS,
    STEPPED,
    STEPS,
    STUCK,
    Log,
    tape_of,
)  # fmt: skip
from codesign.engine.program import ISSUES, LAUNCHED, LEAVES, WAITS, Floats, Hardware, Ints, Operations, Program, Rows
from codesign.engine.stepping import LONGEST_PERIOD, WORTH_WATCHING
from traces.compiled import compiled, in_place, inlined, inner

NOW, TIME, BUSY, ENDED, AT, INSIDE, CHANGED, FULL = 16, 17, 18, 19, 20, 21, 22, 100
"""More places in the clock: the present time; the latest end (true); the latest end of the first ENDED instances, all of which
have ended; where the host is: place on the tape, and operation within a stretch; whether shares have to be computed anew."""

LONGEST_STATE = 50_000
"""A state of more numbers than this is not looked at: the loop is run."""

QUEUE = np.dtype(
    [
        ("head", "i8"),  # ring of waiting instances: where the first stands, how many there are
        ("waiting", "i8"),
        ("depth", "i8"),
        ("held", "i8"),  # launches that have a place
        ("ready", "i8"),  # 1 + when the first waiting instance was seen to have all inputs, 0: it has not
        ("running", "i8"),  # operation, -1: none
        ("number", "i8"),  # of the running instance, in launch order
        ("offset", "i8"),  # true minus kept time of the running instance
        ("start", "i8"),
        ("since", "i8"),  # when the rate last changed
        ("finish", "i8"),
        ("free", "i8"),  # end of the last instance
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


class Track(NamedTuple):
    """Loops: iterations left, and for those watched the last heads by nesting level."""

    left: Ints  # [L]
    watched: Ints  # [L]
    level: Ints  # [L]
    heads: Ints  # [levels]
    mark: Ints  # [levels, 8, 5] true time, host-bound time, launches, instances, and what can be told of the state at a glance
    elapsed: Ints  # [levels, 8, N]
    steady: Ints  # [levels, 6] period (0: not known), what each of the first marks grows by, instances when it began
    grows: Ints  # [levels, N] how much each operation's time grows by


class Search(NamedTuple):
    """All that looking for iterations that repeat needs."""

    ops: Operations
    loops: Rows
    hardware: Hardware
    board: Board
    track: Track
    states: list[Floats]  # at the last heads, by level and slot
    stretches: list[tuple[int, int]]  # of records that repeat
    log: Log


def replay(program: Program, step_over: bool, log: Log, recording: bool, room: int) -> Board:
    """Replay event by event; the result's clock has the status (FULL: more room is needed)."""
    ops, hardware = program.ops, program.hardware
    board = new_board(ops, hardware, room)
    board.clock[RECORDING] = recording
    track = new_track(program, step_over)
    _replay(tape_of(len(program), program.loops), ops, program.loops, hardware, board, track, demands(ops, hardware), log)
    return board


@compiled
def _replay(tape: Rows, ops: Operations, loops: Rows, hardware: Hardware, board: Board, track: Track, demand: Floats, log: Log) -> None:
    clock = board.clock
    share = np.zeros((2, len(board.queue)))
    states = [np.zeros(0)] * (LONGEST_PERIOD * len(track.heads) + 1)
    search = Search(ops, loops, hardware, board, track, states, [(0, 0)], log)
    while advance(tape, ops, loops, hardware, board, track, demand, share, log):
        row = tape[clock[AT]]
        look(row.a, search)
        clock[AT] = row.b + 1 if row.code == 2 else clock[AT] + 1


@in_place
def advance(
    tape: Rows, ops: Operations, loops: Rows, hardware: Hardware, board: Board, track: Track, demand: Floats, share: Floats, log: Log
) -> bool:
    """Let time pass until the host comes to the head of a loop that is watched (True), or to the end."""
    clock = board.clock
    while clock[STATUS] == FINE:
        moved = True
        while moved:
            end_all(ops, hardware, board, log)
            while clock[AT] < len(tape) and clock[STATUS] == FINE:
                if clock[INSIDE] < 0:
                    if cross(tape, loops, clock, track):
                        return True
                elif not issue_stretch(tape[clock[AT]].b, ops, hardware, board, log):
                    break
            moved = start_all(ops, hardware, board, log) or grant_all(ops, hardware, board, log)
        if clock[CHANGED]:
            settle(ops, hardware, demand, share, board)
        if not to_next_moment(len(tape), ops, hardware, board):
            break
    return False


def new_board(ops: Operations, hardware: Hardware, room: int) -> Board:
    """Return the board before the first launch."""
    queue = np.zeros(len(hardware.depth), QUEUE)
    queue["depth"], queue["running"], queue["finish"] = hardware.depth, -1, NEVER
    tally = np.zeros(len(ops.op), TALLY)
    tally["ended_at"] = -1
    clock = np.zeros(23, np.int64)
    clock[INSIDE] = -1
    width = int((ops.op["dep_end"] - ops.op["dep_start"]).max(initial=1))
    need = np.empty((len(queue), room, width), np.int64)
    wire = np.full((int(hardware.wire.max(initial=-1)) + 1, 2), -1, np.int64)
    return Board(
        clock, queue, np.empty((len(queue), room), WAITING), need, tally, np.full(1 << (2 * room - 1).bit_length(), -1, np.int64), wire
    )


def new_track(program: Program, step_over: bool) -> Track:
    """Return the loops before any is entered."""
    loops, n = program.loops, len(program)
    first, end = loops["first"], loops["end"]
    around = (first[:, None] <= first) & (end <= end[:, None]) & (np.arange(len(loops))[:, None] < np.arange(len(loops)))
    level = around.sum(axis=0).astype(np.int64)
    watched = step_over & (program.hardware.spread == 0.0) & (loops["count"] > 2) & ((end - first) * loops["count"] >= WORTH_WATCHING)
    levels = int(level.max()) + 1 if watched.any() else 0
    mark, elapsed = np.zeros((levels, LONGEST_PERIOD, 5), np.int64), np.zeros((levels, LONGEST_PERIOD, n), np.int64)
    return Track(
        np.zeros(len(loops), np.int64), watched.astype(np.int64), level, np.zeros(levels, np.int64), mark, elapsed,
        np.zeros((levels, 6), np.int64), np.zeros((levels, n), np.int64),
    )  # fmt: skip


@compiled
def demands(ops: Operations, hardware: Hardware) -> Floats:
    """Return what each use asks of its resource, bytes a ps: never more than there is."""
    demand = np.zeros(len(ops.use))
    for op in ops.op:
        for u in range(op.use_start, op.use_end):
            demand[u] = min(ops.use[u].bytes / op.duration, hardware.capacity[ops.use[u].resource])
    return demand


@inlined
def place_of(number: int, end: Ints) -> int:
    """Return where the end of an instance stands: its number modulo the length, which is a power of two."""
    return number & (len(end) - 1)


@inlined
def end_all(ops: Operations, hardware: Hardware, board: Board, log: Log) -> None:
    """End what ends now."""
    clock, end = board.clock, board.end
    now = clock[NOW]
    for q in range(len(board.queue)):
        queue = board.queue[q]
        i = queue.running
        if i >= 0 and queue.finish == now:
            queue.running = -1
            tally = board.tally[i]
            if tally.ended_at != now:
                tally.done_before = tally.done
            queue.free = tally.ended_at = now
            tally.done += 1
            tally.elapsed += now - queue.start
            if hardware.wire[q] >= 0:
                board.wire[hardware.wire[q], 0] = -1
            if not hardware.guest[q]:
                end[place_of(queue.number, end)] = now
                clock[TIME] = max(clock[TIME], now + queue.offset)
            if clock[RECORDING]:
                log.record[queue.number].stop = now + queue.offset
            if ops.op[i].use_start < ops.op[i].use_end:
                clock[CHANGED] = 1
    while clock[ENDED] < clock[RUN] and end[place_of(clock[ENDED], end)] >= 0:
        clock[BUSY] = max(clock[BUSY], end[place_of(clock[ENDED], end)])
        clock[ENDED] += 1
    if clock[TIME] > NEVER:
        clock[STATUS] = OVERFLOW


@inlined
def start_all(ops: Operations, hardware: Hardware, board: Board, log: Log) -> bool:
    """Start what can start now; return whether anything did."""
    moved, now = False, board.clock[NOW]
    for q in range(len(board.queue)):
        queue = board.queue[q]
        if queue.running < 0 and queue.waiting > 0 and hardware.wire[q] < 0 and earliest(q, ops, hardware, board) <= now:
            start(q, ops, hardware, board, log)
            moved = True
    return moved


@inlined
def grant_all(ops: Operations, hardware: Hardware, board: Board, log: Log) -> bool:
    """Give every wire that is free to the queue whose turn it is, if one can start now; return whether one did."""
    moved = False
    for wire in range(len(board.wire)):
        if board.wire[wire, 0] < 0:
            q = whose_turn(wire, ops, hardware, board)
            if q >= 0:
                board.wire[wire, 0] = board.wire[wire, 1] = q
                moved = True
    if moved:
        for wire in range(len(board.wire)):
            q = board.wire[wire, 0]
            if q >= 0 and board.queue[q].running < 0:
                start(q, ops, hardware, board, log)
    return moved


@inlined
def whose_turn(wire: int, ops: Operations, hardware: Hardware, board: Board) -> int:
    """Return the queue after the one that ran last, in a circle, that can start now; -1: none."""
    count, last = len(board.queue), board.wire[wire, 1]
    for back in range(1, count + 1):
        q = (last + back) % count
        if hardware.wire[q] == wire and board.queue[q].waiting > 0 and earliest(q, ops, hardware, board) <= board.clock[NOW]:
            return int(q)
    return -1


@inlined
def earliest(q: int, ops: Operations, hardware: Hardware, board: Board) -> int:
    """Return when the first waiting instance of a queue can start as far as is known; NEVER while inputs are missing."""
    queue = board.queue[q]
    first = board.waiting[q, queue.head]
    op = ops.op[first.op]
    if not queue.ready:
        for d in range(op.dep_start, op.dep_end):
            if board.tally[ops.dep[d]].done < board.need[q, queue.head, d - op.dep_start]:
                return NEVER
        queue.ready = 1 + board.clock[NOW]
    latency = hardware.latency if op.flags & LAUNCHED else 0
    return int(max(first.issue + latency, queue.free + op.gap))


@inlined
def start(q: int, ops: Operations, hardware: Hardware, board: Board, log: Log) -> None:
    """Start the first waiting instance of a queue."""
    clock, queue = board.clock, board.queue[q]
    first, now = board.waiting[q, queue.head], clock[NOW]
    op = ops.op[first.op]
    ready = first.issue + (hardware.latency if op.flags & LAUNCHED else 0)
    drained = ready == now and queue.free + op.gap < now and clock[ENDED] == first.number
    if drained and (queue.ready <= now or not _input_ends(q, first.op, now, ops, board)):
        clock[BOUND_PS] += max(0, now - clock[BUSY])
    queue.head = queue.head + 1 if queue.head + 1 < board.waiting.shape[1] else 0
    queue.waiting -= 1
    queue.ready = 0
    queue.running, queue.number, queue.offset = first.op, first.number, first.offset
    queue.start = queue.since = now
    duration = op.duration
    if hardware.spread > 0.0 and op.flags & LAUNCHED:
        duration = varied(duration, first.number, hardware.spread, hardware.seed)
    queue.left, queue.rate, queue.finish = float(duration), -1.0, NEVER
    if op.use_start == op.use_end or duration == 0:
        queue.finish = now + duration
    else:
        clock[CHANGED] = 1
    if op.flags & LEAVES:
        queue.held -= 1
    if clock[RECORDING]:
        log.record[first.number].start = now + first.offset


@in_place
def _input_ends(q: int, i: int, now: int, ops: Operations, board: Board) -> bool:
    """Does an input of the first waiting instance of a queue, one of operation ``i``, end at this very moment (so that the launch was
    not all it waited for)? A later instance of what it waits for may have ended since."""
    first = ops.op[i].dep_start
    for d in range(first, ops.op[i].dep_end):
        tally = board.tally[ops.dep[d]]
        if tally.ended_at == now and board.need[q, board.queue[q].head, d - first] > tally.done_before:
            return True
    return False


@inlined
def to_next_moment(tape: int, ops: Operations, hardware: Hardware, board: Board) -> bool:
    """Advance the time to the next event; return False if there is none. ``tape`` is the length of the tape."""
    clock = board.clock
    now, soon, busy = clock[NOW], NEVER, False
    for q in range(len(board.queue)):
        queue = board.queue[q]
        own = not hardware.guest[q]
        if queue.running >= 0:
            soon, busy = min(soon, queue.finish), busy or own
        elif queue.waiting > 0 and hardware.wire[q] >= 0 and board.wire[hardware.wire[q], 0] >= 0:
            busy = busy or own
        elif queue.waiting > 0:
            soon, busy = min(soon, earliest(q, ops, hardware, board)), busy or own
    if clock[AT] < tape and clock[HOST] > now:
        soon = min(soon, clock[HOST])
    if soon < NEVER and (busy or clock[AT] < tape or soon + clock[OFFSET] < clock[TIME]):
        clock[NOW] = soon
        return True
    if busy or clock[AT] < tape:
        clock[STATUS] = STUCK
    return False


@inlined
def settle(ops: Operations, hardware: Hardware, demand: Floats, share: Floats, board: Board) -> None:
    """Give every running operation its shares, and the rate and the end that follow. ``share``: [2, Q] room to compute them."""
    clock = board.clock
    now = clock[NOW]
    clock[CHANGED] = 0
    for q in range(len(board.queue)):
        share[0, q] = 1.0
    for r in range(len(hardware.capacity)):
        divide(r, hardware.capacity[r], ops, demand, share, board.queue)
    for q in range(len(board.queue)):
        queue = board.queue[q]
        i = queue.running
        if i >= 0 and ops.op[i].use_start < ops.op[i].use_end and ops.op[i].duration > 0 and share[0, q] != queue.rate:
            if queue.rate > 0.0:
                queue.left -= queue.rate * (now - queue.since)
            queue.rate, queue.since, queue.finish = share[0, q], now, NEVER
            if share[0, q] > 0.0:
                takes = np.ceil(queue.left / share[0, q])
                queue.finish = now + max(1, np.int64(takes)) if takes < NEVER - now else NEVER


@inlined
def divide(r: int, capacity: float, ops: Operations, demand: Floats, share: Floats, queues: Rows) -> None:
    """Divide one resource: lower ``share[0]`` (of what each queue's operation asks) where it gets less.

    Demands are filled from the smallest up; those that cannot be filled get the same.
    """
    claimed, total, users, user = 0.0, 0.0, 0, -1
    for queue in queues:
        if queue.running >= 0:
            op = ops.op[queue.running]
            for u in range(op.use_start, op.use_end):
                if ops.use[u].resource == r:
                    claimed += ops.use[u].claim
                    if ops.use[u].bytes > 0.0:
                        total += demand[u]
                        users, user = users + 1, u
    left = capacity * max(0.0, 1.0 - claimed)
    if users == 0 or (users == 1 and demand[user] <= left):
        return
    level = water_level(r, left, users, ops, demand, share[1], queues)
    for q in range(len(queues)):
        if queues[q].running >= 0:
            op = ops.op[queues[q].running]
            for u in range(op.use_start, op.use_end):
                if ops.use[u].resource == r and ops.use[u].bytes > 0.0:
                    share[0, q] = min(share[0, q], min(demand[u], level) / demand[u])


@inlined
def water_level(r: int, left: float, users: int, ops: Operations, demand: Floats, asked: Floats, queues: Rows) -> float:
    """Return what those get whose demand on the resource cannot be filled; inf if all can be. ``asked`` is room for all demands."""
    count = 0
    for queue in queues:
        if queue.running >= 0:
            op = ops.op[queue.running]
            for u in range(op.use_start, op.use_end):
                if ops.use[u].resource == r and ops.use[u].bytes > 0.0:
                    place = count  # keep them sorted
                    while place > 0 and asked[place - 1] > demand[u]:
                        asked[place] = asked[place - 1]
                        place -= 1
                    asked[place] = demand[u]
                    count += 1
    for served in range(users):
        if asked[served] > left / (users - served):
            return left / (users - served)
        left -= asked[served]
    return np.inf


@inlined
def issue_stretch(end: int, ops: Operations, hardware: Hardware, board: Board, log: Log) -> bool:
    """Let the host issue the operations up to ``end`` that it can issue now; return whether that was all."""
    clock = board.clock
    while clock[INSIDE] < end:
        if not issue(clock[INSIDE], ops, hardware, board, log):
            return False
        clock[INSIDE] += 1
    clock[INSIDE] = -1
    clock[AT] += 1
    return True


@inlined
def cross(tape: Rows, loops: Rows, clock: Ints, track: Track) -> bool:
    """Let the host go on to the next stretch; return True, short of it, at the head of a loop that is watched."""
    row = tape[clock[AT]]
    if row.code == 0:
        clock[INSIDE] = row.a
        return False
    if row.code == 1:
        track.left[row.a] = loops[row.a].count
        if track.watched[row.a]:
            track.heads[track.level[row.a]] = track.steady[track.level[row.a], 0] = 0
            return True
    else:
        track.left[row.a] -= 1
        if track.left[row.a] > 0:
            if track.watched[row.a]:
                return True
            clock[AT] = row.b
    clock[AT] += 1
    return False


@inlined
def issue(i: int, ops: Operations, hardware: Hardware, board: Board, log: Log) -> bool:
    """Issue an operation, if it can be now."""
    clock, op = board.clock, ops.op[i]
    if op.flags & WAITS:
        return wait(i, op.duration, hardware, board, log)
    if clock[RUN] - clock[ENDED] >= len(board.end) or board.queue[op.queue].waiting == board.waiting.shape[1]:
        clock[STATUS] = FULL
        return False
    if op.flags & ISSUES:
        slot = board.queue[op.slot]
        if clock[HOST] > clock[NOW] or slot.held >= slot.depth:
            return False
        slot.held += 1
        clock[ISSUE] = clock[NOW]
        clock[HOST] = clock[NOW] + hardware.interval
    queue = board.queue[op.queue]
    at = queue.head + queue.waiting
    if at >= board.waiting.shape[1]:
        at -= board.waiting.shape[1]
    queue.waiting += 1
    last = board.waiting[op.queue, at]
    last.op, last.issue, last.number, last.offset = i, clock[ISSUE], clock[RUN], clock[OFFSET]
    for d in range(op.dep_start, op.dep_end):
        board.need[op.queue, at, d - op.dep_start] = board.tally[ops.dep[d]].issued
    if op.flags & LAUNCHED:
        clock[LAUNCHES] += 1
    if clock[RECORDING]:
        log.record[clock[RUN]].start = log.record[clock[RUN]].stop = -1
    count(i, 0 if hardware.guest[op.queue] else -1, board, log)
    return True


@inlined
def count(i: int, end: int, board: Board, log: Log) -> None:
    """Give an instance its number."""
    clock = board.clock
    board.end[place_of(clock[RUN], board.end)] = end
    board.tally[i].issued += 1
    if clock[RECORDING]:
        log.record[clock[RUN]].op = i
    clock[RUN] += 1
    clock[RECORDED] = clock[RUN]


@inlined
def wait(i: int, duration: int, hardware: Hardware, board: Board, log: Log) -> bool:
    """Let the host wait for all that was issued, if it has ended."""
    clock = board.clock
    for q in range(len(board.queue)):
        if not hardware.guest[q] and (board.queue[q].running >= 0 or board.queue[q].waiting > 0):
            return False
    begin = clock[BUSY]
    stop = begin + duration
    clock[HOST] = max(clock[HOST], stop)
    clock[TIME] = max(clock[TIME], stop + clock[OFFSET])
    if clock[RECORDING]:
        log.record[clock[RUN]].start, log.record[clock[RUN]].stop = begin + clock[OFFSET], stop + clock[OFFSET]
    tally = board.tally[i]
    if tally.ended_at != stop:
        tally.done_before = tally.done
    tally.elapsed += duration
    tally.done += 1
    tally.ended_at = stop
    count(i, 0, board, log)
    clock[ENDED] += 1
    return True


@inner
def look(loop: int, search: Search) -> None:
    """At the head of a loop: find out whether it repeats, and step over it when that is known."""
    track = search.track
    level = track.level[loop]
    period = track.steady[level, 0]
    if period == 0:
        compare(loop, search)
    elif track.left[loop] >= 2 * period and has_settled(level, search):
        times = track.left[loop] // period - 1
        step(loop, times, search)
        track.left[loop] -= times * period
        track.heads[level] = track.steady[level, 0] = 0


@inner
def compare(loop: int, search: Search) -> None:
    """Compare the state with that at earlier heads, and keep it, if at a glance it may be one of them."""
    board, track = search.board, search.track
    level, clock = track.level[loop], board.clock
    heads, base = track.heads[level], level * LONGEST_PERIOD
    pace = (clock[RUN] - clock[ENDED]) * 1_000_003 + clock[HOST] - clock[NOW]
    now = np.array([clock[NOW] + clock[OFFSET], clock[BOUND_PS], clock[LAUNCHES] + clock[STEPPED], clock[RUN], pace])
    state = np.zeros(0)
    for period in range(1, min(heads, LONGEST_PERIOD) + 1):
        then = (heads - period) % LONGEST_PERIOD
        if track.mark[level, then, 4] != pace:
            continue
        if len(state) == 0:
            state = describe(search.ops, search.hardware, board)
        if len(state) > 0 and same(state, search.states[base + then]):
            keep_growth(loop, period, now, search)
            return
    search.states[base + heads % LONGEST_PERIOD] = state
    keep_mark(loop, now, search)


@inner
def keep_growth(loop: int, period: int, now: Ints, search: Search) -> None:
    """The state is that of ``period`` iterations ago: keep what everything has grown by since."""
    track = search.track
    level = track.level[loop]
    then = (track.heads[level] - period) % LONGEST_PERIOD
    track.steady[level, 0] = period
    track.steady[level, 1:5] = (now - track.mark[level, then])[:4]
    track.steady[level, 5] = track.mark[level, then, 3]
    for i in range(search.loops[loop].first, search.loops[loop].end):
        track.grows[level, i] = search.board.tally[i].elapsed - track.elapsed[level, then, i]


@inner
def keep_mark(loop: int, now: Ints, search: Search) -> None:
    """Keep what a later head is compared with."""
    track = search.track
    level = track.level[loop]
    slot = track.heads[level] % LONGEST_PERIOD
    track.mark[level, slot] = now
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
    search.stretches.append((clock[ENDED] - grows[4], clock[ENDED]))
    if clock[RECORDING]:
        row = log.steps[clock[STEPS]]
        row[0], row[1], row[2], row[3] = clock[ENDED] - grows[4], clock[ENDED], times, takes
    clock[STEPS] += 1
    postpone(times * takes, board, log)


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
def describe(ops: Operations, hardware: Hardware, board: Board) -> Floats:
    """Return all that the future depends on, relative to now; empty if that is too much to look at."""
    clock, width, gap = board.clock, board.need.shape[2], 0
    pending = clock[RUN] - clock[ENDED]
    size = 5 + 9 * len(board.queue) + pending + len(ops.op) + len(board.wire)
    for queue in board.queue:
        size += queue.waiting * (3 + width)
    if size > LONGEST_STATE:
        return np.zeros(0)
    for op in ops.op:
        gap = max(gap, op.gap)
    state, now = np.zeros(size), clock[NOW]
    state[0], state[1], state[2], state[3] = clock[HOST] - now, clock[ISSUE] - now, clock[BUSY] - now, clock[CHANGED]
    state[4] = pending
    at = 5
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
