"""Random machines and programs: nothing may happen but a result on which both engines agree, or an error that is ours.

``python -m tests.fuzz --seed 1 --count 5000`` (``make fuzz SEED=1 N=5000``). Program i of a seed is always the same: ``--only i`` runs it
alone. With ``--state FILE`` a run that was ended goes on where it was. Three of four programs are planned from a trace, a machine and a
mapping (`tests.fuzz_traces`), the others are made of operations by hand (`tests.fuzz_programs`). All are drawn as arrays, block by block.
"""

import argparse
import gc
import json
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from codesign.engine import fast, reference
from codesign.engine.expand import expand
from codesign.engine.program import HAND_OVER, TRANSFER, Program, Run
from tests.fuzz_programs import ByHand
from tests.fuzz_traces import Planned
from traces.errors import CodesignError, TraceError

BLOCK = 1000
COLLECT = 250
"""After so many programs, what is left of them is collected: more seldom than Python would, and nothing older."""
BY_HAND = 4
"""Every so many-th program is made by hand."""
FEATURES = (
    "loops", "nested loops", "stepped over", "transfers", "chunks", "stale copies", "evictions", "slices", "copy streams", "mode changes",
    "in-memory PIM", "attached PIM", "reconfigurations", "shared memories", "streams", "wires", "collectives", "disturbed", "jitter",
)  # fmt: skip


@dataclass
class Block:
    """The programs of one block of a seed."""

    seed: int
    number: int

    def __post_init__(self) -> None:
        random = np.random.default_rng([self.seed, self.number])
        self.by_hand = ByHand(random, BLOCK // BY_HAND)
        self.planned = Planned(random, BLOCK - BLOCK // BY_HAND)

    def run(self, i: int) -> set[str]:
        """Run program ``i`` of the block on both engines; return what it had. Raises AssertionError where they differ."""
        if i % BY_HAND == 0:
            program, had = self.by_hand.program(i // BY_HAND)
            return had | features(program, agree(program))
        case = self.planned.case(i - i // BY_HAND - 1)
        truth = agree(case.program)
        case.balance()
        return case.features() | features(case.program, truth) | case.refused(truth)


def features(program: Program, run: Run) -> set[str]:
    """Return which of FEATURES a program has, whatever it was made from; ``run`` is one in which iterations are stepped over."""
    kind, first, end = program["kind"], program.loops["first"], program.loops["end"]
    wire = program.hardware.wire[program["queue"][program["queue"] >= 0]]
    had = {
        "loops": len(first) > 0,
        "nested loops": bool(((first[:, None] <= first) & (end <= end[:, None])).sum() > len(first)),
        "stepped over": run.launches_stepped > 0,
        "transfers": bool((kind == TRANSFER).any()),
        "mode changes": bool((kind == HAND_OVER).any()),
        "wires": bool((wire >= 0).any()),
        "disturbed": bool(program.hardware.guest.any()),
        "jitter": program.hardware.spread > 0,
    }
    return {name for name, there in had.items() if there}


def agree(program: Program) -> Run:
    """Replay on both engines, and with iterations stepped over (which is returned); all must be equal, event by event."""
    try:
        truth = reference.run(program)
    except TraceError as refused:
        also_refused(program, str(refused))
        raise
    stepped = fast.run(program)
    for name, run in (("fast", fast.run(program, step_over=False)), ("fast, stepping over", stepped)):
        assert (run.time_ps, run.host_bound_ps) == (truth.time_ps, truth.host_bound_ps), name
        assert run.launches_run + run.launches_stepped == truth.launches_run, name
        assert np.array_equal(run.elapsed_ps, truth.elapsed_ps), name
        assert run.records is not None
        assert truth.records is not None
        whole, known = expand(run.records), truth.records
        same = len(whole.op) == len(known.op) and bool(
            ((whole.op == known.op) & (whole.start_ps == known.start_ps) & (whole.end_ps == known.end_ps)).all()
        )
        assert same, (
            f"{name}: starts {whole.start_ps.tolist()} to {whole.end_ps.tolist()}, but {known.start_ps.tolist()} to {known.end_ps.tolist()}"
        )
    return stepped


def also_refused(program: Program, message: str) -> None:
    """Raise AssertionError unless the fast engine says the same of a program that the reference refuses (a circle of claims)."""
    for step_over in (False, True):
        try:
            fast.run(program, step_over=step_over)
        except TraceError as error:
            found = str(error)
        else:
            found = "nothing"
        assert found == message, f"the reference refuses this ({message}), the fast engine says {found}"


def numbered(first: int, count: int, seed: int) -> Iterator[tuple[int, Block]]:
    """Yield the programs ``first`` to ``first + count`` of a seed, each with its block."""
    block = None
    for i in range(first, first + count):
        if block is None or block.number != i // BLOCK:
            block = Block(seed, i // BLOCK)
        yield i, block


@reference.uncollected()
def fuzz(seed: int, first: int, count: int, state: Path | None = None) -> Counter[str]:
    """Run programs; return how many had what. Raises the first error, with the program's number in its notes."""
    seen: Counter[str] = Counter()
    if state is not None and state.exists():
        kept = json.loads(state.read_text())
        if kept["seed"] == seed:
            seen.update(kept["seen"])
            first, count = kept["next"], max(0, first + count - kept["next"])
    for i, block in numbered(first, count, seed):
        if i % COLLECT == 0:
            gc.collect(0)
        try:
            seen.update(block.run(i % BLOCK))
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
    begin, used = time.perf_counter(), time.process_time()
    first, count = (0, given.count) if given.only is None else (given.only, 1)
    seen = fuzz(given.seed, first, count, given.state if given.only is None else None)
    rest = ", ".join(f"{name} {seen[name]:,}" for name in (*FEATURES, *sorted(n for n in seen if n.startswith("refused"))))
    took = f"{time.perf_counter() - begin:.0f} s, {time.process_time() - used:.0f} s of CPU"
    sys.stdout.write(f"seed {given.seed}: {seen['programs']:,} programs, both engines agree; {rest}; {took}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
