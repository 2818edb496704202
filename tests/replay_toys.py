"""Machines whose prices a test states, and a replay of small traces written out launch by launch, independently of the engines."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import networkx as nx
import numpy as np
from hypothesis import strategies as st

from arch.device import Device
from arch.host import Host
from arch.link import HandOver, Link
from arch.machine import Machine
from arch.memory import Memory
from arch.work import Prices, Refusals, Work
from schedulers.scheduler import Mapping
from traces import Trace

US = 1e-6
PS = 1e12
ENDLESS = 1e24


@dataclass(frozen=True, eq=False)
class Fixed(Device):
    """A device that takes ``us[k]`` microseconds and ``moved[k]`` bytes for kernel k (the last ones for those beyond the list)."""

    id: str
    memory: str
    us: tuple[float, ...]
    kind: str = "gpu"
    moved: tuple[float, ...] = (0.0,)
    refused: tuple[int, ...] = ()
    joules: float = 0.0
    static_watts: float | None = 0.0

    def price(self, work: Work) -> Prices:
        def at(values: tuple[float, ...]) -> np.ndarray[Any, np.dtype[np.float64]]:
            return np.array([values[min(k, len(values) - 1)] for k in range(len(work))], dtype=np.float64)

        return Prices(at(self.us) * US, at(self.moved), np.full(len(work), self.joules), {})

    def refuse(self, work: Work) -> Refusals:
        return Refusals(np.isin(np.arange(len(work)), self.refused).astype(np.int8), ("", "it is a toy"))


def host(interval: float = 0.0, latency: float = 0.0, depth: int = 1024, gap: float = 0.0, round_trip: float = 0.0) -> Host:
    """A host with times in microseconds."""
    return Host(interval * US, latency * US, depth, gap * US, round_trip * US)


def toy(
    *devices: Fixed,
    links: tuple[Link, ...] = (),
    hand_overs: tuple[HandOver, ...] = (),
    capacity: int = 10**12,
    bandwidth: float = ENDLESS,
    at: Host | None = None,
) -> Machine:
    """A machine of these devices, with every memory that they or the links name."""
    names = dict.fromkeys([*(d.memory for d in devices), *(end for link in links for end in (link.source, link.target))])
    memories = tuple(Memory(name, capacity, bandwidth) for name in names)
    return Machine("toy", devices, memories, at or host(), links, hand_overs)


def link(source: str = "hbm", target: str = "far", gb: float = 10.0, latency: float = 1.0, name: str = "link") -> Link:
    """A link of ``gb`` GB/s and ``latency`` microseconds."""
    return Link(name, source, target, gb * 1e9, None, latency * US)


def hand_over(device: str = "pim", switch: float = 2.0, closed: float = 0.0, gb: float = ENDLESS, memory: str = "hbm") -> HandOver:
    """A hand-over of ``switch`` microseconds plus bytes at ``gb`` GB/s."""
    return HandOver(device, memory, switch * US, 0.0, gb * 1e9, closed)


def on(*device: int) -> Mapping:
    return Mapping(np.array(device, dtype=np.int32), "by hand")


@dataclass
class Oracle:
    """Replays a trace launch by launch with dictionaries, for machines in which nothing is shared."""

    trace: Trace
    machine: Machine
    mapping: Mapping
    valid: dict[int, set[str]] = field(default_factory=dict)
    mode: dict[str, str] = field(default_factory=dict)
    free: dict[str, int] = field(default_factory=dict)
    written: dict[tuple[int, str], int] = field(default_factory=dict)
    read: dict[tuple[int, str], int] = field(default_factory=dict)
    started: dict[str, list[int]] = field(default_factory=dict)
    log: list[tuple[str, int, int]] = field(default_factory=list)
    turn: int = 0
    issue: int = 0
    issued: bool = True
    previous: tuple[int, int] = (-1, -1)

    def __post_init__(self) -> None:
        trace, machine = self.trace, self.machine
        self.over = {o.device: o for o in machine.hand_overs}
        self.place = [f"{d.memory}/{d.id}" if d.id in self.over else d.memory for d in machine.devices]
        self.graph = nx.DiGraph()
        self.graph.add_nodes_from(m.id for m in machine.memories)
        for each in machine.links:
            for a, b in ((each.source, each.target), (each.target, each.source)):
                self.join(a, b, each.latency_s, 1 / each.bandwidth, f"{each.id}: {a} to {b}", None)
        for o in machine.hand_overs:
            for a, b in ((o.memory, f"{o.memory}/{o.device}"), (f"{o.memory}/{o.device}", o.memory)):
                self.join(a, b, o.mode_switch_s + o.flush_s, 1 / o.layout_bandwidth, o.device, o)
        sets = range(int(trace.alias_index.max(initial=-1)) + 1)
        self.size = {a: max(int(b) for b, s in zip(trace.tensors["bytes"], trace.alias_index, strict=True) if s == a) for a in sets}
        self.lives = {a: self.lifetime(a) for a in sets}
        for a, (first, _) in self.lives.items():
            self.valid[a] = {self.place[0]} if first < 0 else set()

    def join(self, a: str, b: str, fixed: float, per_byte: float, queue: str, over: HandOver | None) -> None:
        weight = fixed + (1 << 20) * per_byte
        if not self.graph.has_edge(a, b) or self.graph.edges[a, b]["weight"] > weight:
            self.graph.add_edge(a, b, weight=weight, fixed=fixed, per_byte=per_byte, queue=queue, over=over)

    def lifetime(self, a: int) -> tuple[int, int]:
        mine = self.trace.alias_index == a
        first, last = self.trace.tensors["first_kernel"][mine], self.trace.tensors["last_kernel"][mine]
        return int(first.min()), len(self.trace.kernels) if (last < 0).any() else int(last.max())

    def run(self) -> list[tuple[str, int, int]]:
        """Return (queue, start, end) of every operation in launch order, in picoseconds; the host's queue is ''."""
        for event, number in self.walk(0):
            if event == "kernel":
                self.kernel(number)
                self.bury(lambda last, around, k=number: last == k and not around)
            elif event == "wait":
                busy = max(self.free.values(), default=0)
                end = busy + round(self.machine.host.round_trip_s * PS)
                self.log.append(("", busy, end))
                self.turn = max(self.turn, end)
            else:
                self.bury(lambda last, around, region=number: bool(around) and around[0] == region)
        return self.log

    def walk(self, region: int) -> Iterator[tuple[str, int]]:
        regions = self.trace.regions
        children = [r for r in range(len(regions)) if regions["parent"][r] == region]
        matters = regions["kind"][region] == "loop" and (regions["trip_count"][region] > 1 or regions["condition"][region] == "device")
        for _ in range(int(regions["trip_count"][region])):
            if matters:
                self.previous = (-1, -1)
            at = int(regions["first_kernel"][region])
            for child in children:
                yield from (("kernel", k) for k in range(at, int(regions["first_kernel"][child])))
                yield from self.walk(child)
                at = int(regions["end_kernel"][child])
            yield from (("kernel", k) for k in range(at, int(regions["end_kernel"][region])))
            if regions["condition"][region] == "device" and regions["kind"][region] == "loop":
                yield "wait", region
        if matters:
            self.previous = (-1, -1)
        yield "end", region

    def bury(self, dies: Any) -> None:
        regions = self.trace.regions
        for a, (first, last) in self.lives.items():
            loops = [
                r
                for r in range(len(regions))
                if regions["kind"][r] == "loop"
                and regions["first_kernel"][r] <= last < regions["end_kernel"][r]
                and not regions["first_kernel"][r] <= first
                and (regions["trip_count"][r] > 1 or regions["condition"][r] == "device")
            ]
            if dies(last, loops):
                self.valid[a] = set()

    def kernel(self, k: int) -> None:
        device, accesses = int(self.mapping.device[k]), self.trace.accesses
        here = self.machine.devices[device]
        rows = range(self.trace.access_offsets[k], self.trace.access_offsets[k + 1])
        sets = {w: sorted({int(self.trace.access_alias[r]) for r in rows if (accesses["mode"][r] == "write") == w}) for w in (False, True)}
        parts = {a for r in rows if float(accesses["bytes_unique"][r]) < self.size[a := int(self.trace.access_alias[r])]}
        sets[False] = sorted({*sets[False], *(a for a in sets[True] if a in parts and self.lives[a][0] < 0)})
        buffer = int(self.trace.kernels["command_buffer"][k])
        joins = buffer >= 0 and self.previous == (k - 1, device) and int(self.trace.kernels["command_buffer"][k - 1]) == buffer
        self.previous = (k, device)
        self.issued = joins
        self.bring(sets[False], device)
        launches = int(self.trace.kernels["launches"][k])
        duration = round(float(here.price(Work.of(self.trace)).duration_s[k]) / launches * PS)
        for number in range(launches):
            member = joins or (number > 0 and buffer >= 0)
            if number > 0 and buffer < 0:
                self.issued = False
            self.launch(here.id, device, duration, member, sets)

    def launch(self, queue: str, device: int, duration: int, member: bool, sets: dict[bool, list[int]]) -> None:
        memory, place = self.machine.devices[device].memory, self.place[device]
        after = [self.written.get((a, memory), 0) for a in sets[False]]
        stale = [(a, m) for a in sets[True] for m in {p.split("/")[0] for p in self.valid[a]} | {memory}]
        after += [end for key in stale for end in (self.written.get(key, 0), self.read.get(key, 0))]
        self.begin(queue)
        host_ = self.machine.host
        ready = [self.issue + round(host_.launch_latency_s * PS), self.free.get(queue, 0) + round(host_.graph_gap_s * PS) * member]
        start, end = self.put(queue, duration, [*after, *ready])
        if not member:
            self.started.setdefault(queue, []).append(start)
        for a in sets[False]:
            self.valid[a] = self.valid[a] or {place}
            self.read[a, memory] = max(self.read.get((a, memory), 0), end)
        for a in sets[True]:
            self.valid[a] = {place}
        for key in stale:
            self.written[key] = end

    def begin(self, queue: str) -> None:
        if not self.issued:
            starts, depth = self.started.get(queue, []), self.machine.host.queue_depth
            full = starts[-depth] if len(starts) >= depth else 0
            self.issue = max(self.turn, full)
            self.turn = self.issue + round(self.machine.host.launch_interval_s * PS)
            self.issued = True

    def put(self, queue: str, duration: int, after: list[int]) -> tuple[int, int]:
        start = max([self.free.get(queue, 0), self.issue, *after])
        self.free[queue] = start + duration
        self.log.append((queue, start, start + duration))
        return start, start + duration

    def bring(self, sets: list[int], device: int) -> None:
        target, queue = self.place[device], self.machine.devices[device].id
        paths = {a: self.path(a, target) for a in sets if self.valid[a] and target not in self.valid[a]}
        for o in self.machine.hand_overs:
            leaving = [a for a, path in paths.items() if path[0] == f"{o.memory}/{o.device}" and path[1] == o.memory]
            if leaving:
                self.switch(o, leaving, o.memory, queue)
                self.mode[o.memory] = ""
        for a in paths:
            path = self.path(a, target) if target not in self.valid[a] else [target]
            for source, goal in pairwise(path):
                edge = self.graph.edges[source, goal]
                if edge["over"] is None:
                    self.begin(queue)
                    key, there = (a, source.split("/")[0]), (a, goal)
                    inputs = [self.written.get(key, 0), self.written.get(there, 0), self.read.get(there, 0)]
                    _, end = self.put(edge["queue"], self.seconds(edge, self.size[a]), inputs)
                    self.read[key] = max(self.read.get(key, 0), end)
                    self.written[there] = end
                    self.valid[a].add(goal)
        o = self.over.get(self.machine.devices[device].id)
        if o:
            missing = [a for a in sets if self.valid[a] and target not in self.valid[a]]
            if missing or self.mode.get(o.memory, "") != o.device:
                self.switch(o, missing, target, queue)
                self.mode[o.memory] = o.device

    def switch(self, o: HandOver, sets: list[int], target: str, launched: str) -> None:
        self.begin(launched)
        after = [end for a in sets for end in (self.written.get((a, o.memory), 0), self.read.get((a, o.memory), 0))]
        edge = {"fixed": o.mode_switch_s + o.flush_s, "per_byte": 1 / o.layout_bandwidth}
        _, end = self.put(o.device, self.seconds(edge, sum(self.size[a] for a in sets)), after)
        for a in sets:
            self.written[a, o.memory] = end
            self.valid[a].add(target)

    @staticmethod
    def seconds(edge: dict[str, Any], size: int) -> int:
        return round((edge["fixed"] + size * edge["per_byte"]) * PS)

    def path(self, a: int, target: str) -> list[str]:
        paths = [nx.dijkstra_path(self.graph, source, target, weight="weight") for source in self.valid[a]]

        def cost(path: list[str]) -> tuple[float, int]:
            edges = [self.graph.edges[pair] for pair in pairwise(path)]
            names = [m.id for m in self.machine.memories] + [f"{o.memory}/{o.device}" for o in self.machine.hand_overs]
            return sum(e["fixed"] for e in edges) + self.size[a] * sum(e["per_byte"] for e in edges), names.index(path[0])

        return min(paths, key=cost)


