"""The fast engine, compiled: in launch order where operations cannot disturb each other, event by event where they can."""

import numpy as np

from codesign.engine import events, stepping
from codesign.engine.list_schedule import (
    BOUND_PS, BUSY, CONTENTION, FINE, LAUNCHES, OFFSET, OVERFLOW, RECORDED, RECORDING, RUN, STATUS, STEPPED, STEPS, STUCK, WAITED,
    Contention, Log, State, Tape, largest_demands, make_tape, new_state, run_stretch,
)  # fmt: skip
from codesign.engine.program import LIMIT_PS, PS, Hardware, Ints, Loops, Operations, Program, Records, Run
from traces.compiled import compiled
from traces.errors import TraceError

FIRST_ROOM = 2048
"""Instances that may wait in a queue at first; more room is made when needed."""


def run(program: Program, *, step_over: bool = True, record: bool = True) -> Run:
    """Replay ``program``; ``step_over`` skips iterations that repeat, ``record`` keeps every instance that is run.

    Raises ``TraceError`` if the replay would not end within the range of its clock.
    """
    executions = program.executions
    ops, loops, hardware = program.ops, program.loops, program.hardware
    clock = _in_order(ops, loops, hardware, step_over, _no_log(), False)
    if clock[STATUS] == CONTENTION:
        return _by_events(program, step_over, record)
    _check(clock)
    records = None
    if record:
        log = _room(int(clock[RUN]), int(clock[STEPS]))
        _in_order(ops, loops, hardware, step_over, log, True)
        records = Records(log.op, log.start, log.stop, *(column.copy() for column in log.steps.T))
    elapsed = executions * program.ops.duration.astype(np.float64)
    time = max(int(clock[BUSY] + clock[OFFSET]), int(clock[WAITED]))
    return Run(time, int(clock[BOUND_PS]), elapsed, int(clock[LAUNCHES]), int(clock[STEPPED]), records)


def _by_events(program: Program, step_over: bool, record: bool) -> Run:
    """Replay event by event."""
    ops, loops, hardware = program.ops, program.loops, program.hardware
    room = FIRST_ROOM
    while True:
        board = events.replay(ops, loops, hardware, step_over, _no_log(), False, room)
        if board.clock[STATUS] != events.FULL:
            break
        room *= 4
    clock = board.clock
    _check(clock)
    records = None
    if record:
        log = _room(int(clock[RUN]), int(clock[STEPS]))
        events.replay(ops, loops, hardware, step_over, log, True, room)
        records = Records(log.op, log.start, log.stop, *(column.copy() for column in log.steps.T))
    elapsed = board.elapsed.astype(np.float64)
    return Run(int(clock[events.TIME]), int(clock[BOUND_PS]), elapsed, int(clock[LAUNCHES]), int(clock[STEPPED]), records)


def _check(clock: Ints) -> None:
    if clock[STATUS] == STUCK:
        raise TraceError("every operation must come to its end, but some wait for a resource that others claim as a whole, in a circle")
    if clock[STATUS] == OVERFLOW:
        raise TraceError(f"a replay must end before {LIMIT_PS / PS:.3g} s, but this one runs longer: check the trip counts")


def _room(instances: int, steps: int) -> Log:
    times = np.empty((2, instances), np.int64)
    return Log(np.empty(instances, np.int32), times[0], times[1], np.empty((steps, 4), np.int64))


def _no_log() -> Log:
    return _room(0, 0)


@compiled
def _in_order(ops: Operations, loops: Loops, hardware: Hardware, step_over: bool, log: Log, recording: bool) -> Ints:
    """Replay in launch order; return the clock (see `list_schedule`)."""
    state = new_state(len(ops.queue), hardware)
    state.clock[RECORDING] = recording
    contention = largest_demands(ops, hardware)
    tape = make_tape(len(ops.queue), loops)
    if step_over and len(loops.first) > 0:
        _stepping(tape, ops, loops, hardware, state, contention, log)
    else:
        _plain(tape, ops, loops, hardware, state, contention, log)
    return state.clock


@compiled
def _plain(tape: Tape, ops: Operations, loops: Loops, hardware: Hardware, state: State, contention: Contention, log: Log) -> None:
    """Run every iteration."""
    left = np.zeros(len(loops.first), np.int64)
    at = 0
    while at < len(tape.code) and state.clock[STATUS] == FINE:
        if tape.code[at] == 0:
            run_stretch(tape.a[at], tape.b[at], ops, hardware, state, contention, log)
        elif tape.code[at] == 1:
            left[tape.a[at]] = loops.count[tape.a[at]]
        else:
            left[tape.a[at]] -= 1
            if left[tape.a[at]] > 0:
                at = tape.b[at]
        at += 1


@compiled
def _stepping(tape: Tape, ops: Operations, loops: Loops, hardware: Hardware, state: State, contention: Contention, log: Log) -> None:
    """Run iterations until they repeat, then step over them."""
    watch = stepping.make_watch(ops, loops, len(state.free))
    past = stepping.new_past(len(loops.first), len(state.free), state.ring.shape[1], watch)
    left = np.zeros(len(loops.first), np.int64)
    at = level = 0
    while at < len(tape.code) and state.clock[STATUS] == FINE:
        loop = tape.a[at]
        if tape.code[at] == 0:
            run_stretch(tape.a[at], tape.b[at], ops, hardware, state, contention, log)
        elif tape.code[at] == 1:
            left[loop] = loops.count[loop]
            if watch.watched[loop]:
                stepping.enter(level, state, past)
                stepping.head(level, loop, left[loop], ops, loops, hardware, watch, state, past, log)
                level += 1
        else:
            left[loop] -= 1
            if left[loop] > 0:
                if watch.watched[loop]:
                    left[loop] -= stepping.head(level - 1, loop, left[loop], ops, loops, hardware, watch, state, past, log)
                at = tape.b[at]
            elif watch.watched[loop]:
                level -= 1
                stepping.leave(level, state, past)
        at += 1
