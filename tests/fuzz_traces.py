"""Random traces on random machines under random mappings, for `tests.fuzz`: drawn as arrays, their tables built a block at a time."""

from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

import arch
from arch.cost import CostTable
from arch.machine import Machine
from arch.memory import Memory
from codesign.engine.disturb import Disturbance, disturb
from codesign.engine.drafting import CHUNK_BYTES
from codesign.engine.plan import Plan, make_plan
from codesign.engine.program import TRANSFER, Program, Run
from codesign.engine.replaying import check_in_order
from codesign.engine.usage import check_capacity, usage
from schedulers.scheduler import Mapping
from schedulers.tensors import Offload
from tests.replay_toys import ENDLESS, Fixed, hand_over, host, link, toy
from traces import Table, Trace, interleave
from traces.errors import CodesignError
from traces.ranks import COLLECTIVES, side_by_side

Array = npt.NDArray[Any]
KERNELS, TENSORS, MACHINES, STREAMS = 20, 6, 16, 3
NESTED = 3
EXECUTED = 150
"""Launches of a loop, at most."""
SIZES = np.array([0, 100, 4096, 40_000, 400_000, 3_000_000, 5_000_000])
MANIFEST = {"program": "fuzz", "target": "a5000"}


@dataclass
class Planned:
    """``count`` programs with their traces, and the machines that they are for."""

    random: np.random.Generator
    count: int

    def __post_init__(self) -> None:
        r, b = self.random, self.count
        each = (b, KERNELS)
        self.columns: dict[str, Any] = {
            "kernels": r.integers(2, KERNELS + 1, (b, 2)).min(axis=1),
            "size": r.choice(SIZES, (b, TENSORS), p=[0.05, 0.2, 0.25, 0.25, 0.15, 0.07, 0.03]),
            "kind": r.choice(["parameter", "temporary", "output"], (b, TENSORS)),
            "alias": r.random((b, TENSORS)) < 0.1,
            "reads": r.integers(-2, TENSORS, (*each, 2)),
            "writes": r.integers(-1, TENSORS, each),
            "launches": r.choice([1, 2, 3], each, p=[0.8, 0.1, 0.1]),
            "buffer": r.choice([-1, -1, 0, 1], each),
            "work": r.choice(3, each, p=[0.4, 0.3, 0.3]),
            "begins": r.random(each) < 0.12,
            "length": r.integers(1, 7, each),
            "trips": r.choice([1, 2, 3, 5, 12, 40], each, p=[0.15, 0.35, 0.25, 0.15, 0.07, 0.03]),
            "asks": r.random(each) < 0.2,
            "machine": r.integers(0, MACHINES, b),
            "device": r.integers(0, 1000, (b, KERNELS * STREAMS)),
            "home": r.integers(-4, 1000, (b, TENSORS * STREAMS)),
            "offload": r.random(b) < 0.4,
            "distance": r.integers(0, 4, b),
            "slices": r.random(b) < 0.6,
            "synchronous": r.random(b) < 0.5,
            "write_backs": r.integers(1, 4, b),
            "disturbed": r.random(b) < 0.2,
            "closed": r.choice([0.25, 0.5, 1.0], b),
            "when": r.integers(0, 60, (b, 2)),
            "spread": r.choice([0.0, 0.1, 0.5], b),
            "streams": r.choice([1, 2, 3], b, p=[0.8, 0.14, 0.06]),
            "ranks": r.choice([1, 2, 3], b, p=[0.92, 0.05, 0.03]),
            "meets": r.random(each) < 0.3,
            "collective": r.integers(0, len(COLLECTIVES), each),
        }
        self.machines = [Priced(random_machine(r, number >= MACHINES - 2)) for number in range(MACHINES)]
        self.equal = {ranks: [Priced(equal_devices(r, ranks)) for _ in range(4)] for ranks in (2, 3)}
        self.tables = Tables(self.columns)

    def case(self, i: int) -> "Case":
        """Return program ``i``; raises CodesignError where it cannot be planned."""
        row = {name: column[i] for name, column in self.columns.items()}
        trace = self.tables.trace(i)
        if row["ranks"] > 1:
            return self._side_by_side(row, trace)
        if row["streams"] > 1:
            trace = interleave(trace, int(row["streams"]))
        priced = self.machines[row["machine"]]
        mapping = make_mapping(row, priced.machine, trace)
        made = make_plan(trace, priced.machine, mapping, priced.costs(len(trace.kernels)))
        return Case(trace, priced.machine, mapping, made, self._disturbed(row, made.program))

    def _side_by_side(self, row: dict[str, Any], trace: Trace) -> "Case":
        """Return the program of all ranks, of which ``trace`` is one."""
        trace.manifest["options"] = {"tensor_parallel": int(row["ranks"])}
        whole, priced = side_by_side(trace), self.equal[int(row["ranks"])][row["machine"] % 4]
        mapping = Mapping(whole.kernels["stream"], "fuzz")
        made = make_plan(whole, priced.machine, mapping, priced.costs(len(whole.kernels)))
        return Case(whole, priced.machine, mapping, made, self._disturbed(row, made.program))

    @staticmethod
    def _disturbed(row: dict[str, Any], program: Program) -> Program:
        if row["disturbed"]:
            what = program.queues[0]
            others = Disturbance(what, float(row["when"][0]) * 1e-6, float(row["when"][1] + 1) * 1e-6, closed=float(row["closed"]))
            program = disturb(program, [others], spread=float(row["spread"]), seed=7)
        return program


