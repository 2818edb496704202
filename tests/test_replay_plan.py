"""Do traces, machines and mappings become the operations that the documentation says?"""

from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from codesign.engine import fast, reference
from codesign.engine.plan import make_plan, plan
from codesign.engine.program import HAND_OVER, KERNEL, TRANSFER, Program
from schedulers.scheduler import Mapping
from tests.engines_agree import agree, expand
from tests.replay_cases import cases, chain, ping_pong
from tests.replay_toys import US, Fixed, Oracle, hand_over, host, link, on, toy
from tests.toys import Toy
from traces import Trace
from traces.errors import MappingError

ENGINES = pytest.mark.parametrize("engine", [fast, reference])


def starts(engine: Any, program: Program) -> list[tuple[str, float, float]]:
    records = engine.run(program).records
    names = [program.queues[q] for q in program["queue"][records.op]]
    return [(q, float(s) / 1e6, float(e) / 1e6) for q, s, e in zip(names, records.start_ps, records.end_ps, strict=True)]


@ENGINES
def test_an_attached_device_waits_for_the_transfer(engine: Any) -> None:
    machine = toy(Fixed("gpu", "hbm", (10, 10)), Fixed("pim", "far", (5, 5), "pim"), links=(link(),))
    assert starts(engine, plan(chain(), machine, on(0, 1))) == [("gpu", 0, 10), ("link: hbm to far", 10, 15), ("pim", 15, 20)]


@ENGINES
def test_pim_in_the_memory_waits_for_the_hand_over(engine: Any) -> None:
    machine = toy(Fixed("gpu", "hbm", (10, 10)), Fixed("pim", "hbm", (5, 5), "pim"), hand_overs=(hand_over(),))
    assert starts(engine, plan(chain(), machine, on(0, 1))) == [("gpu", 0, 10), ("pim", 10, 12), ("pim", 12, 17)]


@ENGINES
def test_channels_are_closed_to_the_gpu_during_hand_over_and_pim_kernel(engine: Any) -> None:
    trace = Toy()
    trace.kernel("first", [], ["a"])
    trace.kernel("second", ["a"], ["b"])
    trace.kernel("third", [], ["c"])
    gpu = Fixed("gpu", "hbm", (10, 0, 10), moved=(0, 0, 500_000))  # the third asks for all of 50 GB/s
    machine = toy(gpu, Fixed("pim", "hbm", (0, 5, 0), "pim"), hand_overs=(hand_over(closed=0.5),), bandwidth=50e9)
    program = plan(trace.build(), machine, on(0, 1, 0))
    # half as fast from 10 to 17: 3.5 of its 10 us are done, 6.5 are left
    assert sorted(starts(engine, program)) == [("gpu", 0, 10), ("gpu", 10, 23.5), ("pim", 10, 12), ("pim", 12, 17)]


@ENGINES
@pytest.mark.parametrize(
    ("durations", "begin", "total", "busy", "waiting"),
    [((10, 1, 10), [3, 13, 14], 24, 21, 3), ((1, 1, 1, 1, 1), [3, 5, 7, 9, 11], 12, 5, 7)],
)
def test_a_chain_of_kernels_starts_when_device_inputs_and_host_allow(
    engine: Any, durations: tuple[int, ...], begin: list[int], total: int, busy: int, waiting: int
) -> None:
    trace = Toy()
    for k in range(len(durations)):
        trace.kernel(f"k{k}", [f"t{k}"], [f"t{k + 1}"])
    machine = toy(Fixed("gpu", "hbm", durations), at=host(interval=2, latency=3))
    program = plan(trace.build(), machine, on(*[0] * len(durations)))
    assert [start for _, start, _ in starts(engine, program)] == begin
    run = engine.run(program)
    assert (run.time_ps, run.elapsed_ps.sum(), run.host_bound_ps) == (total * 1_000_000, busy * 1_000_000, waiting * 1_000_000)


@ENGINES
def test_two_kernels_share_a_memory_and_the_longer_speeds_up_when_the_other_ends(engine: Any) -> None:
    trace = Toy()
    trace.kernel("A", [], ["a"])
    trace.kernel("B", [], ["b"])
    devices = (Fixed("one", "hbm", (10, 10), moved=(800_000, 0)), Fixed("two", "hbm", (10, 10), moved=(0, 600_000)))
    program = plan(trace.build(), toy(*devices, bandwidth=100e9), on(0, 1))
    assert sorted(starts(engine, program)) == [("one", 0, 14.5), ("two", 0, 12)]


