"""What the engines execute: operations on queues and shared resources, in loops, knowing nothing of GPUs.

A program is a list of operations in launch order, with loops around ranges of it. A dependency names an operation
and means its latest instance launched before: one that stands earlier in the list is of the same iteration, one that
stands later (or is the operation itself) is of the iteration before.
"""

from dataclasses import dataclass, replace
from functools import cached_property
from numbers import Real
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from traces.errors import TraceError

Ints = npt.NDArray[np.int64]
Indices = npt.NDArray[np.int32]
Codes = npt.NDArray[np.int8]
Floats = npt.NDArray[np.float64]

PS = 1e12
"""Picoseconds in a second."""
LONGEST_PS = 1 << 53
"""An operation lasts less than this (2.5 hours): beyond it float64 cannot count picoseconds."""
LIMIT_BITS = 62
LIMIT_PS = 1 << LIMIT_BITS
"""A replay ends before this (53 days), so that no sum overflows."""

ISSUES = 1
"""Flag: the host issues a launch (one turn of its own, a place in the queue ``slot``), which this operation begins."""
LAUNCHED = 2
"""Flag: a kernel; it starts no sooner than the launch latency after the issue. Copies do not have it."""
LEAVES = 4
"""Flag: the launch gives back its place in the queue when this operation starts."""
WAITS = 8
"""Flag: no operation of a queue; the host waits for all that was issued, then for the duration."""

KERNEL, TRANSFER, HAND_OVER, ROUND_TRIP = range(4)
KINDS = ("kernel", "transfer", "hand_over", "round_trip")


OPERATION = np.dtype(
    [
        ("queue", "i4"),  # -1: the host's own
        ("slot", "i4"),  # queue whose depth the launch respects, where it ISSUES
        ("flags", "i4"),
        ("kind", "i4"),
        ("duration", "i8"),  # ps, alone on every resource
        ("gap", "i8"),  # ps, least idle time of the queue before it
        ("dep_start", "i4"),  # rows dep_start to dep_end of `Operations.dep` are what it waits for
        ("dep_end", "i4"),
        ("use_start", "i4"),
        ("use_end", "i4"),
        ("touch_start", "i4"),  # for planning only
        ("touch_end", "i4"),
        ("kernel", "i4"),  # row of the trace, -1: none
        ("tensor", "i4"),  # row of the trace, -1: none
        ("energy", "f8"),  # joules, NaN: unknown
    ],
    align=True,
)
USE = np.dtype([("resource", "i4"), ("bytes", "f8"), ("claim", "f8")], align=True)
"""Bytes moved over a resource in the operation's duration; or a fraction of its capacity that is closed to others meanwhile."""
LOOP = np.dtype([("first", "i4"), ("end", "i4"), ("count", "i8")], align=True)
"""Operations first to end run count times."""
CHANGE = np.dtype([("op", "i4"), ("memory", "i4"), ("tensor", "i4"), ("at_end", "i4"), ("bytes", "i8"), ("every", "i8")], align=True)
"""Memory taken (positive bytes) or released (negative) when an operation starts or ends: at the start of each first, or at the
end of each last, of ``every`` instances. ``tensor``: row of the trace, -1: none."""

Rows = npt.NDArray[np.void]


class Operations(NamedTuple):
    """Operations in launch order: rows of OPERATION, what they wait for, rows of USE."""

    op: Rows
    dep: Indices
    use: Rows


class Hardware(NamedTuple):
    """What the engines know of the machine."""

    interval: int  # ps between two issues of the host
    latency: int  # ps from issue to earliest start
    depth: Ints  # launches a queue holds that have not started
    capacity: Floats  # bytes a ps of each shared resource
    wire: Ints  # queues with the same number run one operation at a time between them, in turn; -1: a queue for itself
    guest: Codes  # queues of others: what runs there takes its part, but is not waited for and not counted
    spread: float  # a kernel lasts up to this fraction longer or shorter, each instance by itself
    seed: int  # of these differences


