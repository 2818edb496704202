"""Do both engines do what the documentation says, and the same?"""

import gc
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import simpy
from hypothesis import HealthCheck, given, settings

from codesign.engine import fast, reference
from codesign.engine.builder import ProgramBuilder
from codesign.engine.expand import expand as expand_quickly
from codesign.engine.plan import plan
from codesign.engine.program import HAND_OVER, Program, Run
from tests.engines_agree import agree, expand
from tests.phased_programs import phased
from tests.replay_toys import Fixed, host, on, toy
from tests.strategies.programs import programs
from tests.toys import Toy
from traces.errors import TraceError

US = 1e-6
ENGINES = pytest.mark.parametrize("engine", [fast, reference])
RELAXED = settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))


def sharing(trips: int, depth: int, idle: int = 0) -> Program:
    """Two devices that each move 400 kB of one memory of 50 GB/s a turn: 8 us of traffic alone, 16 us beside the other."""
    trace = Toy()
    for name in "ab":
        trace.tensor(name, 400_000, "parameter")
    with trace.loop(trips):
        trace.kernel("k0", ["a"], ["a"])
        trace.kernel("k1", ["b"], ["b"])
    names = ("gpu", "array", *(f"idle{i}" for i in range(idle)))
    devices = (Fixed(name, "hbm", (10.0,), moved=(400e3,)) for name in names)
    return plan(built := trace.build(), toy(*devices, bandwidth=50e9, at=host(1.0, 0.0, depth)), on(*range(len(built.kernels))))


@pytest.mark.parametrize("idle", [0, 1])
@pytest.mark.parametrize("depth", [4, 1024])
def test_a_loop_in_which_devices_share_a_memory_is_stepped_over(depth: int, idle: int) -> None:
    """However far the host runs ahead of the devices: what it has issued beyond what they need changes nothing. A device that gets no
    launch needs none."""
    run = fast.run(sharing(100_000, depth, idle), record=False)
    assert run.launches_run < 50
    assert run.launches_stepped == 200_000 - run.launches_run
    assert run.time_ps == pytest.approx(100_000 * 16e6, rel=1e-4)


def test_a_queue_on_which_a_loop_only_moves_data_keeps_the_places_of_its_launches() -> None:
    """What the loop before put into the queue is long past once iterations are stepped over: the last launches do not wait for it."""
    builder = ProgramBuilder(["gpu", "pim", "link"], launch_interval_s=1 * US, launch_latency_s=1 * US, queue_depth=8)
    with builder.loop(20):
        builder.launch("gpu", 10 * US)
    with builder.loop(30):
        moved = builder.operation("gpu", 60 * US)
        builder.launch("link", 2 * US, after=[moved])
    builder.launch("gpu", 30 * US)
    builder.launch("pim", 10 * US)
    agree(builder.build())


def test_launches_that_started_faster_than_the_host_issues_decide_when_it_can_issue_again() -> None:
    """Places that 20 short kernels freed at once are used again inside the loop, each an issue after the one before."""
    builder = ProgramBuilder(["gpu", "pim"], launch_interval_s=2 * US, launch_latency_s=3 * US, queue_depth=40)
    builder.launch("gpu", 500 * US)
    with builder.loop(20):
        builder.launch("gpu", 0.1 * US)
    with builder.loop(12):
        builder.launch("gpu", 5 * US)
        builder.launch("gpu", 5 * US)
    for _ in range(5):
        builder.launch("pim", 1 * US)
    agree(builder.build())


@pytest.mark.parametrize("shared", [False, True])
def test_programs_of_many_phases_are_stepped_over_without_a_trace(shared: bool) -> None:
    """Launches of earlier phases hold places that later loops use again; most of these loops are stepped over."""
    stepped = 0
    for seed in range(100):
        program = phased(seed, shared=shared)
        whole, found = fast.run(program, step_over=False).records, fast.run(program)
        assert found.records is not None
        assert whole is not None
        written_out = expand_quickly(found.records)
        for name, exact in (("op", whole.op), ("start_ps", whole.start_ps), ("end_ps", whole.end_ps)):
            np.testing.assert_array_equal(getattr(written_out, name), exact, err_msg=f"seed {seed}")
        stepped += found.launches_stepped > 0
    assert stepped > 50