@ENGINES
def test_a_loop_between_gpu_and_pim_hands_over_twice_an_iteration(engine: Any) -> None:
    machine = toy(Fixed("gpu", "hbm", (10, 10)), Fixed("pim", "hbm", (5, 5), "pim"), hand_overs=(hand_over(),))
    assert engine.run(plan(ping_pong(10), machine, on(0, 1))).time_ps == 188_000_000
    assert engine.run(plan(ping_pong(100), machine, on(0, 1))).time_ps == (19 * 100 - 2) * 1_000_000


def test_a_loop_is_planned_once_for_each_state_at_its_head() -> None:
    machine = toy(Fixed("gpu", "hbm", (10, 10)), Fixed("pim", "hbm", (5, 5), "pim"), hand_overs=(hand_over(),))
    program = plan(ping_pong(10**9), machine, on(0, 1))
    assert len(program) == 3 + 4
    assert program.loops.tolist() == [(3, 7, 10**9 - 1)]
    run = fast.run(program)
    assert run.time_ps == (19 * 10**9 - 2) * 1_000_000
    assert run.launches_run < 50
    assert run.launches_run + run.launches_stepped == 2 * 10**9


def test_everything_on_one_device_is_the_trace_itself() -> None:
    program = plan(ping_pong(10), toy(Fixed("gpu", "hbm", (10, 10))), on(0, 0))
    assert program["kernel"].tolist() == [0, 1]
    assert program.loops.tolist() == [(0, 2, 10)]
    assert len(program.ops.dep) == 0


def test_a_write_makes_other_copies_stale() -> None:
    trace = Toy()
    trace.tensor("x", 10_000, "parameter")
    trace.kernel("far reads", ["x"], ["y"])
    trace.kernel("far reads again", ["x"], ["y"])
    trace.kernel("near writes", [], ["x"])
    trace.kernel("far reads anew", ["x"], ["y"])
    machine = toy(Fixed("gpu", "hbm", (1,)), Fixed("pim", "far", (1,)), links=(link(),))
    program = plan(trace.build(), machine, on(1, 1, 0, 1))
    assert program["kind"].tolist() == [TRANSFER, KERNEL, KERNEL, KERNEL, TRANSFER, KERNEL]


def test_a_write_waits_for_readers_elsewhere() -> None:
    trace = Toy()
    trace.tensor("x", 10_000, "parameter")
    trace.kernel("far reads", ["x"], ["y"])
    trace.kernel("near writes", [], ["x"])
    machine = toy(Fixed("gpu", "hbm", (1,)), Fixed("pim", "far", (7,)), links=(link(),))
    assert starts(fast, plan(trace.build(), machine, on(1, 0)))[-1] == ("gpu", 9, 10)


def test_a_tensor_hops_from_link_to_link() -> None:
    machine = toy(
        Fixed("gpu", "hbm", (10,)), Fixed("far", "b", (5,)), links=(link("hbm", "a", name="one"), link("b", "a", gb=20, name="two"))
    )  # fmt: skip
    assert starts(fast, plan(chain(), machine, on(0, 1))) == [
        ("gpu", 0, 10),
        ("one: hbm to a", 10, 15),
        ("two: a to b", 15, 18),
        ("far", 18, 23),
    ]


def test_one_hand_over_serves_all_inputs_of_a_launch() -> None:
    trace = Toy()
    for name in "ab":
        trace.tensor(name, 20_000, "parameter")
    trace.kernel("both", ["a", "b"], ["c"])
    trace.kernel("again", ["a", "c"], ["d"])
    trace.kernel("back", ["c", "d"], ["e"])
    machine = toy(Fixed("gpu", "hbm", (1,)), Fixed("pim", "hbm", (5,), "pim"), hand_overs=(hand_over(gb=20),))
    program = plan(trace.build(), machine, on(1, 1, 0))
    assert program["kind"].tolist() == [HAND_OVER, KERNEL, KERNEL, HAND_OVER, KERNEL]
    assert starts(fast, program)[:2] == [("pim", 0, 4), ("pim", 4, 9)]


