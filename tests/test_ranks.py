"""Do programs of several ranks run side by side, and do their collectives take what their messages take?"""

from dataclasses import replace
from itertools import combinations
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import codesign as cd
from arch.machine import Machine
from codesign.engine import fast, reference
from codesign.engine.plan import make_plan, plan
from schedulers.ranks import Ranks
from schedulers.scheduler import Mapping
from tests.engines_agree import agree
from tests.replay_toys import Fixed, host, link, on, toy
from tests.toys import Toy
from traces import Trace
from traces.errors import MachineError, MappingError, TraceError
from traces.ranks import ranks_of
from traces.recordings import FOLDER

ENGINES = pytest.mark.parametrize("engine", [fast, reference])
SIZE = 400_000


def meets(what: str, trips: int = 1, size: int = SIZE, moved: int | None = None, ranks: int = 4, **columns: Any) -> Trace:
    """A kernel, a collective of ``size`` bytes (``moved``: what it writes, if that differs), a kernel."""
    toy_ = Toy()
    toy_.tensor("x", size)
    toy_.tensor("y", size if moved is None else moved)
    with toy_.loop(trips):
        toy_.kernel("before", ["w"], ["x"], **columns)
        toy_.kernel("all", ["x"], ["y"], family="collective", opcodes=f"{what}:1", **columns)
        toy_.kernel("after", ["y", "x"], ["z"], **columns)
    return toy_.build(options={"tensor_parallel": ranks})


def gpus(ranks: int = 4, everywhere: bool = True, us: tuple[float, ...] = (5,), extra: float = 0.0, at: Any = None) -> Machine:
    """Devices of 5 us a kernel, joined by links of 10 GB/s and 1 us: in a ring, or each with every other."""
    near = [(i, (i + 1) % ranks) for i in range(ranks)] if ranks > 2 else [(0, 1)]
    pairs = list(combinations(range(ranks), 2)) if everywhere else near
    links = tuple(replace(link(f"m{a}", f"m{b}", name=f"l{a}{b}"), collective_s=extra) for a, b in pairs)
    return toy(*(Fixed(f"g{i}", f"m{i}", us) for i in range(ranks)), links=links, at=at)


def run(engine: Any, trace: Trace, machine: Machine) -> int:
    whole = trace.side_by_side()
    made = plan(whole, machine, Ranks().schedule(whole, machine, None))  # type: ignore[arg-type]
    return int(engine.run(made).time_ps)


