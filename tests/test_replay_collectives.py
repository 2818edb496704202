"""Do collectives take what their steps over links take?"""

from typing import Any

import pytest

from codesign.engine import fast, reference
from codesign.engine.builder import ProgramBuilder
from codesign.engine.collectives import Wire, all_gather, all_reduce, all_to_all, reduce_scatter
from tests.engines_agree import agree
from traces.errors import MachineError

US = 1e-6
ENGINES = pytest.mark.parametrize("engine", [fast, reference])


def ranks(count: int, resources: dict[str, float] | None = None, everywhere: bool = False) -> ProgramBuilder:
    links = [f"{i}-{j}" for i in range(count) for j in range(count) if i != j and (everywhere or j == (i + 1) % count)]
    return ProgramBuilder([*(f"gpu{i}" for i in range(count)), *links], resources=resources or {})


def ring(count: int, shared: str | None = None) -> list[Wire]:
    return [Wire(f"{i}-{(i + 1) % count}", 10e9, 1 * US, shared) for i in range(count)]


@ENGINES
@pytest.mark.parametrize(("collective", "steps"), [(all_reduce, 6), (reduce_scatter, 3), (all_gather, 3)])
def test_a_ring_takes_steps_of_an_nth_each(engine: Any, collective: Any, steps: int) -> None:
    """400 kB on four ranks: each step moves 100 kB in 10 us and 1 us latency; kernels of 5 us before and after."""
    builder = ranks(4)
    before = [builder.launch(f"gpu{i}", 5 * US) for i in range(4)]
    done = collective(builder, ring(4), 400e3, before)
    for i in range(4):
        builder.launch(f"gpu{i}", 5 * US, after=[done[i]])
    assert engine.run(builder.build()).time_ps == (10 + steps * 11) * 1_000_000


@ENGINES
def test_a_late_rank_holds_the_ring_up(engine: Any) -> None:
    builder = ranks(4)
    before = [builder.launch(f"gpu{i}", (5 + 20 * (i == 2)) * US) for i in range(4)]
    done = all_reduce(builder, ring(4), 400e3, before)
    for i in range(4):
        builder.launch(f"gpu{i}", 5 * US, after=[done[i]])
    program = builder.build()
    assert engine.run(program).time_ps == (25 + 6 * 11 + 5) * 1_000_000
    agree(program)


@ENGINES
def test_what_the_links_share_is_shared(engine: Any) -> None:
    """Four links of 10 GB/s through a switch of 20 GB/s: a step's 10 + 1 us of 100 kB take what 400 kB take at 20 GB/s."""
    builder = ranks(4, {"switch": 20e9})
    before = [builder.launch(f"gpu{i}", 5 * US) for i in range(4)]
    done = all_gather(builder, ring(4, "switch"), 400e3, before)
    for i in range(4):
        builder.launch(f"gpu{i}", 5 * US, after=[done[i]])
    assert engine.run(builder.build()).time_ps / 1e6 == pytest.approx(10 + 3 * 400e3 / 20e9 * 1e6, rel=1e-6)


@ENGINES
def test_an_all_to_all_sends_to_each_at_once_where_there_is_a_link_to_each(engine: Any) -> None:
    builder = ranks(4, everywhere=True)
    links = [[Wire(f"{i}-{j}", 10e9, 1 * US) if i != j else None for j in range(4)] for i in range(4)]
    before = [builder.launch(f"gpu{i}", 5 * US) for i in range(4)]
    done = all_to_all(builder, links, 400e3, before)
    for i in range(4):
        builder.launch(f"gpu{i}", 5 * US, after=done[i])
    assert engine.run(builder.build()).time_ps == (5 + 11 + 5) * 1_000_000


def test_a_collective_that_cannot_be_is_refused() -> None:
    builder = ranks(2)
    first = builder.launch("gpu0", 1 * US)
    with pytest.raises(MachineError, match="at least two ranks"):
        all_reduce(builder, ring(2)[:1], 1.0, [first])
    with pytest.raises(MachineError, match="from 0 to 1"):
        all_to_all(builder, [[None, None], [None, None]], 1.0, [first, first])
    with pytest.raises(MachineError, match="bandwidth above zero"):
        Wire("0-1", 0.0, 0.0)