@RELAXED
@given(programs())
def test_engines_agree_event_by_event_with_and_without_stepping(program: Program) -> None:
    agree(program)


@RELAXED
@given(programs(shared=True))
def test_engines_agree_event_by_event_where_bandwidth_is_shared(program: Program) -> None:
    agree(program)


@RELAXED
@given(programs(disturbed=True))
def test_engines_agree_event_by_event_with_wires_guests_and_jitter(program: Program) -> None:
    agree(program)


@RELAXED
@given(programs(shared=True, disturbed=True))
def test_engines_agree_event_by_event_with_wires_guests_and_jitter_where_bandwidth_is_shared(program: Program) -> None:
    agree(program)


@RELAXED
@given(programs())
def test_records_written_out_with_arrays_are_those_written_out_one_by_one(program: Program) -> None:
    records = fast.run(program).records
    assert records is not None
    whole = expand_quickly(records)
    assert list(zip(whole.op.tolist(), whole.start_ps.tolist(), whole.end_ps.tolist(), strict=True)) == expand(records)
    short = expand_quickly(records, 1)
    counts = np.bincount(short.op[short.op >= 0], minlength=len(program))
    skipped = short.skipped_op >= 0
    np.add.at(counts, short.skipped_op[skipped], short.skipped[skipped])
    assert counts.tolist() == program.executions.tolist()


def starts(run: Run) -> list[float]:
    assert run.records is not None
    return [start / 1e6 for start in run.records.start_ps.tolist()]


def one_queue(*durations: float, **options: Any) -> Program:
    builder = ProgramBuilder(["gpu"], launch_interval_s=2 * US, launch_latency_s=3 * US, **options)
    for duration in durations:
        builder.launch("gpu", duration * US)
    return builder.build()


@ENGINES
def test_a_kernel_starts_when_its_device_is_free_and_it_has_been_launched(engine: Any) -> None:
    run = engine.run(one_queue(10, 1, 10))
    assert starts(run) == [3, 13, 14]
    assert (run.time_ps, run.elapsed_ps.sum()) == (24_000_000, 21_000_000)


@ENGINES
def test_short_kernels_wait_for_the_host(engine: Any) -> None:
    run = engine.run(one_queue(1, 1, 1, 1, 1))
    assert starts(run) == [3, 5, 7, 9, 11]
    assert (run.time_ps, run.elapsed_ps.sum(), run.host_bound_ps) == (12_000_000, 5_000_000, 7_000_000)


@ENGINES
def test_a_full_queue_stalls_the_host(engine: Any) -> None:
    """Depth 1: the second launch is issued when the first starts (3), the third when the second does (13)."""
    builder = ProgramBuilder(["gpu", "other"], launch_interval_s=2 * US, launch_latency_s=3 * US, queue_depth=1)
    for queue in ("gpu", "gpu", "gpu", "other"):
        builder.launch(queue, 10 * US)
    assert starts(engine.run(builder.build())) == [3, 13, 23, 18]


@ENGINES
def test_a_consumer_waits_for_a_transfer_that_waits_for_its_producer(engine: Any) -> None:
    builder = ProgramBuilder(["gpu", "link", "pim"])
    first = builder.launch("gpu", 10 * US)
    copied = builder.operation("link", 5 * US, after=[first])
    builder.launch("pim", 5 * US, after=[copied])
    assert starts(engine.run(builder.build())) == [0, 10, 15]


@ENGINES
def test_a_transfer_is_issued_with_its_launch_but_has_no_launch_latency(engine: Any) -> None:
    builder = ProgramBuilder(["gpu", "link"], launch_interval_s=2 * US, launch_latency_s=3 * US)
    builder.launch("gpu", 1 * US)
    copied = builder.operation("link", 5 * US)
    builder.launch("gpu", 1 * US, after=[copied])
    assert starts(engine.run(builder.build())) == [3, 2, 7]


@ENGINES
def test_a_hand_over_waits_for_the_producer_and_runs_on_the_pim(engine: Any) -> None:
    builder = ProgramBuilder(["gpu", "pim"], resources={"hbm": 1e12})
    first = builder.launch("gpu", 10 * US)
    handed = builder.operation("pim", 2 * US, after=[first], claims={"hbm": 1.0}, kind=HAND_OVER)
    builder.launch("pim", 5 * US, after=[handed], claims={"hbm": 1.0})
    builder.launch("gpu", 3 * US, uses={"hbm": 3e6})
    run = engine.run(builder.build())
    assert starts(run) == [0, 10, 12, 10]
    assert run.records.end_ps.tolist()[-1] == 20_000_000, "the channels are closed from 10 to 17, then it takes its 3"


