"""What planning needs of a machine: where tensors can be, which queues and resources there are, and the ways between places.

A place is a view of a memory: each memory as its own, and for PIM that sits in a GPU's memory one more. A tensor can be valid
in several places.
"""

from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

import networkx as nx
import numpy as np

from codesign.engine.program import PS, Floats, Hardware, Indices, picoseconds
from traces.errors import MachineError

if TYPE_CHECKING:
    from arch.machine import Machine

PATH_BYTES = 1 << 20
"""The transfer for which a way between two places is called the fastest."""


class Places(NamedTuple):
    """A machine as arrays: D devices, M memories, P places (memories first), Q queues (devices first), links by direction.

    A hop is the queue of a link's direction, or -1 - h for hand-over h.
    """

    place: Indices  # [D]
    memory: Indices  # [P]
    shares: np.ndarray  # [D] do its kernels move their bytes over the memory's interface (bool)
    claim: Floats  # [D] fraction of the memory that its kernels close to others
    hand_over: Indices  # [D] -1: none
    hop_start: Indices  # [P * P + 1] hops of the way from place s to t: hop_start[s * P + t] ...
    hop: Indices
    way_fixed: Floats  # [P * P] seconds; inf: no way
    way_per_byte: Floats  # [P * P]
    latency: Floats  # [Q] of links
    per_byte: Floats  # [Q]
    source: Indices  # [Q] places
    target: Indices  # [Q]
    duplex: Indices  # [Q] the resource of both directions together, -1: none
    pj: Floats  # [Q] per byte; NaN: unknown
    switch: Floats  # [H] seconds
    layout: Floats  # [H] seconds a byte
    closed: Floats  # [H]
    switch_pj: Floats  # [H]
    switch_device: Indices  # [H]
    switch_place: Indices  # [H]
    gap: int
    round_trip: int


class Site(NamedTuple):
    """Places with what a `Program` says about the machine."""

    places: Places
    hardware: Hardware
    queues: tuple[str, ...]
    resources: tuple[str, ...]


def site_of(machine: "Machine") -> Site:
    """Return the arrays of ``machine``. Raises MachineError if a device's memory is not there."""
    names = [memory.id for memory in machine.memories]
    devices, overs, links, host = machine.devices, machine.hand_overs, machine.links, machine.host
    over_of = {over.device: h for h, over in enumerate(overs)}
    switch_place = {h: len(names) + h for h in range(len(overs))}
    at = {name: i for i, name in enumerate(names)}
    _check_memories(machine, at)
    place = [switch_place[over_of[d.id]] if d.id in over_of else at[d.memory] for d in devices]
    memory = [*range(len(names)), *(at[over.memory] for over in overs)]
    ends = [(at[link.source], at[link.target]) for link in links]
    both = [pair for a, b in ends for pair in ((a, b), (b, a))]
    capacity = [m.bandwidth / PS for m in machine.memories]
    resources, duplex = list(names), [-1] * (len(devices) + len(both))
    for number, link in enumerate(links):
        limit = getattr(link, "duplex_bandwidth", None)
        if limit is not None and limit < 2 * link.bandwidth:
            queue = len(devices) + 2 * number
            duplex[queue] = duplex[queue + 1] = len(resources)
            resources.append(f"{link.id} both ways")
            capacity.append(limit / PS)
    ways = _ways(machine, at, over_of)
    none = [0.0] * len(devices)
    places = Places(
        np.array(place, np.int32),
        np.array(memory, np.int32),
        np.array([getattr(d, "kind", "gpu") != "pim" for d in devices], np.bool_),
        np.array([overs[over_of[d.id]].closed_fraction if d.id in over_of else 0.0 for d in devices]),
        np.array([over_of.get(d.id, -1) for d in devices], np.int32),
        *ways,
        np.array(none + [link.latency_s for link in links for _ in range(2)]),
        np.array(none + [1 / link.bandwidth for link in links for _ in range(2)]),
        np.array([-1] * len(devices) + [a for a, _ in both], np.int32),
        np.array([-1] * len(devices) + [b for _, b in both], np.int32),
        np.array(duplex, np.int32),
        np.array(none + [_known(link.pj_per_byte) for link in links for _ in range(2)]),
        np.array([over.mode_switch_s + over.flush_s for over in overs], np.float64),
        np.array([1 / over.layout_bandwidth for over in overs], np.float64),
        np.array([over.closed_fraction for over in overs], np.float64),
        np.array([_known(over.pj_per_byte) for over in overs], np.float64),
        np.array([[d.id for d in devices].index(over.device) for over in overs], np.int32),
        np.array([switch_place[h] for h in range(len(overs))], np.int32),
        picoseconds(host.graph_gap_s),
        picoseconds(host.round_trip_s),
    )
    queues = (*(d.id for d in devices), *(f"{link.id}: {a} to {b}" for link in links for a, b in _directions(link)))
    depth = np.full(len(queues), host.queue_depth, np.int64)
    hardware = Hardware(picoseconds(host.launch_interval_s), picoseconds(host.launch_latency_s), depth, np.array(capacity, np.float64))
    return Site(places, hardware, queues, tuple(resources))


