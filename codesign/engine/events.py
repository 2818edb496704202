"""Replay event by event: for programs whose operations share resources that cannot serve all of them at once.

At each moment, first everything that ends ends, the host issues what it can, and everything that can start starts, until
nothing more happens; then shares are computed anew. An operation's progress is counted in float64, its end is rounded up
to a picosecond.

What the host has issued matters only where a queue has nothing else to run. So it is looked at only then (``issue_all``): until then the
host's clock stands still, and each launch gets the time at which it was issued, which follows from the launch before and the place in
its queue (``launch_places``).

``event_board`` has what changes, ``event_sharing`` the shares, ``event_loops`` the iterations that are stepped over.
"""

import numpy as np

from codesign.engine.event_board import AT, BUSY, CHANGED, ENDED, FULL, IDLE, INSIDE, NOW, TIME, Board, new_board, note_last, place_of
from codesign.engine.event_loops import Search, Track, look, new_track, passes_by
from codesign.engine.event_sharing import demands, settle
from codesign.engine.jitter import varied
from codesign.engine.launch_places import note_start, start_of
from codesign.engine.list_schedule import (
    BOUND_AT,
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
    STUCK,
    Log,
    tape_of,
)  # fmt: skip
from codesign.engine.program import ISSUES, LAUNCHED, LEAVES, WAITS, Floats, Hardware, Ints, Operations, Program, Rows
from codesign.engine.stepping import LONGEST_PERIOD
from traces.compiled import compiled, in_place, inlined


def replay(program: Program, step_over: bool, log: Log, recording: bool, room: int) -> tuple[Ints, Ints]:
    """Replay event by event; return the clock, which has the status (FULL: more room is needed), and the time of each operation."""
    return _replay(tape_of(len(program), program.loops), program.ops, program.loops, program.hardware, log, step_over, recording, room)


@compiled
def _replay(
    tape: Rows, ops: Operations, loops: Rows, hardware: Hardware, log: Log, step_over: bool, recording: bool, room: int
) -> tuple[Ints, Ints]:
    board, track = new_board(ops, hardware, room, recording), new_track(ops, loops, hardware, step_over)
    note_last(tape, ops, hardware, board)
    clock, demand, share = board.clock, demands(ops, hardware), np.zeros((2, len(board.queue)))
    count = LONGEST_PERIOD * len(track.heads) + 1
    states, hosts = [np.zeros(0)] * count, [np.zeros(0)] * count
    search = Search(ops, loops, hardware, board, track, states, hosts, [(0, 0)], log)
    while advance(tape, ops, loops, hardware, board, track, demand, share, log):
        row = tape[clock[AT]]
        look(row.a, search)
        clock[AT] = row.b + 1 if row.code == 2 else clock[AT] + 1
    return clock, board.tally["elapsed"].copy()


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
            if issue_all(tape, ops, loops, hardware, board, track, log):
                return True
            moved = start_all(ops, hardware, board, log) or grant_all(ops, hardware, board, log)
        if clock[CHANGED]:
            settle(ops, hardware, demand, share, board)
        if not to_next_moment(len(tape), ops, hardware, board):
            break
    return False


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
def issue_all(tape: Rows, ops: Operations, loops: Rows, hardware: Hardware, board: Board, track: Track, log: Log) -> bool:
    """Let the host issue what it can, until every queue has something to run; return True, short of it, at the head of a loop that is
    watched."""
    clock = board.clock
    while count_idle(hardware, board) > 0 and clock[AT] < len(tape) and clock[STATUS] == FINE:
        if clock[INSIDE] < 0:
            if cross(tape, loops, clock, track):
                return True
        elif not issue_stretch(tape[clock[AT]].b, ops, hardware, board, log):
            break
    return False


@inlined
def is_idle(q: int, hardware: Hardware, board: Board) -> bool:
    """Is it a queue of the program's own that neither runs nor has anything to run, and gets more?"""
    queue = board.queue[q]
    return bool(queue.running < 0 and queue.waiting == 0 and not hardware.guest[q] and board.clock[AT] <= queue.last)


@inlined
def count_idle(hardware: Hardware, board: Board) -> int:
    """Count the queues that need the host, and keep their number."""
    board.clock[IDLE] = 0
    for q in range(len(board.queue)):
        board.clock[IDLE] += is_idle(q, hardware, board)
    return int(board.clock[IDLE])


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
        note_start(q, now, board.queue, board.ring)
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
    if clock[AT] < tape and clock[IDLE] > 0 and clock[HOST] > now:
        soon = min(soon, clock[HOST])
    if soon < NEVER and (busy or clock[AT] < tape or soon + clock[OFFSET] < clock[TIME]):
        clock[NOW] = soon
        return True
    if busy or clock[AT] < tape:
        clock[STATUS] = STUCK
    return False


@inlined
def issue_stretch(end: int, ops: Operations, hardware: Hardware, board: Board, log: Log) -> bool:
    """Let the host issue the operations up to ``end`` that are needed and that it can issue; return whether that was all."""
    clock = board.clock
    while clock[INSIDE] < end:
        if clock[IDLE] == 0:
            return False
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
            if track.watched[row.a] and not passes_by(track.level[row.a], clock, track):
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
        at = next_issue(op.slot, board)
        if at > clock[NOW]:
            return False
        board.queue[op.slot].held += 1
        clock[ISSUE], clock[HOST] = at, at + hardware.interval
    if clock[ISSUE] + (hardware.latency if op.flags & LAUNCHED else 0) >= clock[NOW]:
        clock[BOUND_AT] = clock[RUN]
    clock[IDLE] -= is_idle(op.queue, hardware, board)
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
def next_issue(slot: int, board: Board) -> int:
    """Return when the host issues a launch for queue ``slot``: at its turn, once there is a place; NEVER while there is none."""
    queue, turn = board.queue[slot], board.clock[HOST]
    if queue.held >= queue.depth:
        return NEVER
    taken_over = queue.depth - queue.held
    return int(turn if queue.noted < taken_over else max(turn, start_of(slot, taken_over, board.queue, board.ring)))


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
    clock[HOST], clock[BOUND_AT] = max(clock[HOST], stop), clock[RUN]
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
