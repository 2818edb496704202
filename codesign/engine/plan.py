"""Planning: a trace, a machine and a mapping become a program of operations on queues and resources.

New kinds of transfers, collectives or devices are new kinds of operations written here; the engines do not change.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

import numpy as np

from codesign.engine import dependencies, residency
from codesign.engine.layout import Layout, layout_of
from codesign.engine.places import Places, Site, site_of
from codesign.engine.program import KERNEL, Changes, Codes, Indices, Ints, Loops, Operations, Program
from codesign.engine.residency import OPS, STATUS, WHERE, Costs, Draft, World
from traces.compiled import compiled
from traces.errors import MachineError, MappingError, TraceError

if TYPE_CHECKING:
    from arch.cost import CostTable
    from arch.machine import Machine
    from schedulers.scheduler import Mapping
    from traces.trace import Trace


@dataclass(frozen=True, eq=False)
class Plan:
    """A program, and the most bytes each memory holds if operations ran in launch order one after another (int64[M])."""

    program: Program
    peak_in_order: Ints


_sites: "WeakKeyDictionary[Machine, Site]" = WeakKeyDictionary()


def plan(trace: "Trace", machine: "Machine", mapping: "Mapping", costs: "CostTable | None" = None) -> Program:
    """Return the program that runs ``trace`` on ``machine`` with its kernels where ``mapping`` puts them.

    Parameters
    ----------
    costs
        Prices under this mapping; by default those of ``arch.cost.cost_table``.

    Raises
    ------
    MappingError
        If the mapping does not fit, or puts a kernel on a device that refuses it.
    MachineError
        If there is no way between two places that a tensor has to go.
    """
    return make_plan(trace, machine, mapping, costs).program


def make_plan(trace: "Trace", machine: "Machine", mapping: "Mapping", costs: "CostTable | None" = None) -> Plan:
    """Return the program and its memory use in launch order; arguments and errors as for `plan`."""
    if costs is None:
        from arch.cost import cost_table

        costs = cost_table(trace, machine, mapping.device)
    mapping.check(trace, machine, costs)
    site = _site(machine)
    layout = layout_of(trace)
    draft, world = _write(layout, site.places, _costs(layout, costs, mapping.device), len(machine.memories))
    _check(draft, trace, machine)
    return Plan(_program(draft, layout, site, machine), world.peak)


def _site(machine: "Machine") -> Site:
    try:
        if machine not in _sites:
            _sites[machine] = site_of(machine)
        return _sites[machine]
    except TypeError:  # a machine of another class that cannot be a key
        return site_of(machine)


def _costs(layout: Layout, costs: "CostTable", device: Indices) -> Costs:
    """Return what one launch of each kernel costs where it is."""
    rows = np.arange(len(layout.launches))
    launches = layout.launches.astype(np.float64)
    return Costs(
        device.astype(np.int32),
        costs.duration_s[device, rows] / launches,
        np.nan_to_num(costs.dram_bytes[device, rows]) / launches,
        costs.energy_j[device, rows] / launches,
    )


def _write(layout: Layout, places: Places, costs: Costs, memories: int) -> tuple[Draft, World]:
    """Write the program, with more room each time it does not fit."""
    ops, heads = 4 * len(layout.launches) + 64, 64
    while True:
        draft = residency.new_draft(ops, heads, len(layout.bytes) + memories)
        world = residency.write_program(layout, places, costs, memories, draft)
        if draft.size[STATUS] != residency.FULL:
            return draft, world
        ops, heads = 2 * ops, 2 * heads


def _check(draft: Draft, trace: "Trace", machine: "Machine") -> None:
    status, where = int(draft.size[STATUS]), int(draft.size[WHERE])
    if status == residency.NO_WAY:
        known = [m.id for m in machine.memories] + [f"{o.memory} as {o.device} sees it" for o in machine.hand_overs]
        raise MachineError(f"a tensor has to go to the memory {known[where]}, but no link of {machine.id!r} leads there: add a Link")
    if status == residency.BAD_TIME:
        name = trace.kernels["name"][where] if where >= 0 else "a transfer"
        raise MappingError(f"every operation must last a known time of at least 0 s and less than 2.5 hours, but kernel {where} ({name!r}) does not")
    if status != residency.FINE:
        raise TraceError(f"planning failed with status {status}")


@compiled
def _sorted_loops(draft: Draft) -> Loops:
    """Return the loops, outer ones before those they hold: of two over the same operations, the outer was written later."""
    count = draft.size[residency.LOOPS]
    key = np.empty(count, np.int64)
    for k in range(count):
        row = count - 1 - k
        key[k] = (np.int64(draft.loop_first[row]) << 32) - draft.loop_end[row]
    order = count - 1 - np.argsort(key, kind="mergesort")
    return Loops(draft.loop_first[order], draft.loop_end[order], draft.loop_count[order])


def _program(draft: Draft, layout: Layout, site: Site, machine: "Machine") -> Program:
    n, c = int(draft.size[OPS]), int(draft.size[residency.CHANGES])
    loops = _sorted_loops(draft)
    dep_start, dep = dependencies.find(n, loops, len(site.queues), len(layout.bytes) * len(machine.memories), draft)
    u = int(draft.use_start[n])
    ops = Operations(
        draft.queue[:n], draft.duration[:n], draft.gap[:n], draft.flags[:n], draft.slot[:n], dep_start, dep,
        draft.use_start[: n + 1], draft.use_resource[:u], draft.use_bytes[:u], draft.use_claim[:u],
    )  # fmt: skip
    changes = Changes(
        draft.change_op[:c], draft.change_memory[:c], draft.change_bytes[:c], draft.change_at_end[:c], draft.change_every[:c],
        draft.change_tensor[:c],
    )  # fmt: skip
    initial = np.zeros(len(machine.memories), np.int64)
    initial[site.places.memory[site.places.place[0]]] = layout.bytes[layout.initial != 0].sum()
    return Program(
        ops, loops, site.hardware, draft.kind[:n], draft.kernel[:n], draft.tensor[:n], _device(ops.queue, draft.kind[:n]),
        site.queues, site.resources, tuple(m.id for m in machine.memories), changes,
        np.array([m.capacity_bytes for m in machine.memories], np.int64), initial, draft.energy[:n],
    )  # fmt: skip


def _device(queue: Indices, kind: Codes) -> Indices:
    """Return the device whose kernel an operation is, -1 for others."""
    return np.where(kind == KERNEL, queue, -1).astype(np.int32)
