"""The reference engine: the semantics as SimPy processes, written to be read and to be extended.

One process is the host, one runs each queue, and each shared resource divides its capacity. Times are integer
picoseconds. At each moment, first everything that ends ends, then everything that can start starts, then shares are
computed anew. A user's own processes run beside them::

    def visitor(simulation):
        yield simulation.shared.use(5_000_000, {"hbm": 4e5})  # 400 kB, in what takes 5 us alone

    Simulation(program).run(visitor)
"""

import gc
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import simpy

from codesign.engine.jitter import varied
from codesign.engine.program import ISSUES, KERNEL, LAUNCHED, LEAVES, LIMIT_PS, PS, WAITS, Program, Records, Run, finished
from codesign.engine.reference_sharing import GRANT, Shared, at_last
from traces.errors import TraceError

STUCK_MESSAGE = "every operation must come to its end, but some wait for a resource that others claim as a whole, in a circle"

Process = Generator[simpy.Event, Any, None]


@dataclass(slots=True)
class Instance:
    """One execution of an operation."""

    op: int
    issue: int
    number: int
    inputs: "list[Instance]"
    start: int = -1
    end: int = -1
    awaited: simpy.Event | None = None

    def ends(self, env: simpy.Environment) -> simpy.Event:
        """Return the event of its end, for an instance that has not ended; most are never waited for and have none."""
        if self.awaited is None:
            self.awaited = env.event()
        return self.awaited

    def end_at(self, time: int) -> None:
        """Note the end, and tell who waits for it."""
        self.end = time
        if self.awaited is not None:
            self.awaited.succeed()


class Wires:
    """Groups of queues of which one runs at a time: when a wire is free, the queue after the one that ran last, in a circle."""

    def __init__(self, env: simpy.Environment, queues: int, wires: int) -> None:
        self.env = env
        self.queues = queues
        self.last = [-1] * wires
        self.taken = [False] * wires
        self.asking: list[dict[int, simpy.Event]] = [{} for _ in range(wires)]
        self.granting = False

    def turn(self, wire: int, queue: int) -> simpy.Event:
        """Return an event that comes when the queue may run on the wire."""
        event = self.asking[wire][queue] = self.env.event()
        self._changed(wire)
        return event

    def free(self, wire: int) -> None:
        """The operation on the wire has ended."""
        self.taken[wire] = False
        self._changed(wire)

    def _changed(self, wire: int) -> None:
        if self.asking[wire] and not self.taken[wire] and not self.granting:
            self.granting = True
            at_last(self.env, self._grant, GRANT)

    def _grant(self, _: simpy.Event) -> None:
        self.granting = False
        for wire, asking in enumerate(self.asking):
            if asking and not self.taken[wire]:
                queue = min(asking, key=lambda q, wire=wire: (q - self.last[wire] - 1) % self.queues)  # type: ignore[misc]
                self.taken[wire], self.last[wire] = True, queue
                asking.pop(queue).succeed()


class Room:
    """Places for launches that have been issued and have not started; the host waits for one when none is left."""

    def __init__(self, env: simpy.Environment, places: int) -> None:
        self.env = env
        self.left = places
        self.awaited: simpy.Event | None = None

    def comes_free(self) -> simpy.Event:
        """Return an event that comes when a place is given back."""
        self.awaited = self.env.event()
        return self.awaited

    def give(self) -> None:
        """Give a place back."""
        self.left += 1
        if self.awaited is not None and not self.awaited.triggered:
            self.awaited.succeed()