@dataclass
class Case:
    """One program, and what it was planned from."""

    trace: Trace
    machine: Machine
    mapping: Mapping
    made: Plan
    program: Program

    def balance(self) -> None:
        """Raise AssertionError unless memory is released as often as it is taken, and never more often."""
        program, tensors = self.program, self.trace.tensors
        times = program.executions[program.changes["op"]] // program.changes["every"]
        level = program.memory_initial.copy()
        np.add.at(level, program.changes["memory"], program.changes["bytes"] * times)
        assert (level >= 0).all(), "more is released than was taken"
        assert (tensors["last_kernel"] < 0).any() or not level.any(), "what nothing needs any more is not released"

    def refused(self, run: Run) -> set[str]:
        """Return that there is too little room, if there is."""
        assert run.records is not None
        try:
            check_in_order(self.made, self.trace)
            check_capacity(self.program, usage(self.program, run.records), self.trace)
        except CodesignError:
            return {"refused: too little room"}
        return set()

    def features(self) -> set[str]:
        """Return what of `tests.fuzz.FEATURES` is known of what was planned only."""
        changes, devices, offload = self.program.changes, self.machine.devices, self.mapping.offload
        used = [devices[d] for d in set(self.mapping.device.tolist())]
        memories = [device.memory for device in used]
        moved = self.program.ops.use["bytes"][np.isin(np.arange(len(self.program.ops.use)), self._transfers())]
        had = {
            "stale copies": bool(((changes["bytes"] < 0) & (changes["at_end"] == 0)).any()),
            "chunks": bool((moved == CHUNK_BYTES).any()),
            "evictions": self.made.evictions > 0,
            "slices": offload is not None and offload.slices,
            "copy streams": offload is not None and not offload.synchronous,
            "shared memories": len(set(memories)) < len(memories),
            "in-memory PIM": any(d.kind == "pim" and d.memory == "hbm" for d in used),
            "attached PIM": any(d.kind == "pim" and d.memory != "hbm" for d in used),
            "reconfigurations": self.reconfigures(),
            "streams": "interleave" in (self.trace.manifest.get("options") or {}),
            "collectives": bool((self.trace.kernels["family"] == "collective").any()),
        }
        return {name for name, there in had.items() if there}

    def _transfers(self) -> Array:
        ops = self.program.ops.op
        return ops["use_start"][(ops["kind"] == TRANSFER) & (ops["use_end"] > ops["use_start"])]

    def reconfigures(self) -> bool:
        """Does a reconfigurable array change its mode?"""
        unit = self.machine.devices[-1]
        mine = self.mapping.device == len(self.machine.devices) - 1
        if unit.id != "plasticine" or len(set(self.trace.kernels["family"][mine])) < 2:
            return False
        from arch.work import Work

        return bool(unit.arrangement(self.trace, Work.of(self.trace), mine).switches.any())  # type: ignore[attr-defined]