@ENGINES
@pytest.mark.parametrize(
    ("what", "moved", "us"),
    [
        ("all-reduce", None, 6 * (1 + 10)),  # 2 (n - 1) steps of b / n: 100 kB at 10 GB/s are 10 us
        ("reduce-scatter", SIZE // 4, 3 * (1 + 10)),
        ("all-gather", 4 * SIZE, 3 * (1 + 40)),
    ],
)
def test_a_ring_takes_its_steps(engine: Any, what: str, moved: int | None, us: int) -> None:
    assert run(engine, meets(what, moved=moved), gpus(everywhere=False)) == (5 + us + 5) * 1_000_000


@ENGINES
def test_an_all_to_all_sends_one_message_after_another(engine: Any) -> None:
    """Three messages of 100 kB from each port; the latency is that of the first."""
    assert run(engine, meets("all-to-all"), gpus()) == (5 + 1 + 3 * 10 + 5) * 1_000_000


@ENGINES
def test_the_sooner_way_is_taken(engine: Any) -> None:
    """All to each other: 1 + 3 m / B with m = b; a ring: 6 (1 + b / 4 B). At 10 GB/s they cross between 30 and 40 kB."""
    assert run(engine, meets("all-reduce", size=20_000), gpus()) == (5 + 1 + 3 * 2 + 5) * 1_000_000
    assert run(engine, meets("all-reduce", size=400_000), gpus()) == (5 + 6 * 11 + 5) * 1_000_000
    assert run(engine, meets("all-gather", size=100_000, moved=400_000), gpus()) == (5 + 1 + 3 * 10 + 5) * 1_000_000


@ENGINES
def test_links_may_add_a_time_of_their_own(engine: Any) -> None:
    assert run(engine, meets("all-reduce"), gpus(everywhere=False, extra=3e-6)) == (5 + 66 + 3 + 5) * 1_000_000


def test_an_all_reduce_takes_two_times_n_less_one_nths_of_its_bytes_over_the_bandwidth() -> None:
    """1 GB on eight H100: latencies and overhead are 0.1 % of it."""
    machine = cd.machine("8xh100-sxm", peer_link_latency_s=0.0)
    trace = meets("all-reduce", size=10**9, ranks=8)
    timeline = cd.replay(trace, machine)
    kernels = max(times["busy_s"] for times in timeline.devices.values())
    assert timeline.time_s - timeline.host_bound_s - kernels == pytest.approx(2 * 7 / 8 * 1e9 / 378e9, rel=1e-3)


@ENGINES
def test_a_late_rank_holds_all_up(engine: Any) -> None:
    """The kernels of rank 2 take 20 us longer; in a ring the others begin, then wait for what comes from it."""
    machine = gpus(everywhere=False)
    late = tuple(replace(d, us=(25,)) if d.id == "g2" else d for d in machine.devices)  # type: ignore[type-var]
    found = run(engine, meets("all-reduce"), replace(machine, devices=late))
    assert found == (25 + 6 * 11 + 25) * 1_000_000


def test_one_rank_is_the_program_itself() -> None:
    trace = meets("all-reduce", ranks=1)
    toy_ = Toy()
    with toy_.loop(3):
        toy_.kernel("a", ["w"], ["x"])
    alone = toy_.build(options={"tensor_parallel": 1})
    assert alone.side_by_side() is alone
    assert cd.replay(alone, cd.machine("1xa5000")).time_s == cd.replay(alone, cd.machine("a5000")).time_s
    with pytest.raises(TraceError, match="of how many ranks"):
        trace.side_by_side()


def test_ranks_share_nothing_and_each_memory_holds_its_own() -> None:
    trace = meets("all-reduce", trips=3)
    timeline = cd.replay(trace, cd.machine("4xh100-sxm"))
    whole = trace.side_by_side()
    assert len(whole.kernels) == 12
    assert whole.kernels["stream"].tolist() == [0, 1, 2, 3] * 3
    assert len(set(whole.tensors["alias_set"].tolist())) == 4 * len(set(trace.tensors["alias_set"].tolist()))
    assert set(timeline.devices) == {f"h100-sxm-{i}" for i in range(4)}
    own = sum(size for size in (SIZE, SIZE, 4096, 4096))  # x, y, z and w
    assert {name: used.peak for name, used in timeline.memory.items()} == {f"h100-sxm-memory-{i}": own for i in range(4)}


def test_every_rank_has_a_cache_of_its_own() -> None:
    """What others touch in between does not push a rank's data out: all have the reuse distances of one alone."""
    trace = meets("all-reduce", trips=3)
    distance = trace.side_by_side().reuse_distance_bytes
    whole, alone = trace.side_by_side(), trace.reuse_distance_bytes
    for rank in range(4):
        mine = whole.kernels["stream"][whole.accesses["kernel"]] == rank
        assert distance[mine].tolist() == alone.tolist()


@ENGINES
def test_hosts_of_ranks_keep_pace(engine: Any) -> None:
    """Every rank has a host of its own: four ranks are issued as fast as one, here one launch every 20 us."""
    machine = gpus(everywhere=False, us=(1,), at=host(interval=20))
    assert run(engine, meets("all-reduce", trips=2, size=4), machine) == (20 * 5 + 1) * 1_000_000


@ENGINES
def test_a_command_buffer_is_one_issue_of_each_rank_between_collectives(engine: Any) -> None:
    machine = gpus(everywhere=False, us=(1,), at=host(interval=20, gap=2))
    toy_ = Toy()
    for name in ("a", "b"):
        toy_.kernel(name, ["w"], [name], command_buffer=1)
    toy_.kernel("all", ["b"], ["c"], family="collective", opcodes="all-reduce:1", command_buffer=1)
    toy_.kernel("d", ["c"], ["e"], command_buffer=1)
    trace = toy_.build(options={"tensor_parallel": 4})
    assert run(engine, trace, machine) == 41_000_000, "a and b at 0 with a gap of 2, the collective at 20, d at 40"


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True)
@given(
    what=st.sampled_from(["all-reduce", "all-gather", "reduce-scatter", "all-to-all"]),
    ranks=st.integers(2, 5),
    trips=st.integers(1, 4),
    size=st.integers(0, 300_000),
    us=st.lists(st.integers(0, 30), min_size=1, max_size=12),
    interval=st.integers(0, 9),
    bandwidth=st.sampled_from([1e24, 15e9]),
)
def test_both_engines_agree(what: str, ranks: int, trips: int, size: int, us: list[int], interval: int, bandwidth: float) -> None:
    machine = gpus(ranks, us=tuple(map(float, us)), at=host(interval=interval, latency=3))
    machine = replace(machine, memories=tuple(replace(m, bandwidth=bandwidth) for m in machine.memories))
    whole = meets(what, trips, size, ranks=ranks).side_by_side()
    made = make_plan(whole, machine, Ranks().schedule(whole, machine, None))  # type: ignore[arg-type]
    agree(made.program)


@pytest.mark.parametrize("everywhere", [True, False])
def test_loops_of_ranks_are_stepped_over(everywhere: bool) -> None:
    whole = meets("all-reduce", trips=100_000, ranks=8).side_by_side()
    machine = gpus(8, everywhere)
    found = fast.run(plan(whole, machine, Ranks().schedule(whole, machine, None)))  # type: ignore[arg-type]
    assert found.launches_stepped > 0.99 * (found.launches_run + found.launches_stepped)


