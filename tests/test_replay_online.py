"""What does a policy see while a program runs, and what does its answer change?"""

import numpy as np
import pytest

from codesign.engine import reference
from codesign.engine.disturb import Disturbance
from codesign.engine.online import Observation, borders, issue_times, observe, replay_online
from codesign.engine.plan import plan
from schedulers.scheduler import Mapping
from tests.replay_toys import Fixed, host, link, on, toy
from tests.toys import Toy
from traces import Trace
from traces.errors import MappingError

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
    found = replay_online(three_regions(), machine(), on(0, 0, 0), lambda o, _: seen.append(o))
    assert [(o.region, o.kernel) for o in seen] == [(2, 1), (3, 2)]
    assert borders(three_regions()) == [2, 3]
    assert [o.time_s for o in seen] == pytest.approx([4 * 50e-6, 8 * 50e-6])
    assert seen[0].duration_s[0] == pytest.approx(10e-6)
    assert np.isnan(seen[0].duration_s[1:]).all()
    assert seen[1].bandwidth[1] == pytest.approx(8192 / 10e-6)
    assert found.time_s == pytest.approx(11 * 50e-6 + 10e-6)


def test_what_has_not_ended_is_not_seen() -> None:
    seen: list[Observation] = []
    replay_online(three_regions(), machine(1.0), on(0, 0, 0), lambda o, _: seen.append(o))
    assert np.isnan(seen[0].duration_s).all(), "four launches are issued in 3 us, the first ends at 10"


def test_a_device_that_is_slowed_is_left() -> None:
    slow = [Disturbance("gpu", 0.0, 1.0, closed=0.75)]
    stays = replay_online(three_regions(), machine(), on(0, 0, 0), lambda *_: None, disturbances=slow)
    leaves = replay_online(three_regions(), machine(), on(0, 0, 0), move_when_slow, disturbances=slow)
    assert leaves.mapping["runs"] == [[0, 1], [1, 2]]
    assert stays.devices["gpu"]["busy_s"] == pytest.approx(12 * 40e-6)
    assert leaves.devices["gpu"]["busy_s"] == pytest.approx(4 * 40e-6)
    assert leaves.devices["far"]["busy_s"] == pytest.approx(8 * 15e-6)


def test_what_has_been_launched_cannot_be_mapped_anew() -> None:
    with pytest.raises(MappingError, match="from kernel 1 on, but it maps kernel 0 anew"):
        replay_online(three_regions(), machine(), on(0, 0, 0), lambda o, m: on(1, 1, 1))


def test_issue_times_are_those_of_the_reference_engine() -> None:
    program = plan(three_regions(), toy(Fixed("gpu", "hbm", (10,)), at=host(2.0, 3.0, depth=2)), on(0, 0, 0))
    simulation = reference.Simulation(program)
    records = simulation.run().records
    assert records is not None
    assert issue_times(program, records).tolist() == [instance.issue for instance in simulation.log]
    assert observe(three_regions(), program, 2).waited_s[0] > 0
