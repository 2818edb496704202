"""What does a policy see while a program runs, and what does its answer change?"""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from codesign.engine import reference, replay
from codesign.engine.disturb import Disturbance
from codesign.engine.online import Observation, borders, issue_times, observe
from codesign.engine.plan import plan
from schedulers.scheduler import Mapping
from schedulers.tensors import Offload
from tests.fixed_prices import random_traces
from tests.replay_toys import Fixed, host, link, on, toy
from tests.toys import Toy
from traces import Trace
from traces.errors import MappingError, TraceError
from traces.splitting import split_loops

US = 1e-6


def three_regions(trips: int = 4) -> Trace:
    toy_ = Toy()
    for name in ("first", "second", "third"):
        with toy_.loop(trips, name):
            toy_.kernel(name, ["x"], ["x"])
    return toy_.build()


def machine(interval: float = 50.0) -> object:
    """Kernels of 10 us on the GPU and of 15 us on the other device; the host comes 50 us after the launch before."""
    return toy(Fixed("gpu", "hbm", (10,)), Fixed("far", "b", (15,)), links=(link("hbm", "b", 1e6, 0.0),), at=host(interval))


def move_when_slow(seen: Observation, mapping: Mapping) -> Mapping | None:
    """Move all that comes to the other device if what has ended took longer than 15 us."""
    if np.nanmax(seen.duration_s) <= 15e-6:
        return None
    return Mapping(np.where(np.arange(len(mapping)) >= seen.kernel, 1, mapping.device), "online")


def test_a_policy_is_asked_at_the_borders_of_the_top_level() -> None:
    seen: list[Observation] = []
    found = replay(three_regions(), machine(), on(0, 0, 0), decide=lambda o, _: seen.append(o))
    assert [(o.region, o.kernel) for o in seen] == [(2, 1), (3, 2)]
    assert borders(three_regions()) == [2, 3]
    assert [o.time_s for o in seen] == pytest.approx([4 * 50e-6, 8 * 50e-6])
    assert seen[0].duration_s[0] == pytest.approx(10e-6)
    assert np.isnan(seen[0].duration_s[1:]).all()
    assert seen[1].bandwidth[1] == pytest.approx(8192 / 10e-6)
    assert found.time_s == pytest.approx(11 * 50e-6 + 10e-6)


def test_what_has_not_ended_is_not_seen() -> None:
    seen: list[Observation] = []
    replay(three_regions(), machine(1.0), on(0, 0, 0), decide=lambda o, _: seen.append(o))
    assert np.isnan(seen[0].duration_s).all(), "four launches are issued in 3 us, the first ends at 10"


def test_a_device_that_is_slowed_is_left() -> None:
    slow = [Disturbance("gpu", 0.0, 1.0, closed=0.75)]
    stays = replay(three_regions(), machine(), on(0, 0, 0), decide=lambda *_: None, disturbances=slow)
    leaves = replay(three_regions(), machine(), on(0, 0, 0), decide=move_when_slow, disturbances=slow)
    assert leaves.mapping["runs"] == [[0, 1], [1, 2]]
    assert stays.devices["gpu"]["busy_s"] == pytest.approx(12 * 40e-6)
    assert leaves.devices["gpu"]["busy_s"] == pytest.approx(4 * 40e-6)
    assert leaves.devices["far"]["busy_s"] == pytest.approx(8 * 15e-6)


def test_what_has_been_launched_cannot_be_mapped_anew() -> None:
    with pytest.raises(MappingError, match="from kernel 1 on, but it maps kernel 0 anew"):
        replay(three_regions(), machine(), on(0, 0, 0), decide=lambda o, m: on(1, 1, 1))


def test_issue_times_are_those_of_the_reference_engine() -> None:
    program = plan(three_regions(), toy(Fixed("gpu", "hbm", (10,)), at=host(2.0, 3.0, depth=2)), on(0, 0, 0))
    simulation = reference.Simulation(program)
    records = simulation.run().records
    assert records is not None
    assert issue_times(program, records).tolist() == [instance.issue for instance in simulation.log]
    assert observe(three_regions(), program, 2).waited_s[0] > 0


def one_loop(trips: int = 12, asks: bool = False) -> Trace:
    """A loop of two kernels: the first makes what the second reads, which carries on to the next iteration."""
    toy_ = Toy()
    toy_.tensor("state", 4096, "parameter")
    toy_.kernel("before", [], ["state"])
    with toy_.loop(trips, condition="device" if asks else "host"):
        toy_.kernel("make", ["state"], ["within"])
        toy_.kernel("use", ["within", "w"], ["state"])
    toy_.kernel("after", ["state"], ["out"])
    return toy_.build()