class Queue:
    """Runs its operations one at a time, in the order in which they were issued."""

    def __init__(self, simulation: "Simulation", number: int, depth: int, wire: int) -> None:
        self.simulation = simulation
        self.number, self.wire = number, wire
        self.env = simulation.env
        self.waiting: list[Instance] = []
        self.room = Room(self.env, depth)
        self.free = 0
        self.last: Instance | None = None
        self.called = self.env.event()
        self.env.process(self._serve())

    def put(self, instance: Instance) -> None:
        """Append an operation."""
        self.waiting.append(instance)
        self.last = instance
        if not self.called.triggered:
            self.called.succeed()

    def _serve(self) -> Process:
        while True:
            if not self.waiting:
                self.called = self.env.event()
                yield self.called
            batch, self.waiting = self.waiting, []
            for instance in batch:
                yield from self._execute(instance)

    def _execute(self, instance: Instance) -> Process:
        step = self.simulation.steps[instance.op]
        for before in instance.inputs:
            if before.end < 0:
                yield before.ends(self.env)
        earliest = max(instance.issue + step.latency, self.free + step.gap)
        if earliest > self.env.now:
            yield self.env.timeout(earliest - self.env.now)
        if self.wire >= 0:
            yield self.simulation.wires.turn(self.wire, self.number)
        instance.start = int(self.env.now)
        if step.leaves:
            self.room.give()
        yield self._last(step, instance.number)
        self.free = int(self.env.now)
        if self.wire >= 0:
            self.simulation.wires.free(self.wire)
        instance.end_at(self.free)

    def _last(self, step: "Step", number: int) -> simpy.Event:
        """Return the event of the end of what starts now."""
        hardware = self.simulation.program.hardware
        duration = step.duration
        if hardware.spread > 0.0 and step.launched:
            duration = int(varied(duration, number, hardware.spread, hardware.seed))
        if duration > 0 and (step.demands or step.claims):
            return self.simulation.shared.begin(duration, step.demands, step.claims, step.queue)
        return self.env.timeout(duration)


@contextmanager
def uncollected() -> Iterator[None]:
    """Pause Python's cycle collector: every instance lives until the end, so walking them again and again frees nothing."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


@dataclass(slots=True)
class Step:
    """An operation in the terms of this engine."""

    queue: int
    duration: int
    gap: int
    latency: int
    issues: bool
    launched: bool
    leaves: bool
    waits: bool
    slot: int
    dependencies: list[int]
    demands: list[tuple[str, float]]
    claims: list[tuple[str, float]]


class Simulation:
    """One replay. ``env`` is SimPy's environment (time in ps), ``queues`` and ``shared`` what the program runs on."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.env = simpy.Environment(initial_time=0)
        self.shared = Shared(self.env, dict(zip(program.resources, program.hardware.capacity.tolist(), strict=True)))
        self.steps = _steps(program, self.shared)
        wire = program.hardware.wire.tolist()
        self.wires = Wires(self.env, len(wire), max(wire, default=-1) + 1)
        self.guests = program.hardware.guest.tolist()
        self.queues = [Queue(self, number, int(depth), wire[number]) for number, depth in enumerate(program.hardware.depth)]
        self.log: list[Instance] = []

    def run(self, *visitors: Callable[["Simulation"], Process]) -> Run:
        """Replay the program, with the processes of ``visitors`` beside it, until its last operation ends."""
        with uncollected():
            return self._run(visitors)

    def _run(self, visitors: tuple[Callable[["Simulation"], Process], ...]) -> Run:
        host = self.env.process(self._host())
        for visitor in visitors:
            self.env.process(visitor(self))
        try:
            self.env.run(until=host)
            own = [instance for instance in self.log if self.steps[instance.op].waits or not self.guests[self.steps[instance.op].queue]]
            pending = [instance.ends(self.env) for instance in own if instance.end < 0]
            if pending:
                self.env.run(until=simpy.AllOf(self.env, pending))
            last = max((instance.end for instance in own), default=0)
            if any(self.guests) and last > self.env.now:  # the host waits on, and guests go on meanwhile
                self.env.run(until=last)
        except RuntimeError as error:  # SimPy: no event is left, but not all has ended
            raise TraceError(STUCK_MESSAGE) from error
        if self.env.now > LIMIT_PS:
            raise TraceError(
                f"a replay must end before {LIMIT_PS / PS:.3g} s, but it ended at {self.env.now / PS:.3g} s: check the trip counts"
            )
        return _summary(self.program, self.steps, self.log)

    def _host(self) -> Process:
        env, latest = self.env, dict[int, Instance]()
        issue = turn = 0
        for op in unrolled(self.program):
            step = self.steps[op]
            if step.issues:
                if turn > env.now:
                    yield env.timeout(turn - env.now)
                room = self.queues[step.slot].room
                while room.left == 0:
                    yield room.comes_free()
                room.left -= 1
                issue = int(env.now)
                turn = issue + self.program.hardware.interval
            instance = Instance(op, issue, len(self.log), [latest[d] for d in step.dependencies if d in latest])
            latest[op] = instance
            self.log.append(instance)
            if step.waits:
                yield from self._wait(instance, step)
                turn = max(turn, instance.end)
            else:
                self.queues[step.queue].put(instance)

    def _wait(self, instance: Instance, step: Step) -> Process:
        own = [queue for queue in self.queues if not self.guests[queue.number]]
        for queue in own:
            if queue.last is not None and queue.last.end < 0:
                yield queue.last.ends(self.env)
        instance.start = max((queue.free for queue in own), default=0)
        instance.end_at(instance.start + step.duration)


