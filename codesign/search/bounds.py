"""Lower bounds on the time of any design in a space: what no mapping and no choice of the machine's parameters can beat.

They rest on one assumption: with all other parameters held, a price never falls and then rises (or the reverse) as one parameter grows,
so that over the box of the space it is least at a corner. Each kernel is then priced at its cheapest corner on its own, warm, and
hand-overs, contention and queues are free. Whole parameters need not keep to it as far as machines are not too many, for it is priced at
every value: the number of SMs does not, for the last wave of blocks is more or less full.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from codesign.search.space import Range, Space
from traces.errors import MachineError, SearchError

if TYPE_CHECKING:
    from arch.machine import Machine
    from traces.trace import Trace

Float = npt.NDArray[np.float64]

MOST_CORNERS = 1 << 12
MOST_VALUES = 1 << 10
"""Machines that are priced at most where whole parameters take all their values."""
MOST_LAUNCHES = 2_000_000
"""Launches that the critical path walks at most, from the start."""


@dataclass(frozen=True)
class Bound:
    """A lower bound in seconds (None: none could be proven), by which method, and what each method gave."""

    seconds: float | None
    method: str
    parts: dict[str, float]


def lower_bound(trace: Trace, machine: Machine, space: Space | None = None, area_mm2: float = math.inf) -> Bound:
    """Return the best of three lower bounds on the time of ``trace`` on any machine of the space (None: this one) under any mapping.

    - critical path: the longest chain of dependent launches, each on its cheapest device.
    - load: work divided without loss among the devices, each of which runs one kernel at a time (a linear programme).
    - issue: the host issues one launch an interval, and the last one must still run.

    With a limit of ``area_mm2`` on machines of no more than that, as far as whole parameters decide it: areas, like prices, are taken to be
    least at a corner. Its ``seconds`` are None, and ``method`` says why, where prices are seen not to be monotone or corners are too many.
    """
    ranges = (space or Space(machine={})).resolved(machine).ranges
    try:
        machines, least, where = _priced(trace, machine, ranges, area_mm2)
    except (MachineError, SearchError) as error:
        return Bound(None, f"none: {error}", {})
    parts = _parts(trace, machines, least)
    method = max(parts, key=lambda name: parts[name])
    return Bound(parts[method], "; ".join(filter(None, [f"{method}: {METHODS[method]}", where])), parts)


def _priced(trace: Trace, machine: Machine, ranges: dict[str, Range], area_mm2: float) -> tuple[list[Machine], Float, str]:
    """Return the machines that were priced, each kernel's least price on them, and in words why none inside the space is less.

    Raises SearchError if that is not so, or if machines are too many.
    """
    if not ranges:
        return [machine], cheapest(trace, [machine]), ""
    ends = {name: sorted({r.low, r.high}) for name, r in ranges.items()}
    every = _every_value(ranges, ends)
    values = every | {name: pair for name, pair in ends.items() if name not in every}  # whole values first: their corners are side by side
    machines = machines_at(machine, ranges, values)
    wholes = [dict(zip(every, point, strict=True)) for point in itertools.product(*every.values())]
    kept = _kept(machines, len(wholes), area_mm2)
    within = [machine for group in kept for machine in _group(machines, group, len(wholes))]
    middle = wholes[kept[len(kept) // 2]] if len(kept) < len(wholes) else {}
    least = _cheapest_if_monotone(trace, within, probes(machine, ranges, middle))
    parts = [f"of all values of {', '.join(sorted(every))}"] if every else []
    others = sorted(ranges.keys() - every.keys())
    parts += [f"at the ends of {', '.join(others)}, in each of which prices are monotone"] if others else []
    parts += [f"of no more than {area_mm2:,.0f} mm²"] if len(within) < len(machines) else []
    return within, least, f"each kernel priced at its cheapest {' and '.join(parts)}"


def _kept(machines: list[Machine], groups: int, area_mm2: float) -> list[int]:
    """Return which groups, each of the corners at one choice of whole values, have a corner whose area fits; all if none has."""
    fitting = [i for i in range(groups) if any(_fits(machine, area_mm2) for machine in _group(machines, i, groups))]
    return fitting or list(range(groups))


def _group(machines: list[Machine], number: int, groups: int) -> list[Machine]:
    """Return the machines of a group; those of one lie side by side, all groups have equally many."""
    corners = len(machines) // groups
    return machines[number * corners : (number + 1) * corners]


def _fits(machine: Machine, area_mm2: float) -> bool:
    return machine.area_mm2 is None or machine.area_mm2 <= area_mm2


def _every_value(ranges: dict[str, Range], ends: dict[str, list[float]]) -> dict[str, list[float]]:
    """Return all values of the whole parameters for which the machines are not too many, those of most values before others."""
    every: dict[str, list[float]] = {}
    whole = {name: _all_values(r) for name, r in ranges.items() if r.whole}
    for name in sorted(whole, key=lambda name: -len(whole[name])):
        more = every | {name: whole[name]}
        if math.prod(map(len, (ends | more).values())) <= MOST_VALUES:
            every = more
    return every


def _all_values(limits: Range) -> list[float]:
    return sorted(limits.choices) or [float(value) for value in range(int(limits.low), int(limits.high) + 1)]


METHODS = {
    "critical path": "longest chain of dependent launches, each warm on its cheapest device, hand-overs free",
    "load": "warm work divided fractionally among devices that each run one kernel at a time (linear programme), hand-overs free",
    "issue": "one launch an issue interval, then the last launch",
}


def _parts(trace: Trace, machines: list[Machine], least: Float) -> dict[str, float]:
    if not len(trace.kernels):
        return dict.fromkeys(METHODS, 0.0)
    latency, interval = (min(getattr(m.host, name) for m in machines) for name in ("launch_latency_s", "launch_interval_s"))
    each = least.min(axis=0)
    one_memory = len({device.memory for device in machines[0].devices}) == 1
    found = (
        critical_path(trace, each, one_memory=one_memory),
        load(least * trace.executions),
        issue(trace, each, interval, launch_free(trace, machines)),
    )
    return {name: latency + seconds for name, seconds in zip(METHODS, found, strict=True)}


def machines_at(machine: Machine, ranges: dict[str, Range], values: dict[str, list[float]]) -> list[Machine]:
    """Return the machines at all combinations of ``values``; raise SearchError if they are too many, MachineError if one cannot be."""
    count = math.prod(map(len, values.values()))
    if count > MOST_CORNERS:
        raise SearchError(f"the space has {count} corners, more than the {MOST_CORNERS} that are priced")
    return [with_values(machine, ranges, dict(zip(values, point, strict=True))) for point in itertools.product(*values.values())]


def with_values(machine: Machine, ranges: dict[str, Range], values: dict[str, float]) -> Machine:
    """Return ``machine`` with these values of its parameters, whole where the range is."""
    typed = {name: int(value) if ranges[name].whole else float(value) for name, value in values.items()}
    return machine.with_(**typed) if typed else machine


def probes(machine: Machine, ranges: dict[str, Range], held: dict[str, float]) -> list[Machine]:
    """Return machines within the space on which to test that prices are monotone: its centre, and for each parameter the way there.

    Parameters that are ``held`` stay at these values.
    """
    low = {name: r.low for name, r in ranges.items()} | held
    centre = {name: r.clip((r.low + r.high) / 2) for name, r in ranges.items()} | held
    return [with_values(machine, ranges, values) for values in (centre, *({**low, name: centre[name]} for name in ranges))]


def _cheapest_if_monotone(trace: Trace, corners: list[Machine], inside: list[Machine]) -> Float:
    """Return ``cheapest`` of the corners; raise SearchError if a machine inside is cheaper for some kernel."""
    least = cheapest(trace, corners)
    below = cheapest(trace, inside) < least * (1 - 1e-9)
    if below.any():
        device, row = np.argwhere(below)[0]
        raise SearchError(
            f"prices must be monotone in each parameter, but device {corners[0].devices[device].id!r} runs kernel {row} faster inside the "
            "space than where the bound is priced"
        )
    return least


def cheapest(trace: Trace, machines: list[Machine]) -> Float:
    """Return the least warm price of one execution of each kernel on each device over ``machines``, float64[D, K]; inf where refused.

    Rounded down to whole picoseconds a launch, so that it is never above what a replay, which rounds to the nearest, charges.
    """
    from arch.cost import least_s

    prices = np.min([least_s(trace, machine) for machine in machines], axis=0)
    launches = trace.kernels["launches"]
    whole: Float = np.floor(prices / launches * 1e12) * 1e-12 * launches
    return whole


def critical_path(trace: Trace, duration: Float, *, one_memory: bool) -> float:
    """Return the seconds of the longest chain of dependent launches; ``duration`` is that of each row, float64[K].

    Devices with memories of their own hold copies, so that a write need not wait for readers of another copy; only in ``one_memory``
    it must.
    """
    from codesign.search.critical_path import longest_chain

    sets = int(trace.alias_index.max(initial=-1)) + 1
    walk = first_launches(trace, MOST_LAUNCHES)
    return float(longest_chain(walk, trace.access_offsets, trace.access_alias, trace.access_writes, sets, one_memory, duration))


def first_launches(trace: Trace, most: int) -> npt.NDArray[np.int32]:
    """Return the rows of the first ``most`` launches in the order in which they run, or of all if they are fewer."""
    regions = trace.regions
    first, end = regions["first_kernel"].astype(np.int64), regions["end_kernel"]
    reached = first.copy()
    body: list[list[npt.NDArray[np.int32]]] = [[] for _ in first]
    walk = np.zeros(0, dtype=np.int32)
    for region in _inner_first(trace):
        rows = np.concatenate([*body[region], np.arange(reached[region], end[region], dtype=np.int32)])
        trips = min(int(regions["trip_count"][region]), -(-most // max(len(rows), 1)))
        walk = np.tile(rows, trips)[:most]  # a part that is cut short is so long that nothing after it is reached
        parent = int(regions["parent"][region])
        if parent >= 0:
            body[parent] += [np.arange(reached[parent], first[region], dtype=np.int32), walk]
            reached[parent] = end[region]
    return walk


def _inner_first(trace: Trace) -> list[int]:
    """Return the regions, children before their parents, siblings in order."""
    depth = {-1: -1}
    for region, parent in enumerate(trace.regions["parent"].tolist()):
        depth[region] = depth[parent] + 1
    return sorted(depth.keys() - {-1}, key=lambda region: (-depth[region], region))


def load(work: Float) -> float:
    """Return the least possible load of the busiest device if work may be divided at will.

    ``work`` is float64[D, K]: the seconds that all executions of a kernel take on a device, inf where it cannot run. The answer is the
    dual of the linear programme, evaluated for the solver's weights of the devices: a lower bound however well these are found.
    """
    weights = _device_weights(work)
    with np.errstate(invalid="ignore"):
        weighted = np.where(np.isinf(work), np.inf, weights[:, None] * work)
    return float(weighted.min(axis=0).sum())


def _device_weights(work: Float) -> Float:
    """Return weights of the devices' times, float64[D], adding up to one: those that make the dual's value largest."""
    from scipy.optimize import linprog
    from scipy.sparse import coo_array

    devices, kernels = work.shape
    device, kernel = np.nonzero(np.isfinite(work))
    rows = np.arange(len(device))
    scale = work[device, kernel].max(initial=0.0) or 1.0
    entries = np.concatenate([-work[device, kernel] / scale, np.ones(len(device))])
    where = (np.tile(rows, 2), np.concatenate([device, devices + kernel]))
    below: Any = coo_array((entries, where), shape=(len(device), devices + kernels)).tocsr()  # value of kernel <= weight x work
    aim = np.repeat([0.0, -1.0], [devices, kernels])
    solved = linprog(aim, below, np.zeros(len(device)), (1 + aim)[None, :], np.ones(1), method="highs")
    weights = np.ones(devices) if solved.x is None else np.clip(solved.x[:devices], 0.0, None)
    return np.asarray(weights / weights.sum())


def launch_free(trace: Trace, machines: list[Machine]) -> npt.NDArray[np.bool_]:
    """Return which kernels a device of one of the machines may start without a launch, bool[K]."""
    from arch.work import Work

    work = Work.of(trace)
    free: npt.NDArray[np.bool_] = np.any([d.launch_free(trace, work) for machine in machines for d in machine.devices], axis=0)
    return free


def issue(trace: Trace, duration: Float, interval_s: float, free: npt.NDArray[np.bool_] | None = None) -> float:
    """Return when the last launch can have ended at the earliest, the host issuing one entry or command buffer an interval.

    ``free`` kernels, bool[K], may need no launch of their own.
    """
    buffer = trace.kernels["command_buffer"]
    follows = (buffer >= 0) & (np.concatenate([[-1], buffer[:-1]]) == buffer)
    follows = follows if free is None else follows | free
    issues = int(trace.executions[~follows].sum())
    return max(issues - 1, 0) * interval_s + float(duration[-1]) / int(trace.kernels["launches"][-1])
