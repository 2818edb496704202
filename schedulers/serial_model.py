"""The serial hand-over model, stated in code.

The program's launches run one after another in launch order, one device at a time. Before a launch on another device than the one
before it, every live allocation moves there, all at once. An allocation (alias set) is live at a moment if it exists (it did before the
trace, or has been written) and the next launch that touches it reads it, or updates a part of what existed before the trace. At the
start everything is on devices[0]; at the end nothing moves. Loops run as often as they say, every iteration on the same devices. A
kernel costs its duration with warm operands; there is no host, no overlap, no second copy that stays valid, no capacity limit, no
contention.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import networkx as nx
import numpy as np
import numpy.typing as npt

from traces.errors import MachineError

if TYPE_CHECKING:
    from arch.cost import CostTable
    from arch.machine import Machine
    from schedulers.scheduler import Mapping
    from traces.trace import Trace

SEMANTICS = (
    "serial hand-over model: launches in order, one device at a time; at every change of device all live tensors move there; warm prices; "
    "no host time, overlap, second copies, contention or capacity limit; one mapping for all iterations of a loop"
)


@dataclass(frozen=True)
class HandOverTerms:
    """What a change of device costs, each float64[D, D] from row to column: ``fixed_s`` always, the others if bytes move."""

    fixed_s: npt.NDArray[np.float64]
    latency_s: npt.NDArray[np.float64]
    s_per_byte: npt.NDArray[np.float64]

    def seconds(self, source: int, target: int, moved: float) -> float:
        """Return the cost in seconds of moving ``moved`` bytes from device ``source`` to device ``target`` (indices)."""
        always = self.fixed_s[source, target]
        return float(always + self.latency_s[source, target] + moved * self.s_per_byte[source, target] if moved else always)

    def weighted(self, bytes_weight: float) -> HandOverTerms:
        """Return the terms of a model in which only this share of the live bytes moves."""
        return HandOverTerms(self.fixed_s, self.latency_s, bytes_weight * self.s_per_byte)


def hand_over_terms(machine: Machine) -> HandOverTerms:
    """Return what a change of device costs on ``machine``, for every pair of its devices.

    Between a GPU and in-memory PIM of the same memory: mode switch and flush always, bytes over the layout bandwidth. Along links: the
    sum over hops of latency and bytes over bandwidth (store and forward), if there are bytes to move. The path is that of least time
    for ``PATH_BYTES``. Raises MachineError if two devices are not connected.
    """
    places = place_of_device(machine)
    graph = place_graph(machine)
    count = len(places)
    fixed, latency, per_byte = np.zeros((3, count, count))
    for source, start in enumerate(places):
        for target, end in enumerate(places):
            hops = _path(graph, machine, start, end)
            fixed[source, target] = sum(hop["fixed_s"] for hop in hops)
            latency[source, target] = sum(hop["latency_s"] for hop in hops)
            per_byte[source, target] = sum(hop["s_per_byte"] for hop in hops)
    return HandOverTerms(fixed, latency, per_byte)


PATH_BYTES = 1 << 20
"""The size in bytes for which a path is called the fastest: what a transfer sends at a time."""


def place_of_device(machine: Machine) -> list[str]:
    """Return for each device where its tensors lie: its memory, or for in-memory PIM a view of its own on that memory."""
    in_memory = {hand_over.device for hand_over in machine.hand_overs}
    return [f"{device.memory}:{device.id}" if device.id in in_memory else device.memory for device in machine.devices]


def place_graph(machine: Machine) -> nx.Graph[str]:
    """Return the places of ``machine`` joined by links and hand-overs, each with its cost terms and ``weight`` in seconds."""
    graph: nx.Graph[str] = nx.Graph()
    graph.add_nodes_from(memory.id for memory in machine.memories)
    for link in machine.links:
        _join(graph, link.source, link.target, 0.0, link.latency_s, 1 / link.bandwidth)
    for hand_over in machine.hand_overs:
        fixed = hand_over.mode_switch_s + hand_over.flush_s
        _join(graph, hand_over.memory, f"{hand_over.memory}:{hand_over.device}", fixed, 0.0, 1 / hand_over.layout_bandwidth)
    return graph


def _join(graph: nx.Graph[str], source: str, target: str, fixed_s: float, latency_s: float, s_per_byte: float) -> None:
    """Add an edge, unless a faster one joins the two places already."""
    weight = fixed_s + latency_s + PATH_BYTES * s_per_byte
    if not graph.has_edge(source, target) or graph.edges[source, target]["weight"] > weight:
        graph.add_edge(source, target, weight=weight, fixed_s=fixed_s, latency_s=latency_s, s_per_byte=s_per_byte)


def _path(graph: nx.Graph[str], machine: Machine, start: str, end: str) -> list[dict[str, float]]:
    try:
        path = nx.shortest_path(graph, start, end, weight="weight")
    except (nx.NetworkXNoPath, nx.NodeNotFound) as error:
        raise MachineError(f"all devices of a machine must be connected, but {machine.id!r} has no path from {start} to {end}") from error
    return [graph.edges[a, b] for a, b in pairwise(path)]


def serial_cost(trace: Trace, machine: Machine, costs: CostTable, mapping: Mapping) -> float:
    """Return the seconds that ``mapping`` takes under the serial hand-over model: the model itself, launch by launch.

    ``costs`` are warm prices. Unrolls every loop, so it takes time in proportion to the launches; ``cut_points`` never does. Raises
    MappingError if the mapping does not fit.
    """
    mapping.check(trace, machine, costs)
    terms = hand_over_terms(machine)
    rows = list(unrolled(trace))
    total, here = 0.0, 0
    for row, moved in zip(rows, live_bytes(trace, rows), strict=True):
        device = int(mapping.device[row])
        if device != here:
            total += terms.seconds(here, device, moved)
        total += float(costs.duration_s[device, row])
        here = device
    return total


def unrolled(trace: Trace) -> Iterator[int]:
    """Yield the kernel row of every entry that runs, in the order in which they run."""
    regions = trace.regions
    children: dict[int, list[int]] = {row: [] for row in range(len(regions))}
    for row, parent in enumerate(regions["parent"]):
        if parent >= 0:
            children[int(parent)].append(row)

    def body(region: int) -> Iterator[int]:
        for _ in range(int(regions["trip_count"][region])):
            at = int(regions["first_kernel"][region])
            for child in children[region]:
                yield from range(at, int(regions["first_kernel"][child]))
                yield from body(child)
                at = int(regions["end_kernel"][child])
            yield from range(at, int(regions["end_kernel"][region]))

    return body(0)


def live_bytes(trace: Trace, rows: list[int]) -> list[float]:
    """Return the bytes that are live just before each of the launches ``rows`` (the kernel rows in the order in which they run)."""
    reads, writes = touched(trace)
    size = trace.alias_bytes
    needed: set[int] = set()
    needed_before: list[set[int]] = []
    for row in reversed(rows):
        needed = (needed - writes[row]) | reads[row]
        needed_before.append(needed)
    exists = set(np.flatnonzero(exists_at_start(trace)).tolist())
    live = []
    for row, wanted in zip(rows, reversed(needed_before), strict=True):
        live.append(float(sum(size[a] for a in wanted & exists)))
        exists |= writes[row]
    return live


def touched(trace: Trace) -> tuple[list[set[int]], list[set[int]]]:
    """Return for each kernel row the alias sets (``trace.alias_index``) it reads or updates a part of, and those it writes."""
    reads: list[set[int]] = [set() for _ in range(len(trace.kernels))]
    writes: list[set[int]] = [set() for _ in range(len(trace.kernels))]
    for mode, chosen in ((reads, trace.access_needs), (writes, trace.access_writes)):
        for kernel, alias in zip(trace.accesses["kernel"][chosen], trace.access_alias[chosen], strict=True):
            mode[int(kernel)].add(int(alias))
    return reads, writes


def exists_at_start(trace: Trace) -> npt.NDArray[np.bool_]:
    """Return for each alias set whether one of its tensors exists before the trace starts, bool[sets]."""
    exists = np.zeros(int(trace.alias_index.max(initial=-1)) + 1, dtype=np.bool_)
    exists[trace.alias_index[trace.tensors["first_kernel"] == -1]] = True
    return exists