@pytest.mark.parametrize("every", [1, 2, 5, 11, 12, 100])
def test_a_loop_that_is_cut_does_what_it_did(every: int) -> None:
    """The same launches at the same times, the same memory: what lives within an iteration is released in it."""
    trace = one_loop()
    cut, origin = split_loops(trace, every)
    pieces = -(-12 // every)
    assert len(cut.kernels) == 2 + 2 * pieces
    assert cut.launches == trace.launches
    assert origin.tolist() == [0, *([1, 2] * pieces), 3]
    assert cut.executions[1:-1:2].sum() == 12
    whole = replay(trace, machine(), on(0, 0, 0, 0))
    parts = replay(cut, machine(), Mapping(np.zeros(len(cut.kernels), np.int32), "by hand"))
    assert parts.time_s == whole.time_s
    assert parts.peak_memory_bytes == whole.peak_memory_bytes
    assert parts.kernel_time_s == pytest.approx(whole.kernel_time_s)


@settings(max_examples=40, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(trace=random_traces(), every=st.integers(1, 4))
def test_cut_loops_of_any_program_take_as_long(trace: Trace, every: int) -> None:
    cut, origin = split_loops(trace, every)
    on_one = toy(Fixed("gpu", "hbm", (10,)))
    whole, parts = (replay(t, on_one, Mapping(np.zeros(len(t.kernels), np.int32), "by hand")) for t in (trace, cut))
    assert parts.time_s == whole.time_s
    assert parts.peak_memory_bytes == whole.peak_memory_bytes
    assert np.bincount(origin, cut.executions, minlength=len(trace.kernels)).tolist() == trace.executions.tolist()


def test_a_policy_is_asked_inside_a_loop_every_so_many_iterations() -> None:
    seen: list[Observation] = []
    replay(one_loop(), machine(), on(0, 0, 0, 0), decide=lambda o, _: seen.append(o), every=5)
    assert [o.kernel for o in seen] == [1, 3, 5]
    assert [o.time_s for o in seen] == pytest.approx([50e-6, 11 * 50e-6, 21 * 50e-6])
    assert seen[1].origin.tolist() == [0, 1, 2, 1, 2, 1, 2, 3]
    assert seen[2].duration_s[1:5] == pytest.approx([10e-6] * 4)


def test_a_device_that_is_slowed_for_a_while_is_left_and_taken_again() -> None:
    """The GPU is four times slower from 100 to 700 us; the policy sees it in the first stretch and tries again after two."""
    slow = [Disturbance("gpu", 100e-6, 600e-6, closed=0.75)]

    def decide(seen: Observation, mapping: Mapping) -> Mapping | None:
        last = seen.kernel - 1
        slowed = mapping.device[last] == 0 and not seen.duration_s[last] <= 15e-6
        ahead = np.arange(len(mapping)) >= seen.kernel
        return Mapping(np.where(ahead, int(slowed), mapping.device), "online")

    found = replay(one_loop(20), machine(), on(0, 0, 0, 0), decide=decide, every=2, disturbances=slow)
    runs = [(device, length) for device, length in found.mapping["runs"]]
    assert [device for device, _ in runs][:3] == [0, 1, 0], runs
    assert runs[-1][0] == 0, "back on the GPU once that is as fast as before"
    assert 0 < found.devices["far"]["busy_s"] < 20 * 2 * 15e-6
    everything = replay(one_loop(20), machine(), on(0, 0, 0, 0), decide=lambda *_: None, every=2, disturbances=slow)
    assert found.devices["gpu"]["busy_s"] < everything.devices["gpu"]["busy_s"]


def test_what_is_offloaded_cannot_be_decided_anew_nor_be_cut() -> None:
    """Fetches go ahead of the kernels that need them, over borders: an answer could not change those under way."""
    trace = three_regions()
    away = Offload(np.full(len(trace.tensors), -1, np.int32))
    mapping = Mapping(np.zeros(3, np.int32), "by hand", offload=away)
    with pytest.raises(MappingError, match=r"keep what is offloaded.*before kernel 1 .*`offload=mapping.offload`"):
        replay(trace, machine(), mapping, decide=lambda *_: on(0, 1, 1))
    with pytest.raises(MappingError, match=r"every=2 and the mapping of 'by hand' offloads: leave `every` out"):
        replay(trace, machine(), mapping, decide=lambda *_: None, every=2)
    kept = replay(trace, machine(), mapping, decide=lambda seen, before: replace(before, device=np.array([0, 1, 1], np.int32)))
    assert kept.mapping["runs"] == [[0, 1], [1, 2]]


def test_too_many_decisions_are_refused() -> None:
    with pytest.raises(TraceError, match="decide less often"):
        replay(one_loop(20_000), machine(), on(0, 0, 0, 0), decide=lambda *_: None, every=10)
    with pytest.raises(TraceError, match="every >= 1"):
        split_loops(one_loop(), 0)