def _steps(program: Program, shared: Shared) -> list[Step]:
    ops, latency = program.ops, program.hardware.latency
    names = ("queue", "duration", "gap", "slot", "flags", "dep_start", "dep_end", "use_start", "use_end")
    dep = ops.dep.tolist()
    use = [(program.resources[resource], moved, claim) for resource, moved, claim in ops.use.tolist()]
    return [
        Step(
            queue=queue,
            duration=duration,
            gap=gap,
            latency=latency if flags & LAUNCHED else 0,
            issues=bool(flags & ISSUES),
            launched=bool(flags & LAUNCHED),
            leaves=bool(flags & LEAVES),
            waits=bool(flags & WAITS),
            slot=slot,
            dependencies=dep[dep_start:dep_end],
            demands=shared.demands({name: moved for name, moved, _ in use[use_start:use_end] if moved > 0}, duration),
            claims=[(name, claim) for name, _, claim in use[use_start:use_end] if claim > 0],
        )
        for queue, duration, gap, slot, flags, dep_start, dep_end, use_start, use_end in zip(
            *(ops.op[name].tolist() for name in names), strict=True
        )
    ]


def unrolled(program: Program) -> Iterator[int]:
    """Yield the number of every operation as often as it runs, in launch order."""
    loops: list[tuple[int, int, int]] = program.loops.tolist()

    def body(first: int, end: int, inner: list[tuple[int, int, int]]) -> Iterator[int]:
        while inner:
            start, stop, count = inner[0]
            held = [loop for loop in inner[1:] if loop[0] < stop]
            yield from range(first, start)
            for _ in range(count):
                yield from body(start, stop, held)
            first, inner = stop, inner[1 + len(held) :]
        yield from range(first, end)

    return body(0, len(program), loops)


def host_bound(steps: list[Step], guests: list[int], log: list[Instance]) -> int:
    """Sum the time in which all that was issued has ended, because the next launch has not been issued."""
    busy = total = 0
    free: dict[int, int] = {}
    latest: dict[int, int] = {}
    for instance in log:
        step = steps[instance.op]
        latest_inputs = [latest.get(d, 0) for d in step.dependencies]
        latest[instance.op] = instance.end
        if step.waits or guests[step.queue]:
            continue
        other = max([free.get(step.queue, 0) + step.gap, *latest_inputs])
        ready = instance.issue + step.latency
        if ready > other and instance.start == ready:
            total += max(0, ready - busy)
        free[step.queue] = instance.end
        busy = max(busy, instance.end)
    return total


def _summary(program: Program, steps: list[Step], log: list[Instance]) -> Run:
    op = np.array([i.op for i in log], np.int32)
    start = np.array([i.start for i in log], np.int64)
    end = np.array([i.end for i in log], np.int64)
    none = np.zeros(0, np.int64)
    own = program.hardware.guest[program["queue"][op]] == 0
    own |= program["queue"][op] < 0
    run = Run(
        time_ps=int(end[own].max(initial=0)),
        host_bound_ps=host_bound(steps, program.hardware.guest.tolist(), log),
        elapsed_ps=np.bincount(op, (end - start).astype(np.float64), minlength=len(program)).astype(np.float64),
        launches_run=int((program["kind"][op] == KERNEL).sum()),
        launches_stepped=0,
        records=Records(op, start, end, none, none, none, none),
    )
    return finished(run, program)


def run(program: Program) -> Run:
    """Replay ``program`` with every iteration run."""
    return Simulation(program).run()
