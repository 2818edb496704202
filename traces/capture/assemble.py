"""From the compiler's dump to a trace."""

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from traces.capture import buffers as buffer_text
from traces.capture import hlo, ptx, thunks, tpu
from traces.capture.accesses import Access, Accesses
from traces.capture.buffers import Buffers
from traces.capture.hlo import Instruction, Module
from traces.capture.kernels import kernel_row
from traces.capture.library import workspaces
from traces.capture.lifetimes import AliasSets, alias_sets, lifetimes, reserved
from traces.capture.pallas import PallasWork
from traces.capture.schedule import Schedule, TripCounts, schedule
from traces.capture.scopes import StageRules, clean, phase_of, scope_of, stage_of
from traces.capture.values import Value, Values
from traces.liveness import live_bytes
from traces.table import Table
from traces.trace import Trace

log = logging.getLogger("traces")


@dataclass(frozen=True)
class Dump:
    """The texts that XLA writes for one compiled module."""

    hlo: str
    thunks: str
    metadata: str = ""
    buffers: str = ""
    live_range: str = ""
    ptx: tuple[str, ...] = ()
    platform: str = "cuda"
    allocated_bytes: int | None = None
    """What the program takes, where the compiler tells it beside the texts."""


@dataclass(frozen=True)
class Naming:
    """What a user calls things: the program, its parameters and results, its phase and stages; what its own kernels do."""

    program: str
    parameters: Sequence[str] = ()
    outputs: Sequence[str] = ()
    phase: str | None = None
    stage_rules: StageRules = ()
    pallas: Mapping[str, PallasWork] = field(default_factory=dict)


@dataclass(slots=True)
class _Parts:
    module: Module
    schedule: Schedule
    values: Values
    buffers: Buffers
    accesses: list[list[Access]] = field(default_factory=list)


def assemble(dump: Dump, naming: Naming, trip_counts: TripCounts = None, manifest: dict[str, Any] | None = None) -> Trace:
    """Return the trace of a compiled module.

    Raises
    ------
    CaptureError
        For a loop of unknown trip count, or text of another compiler version.
    """
    with ptx.Assembly(list(dump.ptx), architecture(dump.ptx)) as assembly:
        parts = _analyse(dump, naming, trip_counts)
        entries = {entry.name: entry for text in dump.ptx for entry in ptx.parse(text)}
        assembly.results(entries)
    kernels = _kernels(parts, naming, entries)
    tensors, rows = _tensors(parts, naming)
    trace = Trace(kernels, tensors, _accesses(parts, rows), _regions(parts.schedule), manifest)
    trace.manifest["memory"] = _memory(dump, parts, trace)
    trace.manifest["conditionals"] = {name: branch.name for name, branch in parts.schedule.branches.items()}
    return trace


def architecture(texts: Sequence[str]) -> str:
    """Return the target that the PTX was made for, such as sm_86."""
    for text in texts:
        for line in text.splitlines():
            if line.startswith(".target"):
                return line.split()[1].rstrip(",")
    return ""


def _analyse(dump: Dump, naming: Naming, trip_counts: TripCounts) -> _Parts:
    module = hlo.parse(dump.hlo)
    sequence = tpu.thunks(module) if dump.platform == "tpu" else thunks.parse(dump.thunks, dump.metadata)
    plan = schedule(module, sequence, trip_counts, naming.program)
    parts = _Parts(module, plan, Values(module, plan), buffer_text.parse(dump.buffers))
    finder = Accesses(parts.values, plan, parts.buffers)
    parts.accesses = [finder.of(launch) for launch in plan.launches]
    return parts


