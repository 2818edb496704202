"""Random machines and programs: nothing may happen but a result on which both engines agree, or an error that is ours.

``python -m tests.fuzz --seed 1 --count 5000`` (``make fuzz SEED=1 N=5000``). Program i of a seed is always the same: ``--only i`` runs it
alone. With ``--state FILE`` a run that was ended goes on where it was.
"""

import argparse
import json
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from arch.memory import Memory
from codesign.engine import fast, reference
from codesign.engine.disturb import Disturbance, disturb
from codesign.engine.expand import expand
from codesign.engine.plan import make_plan
from codesign.engine.program import HAND_OVER, TRANSFER, Program, Run
from codesign.engine.replaying import check_in_order
from codesign.engine.usage import check_capacity, usage
from schedulers.scheduler import Mapping
from schedulers.tensors import Offload
from tests.replay_toys import ENDLESS, Fixed, hand_over, host, link, toy
from tests.toys import Toy
from traces import Trace, interleave
from traces.errors import CodesignError

BLOCK = 500
KERNELS, TENSORS, MACHINES = 20, 6, 16
SIZES = np.array([0, 100, 4096, 40_000, 400_000, 3_000_000])
FEATURES = ("loops", "transfers", "stale copies", "evictions", "mode changes", "shared memories", "disturbed", "streams")
MOST_LAUNCHES = 240


@dataclass
class Draws:
    """The random numbers of a block, drawn as arrays; ``row(i)`` is what program i of it needs."""

    random: np.random.Generator

    def __post_init__(self) -> None:
        r, b = self.random, BLOCK
        self.columns: dict[str, Any] = {
            "kernels": r.integers(2, KERNELS + 1, b),
            "size": r.choice(SIZES, (b, TENSORS), p=[0.05, 0.2, 0.25, 0.25, 0.15, 0.1]),
            "kind": r.choice(["parameter", "temporary", "output"], (b, TENSORS)),
            "alias": r.random((b, TENSORS)) < 0.1,
            "reads": r.integers(-2, TENSORS, (b, KERNELS, 2)),
            "writes": r.integers(-1, TENSORS, (b, KERNELS)),
            "launches": r.choice([1, 1, 1, 2, 3], (b, KERNELS)),
            "buffer": r.choice([-1, -1, 0, 1], (b, KERNELS)),
            "begins": r.random((b, KERNELS)) < 0.12,
            "length": r.integers(1, 7, (b, KERNELS)),
            "trips": r.choice([1, 2, 3, 5, 20], (b, KERNELS)),
            "asks": r.random((b, KERNELS)) < 0.2,
            "machine": r.integers(0, MACHINES, b),
            "device": r.integers(0, 1000, (b, KERNELS)),
            "home": r.integers(-4, 1000, (b, TENSORS)),
            "offload": r.random(b) < 0.4,
            "distance": r.integers(0, 4, b),
            "slices": r.random(b) < 0.3,
            "synchronous": r.random(b) < 0.5,
            "write_backs": r.integers(1, 4, b),
            "disturbed": r.random(b) < 0.3,
            "closed": r.choice([0.25, 0.5, 1.0], b),
            "when": r.integers(0, 60, (b, 2)),
            "spread": r.choice([0.0, 0.0, 0.1], b),
            "streams": r.choice([1, 1, 1, 1, 2, 3], b),
        }
        self.machines = [random_machine(r) for _ in range(MACHINES)]

    def row(self, i: int) -> dict[str, Any]:
        """Return the numbers of one program."""
        return {name: column[i] for name, column in self.columns.items()}


