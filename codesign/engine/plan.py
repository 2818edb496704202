"""Planning: a trace, a machine and a mapping become a program of operations on queues and resources.

New kinds of transfers, collectives or devices are new kinds of operations written here; the engines do not change.
"""

from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from codesign.engine import dependencies, drafting, exchange, offloading, residency
from codesign.engine.drafting import CHANGES, COST, EVICTED, LOOPS, OPS, STATUS, USES, WHERE, Draft, World
from codesign.engine.layout import Layout, layout_of
from codesign.engine.list_schedule import tape_of
from codesign.engine.offloading import Offloading
from codesign.engine.places import Places, Site, site_of
from codesign.engine.program import Indices, Ints, Operations, Program, Rows
from traces.errors import MachineError, MappingError, TraceError
from traces.interleaving import streams_of

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
    evictions: int = 0
    """Write-backs and drops of offloaded tensors in the program, each loop's body once."""


_sites: "OrderedDict[tuple[Any, ...], Site]" = OrderedDict()
_SITES = 64
"""So many are kept."""


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

        costs = cost_table(trace, machine, mapping.device.astype(np.int32, copy=False))
    mapping.check(trace, machine, costs)
    device, offload = mapping.device.astype(np.int32, copy=False), mapping.offload
    lanes = streams_of(trace)
    site = _site(machine, 1 if offload is None or offload.synchronous else 2, offload is None or offload.pinned, lanes)
    layout = layout_of(trace)
    off, home = None, np.full(len(layout.allocation), -1, np.int32)
    if offload is not None:
        off = offloading.offloading_of(offload, trace, layout, site.places, device, machine)
        layout, home = offloading.without_slices(layout, off), off.home
    cost = _costs(layout, costs, device)
    if lanes > 1:
        cost["lane"] = trace.kernels["stream"]
    home = exchange.homes(trace, machine, mapping, home)
    exchange.price(trace, machine, site.places, cost)
    draft, world = _write(layout, site.places, cost, off, home, len(machine.memories))
    _check(draft, trace, machine)
    return Plan(_program(draft, world, site, machine), world.memory[1], int(draft.size[EVICTED]))


def _site(machine: "Machine", *how: Any) -> Site:
    """Return what `places.site_of` says, kept for machines that differ in nothing it looks at: clocks do not matter."""
    devices = tuple((device.id, device.kind, device.memory) for device in machine.devices)
    key = (devices, tuple(machine.memories), tuple(machine.links), tuple(machine.hand_overs), machine.host, *how)
    if key not in _sites:
        _sites[key] = site_of(machine, *how)
        while len(_sites) > _SITES:
            _sites.popitem(last=False)
    return _sites[key]


def _costs(layout: Layout, costs: "CostTable", device: Indices) -> Rows:
    """Return what one launch of each kernel costs where it is."""
    kernels, launches = len(layout.kernel), layout.kernel["launches"]
    at = device * kernels + np.arange(kernels)  # in a table of [devices, kernels], flattened
    cost = np.zeros(kernels, COST)
    cost["device"] = device
    cost["seconds"] = costs.duration_s.ravel()[at] / launches
    moved = costs.dram_bytes.ravel()[at]
    cost["bytes"] = np.where(np.isnan(moved), 0.0, moved) / launches
    cost["joules"] = costs.energy_j.ravel()[at] / launches
    if costs.joined is not None:
        cost["joins"] = costs.joined.ravel()[at]
    return cost


def _write(layout: Layout, places: Places, cost: Rows, off: Offloading | None, home: Indices, memories: int) -> tuple[Draft, World]:
    """Write the program, with more room each time it does not fit."""
    ops, heads = 4 * len(layout.kernel) + 64, 64
    write_backs = 1 if off is None else off.write_backs
    extra = exchange.things(cost) if off is None and places.lanes == 1 else len(layout.kernel) + 2 + write_backs
    while True:
        draft = drafting.new_draft(ops, heads, len(layout.allocation) + memories + 2)
        world = drafting.new_world(layout.allocation, places.device, memories, home, extra)
        room = np.zeros((2, len(layout.loop)), np.int64)
        residency.write_program(layout, places, cost, off, draft, world, room[0], room[1])
        if draft.size[STATUS] != drafting.FULL:
            return draft, world
        ops, heads = 2 * ops, 2 * heads


def _check(draft: Draft, trace: "Trace", machine: "Machine") -> None:
    status, where = int(draft.size[STATUS]), int(draft.size[WHERE])
    if status == drafting.NO_WAY:
        known = [m.id for m in machine.memories] + [f"{o.memory} as {o.device} sees it" for o in machine.hand_overs]
        raise MachineError(f"a tensor has to go to the memory {known[where]}, but no link of {machine.id!r} leads there: add a Link")
    if status == drafting.BAD_TIME:
        name = trace.kernels["name"][where] if where >= 0 else "a transfer"
        raise MappingError(
            f"every operation must last a known time of at least 0 s and less than 2.5 hours, but kernel {where} ({name!r}) does not"
        )
    if status != drafting.FINE:
        raise TraceError(f"planning failed with status {status}")


def _sorted_loops(loops: Rows) -> Rows:
    """Return the loops, outer ones before those they hold: of two over the same operations, the outer was written later."""
    backwards = loops[::-1]
    return backwards[np.lexsort((-backwards["end"], backwards["first"]))]


def _program(draft: Draft, world: World, site: Site, machine: "Machine") -> Program:
    n = int(draft.size[OPS])
    ops, loops = draft.op[:n], _sorted_loops(draft.loop[: draft.size[LOOPS]])
    copies = len(world.toucher) * len(machine.memories)
    dep = dependencies.find(ops, draft.touch, tape_of(n, loops), loops, len(site.queues), copies)
    return Program(
        Operations(ops, dep, draft.use[: draft.size[USES]]),
        loops,
        site.hardware,
        site.queues,
        site.resources,
        tuple(memory.id for memory in machine.memories),
        draft.change[: draft.size[CHANGES]],
        np.array([memory.capacity_bytes for memory in machine.memories], np.int64),
        world.memory[2],
        site.owner,
    )
