"""The critical path of a replay: the chain of operations, issues and waits that made it as long as it is.

Each instance started when the last of what it waited for had come: its queue, an operation it depends on, or its launch by the
host. Going back from the last end along what came last gives a chain whose parts add up to the makespan, to the picosecond.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from codesign.engine.program import (
    ISSUES,
    LAUNCHED,
    LEAVES,
    WAITS,
    Floats,
    Hardware,
    Indices,
    Ints,
    Operations,
    Program,
    Records,
)  # fmt: skip
from traces.compiled import compiled, inner
from traces.errors import TraceError

MOST_INSTANCES = 20_000_000
"""Operations that a path is looked for among at most: each takes some 60 bytes."""

ROOT, END_OF, START_OF, ISSUE_OF = range(4)
"""What came last before an instance started or was issued: nothing, the end or start of another, a launch by the host."""
COUNT, LATENCY, INTERVAL, UNKNOWN, TIES = range(5)
"""Places in the tally: instances on the path, launch latencies, issue intervals, ps that nothing explains, ties."""


class Cause(NamedTuple):
    """Why each instance started (and was issued, where it is a launch) when it did."""

    start_code: Indices
    start_of: Indices
    issue_code: Indices
    issue_of: Indices
    gap: Ints  # ps of its queue's gap, where that came last
    tie: Indices  # 1 where two causes came at the same moment
    before: Ints  # the instance before it on its wire, -1: none


@dataclass(frozen=True, eq=False)
class Path:
    """The critical path. ``on_path`` counts instances of each operation on it (int64[N]), ``elapsed_ps`` sums their time.

    ``gaps`` counts the idle gaps of queues before each operation that lie on it (int64[N]), ``intervals`` and ``latencies`` the host's
    issue intervals and launch latencies; ``unknown_ps`` is what nothing explains; ``ties`` counts places where another path is as long.
    """

    on_path: Ints
    elapsed_ps: Floats
    gaps: Ints
    intervals: int
    latencies: int
    unknown_ps: int
    ties: int

    def length_ps(self, program: Program, here: Program) -> float:
        """Return how long this path is with the durations, gaps and host times of ``program``; ``here`` is what it was found in.

        Operations that shared a resource here are taken to be stretched as much there. Where none did, a replay of ``program`` takes
        at least as long.
        """
        alone = self.on_path * here["duration"]
        stretch = np.divide(self.elapsed_ps, alone, out=np.ones(len(alone)), where=alone > 0)
        durations = float((self.on_path * program["duration"] * stretch).sum())
        return durations + self.unknown_ps + self.host_ps(program)

    def host_ps(self, program: Program) -> int:
        """Return what the host and the gaps of queues take of this path in ``program``."""
        hardware = program.hardware
        return int((self.gaps * program["gap"]).sum() + self.intervals * hardware.interval + self.latencies * hardware.latency)


def critical_path(program: Program, records: Records) -> Path:
    """Return the critical path of a replay whose ``records`` hold every instance (``step_over=False``).

    Raises TraceError if instances were stepped over, or are too many.
    """
    if len(records.step_count):
        raise TraceError("a critical path is looked for among all operations, but some were stepped over: replay with step_over=False")
    if len(records.op) > MOST_INSTANCES:
        raise TraceError(f"a critical path is looked for among at most {MOST_INSTANCES:,} operations, but there are {len(records.op):,}")
    n = len(records.op)
    codes = [np.zeros(n, np.int32) for _ in range(5)]
    cause = Cause(codes[0], codes[1], codes[2], codes[3], np.zeros(n, np.int64), codes[4], _before_on_wire(program, records))
    _find_causes(records.op, records.start_ps, records.end_ps, program.ops, program.hardware, len(program.queues), cause)
    on_path, gaps, elapsed = np.zeros(len(program), np.int64), np.zeros(len(program), np.int64), np.zeros(len(program))
    tally = np.zeros(5, np.int64)
    if n:
        last = _last(program, records)
        found = on_path, elapsed, gaps, tally
        _trace_back(last, records.op, records.start_ps, records.end_ps, program.ops, program.hardware, cause, found)
    return Path(on_path, elapsed, gaps, *(int(tally[i]) for i in (INTERVAL, LATENCY, UNKNOWN, TIES)))


def _before_on_wire(program: Program, records: Records) -> Ints:
    """Return which instance ran before each on the same wire, -1 where there is none."""
    queue = program["queue"][records.op]
    wire = np.where(queue >= 0, program.hardware.wire[queue], -1)
    order = np.lexsort((records.end_ps, records.start_ps, wire))
    before = np.full(len(queue), -1, np.int64)
    follows = np.flatnonzero((wire[order][1:] == wire[order][:-1]) & (wire[order][1:] >= 0)) + 1
    before[order[follows]] = order[follows - 1]
    return before


def _last(program: Program, records: Records) -> int:
    """Return the instance that ends last, guests left aside."""
    queue = program["queue"][records.op]
    return int(np.where((queue >= 0) & (program.hardware.guest[queue] != 0), -1, records.end_ps).argmax())


@compiled
def _find_causes(op_of: Indices, start: Ints, end: Ints, ops: Operations, hardware: Hardware, queues: int, cause: Cause) -> None:
    """Walk over the instances in launch order and note what each waited for last."""
    latest = np.full(len(ops.op), -1, np.int64)
    last = np.full(queues, -1, np.int64)
    depth = np.int64(hardware.depth.max()) if len(hardware.depth) else np.int64(1)
    ring = np.full((queues, depth), -1, np.int64)
    place = np.zeros(queues, np.int64)
    host: Any = np.int64(0)
    issue: Any = np.int64(0)
    issuer: Any = np.int64(-1)
    host_code: Any = ROOT
    host_of: Any = np.int64(-1)
    busy_end: Any = np.int64(0)
    busy: Any = np.int64(-1)
    for i in range(len(op_of)):
        op: Any = ops.op[op_of[i]]
        if op.flags & ISSUES:
            issue, cause.issue_code[i], cause.issue_of[i] = host, host_code, host_of
            oldest = ring[op.slot, place[op.slot] % hardware.depth[op.slot]] if place[op.slot] >= hardware.depth[op.slot] else -1
            if oldest >= 0 and start[oldest] > issue:
                issue, cause.issue_code[i], cause.issue_of[i] = start[oldest], START_OF, oldest
            issuer, host, host_code, host_of = i, issue + hardware.interval, ISSUE_OF, i
        if op.flags & WAITS:
            cause.start_code[i], cause.start_of[i] = END_OF if busy >= 0 else ROOT, busy
            if end[i] > host:
                host, host_code, host_of = end[i], END_OF, i
        else:
            _cause_of_start(i, op, start, end, ops, hardware, latest, last, issue, issuer, cause)
            last[op.queue] = i
            if end[i] > busy_end and not hardware.guest[op.queue]:
                busy_end, busy = end[i], i
            if op.flags & LEAVES:
                ring[op.queue, place[op.queue] % hardware.depth[op.queue]] = i
                place[op.queue] += 1
        latest[op_of[i]] = i


@inner
def _cause_of_start(
    i: int, op: Any, start: Ints, end: Ints, ops: Operations, hardware: Hardware, latest: Ints, last: Ints, issue: Any, issuer: Any,
    cause: Cause,
) -> None:  # fmt: skip
    """Note which of queue, dependencies and launch came last; of equal ones the queue, then dependencies in order."""
    best: Any = np.int64(-1)
    code, of = ROOT, np.int64(-1)
    if last[op.queue] >= 0:
        best, code, of = end[last[op.queue]] + op.gap, END_OF, last[op.queue]
        cause.gap[i] = op.gap
    elif op.gap > 0:  # a queue that has run nothing yet idles from the beginning
        best, cause.gap[i] = op.gap, op.gap
    for d in range(op.dep_start, op.dep_end):
        on = latest[ops.dep[d]]
        if on >= 0 and end[on] >= best:
            cause.tie[i] = 1 if end[on] == best else 0
            if end[on] > best:
                best, code, of = end[on], END_OF, on
                cause.gap[i] = 0
    ready = issue + hardware.latency if op.flags & LAUNCHED else issue
    if issuer >= 0 and ready >= best:
        cause.tie[i] = 1 if ready == best else 0
        if ready > best:
            best, code, of = ready, ISSUE_OF, issuer
            cause.gap[i] = 0
    if cause.before[i] >= 0 and end[cause.before[i]] == start[i] and start[i] > best:
        code, of = END_OF, cause.before[i]
        cause.gap[i] = 0
    cause.start_code[i], cause.start_of[i] = code, of


@compiled
def _trace_back(
    last: int, op_of: Indices, start: Ints, end: Ints, ops: Operations, hardware: Hardware, cause: Cause,
    found: tuple[Ints, Floats, Ints, Ints],
) -> None:  # fmt: skip
    """Go back from the last end; add up what lies on the way."""
    on_path, elapsed, gaps, tally = found
    i: Any = np.int64(last)
    at: Any = end[i]
    code: Any = END_OF
    while code != ROOT:
        if code == ISSUE_OF:  # at the issue of launch i, at time `at`
            code, of = cause.issue_code[i], np.int64(cause.issue_of[i])
            if code == ISSUE_OF:
                tally[INTERVAL] += 1
                at -= hardware.interval
        else:
            op: Any = ops.op[op_of[i]]
            if code == END_OF:
                on_path[op_of[i]] += 1
                elapsed[op_of[i]] += end[i] - start[i]
                tally[COUNT] += 1
                tally[UNKNOWN] += at - end[i]
                at = start[i]
            tally[TIES] += cause.tie[i]
            code, of = cause.start_code[i], np.int64(cause.start_of[i])
            if code == ISSUE_OF and op.flags & LAUNCHED:
                tally[LATENCY] += 1
                at -= hardware.latency
            else:
                gaps[op_of[i]] += 1 if cause.gap[i] > 0 else 0
                at -= cause.gap[i]
        if of >= 0:
            i = of
    tally[UNKNOWN] += at
