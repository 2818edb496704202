"""The one call that runs a trace on a machine."""

import warnings
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from codesign.engine import fast
from codesign.engine.disturb import Disturbance, disturb
from codesign.engine.inputs import machine_for, map_kernels, with_all_ranks
from codesign.engine.online import Decide, decide_online
from codesign.engine.plan import Plan, make_plan
from codesign.engine.program import Program, Run
from codesign.engine.timeline import Timeline, timeline_of
from codesign.engine.usage import Usage, check_capacity, too_much, usage
from schedulers.in_place import appends_with_readers
from schedulers.scheduler import Mapping
from schedulers.serial_model import place_of_device
from traces.errors import CapacityError, CodesignError, nearest

if TYPE_CHECKING:
    from arch.cost import CostTable
    from arch.machine import Machine
    from schedulers.scheduler import Scheduler
    from traces.trace import Trace

ENGINES = ("fast", "reference")


def replay(
    trace: "Trace",
    machine: "Machine | str",
    scheduler: "str | Scheduler | Mapping" = "single-device",
    *,
    engine: str = "fast",
    record: bool = True,
    assume: str | None = None,
    disturbances: Sequence[Disturbance] = (),
    jitter: float = 0.0,
    seed: int = 0,
    decide: Decide | None = None,
    every: int | None = None,
) -> Timeline:
    """Run ``trace`` on ``machine``.

    Parameters
    ----------
    machine
        A machine, or its name as `machine` takes it.
    scheduler
        Who maps kernels to devices: a policy, its name, or a mapping made before. One of n ranks needs n devices ('8xh100-sxm').
    engine
        'fast' (compiled, steps over iterations that repeat) or 'reference' (SimPy, runs every launch); both give the same numbers.
    record
        Keep operations and memory over time. Without, the peak of each memory is that of the launches one after another.
    assume
        'memory-bound': imported kernels of unknown work cost, on another GPU, what was measured times the ratio of the memories'
        bandwidths; the timeline says so (``assumed``). None refuses them.
    disturbances, jitter, seed
        What others do meanwhile (`Disturbance`), and the largest fraction by which an instance is off its price, drawn from ``seed``.
    decide, every
        A policy asked between regions of the top level, and every so many iterations of loops there, while the program runs:
        ``decide(observation, mapping)`` returns another mapping, or None to go on (`codesign.engine.online.decide_online`).

    Raises
    ------
    MappingError
        If there is no such scheduler, or the mapping does not fit.
    MachineError
        If a tensor has to go where no link leads, or there are not as many devices as ranks.
    CapacityError
        If a memory cannot hold what the mapping puts there.
    """
    _check_engine(engine, record, online=decide is not None)
    machine = machine_for(trace, machine)
    machine = machine if assume is None else machine.assuming(assume)
    trace, scheduler = with_all_ranks(trace, machine, scheduler)
    mapping = map_kernels(trace, machine, scheduler)
    if decide is not None:
        trace, mapping = decide_online(trace, machine, mapping, decide, every=every, disturbances=disturbances, jitter=jitter, seed=seed)
    warm, costs = _costs(trace, machine, mapping)
    if mapping is scheduler:
        _warn_of_appends(trace, machine, mapping, costs)
    made = make_plan(trace, machine, mapping, costs)
    if disturbances or jitter:
        made = replace(made, program=disturb(made.program, disturbances, spread=jitter, seed=seed))
    run = _run(made.program, engine, record)
    memory, peaks = _memory(made, run, trace, machine, mapping, record)
    return timeline_of(trace, machine, mapping, made.program, run, engine=engine, warm=warm, costs=costs, memory=memory, peaks=peaks)


def _costs(trace: "Trace", machine: "Machine", mapping: "Mapping") -> "tuple[CostTable, CostTable]":
    """Return the prices with all operands warm, and those where each kernel runs: cold what was written last on another device."""
    from arch.cost import cost_table

    warm = cost_table(trace, machine)
    several = len(set(mapping.device.tolist())) > 1
    return warm, cost_table(trace, machine, mapping.device.astype(np.int32)) if several else warm