def _kernels(parts: _Parts, naming: Naming, entries: dict[str, ptx.Entry]) -> Table:
    rows, readers = [], _readers(parts)
    for launch, accesses in zip(parts.schedule.launches, parts.accesses, strict=True):
        row = kernel_row(launch, accesses, parts.values, entries, naming.pallas)
        scope = scope_of(launch.instruction, _producers(parts, accesses)) or _consumers_scope(accesses, readers)
        scope = in_loop(scope, parts.schedule, launch.region)
        row |= {"region": launch.region, "scope": scope}
        row |= _of_tpu(launch.instruction, row) if launch.thunk.kind in tpu.KINDS else {}
        row |= {"phase": phase_of(scope, naming.phase), "stage": stage_of(scope, naming.stage_rules)}
        rows.append(row)
    return Table.build("kernels", _columns(rows, "name"))


def _of_tpu(instruction: Instruction, row: dict[str, Any]) -> dict[str, Any]:
    """Return what a TPU's rows say otherwise: the compiler's cycles, and products by the operation, which TPUs fuse into loops."""
    cycles = tpu.cycles(instruction)
    product = any(part.startswith(("convolution:", "dot:")) for part in row["opcodes"].split(","))
    return {"compiler_cycles": math.nan if cycles is None else cycles} | ({"family": "gemm"} if product else {})


def in_loop(scope: str, plan: Schedule, region: int) -> str:
    """Return the scope of a launch; a bare operation's, as functions in an exported program leave it, behind that of the loop around."""
    outer = region
    while scope and "/" not in scope and outer > 0:
        loop = plan.regions[outer].loop
        around = clean(loop.op_name) if loop else ""
        scope = f"{around}/{scope}" if "/" in around else scope
        outer = plan.regions[outer].parent
    return scope


def _producers(parts: _Parts, accesses: list[Access]) -> list[Instruction]:
    return [parts.module.by_name[a.value[0]] for a in accesses if not a.writes]


def _readers(parts: _Parts) -> dict[Value, Instruction]:
    """Return the first instruction that reads each value."""
    readers: dict[Value, Instruction] = {}
    for launch, accesses in zip(parts.schedule.launches, parts.accesses, strict=True):
        for access in accesses:
            if not access.writes:
                readers.setdefault(access.value, launch.instruction)
    return readers


def _consumers_scope(accesses: list[Access], readers: dict[Value, Instruction]) -> str:
    scopes = (scope_of(readers[a.value]) for a in accesses if a.writes and a.value in readers)
    return next((scope for scope in scopes if scope), "")


def _columns(rows: list[dict[str, Any]], first: str) -> dict[str, list[Any]]:
    """Turn rows into columns."""
    return {name: [row[name] for row in rows] for name in (rows[0] if rows else (first,))}


def _tensors(parts: _Parts, naming: Naming) -> tuple[Table, dict[Value, int]]:
    """Return the tensors table and the row of each value."""
    values = list(dict.fromkeys([*_parameters(parts), *_touched(parts), *parts.values.outputs()]))
    sets = alias_sets(parts.values, parts.schedule, parts.buffers)
    numbers = sets.numbers(values)
    number_of = dict(zip(values, numbers, strict=True))
    kinds = _kinds(parts, values)
    first, last = _lifetimes(parts, sets, number_of, kinds)
    names = _names(parts, naming)
    rows = [
        {
            "name": names.get(value, _value_name(value)),
            "dtype": (shape := parts.values.shape(value)).dtype,
            "shape": "x".join(str(n) for n in shape.dims),
            "bytes": 0 if shape.on_chip else shape.stored_bytes,
            "kind": kinds[value],
            "alias_set": number,
            "first_kernel": first[number],
            "last_kernel": last[number],
        }
        for value, number in zip(values, numbers, strict=True)
    ]
    return Table.build("tensors", _columns(rows, "name")), {value: row for row, value in enumerate(values)}


def _parameters(parts: _Parts) -> list[Value]:
    return [(p.name, index) for p in parts.module.entry.parameters for index, _ in p.shape.leaves()]


def _touched(parts: _Parts) -> list[Value]:
    return [access.value for found in parts.accesses for access in found]


def _value_name(value: Value) -> str:
    name, index = value
    return name + "".join(f"{{{i}}}" for i in index)