def random_machine(r: np.random.Generator) -> Any:
    """Return a GPU with PIMs in its memory, devices and memories behind links, and sometimes little room."""

    def times() -> tuple[float, ...]:
        return tuple(float(t) for t in r.integers(0, 12, 4))

    def moved() -> tuple[float, ...]:
        return tuple(float(m) for m in r.choice([0.0, 40e3, 400e3], 3))

    shared = bool(r.random() < 0.6)
    devices, overs, links = [Fixed("gpu", "hbm", times(), moved=moved())], [], []
    for i in range(int(r.integers(0, 3))):
        devices.append(Fixed(f"pim{i}", "hbm", times(), "pim"))
        overs.append(hand_over(f"pim{i}", float(r.integers(0, 3)), float(r.choice([0.0, 0.25, 1.0])), 20.0))
    for i in range(int(r.integers(0, 3))):
        devices.append(Fixed(f"far{i}", f"far{i}", times(), moved=moved()))
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
    return machine


def make_trace(row: dict[str, Any]) -> Trace:
    """Return the trace of one program: tensors, kernels, and loops that nest."""
    built = Toy()
    for t in range(TENSORS):
        built.tensor(f"t{t}", int(row["size"][t]), str(row["kind"][t]), f"t{t - 1}" if t and row["alias"][t] else None)
    ends: list[int] = []
    total = 1
    for k in range(int(row["kernels"])):
        while ends and ends[-1] <= k:
            ends.pop()
            built.__exit__()
        if row["begins"][k] and len(ends) < 3 and total * row["trips"][k] <= MOST_LAUNCHES // KERNELS:
            total *= int(row["trips"][k])
            ends.append(min([*ends, int(row["kernels"]), k + int(row["length"][k])]))
            built.loop(int(row["trips"][k]), condition="device" if row["asks"][k] else "host")
        reads = [f"t{t}" for t in dict.fromkeys(row["reads"][k].tolist()) if t >= 0]
        writes = [f"t{row['writes'][k]}"] if row["writes"][k] >= 0 else []
        built.kernel(f"k{k}", reads, writes, launches=int(row["launches"][k]), command_buffer=int(row["buffer"][k]))
    for _ in ends:
        built.__exit__()
    return built.build()


def make_mapping(row: dict[str, Any], machine: Any, trace: Trace) -> Mapping:
    """Return where kernels run and where tensors live."""
    device = (np.resize(row["device"], len(trace.kernels)) % len(machine.devices)).astype(np.int32)
    offload = None
    if row["offload"]:
        drawn = np.resize(row["home"], len(trace.tensors))
        home = np.where(drawn < 0, -1, drawn % len(machine.memories)).astype(np.int32)
        handed = any(machine.devices[d].kind == "pim" for d in device)
        distance = int(row["distance"])
        waits = bool(row["synchronous"]) and distance == 0
        offload = Offload(home, distance, bool(row["slices"]) and not handed, waits, True, int(row["write_backs"]))
    return Mapping(device, "fuzz", offload=offload)


def one(row: dict[str, Any], machines: list[Any]) -> set[str]:
    """Plan and replay one program on both engines; return what it had. Raises AssertionError where they differ."""
    machine = machines[row["machine"]]
    trace = make_trace(row)
    if row["streams"] > 1:
        trace = interleave(trace, int(row["streams"]))
    mapping = make_mapping(row, machine, trace)
    made = make_plan(trace, machine, mapping)
    program = made.program
    if row["disturbed"]:
        others = Disturbance("gpu", float(row["when"][0]) * 1e-6, float(row["when"][1] + 1) * 1e-6, closed=float(row["closed"]))
        program = disturb(program, [others], spread=float(row["spread"]), seed=7)
    found = agree(program)
    assert found.records is not None
    balance(program, trace)
    had = features(program, made.evictions, machine, mapping) | ({"disturbed"} if row["disturbed"] else set())
    had |= {"streams"} if row["streams"] > 1 else set()
    try:
        check_in_order(made, trace)
        check_capacity(program, usage(program, found.records), trace)
    except CodesignError:
        had.add("refused: too little room")
    return had


def balance(program: Program, trace: Trace) -> None:
    """Raise AssertionError unless memory is released as often as it is taken, and never more often."""
    times = program.executions[program.changes["op"]] // program.changes["every"]
    level = program.memory_initial.copy()
    np.add.at(level, program.changes["memory"], program.changes["bytes"] * times)
    assert (level >= 0).all(), "more is released than was taken"
    assert (trace.tensors["last_kernel"] < 0).any() or not level.any(), "what nothing needs any more is not released"


