"""What planning needs of a machine: where tensors can be, which queues and resources there are, and the ways between places.

A place is a view of a memory: each memory as its own, and for PIM that sits in a GPU's memory one more. A tensor can be valid
in several places.
"""

from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

import networkx as nx
import numpy as np

from codesign.engine.program import PS, Hardware, Indices, Rows, picoseconds
from traces.errors import MachineError

if TYPE_CHECKING:
    from arch.link import Link
    from arch.machine import Machine
    from arch.memory import Memory

PATH_BYTES = 1 << 20
"""The transfer for which a way between two places is called the fastest."""


DEVICE = np.dtype([("place", "i4"), ("memory", "i4"), ("hand_over", "i4"), ("shares", "i4"), ("claim", "f8")], align=True)
"""A device: its place and memory, its hand-over (-1: none), whether its kernels move their bytes over the memory's interface, and
the fraction of the memory that they close to others."""
WAY = np.dtype([("hop_start", "i4"), ("hop_end", "i4"), ("fixed", "f8"), ("per_byte", "f8")], align=True)
"""The fastest way from place s to t, at s * P + t: hops; seconds, and seconds a byte (inf: no way)."""
CHANNEL = np.dtype(
    [
        ("source", "i4"),
        ("target", "i4"),
        ("duplex", "i4"),
        ("latency", "f8"),
        ("per_byte", "f8"),
        ("pj", "f8"),
        ("reading", "f8"),
        ("writing", "f8"),
    ],
    align=True,
)
"""One direction of a link: places, the resource of both directions together (-1: none), seconds, seconds a byte, pJ a byte, and
what a byte takes of the bandwidth of the memory it comes from and goes to (more than 1 where that reads or writes slower)."""
SWITCH = np.dtype(
    [("device", "i4"), ("place", "i4"), ("memory", "i4"), ("fixed", "f8"), ("per_byte", "f8"), ("closed", "f8"), ("pj", "f8")], align=True
)
"""A hand-over between a memory's own view and the view (place) of a PIM: seconds, seconds a byte, fraction closed, pJ a byte."""


class Places(NamedTuple):
    """A machine as arrays: D devices, P places (memories first), H hand-overs, directions of links.

    A hop is the number of a direction, or -1 - h for hand-over h; the queue of a direction is its number + D.
    """

    device: Rows  # [D]
    memory: Indices  # [P]
    way: Rows  # [P * P]
    hop: Indices
    channel: Rows
    switch: Rows  # [H]
    gap: int
    round_trip: int
    streams: int  # queues of each direction of a link, which take turns: 1, or 2 with a copy stream
    lanes: int  # queues of each device, which take turns: one for each interleaved copy of the program
    peer: Indices  # [D * D] the direction of a link from the memory of device s to that of t, at s * D + t; -1: none


class Site(NamedTuple):
    """Places with what a `Program` says about the machine."""

    places: Places
    hardware: Hardware
    queues: tuple[str, ...]
    resources: tuple[str, ...]
    owner: Indices


def site_of(machine: "Machine", streams: int = 1, pinned: bool = True, lanes: int = 1) -> Site:
    """Return the arrays of ``machine``, with so many streams on each direction of a link, copies from pinned memory or not, and so many
    queues of each device.

    Raises MachineError if a device's memory is not there.
    """
    if not pinned:
        machine = replace(machine, links=tuple(link.pageable() for link in machine.links))
    at = {memory.id: i for i, memory in enumerate(machine.memories)}
    _check_memories(machine, at)
    overs = machine.hand_overs
    memory = np.array([*range(len(at)), *(at[over.memory] for over in overs)], np.int32)
    resources = {m.id: m.bandwidth / PS for m in machine.memories}
    channels = _channels(machine, at, resources)
    way, hop = _ways(machine, at)
    host = machine.host
    places = Places(
        _devices(machine, at),
        memory,
        way,
        hop,
        channels,
        _switches(machine, at),
        picoseconds(host.graph_gap_s),
        picoseconds(host.round_trip_s),
        streams,
        lanes,
        _peers(machine),
    )
    ends = [f"{link.id}: {a} to {b}" for link in machine.links for a, b in ((link.source, link.target), (link.target, link.source))]
    copies = [f"{end} (copies)" for end in ends] * (streams - 1)
    more = [f"{d.id} (stream {lane})" for lane in range(1, lanes) for d in machine.devices]
    queues = (*(d.id for d in machine.devices), *ends, *copies, *more)
    return Site(places, _hardware(machine, queues, resources, places), queues, tuple(resources), _owners(queues, places))


def _owners(queues: tuple[str, ...], places: Places) -> Indices:
    """Return the device of each queue, -1 for those of links."""
    devices = len(places.device)
    owner = np.full(len(queues), -1, np.int32)
    owner[:devices] = np.arange(devices)
    more = devices + places.streams * len(places.channel)
    owner[more:] = np.arange(len(queues) - more) % devices
    return owner


def _hardware(machine: "Machine", queues: tuple[str, ...], resources: dict[str, float], places: Places) -> Hardware:
    host, count, directions = machine.host, len(queues), len(places.channel)
    wire, owner = np.full(count, -1, np.int64), _owners(queues, places)
    if places.streams > 1:
        link = np.flatnonzero(owner < 0)
        wire[link] = np.arange(len(link)) % max(1, directions)
    if places.lanes > 1:
        wire[owner >= 0] = directions + owner[owner >= 0]
    capacity = np.array(list(resources.values()), np.float64)
    times = picoseconds(host.launch_interval_s), picoseconds(host.launch_latency_s)
    return Hardware(*times, np.full(count, host.queue_depth, np.int64), capacity, wire, np.zeros(count, np.int8), 0.0, 0)