class Priced:
    """A machine with the prices of any kernels on it, where they depend on a kernel's row alone."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.stated = all(isinstance(device, Fixed) for device in machine.devices)
        at = np.arange(KERNELS * STREAMS)
        if self.stated:
            self.seconds, self.moved = (
                np.stack([np.array(column(d), np.float64)[np.minimum(at, len(column(d)) - 1)] for d in machine.devices])
                for column in (lambda d: d.us, lambda d: d.moved)
            )

    def costs(self, kernels: int) -> CostTable | None:
        """Return the cost table of so many kernels, None where it takes the trace to say."""
        if not self.stated:
            return None
        seconds, shape = self.seconds[:, :kernels] * 1e-6, (len(self.machine.devices), kernels)
        return CostTable(seconds, self.moved[:, :kernels], np.zeros(shape), np.zeros(shape, np.int8), (("", ""),) * shape[0])


@cache
def plasticine() -> Machine:
    return arch.machine("plasticine")


def random_machine(r: np.random.Generator, reconfigurable: bool) -> Machine:
    """Return a GPU with PIMs in its memory, devices and memories behind links, and sometimes little room or an array with modes."""

    def times() -> tuple[float, ...]:
        return tuple(float(t) for t in r.integers(0, 12, 4) * (r.random(4) < 0.8))

    def moved() -> tuple[float, ...]:
        return tuple(float(m) for m in r.choice([0.0, 40e3, 400e3], 3))

    shared = bool(r.random() < 0.6)
    devices, overs, links = [Fixed("gpu", "hbm", times(), moved=moved())], [], []
    for i in range(int(r.integers(0, 3))):
        devices.append(Fixed(f"pim{i}", "hbm", times(), "pim"))
        overs.append(hand_over(f"pim{i}", float(r.integers(0, 3)), float(r.choice([0.0, 0.25, 1.0])), 20.0))
    for i in range(int(r.integers(0, 3))):
        devices.append(Fixed(f"far{i}", f"far{i}", times(), str(r.choice(["pim", "gpu"])), moved()))
        near = "hbm" if i == 0 or r.random() < 0.5 else "far0"
        links.append(link(near, f"far{i}", float(r.choice([10.0, 20.0])), float(r.integers(0, 3)), name=f"link{i}"))
    links.append(link("hbm", "dram", 10.0, float(r.integers(0, 2)), name="bus"))
    if r.random() < 0.5:
        devices.append(Fixed("cpu", "dram", times(), moved=moved()))
    at = host(float(r.integers(0, 4)), float(r.integers(0, 5)), int(r.choice([1, 2, 5, 1024])), float(r.integers(0, 2)), 3.0)
    machine = toy(*devices, links=tuple(links), hand_overs=tuple(overs), at=at, bandwidth=50e9 if shared else ENDLESS)
    if shared and r.random() < 0.5:
        machine = replace(machine, links=tuple(replace(each, duplex_bandwidth=1.5 * each.bandwidth) for each in machine.links))
    if r.random() < 0.25:
        machine = replace(machine, memories=tuple(Memory(m.id, int(r.choice([500_000, 10**12])), m.bandwidth) for m in machine.memories))
    return with_array(machine) if reconfigurable else machine


def equal_devices(r: np.random.Generator, ranks: int) -> Machine:
    """Return as many equal devices, each with a memory, and links in a ring or between every two of them."""
    times, moved = tuple(float(t) for t in r.integers(0, 6, 3)), (float(r.choice([0.0, 40e3])),)
    pairs = [(i, (i + 1) % ranks) for i in range(ranks)] if r.random() < 0.5 else [(i, j) for i in range(ranks) for j in range(i)]
    latency = float(r.integers(0, 3))
    links = [link(f"m{i}", f"m{j}", 10.0, latency, f"link{i}{j}") for i, j in (pairs[:1] if ranks == 2 else pairs)]
    at = host(float(r.integers(0, 4)), float(r.integers(0, 5)), int(r.choice([1, 2, 1024])), float(r.integers(0, 2)), 3.0)
    devices = [Fixed(f"gpu{i}", f"m{i}", times, moved=moved) for i in range(ranks)]
    return toy(*devices, links=tuple(links), at=at, bandwidth=50e9 if r.random() < 0.5 else ENDLESS)


def with_array(machine: Machine) -> Machine:
    """Return the machine with a reconfigurable array behind a link."""
    found = plasticine()
    unit = found.devices[0]
    return replace(
        machine,
        devices=(*machine.devices, unit),
        memories=(*machine.memories, *found.memories),
        links=(*machine.links, link("hbm", unit.memory, 10.0, 1.0, name="to the array")),
    )


def make_mapping(row: dict[str, Any], machine: Machine, trace: Trace) -> Mapping:
    """Return where kernels run and where tensors live."""
    device = (row["device"][: len(trace.kernels)] % len(machine.devices)).astype(np.int32)
    offload = None
    if row["offload"]:
        drawn = row["home"][: len(trace.tensors)]
        home = np.where(drawn < 0, -1, drawn % len(machine.memories)).astype(np.int32)
        handed = {over.device for over in machine.hand_overs} & {machine.devices[d].id for d in device}
        distance = int(row["distance"])
        waits = bool(row["synchronous"]) and distance == 0
        offload = Offload(home, distance, bool(row["slices"]) and not handed, waits, True, int(row["write_backs"]))
    return Mapping(device, "fuzz", offload=offload)


class Nest:
    """Random loops around the kernels of many programs at once: ``region[b, k]`` is the innermost, region 0 the whole program."""

    def __init__(self, row: dict[str, Array]) -> None:
        b = len(row["kernels"])
        self.region = np.zeros((b, KERNELS), np.int64)
        self.count = np.ones(b, np.int64)
        shape = (b, KERNELS + 1)
        self.parent, self.first, self.end = np.full(shape, -1), np.zeros(shape, np.int64), np.zeros(shape, np.int64)
        self.trips, self.asks = np.ones(shape, np.int64), np.zeros(shape, bool)
        self.end[:, 0] = row["kernels"]
        inside, depth, every = np.zeros((b, NESTED + 1), np.int64), np.zeros(b, np.int64), np.arange(b)
        times = np.ones((b, NESTED + 1), np.int64)
        for k in range(KERNELS):
            for _ in range(NESTED):
                depth -= (depth > 0) & (self.end[every, inside[every, depth]] <= k)
            self._open(k, row, inside, depth, times)
            self.region[:, k] = inside[every, depth]

    def _open(self, k: int, row: dict[str, Array], inside: Array, depth: Array, times: Array) -> None:
        """Begin the loops that begin at kernel ``k``; ``inside`` and ``times`` are [b, depth] regions and how often they run."""
        every = np.arange(len(depth))
        around = inside[every, depth]
        end = np.minimum(k + row["length"][:, k], self.end[every, around])
        runs = times[every, depth] * row["trips"][:, k]
        opens = row["begins"][:, k] & (k < row["kernels"]) & (depth < NESTED) & (runs * (end - k) <= EXECUTED)
        at, number = np.flatnonzero(opens), self.count[opens]
        self.parent[at, number], self.first[at, number], self.end[at, number] = around[at], k, end[at]
        self.trips[at, number], self.asks[at, number] = row["trips"][at, k], row["asks"][at, k]
        self.count[at] += 1
        depth[at] += 1
        inside[at, depth[at]], times[at, depth[at]] = number, runs[at]


class Tables:
    """The four tables of many traces, one after another in tables for all of them."""

    def __init__(self, row: dict[str, Array]) -> None:
        nest = Nest(row)
        used = self._accesses(row)
        alias = np.tile(np.arange(TENSORS), (len(used), 1))
        for t in range(1, TENSORS):
            alias[:, t] = np.where(row["alias"][:, t], alias[:, t - 1], t)
        self._kernels(row, nest)
        self._regions(nest)
        self._tensors(row, alias, *_lifetimes(used, alias, nest))

    def trace(self, i: int) -> Trace:
        """Return trace ``i``."""
        parts = [_slice(table, *bounds[i : i + 2]) for table, bounds in (self.kernels, self.tensors, self.accesses, self.regions)]
        return Trace(*parts, MANIFEST)

    def _accesses(self, row: dict[str, Array]) -> Array:
        """Build the accesses; return which tensors each kernel touches (bool[b, K, T])."""
        here = np.arange(KERNELS) < row["kernels"][:, None]
        tensor = np.concatenate([row["reads"], row["writes"][..., None]], axis=2)
        tensor[..., 1] = np.where(tensor[..., 1] == tensor[..., 0], -1, tensor[..., 1])
        valid = (tensor >= 0) & here[..., None]
        b, k, mode = np.nonzero(valid)
        moved = row["size"][b, tensor[valid]].astype(np.float64)
        columns: dict[str, Any] = {"kernel": k, "tensor": tensor[valid], "mode": np.array(["read", "read", "write"], object)[mode]}
        columns |= {"bytes_unique": moved, "bytes_requested": moved, "stride": ["contiguous"] * len(b)}
        self.accesses = Table.build("accesses", columns), _bounds(valid.sum(axis=(1, 2)))
        used = np.zeros((*here.shape, TENSORS), bool)
        used[b, k, tensor[valid]] = True
        return used

    def _kernels(self, row: dict[str, Array], nest: Nest) -> None:
        b, k = np.nonzero(np.arange(KERNELS) < row["kernels"][:, None])
        meets = row["meets"][b, k] & (row["ranks"][b] > 1)
        work, count = np.where(meets, 3, row["work"][b, k]), len(b)

        def of(*each: Any) -> Array:
            return np.array(each)[work]

        defaults: dict[str, Any] = {
            "dtype": "f32", "grid_x": 64, "grid_y": 1, "grid_z": 1, "block_x": 128, "block_y": 1, "block_z": 1,
            "shared_bytes": 0, "registers": 32, "spill_bytes": 0, "flops_transcendental": 0.0,
            "bytes_unique": 4096.0, "bytes_requested": 4096.0, "phase": "",
        }  # fmt: skip
        columns: dict[str, Any] = {name: [value] * count for name, value in defaults.items()}
        columns |= {
            "name": [f"k{number}" for number in k.tolist()], "region": nest.region[b, k], "command_buffer": row["buffer"][b, k],
            "launches": np.where(meets, 1, row["launches"][b, k]),
            "opcodes": np.where(meets, np.array(COLLECTIVES)[row["collective"][b, k]], "add:1"),
            "family": of("elementwise", "gemm", "lu", "collective"), "stage": of("E", "A", "D", "E"),
            "launch_kind": of("fusion", "library", "library", "library"), "precision": of("", "highest", "", ""),
            "batch": of(-1, 1, 4096, -1), "m": of(-1, 2048, 30, -1), "n": of(-1, 2048, 30, -1), "k": of(-1, 2048, -1, -1),
            "flops_vector": of(1e9, 0.0, 0.0, 0.0), "flops_matrix": of(0.0, 2.0 * 2048**3, 4096 * 2 / 3 * 30.0**3, 0.0),
        }  # fmt: skip
        self.kernels = Table.build("kernels", columns), _bounds(row["kernels"])

    def _regions(self, nest: Nest) -> None:
        b, n = np.nonzero(np.arange(KERNELS + 1) < nest.count[:, None])
        columns: dict[str, Any] = {
            "parent": nest.parent[b, n], "kind": np.where(n == 0, "sequence", "loop"), "name": np.where(n == 0, "root", "loop"),
            "trip_count": nest.trips[b, n], "condition": np.where(nest.asks[b, n], "device", "host"),
            "first_kernel": nest.first[b, n], "end_kernel": nest.end[b, n],
        }  # fmt: skip
        self.regions = Table.build("regions", columns), _bounds(nest.count)

    def _tensors(self, row: dict[str, Array], alias: Array, first: Array, last: Array) -> None:
        kind, unused = row["kind"], last < 0
        exists, stays = (kind == "parameter") | unused, (kind != "temporary") | unused
        columns: dict[str, Any] = {
            "name": [f"t{t}" for _ in kind for t in range(TENSORS)], "bytes": row["size"].reshape(-1), "kind": kind.reshape(-1),
            "alias_set": alias.reshape(-1), "first_kernel": np.where(exists, -1, first).reshape(-1),
            "last_kernel": np.where(stays, -1, last).reshape(-1),
        }  # fmt: skip
        self.tensors = Table.build("tensors", columns), np.arange(len(kind) + 1) * TENSORS


def _lifetimes(used: Array, alias: Array, nest: Nest) -> tuple[Array, Array]:
    """Return the first and last kernel that needs each tensor's allocation ([b, T]; 0 and -1: none), over whole loops that it enters or
    leaves."""
    same = alias[:, :, None] == alias[:, None, :]
    needed = (used[:, :, None, :] & same[:, None, :, :]).any(axis=3)
    first, last = needed.argmax(axis=1), KERNELS - 1 - needed[:, ::-1].argmax(axis=1)
    last[~needed.any(axis=1)] = -1
    for n in range(1, int(nest.count.max())):
        begin, end = nest.first[:, n, None], nest.end[:, n, None]
        widens = (n < nest.count)[:, None] & (begin <= last) & (first < end) & ~((begin <= first) & (last < end))
        first, last = np.where(widens, np.minimum(first, begin), first), np.where(widens, np.maximum(last, end - 1), last)
    return first, last


def _bounds(count: Array) -> Array:
    return np.append(0, np.cumsum(count))


def _slice(table: Table, first: int, end: int) -> Table:
    """Return some rows; text keeps the categories of all."""
    numbers, text = table._numbers, table._text
    return Table(
        table.kind,
        {name: values[first:end] for name, values in numbers.items()},
        {name: (codes[first:end], categories) for name, (codes, categories) in text.items()},
    )
