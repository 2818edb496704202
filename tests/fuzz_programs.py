"""Random programs made of operations by hand, for `tests.fuzz`: what no trace is planned to, and ties everywhere."""

from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from codesign.engine.builder import ProgramBuilder
from codesign.engine.collectives import Wire, all_gather, all_reduce, all_to_all
from codesign.engine.program import HAND_OVER, TRANSFER, Program

PS = 1e-12
MOST = 20
QUEUES = ("gpu", "pim", "link", "copy", "back", "others")
DEVICES, LINKS = QUEUES[:2], QUEUES[2:5]
WIRES: tuple[tuple[tuple[str, ...], ...], ...] = ((), (("link", "copy"),), (("link", "copy"), ("gpu", "pim")), (LINKS,), (DEVICES, LINKS))
EXECUTED = 150


@dataclass
class ByHand:
    """``count`` programs, drawn as arrays."""

    random: np.random.Generator
    count: int

    def __post_init__(self) -> None:
        r, b = self.random, self.count
        each = (b, MOST)
        self.columns: dict[str, Any] = {
            "size": r.integers(1, MOST + 1, (b, 2)).min(axis=1),
            "host": r.integers(0, 5, (b, 2)),
            "depth": r.choice([1, 1, 2, 3, 1024], b),
            "wires": r.integers(0, len(WIRES), b),
            "shared": r.random(b) < 0.5,
            "guests": r.choice([0, 0, 0, 1, 3], b),
            "spread": r.choice([0.0, 0.0, 0.0, 0.1, 0.5], b),
            "queue": r.integers(0, 6, each),
            "lasts": r.choice([0, 0, 0, 1, 1, 2, 3, 7, 12], (b, MOST, 3)),
            "sends": r.choice([0, 0, 0, 1, 2], each),
            "after": r.integers(-8, 7, (b, MOST, 2)),
            "resource": r.choice([0, 0, 1, 2, 3, 4, 5, 6, 7, 8], (b, MOST, 3)),
            "begins": r.random(each) < 0.15,
            "length": r.integers(1, 6, each),
            "trips": r.choice([1, 2, 3, 5, 12, 40], each, p=[0.15, 0.3, 0.25, 0.15, 0.12, 0.03]),
            "asks": r.random(each) < 0.15,
            "carried": r.random((b, MOST, 2, 2)),
            "buffer": r.random(each) < 0.1,
            "collective": r.choice([0, 0, 0, 0, 0, 0, 0, 1, 2, 3], each) * (r.random((b, 1)) < 0.3),
        }

    def program(self, i: int) -> tuple[Program, set[str]]:
        """Return program ``i`` and what was put into it."""
        sketch = Sketch({name: column[i] for name, column in self.columns.items()})
        return sketch.program(), sketch.had


@dataclass
class Sketch:
    """One program being built from its row of numbers."""

    row: dict[str, Any]
    ops: list[int] = field(default_factory=list)
    had: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        row, shared = self.row, {"hbm": 4e12, "host": 5e12}
        interval, latency = row["host"].tolist()
        self.builder = ProgramBuilder(
            QUEUES, launch_interval_s=interval * PS, launch_latency_s=latency * PS, queue_depth=int(row["depth"]),
            resources=shared if row["shared"] else {}, wires=WIRES[row["wires"]], guests=["others"] if row["guests"] else [],
        )  # fmt: skip

    def program(self) -> Program:
        row, size = self.row, int(self.row["size"])
        for k in range(int(row["guests"])):
            lasts = int(row["lasts"][k, 2]) * 5
            self.ops.append(self.builder.guest("others", lasts * PS, **self.resources(k, 2, lasts)))
        self.fill(0, size, 1, 0)
        made = self.builder.build()
        spread = float(row["spread"])
        return replace(made, hardware=made.hardware._replace(spread=spread, seed=int(row["length"][0]))) if spread else made

    def fill(self, first: int, end: int, times: int, level: int) -> None:
        """Add steps ``first:end``, which run ``times`` times."""
        row, k = self.row, first
        while k < end:
            stop, trips = min(end, k + int(row["length"][k])), int(row["trips"][k])
            if row["begins"][k] and level < 3 and times * trips * (stop - k) <= EXECUTED:
                row["begins"][k] = False
                begun = len(self.ops)
                with self.builder.loop(trips):
                    self.fill(k, stop, times * trips, level + 1)
                    if row["asks"][k]:
                        self.ops.append(self.builder.round_trip(int(row["lasts"][k, 1]) * PS))
                self.carry(begun, row["carried"][k])
                k = stop
            else:
                self.step(k)
                k += 1

    def carry(self, first: int, picks: Any) -> None:
        """Let operations of a loop wait for those of the iteration before."""
        inside = self.ops[first:]
        for one, other in (picks * len(inside)).astype(int).tolist():
            self.builder.depend(inside[one], inside[other])

    def step(self, k: int) -> None:
        """Add a launch with what goes with it."""
        row = self.row
        with ExitStack() as stack:
            if row["buffer"][k]:
                stack.enter_context(self.builder.command_buffer(int(row["lasts"][k, 0]) * PS))
                self.launch(k, 0, DEVICES[row["queue"][k] % 2])
            if row["collective"][k] and len(self.ops) >= 3:
                self.collective(int(row["collective"][k]), k)
            for n in range(int(row["sends"][k])):
                queue = [*LINKS, "pim"][(row["queue"][k] + n) % 4]
                self.add(self.builder.operation, k, n, queue, kind=HAND_OVER if queue == "pim" else TRANSFER)
            self.launch(k, 2, DEVICES[row["queue"][k] // 3])

    def launch(self, k: int, n: int, queue: str) -> None:
        self.add(self.builder.launch, k, n, queue)

    def collective(self, kind: int, k: int) -> None:
        """Add one between three ranks."""
        ring = [Wire(queue, 1e12, int(self.row["lasts"][k, 0]) * PS, "host" if self.row["shared"] else None) for queue in LINKS]
        nbytes, after = 3.0 * int(self.row["lasts"][k, 1]), self.ops[-3:]
        if kind == 3:
            found = all_to_all(self.builder, [[ring[(i + j) % 3] for j in range(3)] for i in range(3)], nbytes, after)
            self.ops += [on for received in found for on in received]
        else:
            self.ops += (all_reduce if kind == 1 else all_gather)(self.builder, ring, nbytes, after)
        self.had.add("collectives")

    def add(self, method: Any, k: int, n: int, queue: str, **extra: int) -> None:
        lasts = int(self.row["lasts"][k, n])
        after = {self.ops[-1 - back] for back in self.row["after"][k].tolist() if 0 <= back < len(self.ops)}
        self.ops.append(method(queue, lasts * PS, after=sorted(after), **self.resources(k, n, lasts), **extra))

    def resources(self, k: int, n: int, lasts: int) -> dict[str, dict[str, float]]:
        """Return what an operation uses or closes of what is shared, if it is and takes time."""
        number = int(self.row["resource"][k, n])
        if not self.row["shared"] or not lasts or not number:
            return {}
        name = ("hbm", "host")[number % 2]
        if number < 5:
            return {"uses": {name: float(number * lasts)}}
        other = ("host", "hbm")[number % 2]
        if number >= 7:
            return {"uses": {name: float(lasts)}, "claims": {other: 1.0}}
        return {"claims": {name: 0.25 if number == 5 else 0.5}}
