"""Programs by hand: operations, loops and dependencies, checked as they are added."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TypeVar

import numpy as np

from codesign.engine.program import (
    CHANGE,
    ISSUES,
    KERNEL,
    LAUNCHED,
    LEAVES,
    LIMIT_BITS,
    LIMIT_PS,
    LOOP,
    OPERATION,
    PS,
    ROUND_TRIP,
    TRANSFER,
    USE,
    WAITS,
    Floats,
    Hardware,
    Ints,
    Operations,
    Program,
    is_number,
    picoseconds,
)  # fmt: skip
from traces.errors import TraceError, nearest

T = TypeVar("T")

OPEN = -1
"""The end of a loop that has not ended."""
DEEPEST = 1 << 20
"""A queue holds at most so many launches."""


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
            if not is_number(value) or not 0 < value < np.inf:
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