@dataclass(frozen=True, eq=False)
class Program:
    """Operations, loops (rows of LOOP, outer ones before those they hold), changes of memory (rows of CHANGE) and hardware."""

    ops: Operations
    loops: Rows
    hardware: Hardware
    queues: tuple[str, ...]
    resources: tuple[str, ...]
    memories: tuple[str, ...]
    changes: Rows
    memory_capacity: Ints
    memory_initial: Ints
    owner: Indices | None = None
    """The device of each queue, -1: none; None: the first queues are the devices."""

    def __len__(self) -> int:
        return len(self.ops.op)

    def __getitem__(self, column: str) -> npt.NDArray[Any]:
        """Return a column of OPERATION."""
        return self.ops.op[column]

    @cached_property
    def executions(self) -> Ints:
        """How often each operation runs (int64[N])."""
        times, bits = np.ones(len(self), np.int64), 0
        for first, end, count in self.loops.tolist():
            times[first:end] *= count
            bits += count.bit_length()
        if bits >= LIMIT_BITS:
            self._check_size()
        return times

    def _check_size(self) -> None:
        size = np.ones(len(self))
        for first, end, count in self.loops.tolist():
            size[first:end] *= count
        if size.max() >= 2.0**LIMIT_BITS:
            raise TraceError(f"an operation must run fewer than 2^{LIMIT_BITS} times, but got {size.max():.2g}: check the trip counts")

    @cached_property
    def device(self) -> Indices:
        """The device whose queue each operation runs on, -1: none (int32[N])."""
        queue = self["queue"]
        return queue if self.owner is None else np.where(queue >= 0, self.owner[queue], -1).astype(np.int32)

    @cached_property
    def launches(self) -> int:
        """Kernels launched in all."""
        return int(self.executions[self["kind"] == KERNEL].sum())


@dataclass(frozen=True, eq=False)
class Records:
    """Instances that an engine ran, in launch order, and which stretches of them stand for more.

    Records ``step_first[j]:step_end[j]`` happened ``step_count[j]`` more times, each time ``step_period_ps[j]`` later,
    before record ``step_end[j]``. A stretch may hold others, which then stand before it.
    """

    op: Indices
    start_ps: Ints
    end_ps: Ints
    step_first: Ints
    step_end: Ints
    step_count: Ints
    step_period_ps: Ints


@dataclass(frozen=True, eq=False)
class Run:
    """What an engine found. ``elapsed_ps`` sums the time of every instance of an operation (float64[N])."""

    time_ps: int
    host_bound_ps: int
    elapsed_ps: Floats
    launches_run: int
    launches_stepped: int
    records: Records | None = None


def finished(run: Run, program: Program) -> Run:
    """Return the run without what guests did after its end: that is cut off there, and counts nothing."""
    if not program.hardware.guest.any():
        return run
    guests = (program["queue"] >= 0) & (program.hardware.guest[program["queue"]] != 0)
    records = run.records
    if records is not None:
        mine, time = guests[records.op], run.time_ps
        start = np.where(mine & ((records.start_ps < 0) | (records.start_ps > time)), time, records.start_ps)
        end = np.where(mine & ((records.end_ps < 0) | (records.end_ps > time)), time, records.end_ps)
        records = replace(records, start_ps=start, end_ps=end)
    return replace(run, elapsed_ps=np.where(guests, 0.0, run.elapsed_ps), records=records)


def is_number(value: object) -> bool:
    """Return whether a value is a real number, whatever its type."""
    return isinstance(value, Real)


def picoseconds(seconds: float) -> int:
    """Round a duration once to whole picoseconds."""
    if not is_number(seconds):
        raise TraceError(f"a duration must be a number of seconds, but got {seconds!r}")
    value = round(seconds * PS) if np.isfinite(seconds) else -1
    if not 0 <= value < LONGEST_PS:
        raise TraceError(f"a duration must be at least 0 s and less than {LONGEST_PS / PS:.0f} s, but got {seconds!r} s")
    return value
