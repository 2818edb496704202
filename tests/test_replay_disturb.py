"""What do others, lost devices and jitter do to a replay?"""

import numpy as np
import pytest

import codesign as cd
from codesign.engine import fast, reference
from codesign.engine.builder import ProgramBuilder
from codesign.engine.disturb import Disturbance, disturb
from codesign.engine.plan import plan
from codesign.engine.program import Program
from tests.engines_agree import agree
from tests.replay_cases import chain
from tests.replay_toys import Fixed, on, toy
from traces.errors import MachineError

US = 1e-6
ENGINES = pytest.mark.parametrize("engine", [fast, reference])


def one(us: float = 10.0, count: int = 1, moved: float = 0.0) -> Program:
    builder = ProgramBuilder(["gpu"], resources={"hbm": 100e9})
    with builder.loop(count):
        builder.launch("gpu", us * US, uses={"hbm": moved} if moved else None)
    return builder.build()


@ENGINES
def test_a_device_at_half_speed_for_a_while(engine: object) -> None:
    """Half as fast from 2 to 8 us: 2 + 3 of 10 us are done then, 5 are left: 13 us."""
    program = disturb(one(), [Disturbance("gpu", 2 * US, 6 * US, closed=0.5)])
    assert engine.run(program).time_ps == 13_000_000  # type: ignore[attr-defined]
    agree(program)


@ENGINES
def test_a_lost_device_goes_on_afterwards(engine: object) -> None:
    program = disturb(one(), [Disturbance("gpu", 2 * US, 6 * US, closed=1.0)])
    assert engine.run(program).time_ps == 16_000_000  # type: ignore[attr-defined]


@ENGINES
def test_traffic_shares_a_memory_fairly(engine: object) -> None:
    """The kernel asks for 80 GB/s, traffic for 60 from 0 to 10 us: each gets 50 (the example of the page)."""
    program = disturb(one(moved=800_000), [Disturbance("hbm", 0.0, 10 * US, bandwidth=60e9)])
    assert engine.run(program).time_ps == 14_500_000  # type: ignore[attr-defined]


def test_others_that_come_after_the_end_change_nothing() -> None:
    program = disturb(one(), [Disturbance("gpu", 10 * US, 6 * US, closed=1.0)])
    run = fast.run(program)
    assert run.time_ps == 10_000_000
    assert run.elapsed_ps.tolist() == [0.0, 0.0, 10e6]


def test_what_comes_again_and_again_slows_each_time() -> None:
    """Lost for 1 us of every 4, first from 1 on: 10 us of work need pauses at 1, 5 and 9."""
    program = disturb(one(), [Disturbance("gpu", 1 * US, 1 * US, closed=1.0, every_s=4 * US, times=100)])
    assert fast.run(program).time_ps == 13_000_000
    agree(program)


def test_loops_beside_a_guest_that_has_gone_are_stepped_over_again() -> None:
    run = fast.run(disturb(one(count=100_000), [Disturbance("gpu", 5 * US, 20 * US, closed=0.5)]), record=False)
    assert run.time_ps == 100_000 * 10_000_000 + 10_000_000
    assert run.launches_run < 3 * 1024, "what was issued ahead has to end first: two queues' depths"


def test_jitter_is_drawn_from_its_seed_and_stays_within_its_spread() -> None:
    times = {seed: fast.run(disturb(one(count=1000), [], spread=0.2, seed=seed)) for seed in (1, 2)}
    again = fast.run(disturb(one(count=1000), [], spread=0.2, seed=1))
    records = times[1].records
    assert records is not None
    lasted = (records.end_ps - records.start_ps) / 10e6
    assert again.time_ps == times[1].time_ps != times[2].time_ps
    assert (lasted.min() >= 0.8, lasted.max() <= 1.2) == (True, True)
    assert lasted.mean() == pytest.approx(1.0, abs=0.02)
    assert lasted.std() == pytest.approx(0.4 / np.sqrt(12), rel=0.1)


def test_a_replay_takes_disturbances_by_the_machines_names() -> None:
    machine = toy(Fixed("gpu", "hbm", (10, 10)))
    found = cd.replay(chain(), machine, on(0, 0), disturbances=[Disturbance("gpu", 0.0, 10 * US, closed=0.5)], engine="fast")
    assert found.time_s == pytest.approx(25 * US)
    assert list(found.links) == []
    assert cd.replay(chain(), machine, on(0, 0), jitter=0.1, seed=3).time_s != found.time_s


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"what": "gpu"}, "either"),
        ({"what": "gpu", "closed": 0.5, "bandwidth": 1.0}, "either"),
        ({"what": "gpu", "closed": 1.5}, "at most 1"),
        ({"what": "gpu", "closed": 0.5, "times": 2}, "every_s >= duration_s"),
        ({"what": "gpu", "bandwidth": 1e9}, "is a queue: give `closed`"),
        ({"what": "gpq", "closed": 0.5}, "did you mean 'gpu'|gpu"),
    ],
)
def test_a_disturbance_that_cannot_be_is_refused(given: dict[str, object], message: str) -> None:
    with pytest.raises(MachineError, match=message):
        disturb(one(), [Disturbance(start_s=0.0, duration_s=US, **given)])  # type: ignore[arg-type]


def test_plans_can_be_disturbed() -> None:
    program = plan(chain(), toy(Fixed("gpu", "hbm", (10, 10), moved=(1e6,)), bandwidth=200e9), on(0, 0))
    agree(disturb(program, [Disturbance("hbm", 5 * US, 10 * US, bandwidth=150e9), Disturbance("gpu", 0.0, 3 * US, closed=0.25)]))