def _known(value: float | None) -> float:
    return np.nan if value is None else value


def _directions(link: "object") -> tuple[tuple[str, str], tuple[str, str]]:
    source, target = link.source, link.target  # type: ignore[attr-defined]
    return (source, target), (target, source)


def _check_memories(machine: "Machine", known: dict[str, int]) -> None:
    needed = {d.memory: f"the device {d.id!r}" for d in machine.devices}
    needed |= {end: f"the link {link.id!r}" for link in machine.links for end in (link.source, link.target)}
    needed |= {over.memory: f"the hand-over to {over.device!r}" for over in machine.hand_overs}
    for name, user in needed.items():
        if name not in known:
            raise MachineError(f"the memory {name!r} of {user} must be one of the machine's: {', '.join(known)}")


def _ways(machine: "Machine", at: dict[str, int], over_of: dict[str, int]) -> tuple[Indices, Indices, Floats, Floats]:
    """Return the hops of the fastest way between every two places, and its fixed seconds and seconds a byte (inf: no way)."""
    graph, count = _graph(machine, at), len(at) + len(over_of)
    hops: list[int] = []
    start = [0]
    fixed, per_byte = np.full(count * count, np.inf), np.full(count * count, np.inf)
    for source in range(count):
        paths = nx.single_source_dijkstra_path(graph, source, weight="weight")
        for target in range(count):
            if target in paths:
                edges = [graph.edges[pair] for pair in pairwise(paths[target])]
                hops += [edge["hop"] for edge in edges]
                fixed[source * count + target] = sum(edge["fixed"] for edge in edges)
                per_byte[source * count + target] = sum(edge["per_byte"] for edge in edges)
            start.append(len(hops))
    return np.array(start, np.int32), np.array(hops, np.int32), fixed, per_byte


def _graph(machine: "Machine", at: dict[str, int]) -> "nx.DiGraph[int]":
    graph: nx.DiGraph[int] = nx.DiGraph()
    graph.add_nodes_from(range(len(at) + len(machine.hand_overs)))
    for number, link in enumerate(machine.links):
        queue = len(machine.devices) + 2 * number
        _join(graph, at[link.source], at[link.target], queue, link.latency_s, 1 / link.bandwidth)
        _join(graph, at[link.target], at[link.source], queue + 1, link.latency_s, 1 / link.bandwidth)
    for h, over in enumerate(machine.hand_overs):
        fixed = over.mode_switch_s + over.flush_s
        for ends in ((at[over.memory], len(at) + h), (len(at) + h, at[over.memory])):
            _join(graph, *ends, -1 - h, fixed, 1 / over.layout_bandwidth)
    return graph


def _join(graph: "nx.DiGraph[int]", source: int, target: int, hop: int, fixed: float, per_byte: float) -> None:
    """Add an edge, unless a faster one joins the two places already."""
    weight = fixed + PATH_BYTES * per_byte
    if not graph.has_edge(source, target) or graph.edges[source, target]["weight"] > weight:
        graph.add_edge(source, target, weight=weight, hop=hop, fixed=fixed, per_byte=per_byte)
