"""What the engines execute: operations on queues and shared resources, in loops, knowing nothing of GPUs.

A program is a list of operations in launch order, with loops around ranges of it. A dependency names an operation
and means its latest instance launched before: one that stands earlier in the list is of the same iteration, one that
stands later (or is the operation itself) is of the iteration before.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from numbers import Real
from typing import Any, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from traces.errors import TraceError, nearest

Ints = npt.NDArray[np.int64]
Indices = npt.NDArray[np.int32]
Codes = npt.NDArray[np.int8]
Floats = npt.NDArray[np.float64]

T = TypeVar("T")

PS = 1e12
"""Picoseconds in a second."""
OPEN = -1
"""The end of a loop that has not ended."""
DEEPEST = 1 << 20
"""A queue holds at most so many launches."""
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


def _is_number(value: object) -> bool:
    return isinstance(value, Real)


def picoseconds(seconds: float) -> int:
    """Round a duration once to whole picoseconds."""
    if not _is_number(seconds):
        raise TraceError(f"a duration must be a number of seconds, but got {seconds!r}")
    value = round(seconds * PS) if np.isfinite(seconds) else -1
    if not 0 <= value < LONGEST_PS:
        raise TraceError(f"a duration must be at least 0 s and less than {LONGEST_PS / PS:.0f} s, but got {seconds!r} s")
    return value


def _must_exist(operation: int, on: int, count: int) -> None:
    """Raise TraceError unless both are among the ``count`` operations of a program."""
    if not (_whole(on + 1) and _whole(operation + 1) and max(on, operation) < count):
        raise TraceError(f"dependencies must name operations 0 to {count - 1}, but got {operation} after {on}")


class ProgramBuilder:
    """Makes a program by hand: call ``launch``, ``operation``, ``round_trip`` in launch order, then ``build``.

    >>> builder = ProgramBuilder(["gpu"], launch_interval_s=2e-6, launch_latency_s=3e-6)
    >>> with builder.loop(1000):
    ...     first = builder.launch("gpu", 10e-6)
    >>> builder.build().launches
    1000
    """

    def __init__(
        self,
        queues: Sequence[str],
        *,
        launch_interval_s: float = 0.0,
        launch_latency_s: float = 0.0,
        queue_depth: int = 1024,
        resources: Mapping[str, float] | None = None,
        memories: Mapping[str, int] | None = None,
        wires: Sequence[Sequence[str]] = (),
        guests: Sequence[str] = (),
    ) -> None:
        """``resources``: bytes a second by name; ``memories``: capacity in bytes by name; ``wires``: groups of queues that take turns;
        ``guests``: queues of others, which the replay neither waits for nor counts."""
        if not _whole(queue_depth, DEEPEST + 1):
            raise TraceError(f"`1 <= queue_depth <= {DEEPEST:,}` must hold for a whole number of launches, but got {queue_depth!r}")
        self.queues = tuple(queues)
        self.wires, self.guests = wires, guests
        self._check_queues()
        self.interval, self.latency = picoseconds(launch_interval_s), picoseconds(launch_latency_s)
        self.depth = queue_depth
        self.resources = dict(resources or {})
        self.memories = dict(memories or {})
        for name, value in (*self.resources.items(), *self.memories.items()):
            if not _is_number(value) or not 0 < value < np.inf:
                raise TraceError(f"a resource must have a finite bandwidth and a memory a capacity above zero, but {name!r} has {value!r}")
        self._rows: list[tuple[int, int, int, int, int, int, int]] = []
        self._deps: list[list[int]] = []
        self._uses: list[list[tuple[int, float, float]]] = []
        self._loops: list[list[int]] = []
        self._changes: list[tuple[int, int, int, int, int, int]] = []
        self._buffer: tuple[int, bool] | None = None
        self._pending: int | None = None

    def _check_queues(self) -> None:
        """Raise TraceError if queues have one name, guests are no queues, or a queue is on two wires."""
        on_wires = [queue for group in self.wires for queue in group]
        for name in (*self.guests, *on_wires):
            self._index(name, self.queues, "queue")
        for names, what in ((self.queues, "a queue must have a name of its own"), (on_wires, "a queue must be on one wire only")):
            twice = sorted({name for name in names if list(names).count(name) > 1})
            if twice:
                raise TraceError(f"{what}, but got {twice[0]!r} twice")

    def launch(
        self,
        queue: str,
        duration_s: float,
        *,
        after: Sequence[int] = (),
        uses: Mapping[str, float] | None = None,
        claims: Mapping[str, float] | None = None,
        kernel: int = -1,
    ) -> int:
        """Add a kernel that the host launches (or a member of the command buffer around it); return its number."""
        at = self._index(queue, self.queues, "queue")
        flags, gap = LAUNCHED | LEAVES | ISSUES, 0
        if self._buffer is not None:
            gap, opened = self._buffer
            flags = LAUNCHED if opened else flags
            gap = gap if opened else 0
            self._buffer = (self._buffer[0], True)
        if self._pending is not None:
            flags &= ~ISSUES
            self._settle(at)
        return self._add(at, duration_s, gap, flags, at, after, uses, claims, (KERNEL, kernel))

    def guest(
        self, queue: str, duration_s: float, *, uses: Mapping[str, float] | None = None, claims: Mapping[str, float] | None = None
    ) -> int:
        """Add an operation of others, there from the beginning: it waits only for its queue. Before all launches."""
        at = self._index(queue, self.guests, "guest")
        if any(row[3] & ISSUES for row in self._rows):
            raise TraceError("operations of guests must be added before the first launch")
        return self._add(self.queues.index(queue), duration_s, 0, 0, at, (), uses, claims, (TRANSFER, -1))

    def operation(
        self,
        queue: str,
        duration_s: float,
        *,
        after: Sequence[int] = (),
        uses: Mapping[str, float] | None = None,
        claims: Mapping[str, float] | None = None,
        kind: int = TRANSFER,
    ) -> int:
        """Add an operation that goes with the next launch (a copy, a hand-over): issued with it, without its latency."""
        at = self._index(queue, self.queues, "queue")
        flags = 0
        if self._pending is None and (self._buffer is None or not self._buffer[1]):
            flags = ISSUES
            self._pending = len(self._rows)
        return self._add(at, duration_s, 0, flags, at, after, uses, claims, (kind, -1))

    def round_trip(self, duration_s: float) -> int:
        """Add a wait of the host for all that was issued, and ``duration_s`` longer."""
        return self._add(-1, duration_s, 0, WAITS, 0, (), None, None, (ROUND_TRIP, -1))

    def depend(self, operation: int, on: int) -> None:
        """Let ``operation`` wait for the latest instance of ``on``, which may stand later in a loop around both."""
        _must_exist(operation, on, len(self._rows))
        self._deps[operation].append(on)

    def memory(self, operation: int, memory: str, nbytes: int, *, at_end: bool = False, every: int = 1) -> None:
        """Take (or, negative, release) bytes when ``operation`` starts (or ends); ``every`` as in CHANGE."""
        if not 0 <= operation < len(self._rows) or every < 1:
            raise TraceError(
                f"memory must change with an operation of 0 to {len(self._rows) - 1}, and `every >= 1` hold, but got {operation}, {every}"
            )
        self._changes.append((operation, self._index(memory, tuple(self.memories), "memory"), -1, int(at_end), nbytes, every))

    @contextmanager
    def loop(self, count: int) -> Iterator[None]:
        """Run what is added inside ``count`` times."""
        if not _whole(count, LIMIT_PS):
            raise TraceError(f"`count >= 1` must hold for a loop, and be a whole number below 2^{LIMIT_BITS}, but got {count!r}")
        row = [len(self._rows), OPEN, count]
        self._loops.append(row)
        yield
        row[1] = len(self._rows)
        if self._pending is not None:
            raise TraceError("an operation must be followed by the launch it goes with, but its loop ended: add the launch inside the loop")

    @contextmanager
    def command_buffer(self, gap_s: float) -> Iterator[None]:
        """Issue the launches inside at once, with ``gap_s`` between one and the next on the device."""
        self._buffer = (picoseconds(gap_s), False)
        yield
        self._buffer = None

    def build(self) -> Program:
        """Return the program."""
        if self._pending is not None:
            raise TraceError("an operation must be followed by the launch it goes with, but the program ends: add the launch")
        if any(row[1] == OPEN for row in self._loops):
            raise TraceError("a loop must be ended before the program is built: build after its `with` block")
        self._check_order()
        n = len(self._rows)
        ops = np.zeros(n, OPERATION)
        for column, values in zip(
            ("queue", "duration", "gap", "flags", "slot", "kind", "kernel"), zip(*self._rows, strict=True), strict=False
        ):
            ops[column] = values
        ops["tensor"], ops["energy"] = -1, np.nan
        ops["dep_start"], ops["dep_end"], dep = _ranges([sorted(set(d)) for d in self._deps])
        ops["use_start"], ops["use_end"], use = _ranges(self._uses)
        capacity = np.array([c / PS for c in self.resources.values()], np.float64)
        return Program(
            Operations(ops, np.array(dep, np.int32), np.array(use, USE)),
            np.array([tuple(row) for row in self._loops if row[1] > row[0]], LOOP),
            self._hardware(capacity),
            queues=self.queues,
            resources=tuple(self.resources),
            memories=tuple(self.memories),
            changes=np.array(self._changes, CHANGE),
            memory_capacity=np.array(list(self.memories.values()), np.int64),
            memory_initial=np.zeros(len(self.memories), np.int64),
        )

    def _check_order(self) -> None:
        """Raise TraceError if an operation waits for one that is launched later and not in a loop with it: a circle."""
        for number, deps in enumerate(self._deps):
            later = [on for on in deps if on >= number]
            if any(not any(first <= number and on < end for first, end, _ in self._loops) for on in later):
                raise TraceError(
                    f"an operation must wait for earlier ones, or for later ones of the iteration before, but operation {number} waits for "
                    f"{max(later)} and no loop is around both: a circle; launch {max(later)} first, or put both into a loop"
                )

    def _hardware(self, capacity: Floats) -> Hardware:
        wire = np.full(len(self.queues), -1, np.int64)
        for number, group in enumerate(self.wires):
            wire[[self._index(queue, self.queues, "queue") for queue in group]] = number
        guest = np.isin(self.queues, list(self.guests)).astype(np.int8)
        return Hardware(self.interval, self.latency, np.full(len(self.queues), self.depth, np.int64), capacity, wire, guest, 0.0, 0)

    def _settle(self, queue: int) -> None:
        """The launch has come that the pending operations go with: they take their place in its queue."""
        assert self._pending is not None
        row = self._rows[self._pending]
        self._rows[self._pending] = (*row[:4], queue, *row[5:])
        self._pending = None

    def _add(
        self,
        queue: int,
        duration_s: float,
        gap: int,
        flags: int,
        slot: int,
        after: Sequence[int],
        uses: Mapping[str, float] | None,
        claims: Mapping[str, float] | None,
        origin: tuple[int, int],
    ) -> int:
        number = len(self._rows)
        if slot >= 0 and flags & LAUNCHED and self.queues[slot] in self.guests:
            raise TraceError(f"a launch must be on a queue of the program's own, but {self.queues[slot]!r} is a guest's: use `guest`")
        if not isinstance(after, Sequence):
            raise TraceError(f"`after` must be a sequence of operations, but got {after!r}: write [{after!r}]")
        for on in after:
            _must_exist(number, on, number + 1)
        row = (queue, picoseconds(duration_s), gap, flags, slot, *origin)
        uses_ = self._use_rows(uses or {}, claims or {}, duration_s)
        self._rows.append(row)
        self._uses.append(uses_)
        self._deps.append(list(after))
        return number

    def _use_rows(self, uses: Mapping[str, float], claims: Mapping[str, float], duration_s: float) -> list[tuple[int, float, float]]:
        rows = []
        for name in dict.fromkeys((*uses, *claims)):
            moved, claim = uses.get(name, 0.0), claims.get(name, 0.0)
            if not 0 <= moved < np.inf or not 0 <= claim <= 1 or moved * claim > 0 or (moved > 0 and duration_s == 0):
                rule = "bytes >= 0 (0 where nothing lasts), 0 <= claim <= 1 and not both"
                raise TraceError(f"{rule} must hold, but got {moved} bytes and a claim of {claim} on {name!r}")
            rows.append((self._index(name, tuple(self.resources), "resource"), moved, claim))
        return rows

    @staticmethod
    def _index(name: str, known: Sequence[str], what: str) -> int:
        if name not in known:
            raise TraceError(f"unknown {what} {name!r}: {nearest(name, known)}")
        return list(known).index(name)


def _whole(value: object, below: int | None = None) -> bool:
    """Is it a whole number from 1 on (and below ``below``)?"""
    return isinstance(value, int | np.integer) and bool(value >= 1) and (below is None or bool(value < below))


def _ranges(lists: Sequence[Sequence[T]]) -> tuple[Ints, Ints, list[T]]:
    """Join lists; return where each starts and ends in the joined list, and that."""
    size = np.array([len(items) for items in lists], np.int64)
    end = np.cumsum(size)
    return end - size, end, [item for items in lists for item in items]