def _devices(machine: "Machine", at: dict[str, int]) -> Rows:
    over_of = {over.device: h for h, over in enumerate(machine.hand_overs)}
    rows = []
    for device in machine.devices:
        h = over_of.get(device.id, -1)
        place = at[device.memory] if h < 0 else len(at) + h
        claim = machine.hand_overs[h].closed_fraction if h >= 0 else 0.0
        rows.append((place, at[device.memory], h, device.kind != "pim", claim))
    return np.array(rows, DEVICE)


def _channels(machine: "Machine", at: dict[str, int], resources: dict[str, float]) -> Rows:
    """Return both directions of every link; add what they share to ``resources``."""
    rows = []
    for link in machine.links:
        duplex = -1
        if link.duplex_bandwidth is not None and link.duplex_bandwidth < sum(link.bandwidths):
            duplex = len(resources)
            resources[f"{link.id} both ways"] = link.duplex_bandwidth / PS
        for source, target, fixed, per_byte in _directions(machine, link):
            slower = source.bandwidth / _reads(source), target.bandwidth / _writes(target)
            rows.append((at[source.id], at[target.id], duplex, fixed, per_byte, _known(link.pj_per_byte), *slower))
    return np.array(rows, CHANNEL)


def _peers(machine: "Machine") -> Indices:
    """Return the direction of the fastest link that joins the memories of every two devices."""
    count = len(machine.devices)
    best: dict[tuple[str, str], tuple[float, int]] = {}
    for number, link in enumerate(machine.links):
        ends = (link.source, link.target), (link.target, link.source)
        for way, (pair, rate) in enumerate(zip(ends, link.bandwidths, strict=True)):
            if rate > best.get(pair, (0.0, -1))[0]:
                best[pair] = rate, 2 * number + way
    pairs = [(a.memory, b.memory) for a in machine.devices for b in machine.devices]
    return np.array([best.get(pair, (0.0, -1))[1] for pair in pairs], np.int32).reshape(count * count)


def _directions(machine: "Machine", link: "Link") -> "list[tuple[Memory, Memory, float, float]]":
    """Return source, target, seconds and seconds a byte of both directions: the slowest of the link and the memories at its ends."""
    one, other = machine.memory(link.source), machine.memory(link.target)
    forward, back = link.bandwidths
    return [
        (source, target, link.latency_s + source.latency_s + target.latency_s, 1 / min(rate, _reads(source), _writes(target)))
        for source, target, rate in ((one, other, forward), (other, one, back))
    ]


def _reads(memory: "Memory") -> float:
    return memory.bandwidth if memory.read_bandwidth is None else memory.read_bandwidth


def _writes(memory: "Memory") -> float:
    return memory.bandwidth if memory.write_bandwidth is None else memory.write_bandwidth


def _switches(machine: "Machine", at: dict[str, int]) -> Rows:
    devices = [device.id for device in machine.devices]
    rows = []
    for h, over in enumerate(machine.hand_overs):
        fixed = over.mode_switch_s + over.flush_s
        where = (devices.index(over.device), len(at) + h, at[over.memory])
        rows.append((*where, fixed, 1 / over.layout_bandwidth, over.closed_fraction, _known(over.pj_per_byte)))
    return np.array(rows, SWITCH)


def _known(value: float | None) -> float:
    return np.nan if value is None else value


def _check_memories(machine: "Machine", known: dict[str, int]) -> None:
    needed = {d.memory: f"the device {d.id!r}" for d in machine.devices}
    needed |= {end: f"the link {link.id!r}" for link in machine.links for end in (link.source, link.target)}
    needed |= {over.memory: f"the hand-over to {over.device!r}" for over in machine.hand_overs}
    for name, user in needed.items():
        if name not in known:
            raise MachineError(f"the memory {name!r} of {user} must be one of the machine's: {', '.join(known)}")


def _ways(machine: "Machine", at: dict[str, int]) -> tuple[Rows, Indices]:
    """Return the fastest way between every two places, and the hops of all of them."""
    graph, count = _graph(machine, at), len(at) + len(machine.hand_overs)
    hops: list[int] = []
    ways = np.zeros(count * count, WAY)
    for source in range(count):
        paths = nx.single_source_dijkstra_path(graph, source, weight="weight")
        for target in range(count):
            edges = [graph.edges[pair] for pair in pairwise(paths.get(target, []))]
            start = len(hops)
            hops += [edge["hop"] for edge in edges]
            cost = [sum(edge[term] for edge in edges) if target in paths else np.inf for term in ("fixed", "per_byte")]
            ways[source * count + target] = (start, len(hops), *cost)
    return ways, np.array(hops, np.int32)


def _graph(machine: "Machine", at: dict[str, int]) -> "nx.DiGraph[int]":
    graph: nx.DiGraph[int] = nx.DiGraph()
    graph.add_nodes_from(range(len(at) + len(machine.hand_overs)))
    for number, link in enumerate(machine.links):
        for way, (source, target, fixed, per_byte) in enumerate(_directions(machine, link)):
            _join(graph, at[source.id], at[target.id], 2 * number + way, fixed, per_byte)
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
