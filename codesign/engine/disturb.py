"""Disturbances: what others do to a machine while a program runs, and kernels that do not last as long as their price says."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from arch.units import Amount, settle
from codesign.engine.program import OPERATION, PS, TRANSFER, USE, Ints, Operations, Program, Rows, picoseconds
from traces.errors import MachineError, nearest

SEEDS = 1 << 63
UNIT = 1.0
"""A queue's speed as a resource: an operation that lasts n ps alone asks for n units over n ps."""
MOST = 1_000_000
"""Times that one disturbance may come."""
LONGEST_S = 9000.0
"""Seconds that a time of a disturbance may be: the clock of a replay counts picoseconds."""
AMOUNTS = {
    "start_s": Amount("s", most=LONGEST_S),
    "duration_s": Amount("s", positive=True, most=LONGEST_S),
    "every_s": Amount("s", most=LONGEST_S),
    "bandwidth": Amount("B/s"),
    "closed": Amount("1", most=1.0),
    "times": Amount("1", positive=True, most=MOST, whole=True),
}


@dataclass(frozen=True)
class Disturbance:
    """Others use part of something for a while. Quantities may be texts with their unit, such as '50 ms' or '100 GB/s'.

    Parameters
    ----------
    what
        A memory or what both directions of a link share (``program.resources``); or a device or one direction of a link
        (``program.queues``), which is then slower.
    start_s, duration_s
        When it first comes and how long it lasts.
    closed
        The fraction that nobody else can use; 1: a device is lost, and goes on afterwards with what it was doing.
    bandwidth
        Traffic in bytes a second that shares a resource max-min fairly (and takes longer where it does not get all); instead of ``closed``.
    every_s, times
        It comes so many times, one after another with ``every_s`` from start to start, unless the one before lasts longer.

    Raises
    ------
    MachineError
        If a value is out of its range, or both or none of ``closed`` and ``bandwidth`` are given.
    """

    what: str
    start_s: float
    duration_s: float
    closed: float = 0.0
    bandwidth: float = 0.0
    every_s: float = 0.0
    times: int = 1

    def __post_init__(self) -> None:
        settle(self, f"the disturbance of {self.what!r}", AMOUNTS)
        if (self.closed > 0) == (self.bandwidth > 0):
            raise MachineError(f"a disturbance must have either `0 < closed <= 1` or `bandwidth > 0`, but got {self}")
        if self.times > 1 and self.every_s < self.duration_s:
            raise MachineError(f"`every_s >= duration_s` must hold for a disturbance that comes again, but got {self}")


def disturb(program: Program, disturbances: Sequence[Disturbance], *, spread: float = 0.0, seed: int = 0) -> Program:
    """Return the program beside ``disturbances``, each a guest with a queue of its own.

    ``spread``: each instance of a kernel lasts longer or shorter by up to this fraction, drawn from ``seed``. Raises MachineError
    if a disturbance names what is not there, or ``spread`` is not from 0 to below 1.
    """
    if not isinstance(spread, int | float) or not 0 <= spread < 1:
        raise MachineError(f"jitter must be a number from 0 to below 1, but got {spread!r}")
    if not isinstance(seed, int | np.integer) or not 0 <= seed < SEEDS:
        raise MachineError(f"a seed must be a whole number from 0 to below 2^63, but got {seed!r}")
    if isinstance(disturbances, Disturbance):
        raise MachineError(f"disturbances must be a sequence, but got one: write [{disturbances}]")
    for number, disturbance in enumerate(disturbances):
        if not isinstance(disturbance, Disturbance):
            raise MachineError(f"a disturbance must be a `Disturbance(what, start_s, duration_s, ...)`, but got {disturbance!r:.80}")
        program = _beside(program, disturbance, number)
    return replace(program, hardware=program.hardware._replace(spread=float(spread), seed=int(seed)))