def _warn_of_appends(trace: "Trace", machine: "Machine", mapping: Mapping, costs: "CostTable") -> None:
    """Warn of appends that make a whole cache move at every step, where its reader could have made them."""
    if mapping.offload is not None and mapping.offload.slices:
        return
    better, place = appends_with_readers(trace, costs, mapping.device.astype(np.int32)), np.array(place_of_device(machine))
    rows = np.flatnonzero(place[better] != place[mapping.device])
    if not len(rows):
        return
    row = int(rows[0])
    written = trace.access_writes & (trace.accesses["kernel"] == row)
    tensor = trace.tensors["name"][trace.accesses["tensor"][written][0]]
    here, there = (machine.devices[int(device[row])].id for device in (mapping.device, better))
    others = f" ({len(rows) - 1} more like it)" if len(rows) > 1 else ""
    warnings.warn(
        f"kernel {row} ({trace.kernels['name'][row]!r}) appends to {tensor!r} on {here!r}, but {there!r} reads it next, which has all of "
        f"it handed over each time{others}; schedulers.in_place.appends_with_readers(trace, costs, device) maps it there too",
        stacklevel=3,
    )


def _memory(
    made: Plan, run: Run, trace: "Trace", machine: "Machine", mapping: Mapping, record: bool
) -> tuple[dict[str, Usage], dict[str, int]]:
    """Return each memory over time (nothing without records) and its peak; raise CapacityError if it is too much."""
    try:
        return _levels(made, run, trace, record)
    except CapacityError as error:
        raise CapacityError(f"{error}{beyond_help(trace, machine, mapping)}") from None


def _levels(made: Plan, run: Run, trace: "Trace", record: bool) -> tuple[dict[str, Usage], dict[str, int]]:
    program = made.program
    if run.records is None or not record:
        check_in_order(made, trace)
        return {}, dict(zip(program.memories, made.peak_in_order.tolist(), strict=True))
    used = usage(program, run.records)
    check_capacity(program, used, trace)
    return used, {name: of_memory.peak for name, of_memory in used.items()}


def _check_engine(engine: str, record: bool, *, online: bool) -> None:
    if engine not in ENGINES:
        raise CodesignError(f"there is no engine {engine!r}: {nearest(engine, ENGINES)}")
    if online and (engine != "fast" or not record):
        raise CodesignError("decisions while the program runs need the fast engine and its records: leave engine and record out")


def _run(program: Program, engine: str, record: bool) -> Run:
    if engine == "fast":
        return fast.run(program, record=record)
    from codesign.engine import reference  # SimPy loads only here

    return reference.run(program)


def beyond_help(trace: "Trace", machine: "Machine", mapping: Mapping) -> str:
    """Return a sentence that names the first kernel that alone needs more than the memory of its device can hold; '' if there is none."""
    if mapping.offload is not None and mapping.offload.slices:
        return ""
    alias, kernel = trace.access_alias, trace.accesses["kernel"].astype(np.int64)
    pairs = np.unique(np.stack([kernel, alias.astype(np.int64)], axis=1), axis=0)
    needed = np.bincount(pairs[:, 0], trace.alias_bytes[pairs[:, 1]], minlength=len(trace.kernels))
    holds = np.array([machine.memory(device.memory).capacity_bytes for device in machine.devices])[mapping.device]
    over = np.flatnonzero(needed > holds)
    if not len(over):
        return ""
    row = int(over[0])
    memory = machine.devices[int(mapping.device[row])].memory
    return (
        f". Kernel {row} ({trace.kernels['name'][row]!r}) alone needs {int(needed[row]):,} bytes at once in the memory {memory!r}: no "
        "schedule of whole tensors can satisfy that; offload slices"
    )


def check_in_order(made: Plan, trace: "Trace") -> None:
    """Raise CapacityError if a memory is too small even for the launches one after another."""
    program = made.program
    for memory, name in enumerate(program.memories):
        if made.peak_in_order[memory] > program.memory_capacity[memory]:
            raise too_much(name, int(program.memory_capacity[memory]), int(made.peak_in_order[memory]), _largest(made, memory), None, trace)


def _largest(made: Plan, memory: int) -> int:
    changes = made.program.changes
    here = changes["memory"] == memory
    return int(changes["tensor"][here][changes["bytes"][here].argmax()]) if here.any() else -1