@st.composite
def machines(draw: st.DrawFn, shared: bool = False) -> Machine:
    """A GPU with up to two PIMs in its memory and up to two devices behind links; prices, host and queues of all kinds."""
    times = st.lists(st.integers(0, 12).map(float), min_size=1, max_size=4).map(tuple)
    moved = st.lists(st.sampled_from([0.0, 40e3, 400e3]), min_size=1, max_size=3).map(tuple) if shared else st.just((0.0,))
    devices = [Fixed("gpu", "hbm", draw(times), moved=draw(moved))]
    overs, links = [], []
    for i in range(draw(st.integers(0, 2))):
        devices.append(Fixed(f"pim{i}", "hbm", draw(times), "pim"))
        overs.append(hand_over(f"pim{i}", draw(st.integers(0, 3)), draw(st.sampled_from([0.25, 1.0])) if shared else 0.0, 20.0))
    for i in range(draw(st.integers(0, 2))):
        devices.append(Fixed(f"far{i}", f"far{i}", draw(times), moved=draw(moved)))
        links.append(
            link("hbm" if i == 0 or draw(st.booleans()) else "far0", f"far{i}", draw(st.sampled_from([10.0, 20.0])), name=f"link{i}")
        )
    at = host(draw(st.integers(0, 4)), draw(st.integers(0, 5)), draw(st.sampled_from([1, 2, 5, 1024])), draw(st.integers(0, 2)), 3)
    return toy(*devices, links=tuple(links), hand_overs=tuple(overs), at=at, bandwidth=50e9 if shared else ENDLESS)
