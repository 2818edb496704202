"""Is what a user gives the engine wrongly an error that says what must hold, what was given and what to do?"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import codesign as cd
from arch.host import Host
from codesign.engine import fast
from codesign.engine.builder import ProgramBuilder
from codesign.engine.collectives import Wire, all_to_all
from codesign.engine.disturb import Disturbance, disturb
from codesign.engine.evaluator import Evaluator
from tests.replay_toys import Fixed, link, on, toy
from tests.toys import Toy
from traces import Trace
from traces.errors import CodesignError, MachineError, TraceError

US = 1e-6
MACHINE = toy(Fixed("gpu", "hbm", (10,)), Fixed("far", "far", (10,)), links=(link(),))


def trace() -> Trace:
    toy_ = Toy()
    toy_.kernel("before", ["a"], ["b"])
    with toy_.loop(3):
        toy_.kernel("inside", ["b"], ["c"])
    return toy_.build()


def builder(**options: Any) -> ProgramBuilder:
    """Two queues and one launch."""
    made = ProgramBuilder(["gpu", "pim"], resources={"hbm": 1e12}, memories={"hbm": 1000}, **options)
    made.launch("gpu", US)
    return made


REPLAYS: dict[str, tuple[Callable[[], Any], str]] = {
    "a number for a scheduler": (lambda: cd.replay(trace(), MACHINE, 3), "must be a policy, the name of one, or a mapping, but got 3"),
    "a class for a scheduler": (lambda: cd.replay(trace(), MACHINE, cd.Scheduler), r"make one: Scheduler\(\)"),
    "a list for a mapping": (lambda: cd.replay(trace(), MACHINE, [0, 1]), r"a mapping, but got \[0, 1\]"),
    "a number for a machine": (lambda: cd.replay(trace(), 5000), r"the name of one, such as 'h100-sxm', but got 5000"),  # type: ignore[arg-type]
    "a name of no machine": (lambda: cd.replay(trace(), "a500"), "there is no device 'a500'; did you mean 'a5000'"),
    "a path for a trace": (lambda: cd.replay("a.trace", MACHINE), r"got 'a.trace': load one with codesign.load\('a.trace'\)"),
    "a list to evaluate": (lambda: Evaluator(trace(), MACHINE).evaluate([0, 1]), r"must be a mapping, but got \[0, 1\]"),
    "nobody decides": (lambda: cd.replay(trace(), MACHINE, decide="nobody"), "must be a function .* but got 'nobody'"),
    "a number decided": (lambda: cd.replay(trace(), MACHINE, decide=lambda *_: 3), "a mapping or None, but got 3"),
    "text for jitter": (lambda: cd.replay(trace(), MACHINE, jitter="10%"), "a number from 0 to below 1, but got '10%'"),
    "a seed with a fraction": (lambda: cd.replay(trace(), MACHINE, jitter=0.1, seed=1.5), "a whole number .* but got 1.5"),
    "a seed too large": (lambda: cd.replay(trace(), MACHINE, jitter=0.1, seed=1 << 63), r"below 2\^63"),
    "one disturbance": (lambda: cd.replay(trace(), MACHINE, disturbances=Disturbance("gpu", 0, 1, closed=0.5)), "must be a sequence"),
    "a disturbance as a dict": (lambda: cd.replay(trace(), MACHINE, disturbances=[{"what": "gpu"}]), "must be a `Disturbance"),
    "half a stream": (lambda: cd.interleave(trace(), 1.5), "a whole number of streams, but got 1.5"),
}  # fmt: skip


@pytest.mark.parametrize("case", REPLAYS)
def test_a_replay_of_the_wrong_kind_of_thing_says_what_it_takes(case: str) -> None:
    call, message = REPLAYS[case]
    with pytest.raises(CodesignError, match=message):
        call()


BUILDERS: dict[str, tuple[Callable[[], Any], str]] = {
    "text for a duration": (lambda: builder().launch("gpu", "1 us"), "a number of seconds, but got '1 us'"),
    "a number for a queue": (lambda: builder().launch(0, US), "unknown queue 0: known: gpu, pim"),
    "half a place in a queue": (lambda: builder(queue_depth=1.5), "whole number of launches, but got 1.5"),
    "too deep a queue": (lambda: builder(queue_depth=(1 << 20) + 1), "1 <= queue_depth <= 1,048,576"),
    "a queue twice": (lambda: ProgramBuilder(["gpu", "gpu"]), "a name of its own, but got 'gpu' twice"),
    "a queue on two wires": (lambda: builder(wires=[("gpu", "pim"), ("gpu",)]), "one wire only, but got 'gpu' twice"),
    "an unknown guest": (lambda: builder(guests=["pin"]), "unknown queue 'pin'.*did you mean 'pim'"),
    "a launch of a guest": (lambda: builder(guests=["gpu"]), "'gpu' is a guest's: use `guest`"),
    "text for a resource": (lambda: ProgramBuilder(["gpu"], resources={"hbm": "1 TB/s"}), "but 'hbm' has '1 TB/s'"),
    "endless bytes": (lambda: builder().launch("gpu", US, uses={"hbm": float("inf")}), "got inf bytes"),
    "unknown bytes": (lambda: builder().launch("gpu", US, uses={"hbm": float("nan")}), "got nan bytes"),
    "a number to wait for": (lambda: builder().launch("gpu", US, after=0), r"write \[0\]"),
    "an operation that is not there": (lambda: builder().launch("gpu", US, after=[7]), "operations 0 to 1, but got 1 after 7"),
    "memory of no operation": (lambda: builder().memory(1, "hbm", 10), "an operation of 0 to 0.*but got 1"),
    "half a loop": (lambda: builder().loop(1.5).__enter__(), "a whole number .* but got 1.5"),
    "an endless loop": (lambda: builder().loop(1 << 62).__enter__(), r"below 2\^62"),
}  # fmt: skip


@pytest.mark.parametrize("case", BUILDERS)
def test_a_program_made_wrongly_says_what_must_hold(case: str) -> None:
    call, message = BUILDERS[case]
    with pytest.raises(TraceError, match=message):
        call()


@pytest.mark.parametrize("wrong", [{"after": [7]}, {"after": 0}, {"uses": {"nowhere": 1.0}}, {"uses": {"hbm": float("nan")}}], ids=str)
def test_an_operation_that_is_refused_leaves_nothing_behind(wrong: dict[str, Any]) -> None:
    made = builder()
    before = made.launch("gpu", US)
    with pytest.raises(TraceError):
        made.launch("gpu", US, **wrong)
    assert made.launch("gpu", US) == before + 1
    assert fast.run(made.build()).launches_run == before + 2


def test_a_program_is_not_built_inside_its_loop() -> None:
    made = builder()
    with made.loop(3):
        made.launch("gpu", US)
        with pytest.raises(TraceError, match="a loop must be ended"):
            made.build()
    assert fast.run(made.build()).launches_run == 4


def test_an_all_to_all_has_a_link_for_every_pair() -> None:
    made = builder()
    with pytest.raises(MachineError, match=r"a row of 2 links from each of its 2 ranks, but got \[1, 1\]"):
        all_to_all(made, [[Wire("gpu", 1e9, 0.0)]] * 2, 5.0, [0, 0])


def test_quantities_of_a_disturbance_and_a_host_may_be_texts_with_their_unit() -> None:
    told = Disturbance("hbm", "2 us", "1 ms", bandwidth="10 GB/s")
    assert (told.start_s, told.duration_s, told.bandwidth) == pytest.approx((2e-6, 1e-3, 10e9))
    assert Host("2 us", 0.0, 1, 0.0, 0.0).launch_interval_s == pytest.approx(2e-6)
    for make in (lambda: Disturbance("hbm", "2", 1.0, closed=0.5), lambda: Host("2", 0.0, 1, 0.0, 0.0)):
        with pytest.raises(MachineError, match="without a unit is ambiguous"):
            make()


@pytest.mark.parametrize(
    "changed",
    [
        {"times": 2.5},
        {"times": 0},
        {"every_s": float("nan")},
        {"bandwidth": float("inf"), "closed": 0.0},
        {"start_s": float("inf")},
        {"duration_s": 1e9},
    ],
)
def test_a_disturbance_out_of_range_is_refused(changed: dict[str, Any]) -> None:
    with pytest.raises(MachineError, match="disturbance"):
        Disturbance(**{"what": "gpu", "start_s": 0.0, "duration_s": 1.0, "closed": 0.5, **changed})


@pytest.mark.parametrize("depth", [0, 1.5, (1 << 20) + 1])
def test_a_host_has_a_queue_of_some_launches(depth: Any) -> None:
    with pytest.raises(MachineError, match="queue_depth of the host must be a whole number"):
        Host(0.0, 0.0, depth, 0.0, 0.0)


def test_links_have_names_of_their_own() -> None:
    with pytest.raises(MachineError, match="links of the machine 'toy' must have different ids, but got link, link"):
        replace(MACHINE, links=(link(), link()))


def test_what_is_right_is_taken() -> None:
    program = disturb(
        builder(guests=["pim"], wires=[("gpu", "pim")]).build(), [Disturbance("gpu", 0.0, 1e-6, closed=0.5)], seed=np.int64(3)
    )
    assert fast.run(program).time_ps == 1_500_000
    assert cd.replay(trace(), MACHINE, on(0, 0)).time_s == pytest.approx(40e-6)