@ENGINES
def test_of_two_that_ask_for_a_wire_the_one_whose_turn_it_is_goes_first_even_if_the_other_takes_no_time(engine: Any) -> None:
    """At 0 nobody has had a turn: a is first in the circle, though b was launched first and needs no time."""
    builder = ProgramBuilder(["a", "b"], wires=[("a", "b")])
    builder.launch("b", 0.0)
    builder.launch("a", 1 * US)
    assert starts(engine.run(builder.build())) == [1, 0]


@ENGINES
def test_operations_that_share_get_max_min_fair_shares(engine: Any) -> None:
    builder = ProgramBuilder(["a", "b"], resources={"memory": 100e9})
    builder.launch("a", 10 * US, uses={"memory": 800e3})
    builder.launch("b", 10 * US, uses={"memory": 600e3})
    run = engine.run(builder.build())
    assert run.records.end_ps.tolist() == [14_500_000, 12_000_000]
    assert run.elapsed_ps.tolist() == [14_500_000, 12_000_000]


@ENGINES
def test_a_memory_that_is_closed_stops_a_transfer_however_little_of_it_that_asks_for(engine: Any) -> None:
    """100 bytes of 10^24 a second are lost in the rounding of their sum; closed from 2 to 3 us, they still take 1 us longer."""
    builder = ProgramBuilder(["a", "b"], launch_interval_s=2 * US, resources={"memory": 1e24})
    builder.launch("a", 10 * US, uses={"memory": 100.0})
    builder.launch("b", 1 * US, claims={"memory": 1.0})
    assert engine.run(builder.build()).records.end_ps.tolist() == [11_000_000, 3_000_000]


@ENGINES
def test_a_small_demand_is_served_in_full_and_the_rest_is_divided(engine: Any) -> None:
    """Of 100 GB/s, c gets its 10, a and b get 45 each: at 10 us, c ends, a has done 5 and b 7.5 of their 10; then each gets 50.

    b's 2.5 take 3 us more; a does 5/3 in them, then has all it asks for the 10/3 that are left.
    """
    builder = ProgramBuilder(["a", "b", "c"], resources={"memory": 100e9})
    for queue, moved in (("a", 900e3), ("b", 600e3), ("c", 100e3)):
        builder.launch(queue, 10 * US, uses={"memory": moved})
    ends = engine.run(builder.build()).records.end_ps.tolist()
    assert ends == [16_333_334, 13_000_000, 10_000_000]


@ENGINES
def test_operations_in_a_circle_of_claims_are_an_error(engine: Any) -> None:
    builder = ProgramBuilder(["a", "b"], resources={"x": 1e9, "y": 1e9})
    builder.launch("a", US, uses={"x": 1e3}, claims={"y": 1.0})
    builder.launch("b", US, uses={"y": 1e3}, claims={"x": 1.0})
    with pytest.raises(TraceError, match="in a circle"):
        engine.run(builder.build())


@ENGINES
def test_a_command_buffer_is_one_issue(engine: Any) -> None:
    builder = ProgramBuilder(["gpu"], launch_interval_s=10 * US, launch_latency_s=3 * US)
    with builder.command_buffer(0.5 * US):
        for _ in range(3):
            builder.launch("gpu", US)
    builder.launch("gpu", US)
    assert starts(engine.run(builder.build())) == [3, 4.5, 6, 13]


@ENGINES
def test_a_round_trip_waits_for_everything(engine: Any) -> None:
    builder = ProgramBuilder(["gpu", "pim"], launch_latency_s=3 * US)
    with builder.loop(2):
        builder.launch("gpu", 10 * US)
        builder.launch("pim", 20 * US)
        builder.round_trip(4 * US)
    run = engine.run(builder.build())
    assert starts(run) == [3, 3, 23, 30, 30, 50]
    assert (run.time_ps, run.host_bound_ps) == (54_000_000, 10_000_000)


