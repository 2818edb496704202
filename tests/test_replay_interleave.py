"""Do interleaved copies of a program share what they should, take turns, and overlap?"""

from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import codesign as cd
from codesign.engine import fast, reference
from codesign.engine.plan import make_plan, plan
from schedulers.scheduler import Mapping
from tests.engines_agree import agree
from tests.fixed_prices import random_traces
from tests.replay_toys import Fixed, hand_over, link, machines, on, toy
from tests.toys import Toy
from traces import Trace
from traces.errors import TraceError

ENGINES = pytest.mark.parametrize("engine", [fast, reference])


def two_steps(trips: int = 4, **columns: Any) -> Trace:
    toy_ = Toy()
    toy_.tensor("w", 1000, "parameter")
    with toy_.loop(trips):
        toy_.kernel("near", ["w", "x"], ["y"], **columns)
        toy_.kernel("far", ["w", "y"], ["x"], **columns)
    return toy_.build()


def test_copies_share_parameters_and_nothing_else() -> None:
    trace = two_steps()
    both = cd.interleave(trace, 2)
    assert both.kernels["name"].tolist() == ["near", "near", "far", "far"]
    assert both.kernels["stream"].tolist() == [0, 1, 0, 1]
    assert sorted(both.tensors["name"].tolist()) == ["w", "x", "x", "y", "y"], "x is written: it is each copy's own"
    assert len(set(both.tensors["alias_set"].tolist())) == 5
    assert both.regions["end_kernel"].tolist() == [4, 4]
    assert both.regions["trip_count"].tolist() == trace.regions["trip_count"].tolist()


def test_a_command_buffer_stays_whole() -> None:
    both = cd.interleave(two_steps(command_buffer=3), 2)
    assert both.kernels["name"].tolist() == ["near", "far", "near", "far"]
    assert both.kernels["command_buffer"].tolist() == [6, 6, 7, 7]


@ENGINES
def test_one_copy_is_on_the_gpu_while_the_other_is_on_pim(engine: Any) -> None:
    """Each iteration is 10 us on each device: alone they wait for each other; two copies fill both but for the first and last."""
    machine = toy(Fixed("gpu", "hbm", (10,)), Fixed("pim", "far", (10,), "pim"), links=(link(gb=1e9, latency=0.0),))
    alone = engine.run(plan(two_steps(), machine, on(0, 1)))
    both = engine.run(plan(cd.interleave(two_steps(), 2), machine, on(0, 0, 1, 1)))
    assert alone.time_ps == 80_000_000
    assert both.time_ps == 90_000_000


@ENGINES
def test_a_hand_over_waits_while_pim_computes_for_the_other_copy(engine: Any) -> None:
    """PIM in the GPU's memory changes its mode between kernels only: copies then overlap less than on devices apart."""
    machine = toy(Fixed("gpu", "hbm", (10,)), Fixed("pim", "hbm", (10,), "pim"), hand_overs=(hand_over(switch=0.0),))
    both = engine.run(plan(cd.interleave(two_steps(), 2), machine, on(0, 0, 1, 1)))
    assert 90_000_000 < both.time_ps < 160_000_000


@ENGINES
def test_copies_of_one_device_take_turns(engine: Any) -> None:
    machine = toy(Fixed("gpu", "hbm", (10,)))
    run = engine.run(plan(cd.interleave(two_steps(1), 3), machine, on(*[0] * 6)))
    assert run.time_ps == 60_000_000
    assert run.records.start_ps.tolist() == [0, 10_000_000, 20_000_000, 30_000_000, 40_000_000, 50_000_000]


def test_a_timeline_counts_streams_to_their_device() -> None:
    machine = toy(Fixed("gpu", "hbm", (10,)), Fixed("far", "b", (10,)), links=(link("hbm", "b"),))
    found = cd.replay(cd.interleave(two_steps(), 2), machine, on(0, 0, 1, 1))
    assert found.devices["gpu"]["busy_s"] == pytest.approx(80e-6)
    assert found.shares("device") == pytest.approx({"gpu": 0.5, "far": 0.5})
    assert set(found.links) == {"link: hbm to b", "link: b to hbm"}


@pytest.mark.parametrize("streams", [0, 65])
def test_streams_out_of_range_are_refused(streams: int) -> None:
    with pytest.raises(TraceError, match="1 <= streams <= 64"):
        cd.interleave(two_steps(), streams)


def test_a_trace_is_interleaved_once() -> None:
    with pytest.raises(TraceError, match="2 streams: interleave the original"):
        cd.interleave(cd.interleave(two_steps(), 2), 2)


@ENGINES
def test_an_operation_that_takes_no_time_waits_for_its_turn_all_the_same(engine: Any) -> None:
    """PIM has just changed its mode for the first copy, so the second one is next: its 1 us come before the 0 us of the first."""
    machine = toy(Fixed("gpu", "hbm", (0,)), Fixed("pim", "hbm", (0, 1), "pim"), hand_overs=(hand_over(switch=0.0),))
    toy_ = Toy()
    toy_.kernel("k")
    run = engine.run(plan(cd.interleave(toy_.build(), 2), machine, on(1, 1)))
    assert run.records.start_ps.tolist() == [0, 1_000_000, 0]
    assert run.records.end_ps.tolist() == [0, 1_000_000, 1_000_000]


@settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))
@given(random_traces(kernels=6, trips=9), st.data())
def test_engines_agree_and_all_work_is_done_once_a_copy(trace: Trace, data: st.DataObject) -> None:
    machine, streams = data.draw(machines(shared=True)), data.draw(st.integers(1, 3))
    many = cd.interleave(trace, streams)
    per_kernel = data.draw(st.lists(st.integers(0, len(machine.devices) - 1), min_size=len(trace.kernels), max_size=len(trace.kernels)))
    device = dict(zip(trace.kernels["name"], per_kernel, strict=True))
    mapping = Mapping(np.array([device[name] for name in many.kernels["name"]], np.int32), "by hand")
    made = make_plan(many, machine, mapping)
    agree(made.program)
    assert made.program.launches == streams * int((trace.executions * trace.kernels["launches"]).sum())
