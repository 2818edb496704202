"""From a recording to a trace."""

import math
from typing import Any

import numpy as np

from traces.capture.aten.recorder import Launch, Recorder
from traces.capture.scopes import StageRules, phase_of, stage_of
from traces.table import Table
from traces.trace import Trace

OPTIMIZER = "Optimizer.step#"
"""PyTorch puts an optimiser's step into a scope of this name (torch/optim/optimizer.py)."""


def assemble(recorder: Recorder, outputs: set[int], phase: str | None, stage_rules: StageRules, manifest: dict[str, Any]) -> Trace:
    """Return the trace; ``outputs`` are the rows of memories that are the program's results."""
    regions = recorder.regions
    columns: dict[str, list[Any]] = {
        "parent": [r.parent for r in regions],
        "kind": [r.kind for r in regions],
        "name": [r.name for r in regions],
        "trip_count": [r.trip_count for r in regions],
        "condition": [r.condition for r in regions],
        "first_kernel": [r.first for r in regions],
        "end_kernel": [r.end for r in regions],
    }
    used, rows = _used(recorder, outputs)
    kernels = _kernels(recorder.launches, phase, stage_rules)
    return Trace(kernels, _tensors(recorder, used, outputs), _accesses(recorder.launches, rows), Table.build("regions", columns), manifest)


_SAME = ("name", "family", "launch_kind", "library", "opcodes", "dtype", "precision", "launches")
"""Columns that a Kernel holds under their own names."""


def _kernels(launches: list[Launch], phase: str | None, stage_rules: StageRules) -> Table:
    rows = [_row(launch, phase, stage_rules) for launch in launches]
    names = rows[0] if rows else ("name",)
    return Table.build("kernels", {name: [row[name] for row in rows] for name in names})


def _row(launch: Launch, phase: str | None, stage_rules: StageRules) -> dict[str, Any]:
    kernel = launch.kernel
    batch, m, n, k = kernel.sizes
    row: dict[str, Any] = {name: getattr(kernel, name) for name in _SAME}
    row |= {"region": launch.region, "scope": launch.scope, "batch": batch, "m": m, "n": n, "k": k}
    row |= {"phase": _phase(launch, phase), "stage": stage_of(launch.scope, stage_rules)}
    row |= {f"{name}_{axis}": size for name in ("grid", "block") for axis, size in zip("xyz", getattr(kernel, name), strict=True)}
    row |= {"flops_matrix": kernel.flops.matrix, "flops_vector": kernel.flops.vector, "flops_transcendental": kernel.flops.transcendental}
    row["bytes_unique"] = sum(access.unique for access in launch.accesses)
    row["bytes_requested"] = sum(access.requested for access in launch.accesses)
    return row | dict.fromkeys(("flops_ncu", "instructions", "measured_s"), math.nan)


def _phase(launch: Launch, default: str | None) -> str:
    """A scope's phase, else the default, else what the call is for: 'optimizer', 'gradient' (the backward pass) or 'forward'."""
    implied = "optimizer" if OPTIMIZER in launch.scope else "gradient" if launch.backward else "forward"
    return phase_of(launch.scope, default or implied)


def _used(recorder: Recorder, outputs: set[int]) -> tuple[list[int], dict[int, int]]:
    """The memories that the trace holds (parameters, results, what a kernel touches), and their new rows."""
    touched = {access.memory for launch in recorder.launches for access in launch.accesses}
    used = [row for row, memory in enumerate(recorder.memories) if row in touched or row in outputs or memory.kind == "parameter"]
    return used, {row: number for number, row in enumerate(used)}


def _accesses(launches: list[Launch], rows: dict[int, int]) -> Table:
    """Reads before writes; what a kernel touches twice in one mode is one access."""
    columns: dict[str, list[Any]] = {name: [] for name in ("kernel", "tensor", "mode", "bytes_unique", "bytes_requested", "stride")}
    for number, launch in enumerate(launches):
        for (memory, writes), (unique, requested, stride) in _joined(launch).items():
            for name, value in zip(columns, (number, rows[memory], "write" if writes else "read", unique, requested, stride), strict=True):
                columns[name].append(value)
    return Table.build("accesses", columns)


def _joined(launch: Launch) -> dict[tuple[int, bool], tuple[float, float, str]]:
    joined: dict[tuple[int, bool], tuple[float, float, str]] = {}
    for memory, writes, unique, requested, stride in sorted(launch.accesses, key=lambda access: access.writes):
        before = joined.get((memory, writes), (0.0, 0.0, stride))
        joined[memory, writes] = (before[0] + unique, before[1] + requested, before[2])
    return joined


def _tensors(recorder: Recorder, used: list[int], outputs: set[int]) -> Table:
    sets = _alias_sets(recorder)
    first, last = _lifetimes(recorder, sets)
    memories = [recorder.memories[row] for row in used]
    numbers: dict[int, int] = {}
    kinds = ["output" if row in outputs and m.kind == "temporary" else m.kind for row, m in zip(used, memories, strict=True)]
    columns: dict[str, list[Any]] = {
        "name": [m.name for m in memories],
        "dtype": [m.dtype for m in memories],
        "shape": [m.shape for m in memories],
        "bytes": [m.bytes for m in memories],
        "kind": kinds,
        "alias_set": [numbers.setdefault(int(sets[row]), len(numbers)) for row in used],
        "first_kernel": [int(first[sets[row]]) for row in used],
        "last_kernel": [int(last[sets[row]]) for row in used],
    }
    return Table.build("tensors", columns)


def _alias_sets(recorder: Recorder) -> "np.ndarray[Any, np.dtype[np.int64]]":
    """One number for memories that loops carry into each other."""
    sets = np.arange(len(recorder.memories))
    for _, pairs in recorder.carried:
        for before, after in pairs:
            low, high = sorted((int(sets[before]), int(sets[after])))
            sets[sets == high] = low
    return sets


def _lifetimes(recorder: Recorder, sets: Any) -> tuple[Any, Any]:
    """First and last launch of each alias set: -1 for what exists before, or lives on after; through a loop what outlives an iteration."""
    never = np.iinfo(np.int64).max
    first, last = np.full(len(sets), never), np.full(len(sets), -1)
    for number, launch in enumerate(recorder.launches):
        for access in launch.accesses:
            touched = sets[access.memory]
            first[touched] = min(first[touched], number)
            last[touched] = number
    for row, memory in enumerate(recorder.memories):
        if memory.kind == "parameter":
            first[sets[row]] = -1
        last[sets[row]] = max(last[sets[row]], never if memory.died is None else memory.died - 1)
    _through_loops(recorder, sets, first, last)
    first[first == never] = -1
    last[last >= len(recorder.launches)] = -1
    return first, last


def _through_loops(recorder: Recorder, sets: Any, first: Any, last: Any) -> None:
    carried = {region: {int(sets[row]) for pair in pairs for row in pair} for region, pairs in recorder.carried}
    for row in reversed(range(len(recorder.regions))):
        region = recorder.regions[row]
        if region.kind != "loop" or region.first == region.end:
            continue
        touched = {int(sets[access.memory]) for launch in recorder.launches[region.first : region.end] for access in launch.accesses}
        around = carried.get(row, set())
        for number in touched:
            if number in around or first[number] < region.first or last[number] >= region.end:
                last[number] = max(last[number], region.end - 1)
        for number in around & touched:
            first[number] = min(first[number], region.first)