def test_pim_changes_the_mode_even_with_nothing_to_move() -> None:
    trace = Toy()
    trace.kernel("fills", [], ["a"])
    machine = toy(Fixed("gpu", "hbm", (1,)), Fixed("pim", "hbm", (5,), "pim"), hand_overs=(hand_over(),))
    assert starts(fast, plan(trace.build(), machine, on(1))) == [("pim", 0, 2), ("pim", 2, 7)]


def test_a_library_call_is_as_many_launches_as_it_says() -> None:
    trace = Toy()
    trace.kernel("getrf", [], ["a"], launches=4)
    program = plan(trace.build(), toy(Fixed("gpu", "hbm", (8,)), at=host(interval=1, latency=3)), on(0))
    assert program.launches == 4
    assert starts(fast, program) == [("gpu", 3, 5), ("gpu", 5, 7), ("gpu", 7, 9), ("gpu", 9, 11)]


def test_a_command_buffer_is_one_issue_with_gaps_on_the_device() -> None:
    trace = Toy()
    for name in "abc":
        trace.kernel(name, [], [name], command_buffer=7)
    trace.kernel("alone", [], ["d"])
    program = plan(trace.build(), toy(Fixed("gpu", "hbm", (1,)), at=host(interval=10, latency=3, gap=0.5)), on(0, 0, 0, 0))
    assert starts(fast, program) == [("gpu", 3, 4), ("gpu", 4.5, 5.5), ("gpu", 6, 7), ("gpu", 13, 14)]


def test_a_loop_whose_condition_the_device_computes_costs_a_round_trip_each() -> None:
    trace = Toy()
    with trace.loop(1000, condition="device"):
        trace.kernel("step", ["x"], ["x"])
    machine = toy(Fixed("gpu", "hbm", (10,)), at=host(interval=2, latency=3, round_trip=4))
    run = fast.run(plan(trace.build(), machine, on(0)))
    assert run.time_ps == 1000 * (3 + 10 + 4) * 1_000_000
    assert run.host_bound_ps == (3 + 999 * 7) * 1_000_000
    assert run.launches_run < 10


def test_a_refused_kernel_is_an_error_with_its_reason() -> None:
    machine = toy(Fixed("gpu", "hbm", (1,)), Fixed("pim", "far", (1,), refused=(1,)), links=(link(),))
    with pytest.raises(MappingError, match=r"'pim' cannot run kernel 1 .*it is a toy"):
        plan(chain(), machine, on(0, 1))


def test_a_program_can_be_longer_than_the_first_guess() -> None:
    trace = Toy()
    names = [trace.tensor(f"x{i}", kind="parameter") for i in range(60)]
    with trace.loop(70):
        trace.kernel("many", names, ["y"])
    machine = toy(Fixed("gpu", "hbm", (1,)), Fixed("pim", "far", (1,)), links=(link("hbm", "a", name="one"), link("a", "far", name="two")))
    assert len(plan(trace.build(), machine, on(1))) == 60 * 2 + 2


@settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck))
@given(cases())
def test_plans_replay_as_if_written_out_launch_by_launch(case: tuple[Trace, Any, Mapping]) -> None:
    program = plan(*case)
    records = fast.run(program).records
    assert records is not None
    names = (*program.queues, "")
    assert [(names[program["queue"][op]], start, end) for op, start, end in expand(records)] == Oracle(*case).run()


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(cases(shared=True))
def test_engines_agree_on_plans_with_shared_memories(case: tuple[Trace, Any, Mapping]) -> None:
    agree(plan(*case))


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(cases())
def test_memory_is_released_as_often_as_it_is_taken(case: tuple[Trace, Any, Mapping]) -> None:
    made = make_plan(*case)
    program = made.program
    times = program.executions[program.changes["op"]] // program.changes["every"]
    level = program.memory_initial.copy()
    np.add.at(level, program.changes["memory"], program.changes["bytes"] * times)
    assert (level >= 0).all()
    assert (made.peak_in_order >= program.memory_initial).all()
    stays = case[0].tensors["last_kernel"] < 0
    if not stays.any():
        assert level.sum() == 0


def test_times_are_rounded_once() -> None:
    program = plan(chain(), toy(Fixed("gpu", "hbm", (1 / 3, 2 / 3))), on(0, 0))
    assert program["duration"].tolist() == [333_333, 666_667]
    assert fast.run(program).time_ps == pytest.approx(1 * US * 1e12)