def features(program: Program, evictions: int, machine: Any, mapping: Mapping) -> set[str]:
    """Return which of FEATURES a program has."""
    kinds = program["kind"]
    used = [machine.devices[d].memory for d in set(mapping.device.tolist())]
    dropped = (program.changes["bytes"] < 0) & (program.changes["at_end"] == 0)
    had = {
        "loops": len(program.loops) > 0,
        "transfers": bool((kinds == TRANSFER).any()),
        "stale copies": bool(dropped.any()),
        "evictions": evictions > 0,
        "mode changes": bool((kinds == HAND_OVER).any()),
        "shared memories": len(set(used)) < len(used),
    }
    return {name for name, there in had.items() if there}


def agree(program: Program) -> Run:
    """Replay on both engines, and with iterations stepped over; all must be equal, event by event."""
    truth, plain, stepped = reference.run(program), fast.run(program, step_over=False), fast.run(program)
    for run in (plain, stepped):
        assert (run.time_ps, run.host_bound_ps) == (truth.time_ps, truth.host_bound_ps)
        assert run.launches_run + run.launches_stepped == truth.launches_run
        assert run.elapsed_ps.tolist() == truth.elapsed_ps.tolist()
        assert run.records is not None
        assert truth.records is not None
        whole = expand(run.records)
        np.testing.assert_array_equal(whole.op, truth.records.op)
        np.testing.assert_array_equal(whole.start_ps, truth.records.start_ps)
        np.testing.assert_array_equal(whole.end_ps, truth.records.end_ps)
    return truth


def programs(seed: int, first: int, count: int) -> Iterator[tuple[int, dict[str, Any], list[Any]]]:
    """Yield number, random numbers and machines of programs ``first`` to ``first + count`` of a seed."""
    for block in range(first // BLOCK, (first + count + BLOCK - 1) // BLOCK):
        draws = Draws(np.random.default_rng([seed, block]))
        for i in range(max(first, block * BLOCK), min(first + count, (block + 1) * BLOCK)):
            yield i, draws.row(i - block * BLOCK), draws.machines


def fuzz(seed: int, first: int, count: int, state: Path | None = None) -> Counter[str]:
    """Run programs; return how many had what. Raises the first error, with the program's number in its notes."""
    seen: Counter[str] = Counter()
    if state is not None and state.exists():
        kept = json.loads(state.read_text())
        if kept["seed"] == seed:
            seen.update(kept["seen"])
            first, count = kept["next"], max(0, first + count - kept["next"])
    for i, row, machines in programs(seed, first, count):
        try:
            seen.update(one(row, machines))
        except CodesignError as error:
            seen[f"refused: {type(error).__name__}"] += 1
        except Exception as error:
            error.add_note(f"program {i} of seed {seed}: python -m tests.fuzz --seed {seed} --only {i}")
            raise
        seen["programs"] += 1
        if state is not None and (i + 1) % BLOCK == 0:
            beside = state.with_suffix(".new")
            beside.write_text(json.dumps({"seed": seed, "next": i + 1, "seen": seen}))
            beside.rename(state)
    return seen


def main(arguments: list[str] | None = None) -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--count", type=int, default=5000)
    parser.add_argument("--only", type=int, help="run this program alone")
    parser.add_argument("--state", type=Path, help="file that keeps how far it is")
    given = parser.parse_args(arguments)
    begin = time.perf_counter()
    first, count = (0, given.count) if given.only is None else (given.only, 1)
    seen = fuzz(given.seed, first, count, given.state if given.only is None else None)
    rest = ", ".join(f"{name} {seen[name]:,}" for name in (*FEATURES, *sorted(n for n in seen if n.startswith("refused"))))
    line = f"seed {given.seed}: {seen['programs']:,} programs, both engines agree; {rest}; {time.perf_counter() - begin:.0f} s"
    sys.stdout.write(line + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