def _beside(program: Program, disturbance: Disturbance, number: int) -> Program:
    """Return the program with one more guest."""
    program, resource = _resource(program, disturbance)
    ops = _operations(disturbance, len(program.queues), resource)
    moved = len(ops.op)
    own = program.ops.op.copy()
    for column, by in (("use_start", len(ops.use)), ("use_end", len(ops.use))):
        own[column] += by
    loops, changes = program.loops.copy(), program.changes.copy()
    loops["first"] += moved
    loops["end"] += moved
    changes["op"] += moved
    hardware = program.hardware
    return replace(
        program,
        ops=Operations(
            np.concatenate([ops.op, own]), (program.ops.dep + moved).astype(np.int32), np.concatenate([ops.use, program.ops.use])
        ),
        loops=loops,
        changes=changes,
        hardware=hardware._replace(
            depth=np.append(hardware.depth, 1), wire=np.append(hardware.wire, -1), guest=np.append(hardware.guest, np.int8(1))
        ),
        owner=None if program.owner is None else np.append(program.owner, np.int32(-1)),
        queues=(*program.queues, f"others {number}: {disturbance.what}"),
    )


def _resource(program: Program, disturbance: Disturbance) -> tuple[Program, int]:
    """Return the number of the resource that is disturbed; the speed of a queue becomes one."""
    what = disturbance.what
    if what in program.resources:
        return program, program.resources.index(what)
    known = [q for q, guest in zip(program.queues, program.hardware.guest, strict=True) if not guest]
    if what not in known:
        names = [*program.resources, *known]
        raise MachineError(f"a disturbance must be of a memory, a link or a device, but got {what!r}: {nearest(what, names)}")
    if disturbance.bandwidth:
        raise MachineError(f"traffic is bytes on a memory or a link, but {what!r} is a queue: give `closed`")
    speed = f"speed of {what}"
    if speed in program.resources:
        return program, program.resources.index(speed)
    ops = _with_speed(program.ops, program.queues.index(what), len(program.resources))
    hardware = program.hardware._replace(capacity=np.append(program.hardware.capacity, UNIT))
    return replace(program, ops=ops, hardware=hardware, resources=(*program.resources, speed)), len(program.resources)


def _with_speed(ops: Operations, queue: int, resource: int) -> Operations:
    """Let every operation of a queue that takes time ask for all of its speed."""
    op = ops.op.copy()
    mine = np.flatnonzero((op["queue"] == queue) & (op["duration"] > 0))
    owner = np.repeat(np.arange(len(op)), op["use_end"] - op["use_start"])
    speed = np.zeros(len(mine), USE)
    speed["resource"], speed["bytes"] = resource, op["duration"][mine] * UNIT
    order = np.argsort(np.concatenate([owner, mine]), kind="stable")
    use = np.concatenate([ops.use[_rows(op)], speed])[order]
    count = np.bincount(np.concatenate([owner, mine]), minlength=len(op))
    op["use_end"] = np.cumsum(count)
    op["use_start"] = op["use_end"] - count
    return ops._replace(op=op, use=use)


def _rows(op: Rows) -> Ints:
    """Return the rows of uses in the order of the operations that have them."""
    count = op["use_end"] - op["use_start"]
    return np.repeat(op["use_start"] - np.cumsum(count) + count, count) + np.arange(int(count.sum()))


def _operations(disturbance: Disturbance, queue: int, resource: int) -> Operations:
    """Return pauses and uses in turn, on one queue."""
    lasts = picoseconds(disturbance.duration_s)
    pauses = np.full(disturbance.times, picoseconds(max(0.0, disturbance.every_s - disturbance.duration_s)), np.int64)
    pauses[0] = picoseconds(disturbance.start_s)
    op, count = np.zeros(2 * disturbance.times, OPERATION), disturbance.times
    op["queue"], op["slot"], op["kind"] = queue, queue, TRANSFER
    op["duration"][0::2], op["duration"][1::2] = pauses, lasts
    op["kernel"] = op["tensor"] = -1
    op["use_start"], op["use_end"] = np.arange(2 * count) // 2, np.arange(1, 2 * count + 1) // 2
    use = np.zeros(count, USE)
    use["resource"], use["claim"], use["bytes"] = resource, disturbance.closed, disturbance.bandwidth / PS * lasts
    return Operations(op, np.zeros(0, np.int32), use)
