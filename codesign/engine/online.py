"""Scheduling while a program runs: at the border of every region a policy sees what has ended, and may map what comes anew.

The host asks when it comes to the first launch of a region of the program's top level, and in loops of that level every so many
iterations. What was launched before runs as it would have anyhow, so the replay up to there is that of the mapping so far; the answer
applies to launches from there on. A loop in which something is decided is cut into stretches (``traces.splitting``).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from codesign.engine import fast
from codesign.engine.disturb import Disturbance, disturb
from codesign.engine.plan import plan
from codesign.engine.program import ISSUES, KERNEL, LEAVES, PS, WAITS, Floats, Hardware, Indices, Ints, Operations, Program, Records
from schedulers.scheduler import Mapping
from traces.compiled import compiled
from traces.errors import MappingError, TraceError
from traces.splitting import split_loops

if TYPE_CHECKING:
    from arch.machine import Machine
    from traces.trace import Trace

MOST_LAUNCHES = 20_000_000
"""Every launch before a border is run there: more than this over all borders is refused."""


@dataclass(frozen=True, eq=False)
class Observation:
    """What is known when the host comes to a region.

    ``region`` is its row, ``kernel`` its first kernel, ``time_s`` the time. Arrays by kernel of the trace (float64[K]), means over the
    executions that have ended, NaN where none has: ``duration_s``, ``waited_s`` (from when the launch could start at the earliest
    to when it did) and ``bandwidth`` (bytes of the kernel's accesses over its duration). ``origin`` (int64[K]) is the row of the trace
    as it was given that each kernel is: a loop that is cut has its kernels once for each stretch.
    """

    region: int
    kernel: int
    time_s: float
    duration_s: Floats
    waited_s: Floats
    bandwidth: Floats
    origin: Ints


Decide = Callable[[Observation, Mapping], "Mapping | None"]


def decide_online(
    trace: "Trace",
    machine: "Machine",
    mapping: Mapping,
    decide: Decide,
    *,
    every: int | None = None,
    disturbances: Sequence[Disturbance] = (),
    jitter: float = 0.0,
    seed: int = 0,
) -> tuple["Trace", Mapping]:
    """Ask a policy while the program runs; return the trace, cut where it was asked in loops, and the mapping that it decided.

    Parameters
    ----------
    mapping
        Where kernels run before anything is decided.
    decide
        Called with an `Observation` and the mapping so far; returns another mapping, or None to go on. Kernels before
        ``observation.kernel`` must stay where they are.
    every
        Loops of the top level are cut, so that the policy is asked every so many iterations too; None: only where a region begins.
        The cost is that of the launches before each border, all borders together; what follows one is not run there.
    disturbances, jitter, seed
        As for `replay`.

    Raises
    ------
    MappingError
        If an answer maps kernels anew that have been launched.
    TraceError
        If the trace has more than 20 million launches.
    """
    if not callable(decide):
        raise MappingError(f"who decides must be a function of an observation and a mapping, but got {decide!r:.80}")
    origin = np.arange(len(trace.kernels), dtype=np.int64)
    if every is not None:
        trace, origin = split_loops(trace, every)
        mapping = _spread(mapping, origin, every)
    _check_cost(trace)
    for region in borders(trace):
        program = disturb(plan(trace, machine, mapping), disturbances, spread=jitter, seed=seed)
        answer = decide(observe(trace, program, region, origin), mapping)
        if answer is not None and not isinstance(answer, Mapping):
            raise MappingError(f"an online decision must be a mapping or None, but got {answer!r:.80}")
        if answer is not None:
            mapping = _checked(answer, mapping, int(trace.regions["first_kernel"][region]))
    return trace, mapping


def _spread(mapping: Mapping, origin: Ints, every: int) -> Mapping:
    """Return the mapping of a trace whose loops have been cut. Raises MappingError if it offloads."""
    if mapping.offload is not None:
        raise MappingError(
            f"decisions inside loops must be for mappings that offload nothing, since what is fetched ahead crosses the cuts, but "
            f"every={every} and the mapping of {mapping.scheduler!r} offloads: leave `every` out, or offload nothing"
        )
    return replace(mapping, device=mapping.device[origin])


def _check_cost(trace: "Trace") -> None:
    """Raise TraceError if too much would have to be run."""
    each = trace.executions * trace.kernels["launches"]
    before = np.concatenate([[0], np.cumsum(each)])
    launches = int(sum(int(before[trace.regions["first_kernel"][region]]) for region in borders(trace)))
    if launches > MOST_LAUNCHES:
        raise TraceError(
            f"online decisions may run at most {MOST_LAUNCHES:,} launches, but {trace.program!r} needs {launches:,} over "
            f"{len(borders(trace))} borders: decide less often"
        )


def borders(trace: "Trace") -> list[int]:
    """Return the rows of the regions of the top level that begin after the first kernel."""
    regions = trace.regions
    inside = (regions["parent"] == 0) & (regions["first_kernel"] > 0) & (regions["end_kernel"] > regions["first_kernel"])
    return [int(row) for row in np.flatnonzero(inside)]


def _checked(answer: Mapping, before: Mapping, border: int) -> Mapping:
    if answer.offload != before.offload:
        raise MappingError(
            f"an online decision must keep what is offloaded, which was moved before kernel {border} already, but it changes it: pass "
            "`offload=mapping.offload` of the mapping it was given on"
        )
    changed = np.flatnonzero(answer.device[:border] != before.device[:border]) if len(answer) == len(before) else np.zeros(1, np.int64)
    if len(changed):
        raise MappingError(
            f"an online decision applies to launches not yet issued, from kernel {border} on, but it maps kernel {int(changed[0])} anew"
        )
    return answer


def observe(trace: "Trace", program: Program, region: int, origin: Ints | None = None) -> Observation:
    """Return what is known when the host comes to a region."""
    origin = np.arange(len(trace.kernels), dtype=np.int64) if origin is None else origin
    border = int(trace.regions["first_kernel"][region])
    program = up_to(program, border)
    records = fast.run(program, step_over=False).records
    assert records is not None
    issued = issue_times(program, records)
    mine = program["kind"][records.op] == KERNEL
    kernel = program["kernel"][records.op]
    now = int(issued[np.flatnonzero(mine & (kernel >= border))[0]])
    ended = mine & (records.end_ps <= now) & (kernel < border)
    row, lasted = kernel[ended], (records.end_ps - records.start_ps)[ended] / PS
    waited = (records.start_ps - issued)[ended] / PS - program.hardware.latency / PS
    count = np.bincount(row, minlength=len(trace.kernels)).astype(np.float64)
    count[count == 0] = np.nan
    duration = np.bincount(row, lasted, minlength=len(count)) / count
    delay = np.bincount(row, np.maximum(0.0, waited), minlength=len(count)) / count
    moved = trace.kernels["bytes_unique"] / trace.kernels["launches"]
    with np.errstate(divide="ignore", invalid="ignore"):
        bandwidth: npt.NDArray[np.float64] = moved / duration
    return Observation(region, border, now / PS, duration, delay, bandwidth, origin)


def up_to(program: Program, border: int) -> Program:
    """Return the program up to the first launch of kernel ``border`` or a later one, which is the last that is in it, once.

    What is launched later cannot change what has ended when the host comes there.
    """
    end = 1 + int(np.flatnonzero((program["kind"] == KERNEL) & (program["kernel"] >= border))[0])
    loops, changes = program.loops, program.changes
    return replace(
        program,
        ops=program.ops._replace(op=program.ops.op[:end]),
        loops=loops[loops["end"] < end],
        changes=changes[changes["op"] < end],
    )


def issue_times(program: Program, records: Records) -> Ints:
    """Return when each instance was issued (int64, ps), for records without steps."""
    if len(records.step_count):
        raise TraceError("issue times are those of a replay in which no iteration was stepped over: replay with step_over=False")
    return _issue_times(records.op, records.start_ps, records.end_ps, program.ops, program.hardware)


@compiled
def _issue_times(op_of: Indices, start: Ints, end: Ints, ops: Operations, hardware: Hardware) -> Ints:
    """Walk over the instances as the host issues them: every interval, once the queue has a place."""
    depth = hardware.depth.max() if len(hardware.depth) else 1
    ring, held = np.zeros((len(hardware.depth), depth), np.int64), np.zeros(len(hardware.depth), np.int64)
    issued = np.zeros(len(op_of), np.int64)
    turn = issue = 0
    for i in range(len(op_of)):
        op = ops.op[op_of[i]]
        if op.flags & ISSUES:
            place = held[op.slot] % hardware.depth[op.slot]
            issue = turn if held[op.slot] < hardware.depth[op.slot] else max(turn, ring[op.slot, place])
            turn = issue + hardware.interval
        issued[i] = issue
        if op.flags & WAITS:
            turn = max(turn, end[i])
        elif op.flags & LEAVES:
            ring[op.queue, held[op.queue] % hardware.depth[op.queue]] = start[i]
            held[op.queue] += 1
    return issued