def test_what_cannot_be_is_said() -> None:
    trace = meets("all-reduce")
    with pytest.raises(MachineError, match=r"for 4 ranks, one a device, but 'h100-sxm' has 1.*4xa5000"):
        cd.replay(trace, cd.machine("h100-sxm"))
    with pytest.raises(MachineError, match="one rank of several"):
        plan(trace, cd.machine("h100-sxm"), on(0, 0, 0))
    whole, machine = trace.side_by_side(), gpus()
    with pytest.raises(MappingError, match="must be on different devices"):
        plan(whole, machine, Mapping(np.zeros(12, np.int32), "by hand"))
    with pytest.raises(MachineError, match="needs links between its ranks"):
        plan(meets("all-to-all").side_by_side(), gpus(everywhere=False), on(*[0, 1, 2, 3] * 3))
    with pytest.raises(MappingError, match="4 ranks must have as many devices"):
        Ranks().schedule(whole, cd.machine("h100-sxm"), None)  # type: ignore[arg-type]
    with pytest.raises(TraceError, match="one stream each"):
        cd.interleave(trace, 2).side_by_side()
    with pytest.raises(TraceError, match="opcode of a collective"):
        cd.replay(meets("all-reduces"), cd.machine("4xh100-sxm"))


def training() -> Trace:
    toy_ = Toy()
    toy_.tensor("params", 8000, "parameter")
    toy_.tensor("bias", 400, "parameter")
    toy_.tensor("gradient", 8000)
    toy_.tensor("of bias", 400)
    toy_.tensor("activations", 64_000)
    toy_.kernel("forward", ["params", "bias", "walkers"], ["psi"], phase="forward")
    with toy_.loop(3):
        toy_.kernel("backward", ["psi"], ["gradient", "activations"], phase="gradient")
    toy_.kernel("momentum", ["momentum"], ["momentum"], phase="optimizer")
    toy_.kernel("more", ["psi"], ["of bias"], phase="gradient")
    toy_.kernel("update", ["gradient", "params", "activations"], ["params"], phase="optimizer")
    toy_.kernel("again", ["gradient", "of bias", "bias"], ["bias"], phase="optimizer")
    return toy_.build(options={"batch": 256})


def test_data_parallel_ranks_add_up_each_gradient_once_before_it_is_read() -> None:
    """What is as large as a parameter is a gradient; activations are the rank's own."""
    one = training().data_parallel(4)
    assert ranks_of(one) == 4
    names = ["forward", "backward", "momentum", "more", "all-reduce of gradient", "update", "all-reduce of of bias", "again"]
    assert one.kernels["name"].tolist() == names
    assert np.flatnonzero(one.kernels["family"] == "collective").tolist() == [4, 6]
    assert one.regions["first_kernel"].tolist() == [0, 1]
    assert one.regions["end_kernel"].tolist() == [8, 2]
    reduced = one.accesses["kernel"] == 4
    assert one.accesses["mode"][reduced].tolist() == ["read", "write"]
    assert one.accesses["bytes_unique"][reduced].tolist() == [8000, 8000]
    assert one.tensors["last_kernel"][one.tensors["name"] == "gradient"].tolist() == [7]
    found = run(fast, one, gpus(everywhere=False))
    assert found == 41_060_000, "7.2 us of the first pass beside kernels; the second begins at 30 and takes 6.06, the last kernel 5"


def test_a_reduction_before_a_loop_is_in_the_loop_that_reads() -> None:
    toy_ = Toy()
    toy_.tensor("p", 8000, "parameter")
    toy_.tensor("g", 8000)
    toy_.kernel("backward", ["p"], ["g"], phase="gradient")
    with toy_.loop(3):
        toy_.kernel("update", ["g", "p"], ["p"], phase="optimizer")
    one = toy_.build().data_parallel(2)
    assert one.regions["first_kernel"].tolist() == [0, 1]
    assert one.regions["end_kernel"].tolist() == [3, 3]
    assert one.kernels["region"].tolist() == [0, 1, 1]


def test_data_parallel_needs_gradients() -> None:
    trace = training()
    assert trace.data_parallel(1) is trace
    with pytest.raises(TraceError, match="kernels of the phase 'nowhere'"):
        trace.data_parallel(2, before="nowhere")
    with pytest.raises(TraceError, match="as large as a parameter that the phase 'forward' wrote"):
        trace.data_parallel(2, of="forward")
    with pytest.raises(TraceError, match="1 <= ranks <= 64"):
        trace.data_parallel(65)
    with pytest.raises(TraceError, match="data parallel once"):
        trace.data_parallel(2).data_parallel(2)


def test_a_training_step_of_eight_ranks_is_the_step_and_its_reductions() -> None:
    """FermiNet: on links as fast as can be, eight ranks take what one does; over real ones longer by what is reduced."""
    trace = cd.load(str(FOLDER / "ferminet-ch4-a5000-training.trace"))
    ranks = trace.data_parallel(8)
    alone = cd.replay(trace, cd.machine("a100"), record=False)
    together = cd.replay(ranks, cd.machine("8xa100"), record=False)
    meets = ranks.kernels["family"] == "collective"
    assert ranks.kernels["bytes_unique"][meets].sum() / 2 > 2e6
    assert 1 < together.time_s / alone.time_s < 1.1
