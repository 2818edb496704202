"""The fast engine, compiled: in launch order where operations cannot disturb each other, event by event where they can."""

import numpy as np

from codesign.engine import events, stepping
from codesign.engine.event_board import FULL, TIME
from codesign.engine.list_schedule import (
    BOUND_PS,
    BUSY,
    CONTENTION,
    FINE,
    LAUNCHES,
    OFFSET,
    OVERFLOW,
    RECORD,
    RUN,
    STATUS,
    STEPPED,
    STEPS,
    STUCK,
    WAITED,
    Log,
    new_contention,
    new_state,
    run_stretch,
    tape_of,
)  # fmt: skip
from codesign.engine.program import LIMIT_PS, PS, Hardware, Ints, Operations, Program, Records, Rows, Run, finished
from traces.compiled import compiled
from traces.errors import TraceError

FIRST_ROOM = 2048
"""Instances that may wait in a queue at first; more room is made when needed."""


def run(program: Program, *, step_over: bool = True, record: bool = True) -> Run:
    """Replay ``program``; ``step_over`` skips iterations that repeat, ``record`` keeps every instance that is run.

    Raises ``TraceError`` if the replay would not end within the range of its clock.
    """
    return finished(_run(program, step_over, record), program)


def _run(program: Program, step_over: bool, record: bool) -> Run:
    executions = program.executions
    if program.hardware.spread > 0.0:
        return _by_events(program, step_over, record)
    log = _room(int(executions.sum()), 0) if record and not step_over else None
    clock = _in_order(program, step_over, log)
    if clock[STATUS] == CONTENTION:
        return _by_events(program, step_over, record)
    _check(clock)
    if record and log is None:  # how many instances are run is known only now
        log = _room(int(clock[RUN]), int(clock[STEPS]))
        _in_order(program, step_over, log)
    records = _records(log) if log is not None else None
    elapsed = executions.astype(np.float64) * program["duration"]
    time = max(int(clock[BUSY] + clock[OFFSET]), int(clock[WAITED]))
    return Run(time, int(clock[BOUND_PS]), elapsed, int(clock[LAUNCHES]), int(clock[STEPPED]), records)


def _by_events(program: Program, step_over: bool, record: bool) -> Run:
    """Replay event by event."""
    room = FIRST_ROOM
    known = record and not step_over  # how many instances are run
    log = _room(int(program.executions.sum()) if known else 0, 0)
    while True:
        clock, elapsed = events.replay(program, step_over, log, known, room)
        if clock[STATUS] != FULL:
            break
        room *= 4
    _check(clock)
    if record and not known:
        log = _room(int(clock[RUN]), int(clock[STEPS]))
        events.replay(program, step_over, log, True, room)
    records = _records(log) if record else None
    return Run(int(clock[TIME]), int(clock[BOUND_PS]), elapsed.astype(np.float64), int(clock[LAUNCHES]), int(clock[STEPPED]), records)


def _check(clock: Ints) -> None:
    if clock[STATUS] == STUCK:
        raise TraceError("every operation must come to its end, but some wait for a resource that others claim as a whole, in a circle")
    if clock[STATUS] == OVERFLOW:
        raise TraceError(f"a replay must end before {LIMIT_PS / PS:.3g} s, but this one runs longer: check the trip counts")


def _room(instances: int, steps: int) -> Log:
    return Log(np.empty(instances, RECORD), np.empty((steps, 4), np.int64))


def _records(log: Log) -> Records:
    start, stop = (np.ascontiguousarray(log.record[name]) for name in ("start", "stop"))
    return Records(log.record["op"].astype(np.int32), start, stop, *(column.copy() for column in log.steps.T))


def _in_order(program: Program, step_over: bool, log: Log | None) -> Ints:
    """Replay in launch order; return the clock (see `list_schedule`)."""
    ops, loops, hardware = program.ops, program.loops, program.hardware
    run = _stepping if step_over and len(loops) else _plain
    return run(tape_of(len(program), loops), ops, loops, hardware, log or _room(0, 0), log is not None)


@compiled
def _plain(tape: Rows, ops: Operations, loops: Rows, hardware: Hardware, log: Log, recording: bool) -> Ints:
    """Run every iteration."""
    state, contention = new_state(len(ops.op), hardware, recording), new_contention(ops, hardware)
    left = np.zeros(len(loops), np.int64)  # iterations to go of each loop
    at = 0
    while at < len(tape) and state.clock[STATUS] == FINE:
        if tape[at].code == 0:
            run_stretch(tape[at].a, tape[at].b, ops, hardware, state, contention, log)
        elif tape[at].code == 1:
            left[tape[at].a] = loops[tape[at].a].count
        else:
            left[tape[at].a] -= 1
            if left[tape[at].a] > 0:
                at = tape[at].b
        at += 1
    return state.clock


@compiled
def _stepping(tape: Rows, ops: Operations, loops: Rows, hardware: Hardware, log: Log, recording: bool) -> Ints:
    """Run iterations until they repeat, then step over them."""
    state, contention = new_state(len(ops.op), hardware, recording), new_contention(ops, hardware)
    watch, past = stepping.prepare(tape, ops, loops, state)
    left = np.zeros(len(loops), np.int64)
    at = level = 0
    while at < len(tape) and state.clock[STATUS] == FINE:
        loop = tape[at].a
        if tape[at].code == 0:
            run_stretch(tape[at].a, tape[at].b, ops, hardware, state, contention, log)
        elif tape[at].code == 1:
            left[loop] = loops[loop].count
            if watch.watched[loop]:
                stepping.enter(level, state, past)
                stepping.head(level, loop, left[loop], ops, loops, hardware, watch, state, past, log)
                level += 1
        else:
            left[loop] -= 1
            if left[loop] > 0:
                if watch.watched[loop]:
                    left[loop] -= stepping.head(level - 1, loop, left[loop], ops, loops, hardware, watch, state, past, log)
                at = tape[at].b
            elif watch.watched[loop]:
                level -= 1
                stepping.leave(level, state, past)
        at += 1
    return state.clock