def _names(parts: _Parts, naming: Naming) -> dict[Value, str]:
    names = dict(zip(parts.values.outputs(), naming.outputs, strict=False))
    return names | dict(zip(_parameters(parts), naming.parameters, strict=False))


def _kinds(parts: _Parts, values: list[Value]) -> dict[Value, str]:
    parameters, outputs = set(_parameters(parts)), set(parts.values.outputs())
    scratch = {(launch.instruction.name, index) for launch in parts.schedule.launches for index in workspaces(launch.instruction)}
    kinds = {}
    for value in values:
        if value in parameters:
            kinds[value] = "parameter"
        elif parts.module.by_name[value[0]].opcode == "constant":
            kinds[value] = "constant"
        elif value in outputs:
            kinds[value] = "output"
        else:
            kinds[value] = "workspace" if value in scratch else "temporary"
    return kinds


def _lifetimes(parts: _Parts, sets: AliasSets, number_of: dict[Value, int], kinds: dict[Value, str]) -> tuple[list[int], list[int]]:
    """Return first and last launch by alias set; -1 before the trace and after its end."""
    launch = np.array([k for k, found in enumerate(parts.accesses) for _ in found], dtype=np.int64)
    set_of = np.array([number_of[value] for value in _touched(parts)], dtype=np.int64)
    by_root = {sets.find(value): number for value, number in number_of.items()}
    carried: dict[int, set[int]] = {}
    for row, region in enumerate(parts.schedule.regions):
        if region.loop is not None:
            pairs = [pair for pair in parts.values.carried(region.loop) if pair[0] != pair[1]]
            carried[row] = {by_root[root] for before, _ in pairs if (root := sets.find(before)) in by_root}
    first, last = lifetimes(set_of, launch, carried, parts.schedule.regions, max(number_of.values(), default=-1) + 1)
    outputs = {number for value, number in number_of.items() if kinds[value] == "output"}
    first = reserved(first, last, _allocations(parts, number_of), outputs)
    for value, number in number_of.items():
        if kinds[value] in ("parameter", "constant"):
            first[number] = -1
        if kinds[value] in ("parameter", "constant", "output"):
            last[number] = -1
    return [int(n) for n in first], [int(n) for n in last]


def _allocations(parts: _Parts, number_of: dict[Value, int]) -> dict[int, set[int]]:
    """Return which alias sets live in each of the compiler's allocations."""
    inside: dict[int, set[int]] = {}
    for value, number in number_of.items():
        if value in parts.buffers.place:
            inside.setdefault(parts.buffers.place[value][0], set()).add(number)
    return inside


def _accesses(parts: _Parts, rows: dict[Value, int]) -> Table:
    found = [(k, access) for k, accesses in enumerate(parts.accesses) for access in accesses]
    return Table.build(
        "accesses",
        {
            "kernel": [k for k, _ in found],
            "tensor": [rows[a.value] for _, a in found],
            "mode": ["write" if a.writes else "read" for _, a in found],
            "bytes_unique": [a.unique for _, a in found],
            "bytes_requested": [a.requested for _, a in found],
            "stride": [a.stride for _, a in found],
        },
    )


def _regions(plan: Schedule) -> Table:
    return Table.build(
        "regions",
        {
            "parent": [r.parent for r in plan.regions],
            "kind": [r.kind for r in plan.regions],
            "name": [r.name for r in plan.regions],
            "trip_count": [r.trip_count for r in plan.regions],
            "condition": [r.condition for r in plan.regions],
            "first_kernel": [r.first for r in plan.regions],
            "end_kernel": [r.end for r in plan.regions],
        },
    )


def _memory(dump: Dump, parts: _Parts, trace: Trace) -> dict[str, int | None]:
    """Return the compiler's memory and the trace's, in bytes."""
    return {
        "compiler_allocated_bytes": dump.allocated_bytes or parts.buffers.allocated_bytes or None,
        "compiler_live_peak_bytes": buffer_text.live_peak(dump.live_range),
        "live_peak_bytes": int(live_bytes(trace).max(initial=0)),
    }