@ENGINES
@pytest.mark.parametrize("spread", [0.0, 1e-9])
def test_a_launch_is_bound_by_the_host_if_only_a_later_instance_of_its_input_ends_with_it(engine: Any, spread: float) -> None:
    """At 2 us, a's copy waits for the b of the iteration before, which ended at 0; the b launched with it ends at 2 us, first.

    From 1 to 2 us nothing runs. (A spread too small to change anything lets the fast engine go event by event.)
    """
    builder = ProgramBuilder(["a", "b"], launch_interval_s=2 * US, wires=[("a",)])
    with builder.loop(2):
        copied = builder.operation("a", 1 * US)
        launched = builder.launch("b", 0.0)
        builder.depend(copied, launched)
    program = builder.build()
    run = engine.run(replace(program, hardware=program.hardware._replace(spread=spread)))
    assert (starts(run), run.host_bound_ps) == ([0, 0, 2, 2], 1_000_000)


@ENGINES
def test_a_dependency_may_reach_into_the_iteration_before(engine: Any) -> None:
    builder = ProgramBuilder(["gpu", "pim"])
    with builder.loop(3):
        first = builder.launch("gpu", 10 * US)
        second = builder.launch("pim", 5 * US, after=[first])
        builder.depend(first, second)
    assert starts(engine.run(builder.build())) == [0, 10, 15, 25, 30, 40]


def test_a_process_of_the_users_own_disturbs_the_reference_engine() -> None:
    """A visitor takes its fair half of the memory for 10 us: the kernel, which asks for all of it, does half as much meanwhile."""
    builder = ProgramBuilder(["gpu"], resources={"hbm": 100e9})
    builder.launch("gpu", 20 * US, uses={"hbm": 2000e3})

    def visitor(simulation: reference.Simulation) -> Iterator[simpy.Event]:
        yield simulation.env.timeout(5_000_000)
        yield simulation.shared.use(5_000_000, {"hbm": 500e3})

    assert reference.Simulation(builder.build()).run(visitor).time_ps == 25_000_000


def test_nothing_at_all_takes_no_time() -> None:
    run = fast.run(ProgramBuilder(["gpu"]).build())
    assert (run.time_ps, run.launches_run) == (0, 0)


@pytest.mark.parametrize("nested", [1, 2])
def test_a_replay_longer_than_its_clock_is_an_error(nested: int) -> None:
    builder = ProgramBuilder(["gpu"])
    with builder.loop(10**9), builder.loop(10 ** (nested * 5)):
        builder.launch("gpu", 1.0)
    with pytest.raises(TraceError, match="check the trip counts"):
        fast.run(builder.build())


def test_what_cannot_be_built_says_why() -> None:
    builder = ProgramBuilder(["gpu"])
    with pytest.raises(TraceError, match=r"unknown queue 'gpi'.*did you mean 'gpu'"):
        builder.launch("gpi", US)
    with pytest.raises(TraceError, match="at least 0 s"):
        builder.launch("gpu", -US)
    with pytest.raises(TraceError, match="`count >= 1`"), builder.loop(0):
        pass
    builder.operation("gpu", US)
    with pytest.raises(TraceError, match="add the launch"):
        builder.build()


@pytest.mark.parametrize("enabled", [True, False])
def test_the_cycle_collector_is_left_as_it_was(enabled: bool) -> None:
    was_enabled = gc.isenabled()
    try:
        (gc.enable if enabled else gc.disable)()
        with reference.uncollected():
            assert not gc.isenabled()
        assert gc.isenabled() == enabled
    finally:
        (gc.enable if was_enabled else gc.disable)()


def test_a_circle_of_operations_is_refused() -> None:
    builder = ProgramBuilder(["gpu", "pim"])
    first = builder.launch("gpu", 1 * US)
    second = builder.launch("pim", 1 * US, after=[first])
    builder.depend(first, second)
    with pytest.raises(TraceError, match=r"operation 0 waits for 1 and no loop is around both: a circle"):
        builder.build()


@pytest.mark.parametrize("given", [{"resources": {"hbm": 0.0}}, {"memories": {"hbm": 0}}, {"resources": {"hbm": float("inf")}}])
def test_a_resource_of_nothing_is_refused(given: dict[str, Any]) -> None:
    with pytest.raises(TraceError, match="above zero, but 'hbm' has"):
        ProgramBuilder(["gpu"], **given)
