"""Is what a timeline says of a replay what happened?"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from codesign.engine import Evaluator, Timeline, fast, replay
from codesign.engine.builder import ProgramBuilder
from codesign.engine.plan import plan
from codesign.engine.usage import usage
from schedulers.scheduler import Mapping
from tests.replay_cases import cases, chain, ping_pong
from tests.replay_toys import Fixed, hand_over, host, link, on, toy
from tests.toys import Toy
from traces import Trace
from traces.errors import CapacityError, CodesignError, MappingError, TraceError

PIM = toy(
    Fixed("gpu", "hbm", (10, 10), joules=2.0, static_watts=3.0), Fixed("pim", "hbm", (5, 5), "pim", joules=1.0), hand_overs=(hand_over(),)
)  # fmt: skip
FAR = toy(Fixed("gpu", "hbm", (10, 10)), Fixed("pim", "far", (5, 5), "pim"), links=(link(),))


def phases() -> Trace:
    trace = Toy()
    trace.kernel("one", [], ["a"], family="gemm", phase="sampling", stage="A")
    with trace.loop(3):
        trace.kernel("two", ["a"], ["a"], family="reduce", phase="laplacian")
    return trace.build()


def test_equal_calls_are_one_of_the_heaviest_and_the_longest_stands_first() -> None:
    trace = Toy()
    size = {
        "batch": 1,
        "m": 8,
        "n": 4,
        "k": 2,
        "flops_matrix": 128.0,
        "flops_vector": 0.0,
        "flops_transcendental": 0.0,
        "bytes_unique": 50.0,
    }
    trace.kernel("product", [], ["a"], family="gemm", dtype="f32", **size)
    with trace.loop(3):
        unknown = dict.fromkeys(("batch", "m", "n", "k"), -1) | {name: np.nan for name in size if "flops" in name} | {"bytes_unique": 40.0}
        trace.kernel("sum", ["a"], ["b"], family="reduce", dtype="f32", **unknown)
    trace.kernel("product", [], ["c"], family="gemm", dtype="f32", **size)
    trace.kernel("product", [], ["d"], family="gemm", dtype="f32", **size | {"m": 16})
    timeline = replay(trace.build(), toy(Fixed("gpu", "hbm", (10, 20, 10, 5))))
    found = [(call["name"], call["size"], call["launches"], call["time_s"], call["share"]) for call in timeline.kernels]
    sizes = [], [8, 4, 2], [16, 4, 2]
    names, launches = ("sum", "product", "product"), (3, 2, 1)
    assert found == [
        (name, size, count, pytest.approx(us * 1e-6), pytest.approx(us / 85))
        for name, size, count, us in zip(names, sizes, launches, (60, 20, 5), strict=True)
    ]
    assert timeline.kernels[1]["flops_per_s"] == pytest.approx(2 * 128 / 20e-6)
    assert timeline.kernels[0]["bytes_per_s"] == pytest.approx(3 * 40 / 60e-6)
    assert timeline.kernels[0]["flops_per_s"] is None
    assert Timeline.from_dict(timeline.to_dict()).kernels == timeline.kernels


def test_a_call_is_counted_as_often_as_it_ran_where_a_loop_hands_over() -> None:
    """The first time around the loop its tensor is on the GPU, later on the PIM: the loop becomes two."""
    trace = Toy()
    trace.kernel("start", [], ["a"], family="gemm")
    with trace.loop(5):
        trace.kernel("step", ["a"], ["b"], family="elementwise", flops_vector=6.0, bytes_unique=24.0)
        trace.kernel("back", ["b"], ["a"], family="reduce")
    timeline = replay(trace.build(), FAR, on(0, 1, 0))
    (step,) = [call for call in timeline.kernels if call["name"] == "step"]
    assert (step["launches"], step["bytes"]) == (5, 24.0)
    assert step["bytes_per_s"] == pytest.approx(5 * 24.0 / step["time_s"])


def test_totals_of_a_hand_made_case() -> None:
    timeline = replay(chain(), FAR, on(0, 1))
    assert timeline.time_s == pytest.approx(20e-6)
    assert timeline.kernel_time_s == pytest.approx(15e-6)
    assert timeline.transfer_s == pytest.approx(5e-6)
    assert timeline.devices["pim"] == pytest.approx({"busy_s": 5e-6, "hand_over_s": 0, "idle_s": 15e-6})
    assert timeline.links["link: hbm to far"] == pytest.approx({"busy_s": 5e-6, "idle_s": 15e-6})
    assert timeline.launches == 2
    assert timeline.captured_for == "a5000"


def test_hand_overs_are_told_apart_from_kernels() -> None:
    timeline = replay(chain(), PIM, on(0, 1))
    assert timeline.hand_over_s == pytest.approx(2e-6)
    assert timeline.devices["pim"] == pytest.approx({"busy_s": 5e-6, "hand_over_s": 2e-6, "idle_s": 10e-6})


def test_shares_are_fractions_of_kernel_time() -> None:
    timeline = replay(phases(), toy(Fixed("gpu", "hbm", (10, 20))))
    assert timeline.shares("family") == pytest.approx({"reduce": 6 / 7, "gemm": 1 / 7})
    assert timeline.shares("phase") == pytest.approx({"laplacian": 6 / 7, "sampling": 1 / 7})
    assert timeline.shares("stage") == pytest.approx({"none": 6 / 7, "A features": 1 / 7})
    assert timeline.shares("device") == {"gpu": 1.0}
    with pytest.raises(TraceError, match="family, phase, stage, device"):
        timeline.shares("kernel")


def test_energy_is_dynamic_plus_static_over_the_makespan() -> None:
    assert replay(chain(), PIM, on(0, 1)).energy_j is None, "the hand-over's energy is not known"
    assert replay(chain(), PIM, on(0, 0)).energy_j == pytest.approx(2 * 2.0 + 3.0 * 20e-6)
    assert replay(chain(), toy(Fixed("gpu", "hbm", (1,), joules=float("nan"))), on(0, 0)).energy_j is None
    assert replay(chain(), toy(Fixed("gpu", "hbm", (1,), static_watts=None)), on(0, 0)).energy_j is None


def test_what_other_devices_refuse_is_reported_by_reason() -> None:
    machine = toy(Fixed("gpu", "hbm", (10, 30)), Fixed("pim", "far", (5,), "pim", refused=(1,)), links=(link(),))
    assert replay(chain(), machine).ineligible == {"pim": {"it is a toy": pytest.approx(0.75)}}


def test_a_tensor_that_does_not_fit_is_named_with_time_and_excess() -> None:
    machine = toy(Fixed("gpu", "hbm", (10,)), capacity=50_000)
    trace = Toy()
    trace.tensor("x", 30_000)
    trace.tensor("y", 30_000)
    trace.kernel("makes x", [], ["x"])
    trace.kernel("makes y", ["x"], ["y"])
    with pytest.raises(CapacityError, match=r"'hbm' holds 50,000 bytes.*'y' \(30,000 bytes\).*60,000 at 1e-05 s, 10,000 too many"):
        replay(trace.build(), machine)
    with pytest.raises(CapacityError, match="'hbm' holds 50,000 bytes"):
        replay(trace.build(), machine, record=False)


def test_memory_is_taken_at_the_first_write_and_released_after_the_last_read() -> None:
    trace = Toy()
    trace.tensor("p", 5, "parameter")
    for name, size in (("x", 10), ("y", 100)):
        trace.tensor(name, size)
    trace.kernel("makes x", ["p"], ["x"])
    trace.kernel("makes y", ["x"], ["y"])
    trace.kernel("reads y", ["y"], [])
    timeline = replay(trace.build(), toy(Fixed("gpu", "hbm", (10,))))
    over_time = timeline.memory["hbm"]
    assert list(zip((over_time.time_s * 1e6).round().tolist(), over_time.bytes.tolist(), strict=True)) == [
        (0, 5), (0, 15), (10, 115), (20, 105), (30, 5),
    ]  # fmt: skip
    assert timeline.peak_memory_bytes == {"hbm": 115}


def test_a_copy_takes_memory_where_it_is_until_it_is_stale() -> None:
    timeline = replay(ping_pong(5), FAR, on(0, 1))
    assert timeline.peak_memory_bytes == {"hbm": 8192, "far": 8192}


def test_repeats_change_no_peak() -> None:
    builder = ProgramBuilder(["gpu"], memories={"hbm": 1000})
    with builder.loop(10**6):
        first = builder.launch("gpu", 1e-6)
        builder.memory(first, "hbm", 70)
        last = builder.launch("gpu", 1e-6)
        builder.memory(last, "hbm", 30)
        builder.memory(last, "hbm", -100, at_end=True)
    program = builder.build()
    run = fast.run(program)
    assert run.launches_run < 100
    assert run.records is not None
    assert usage(program, run.records)["hbm"].peak == 100


def test_memory_for_the_whole_of_a_loop_is_released_once_at_its_end() -> None:
    builder = ProgramBuilder(["gpu"], memories={"hbm": 1000})
    with builder.loop(3):
        before = builder.launch("gpu", 1e-6)
        builder.memory(before, "hbm", 10)
        with builder.loop(10**6):
            inner = builder.launch("gpu", 1e-6)
        builder.memory(inner, "hbm", -10, at_end=True, every=10**6)
    program = builder.build()
    run = fast.run(program)
    assert run.launches_run < 100
    assert run.records is not None
    over_time = usage(program, run.records)["hbm"]
    assert over_time.bytes.tolist() == [0, 10, 0, 10, 0, 10, 0]
    assert over_time.time_s[[1, 2, -1]] == pytest.approx([0, 1.000001, 3.000003])


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(cases(shared=True))
def test_stepping_over_iterations_changes_no_peak(case: tuple[Trace, Any, Mapping]) -> None:
    program = plan(*case)
    stepped, every = fast.run(program), fast.run(program, step_over=False)
    assert stepped.records is not None
    assert every.records is not None
    peaks = [{name: u.peak for name, u in usage(program, records).items()} for records in (stepped.records, every.records)]
    assert peaks[0] == peaks[1]
    assert min(u.bytes.min() for u in usage(program, every.records).values()) >= 0


def test_a_timeline_is_saved_and_loaded(tmp_path: Path) -> None:
    timeline = replay(ping_pong(1000), PIM, on(0, 1))
    timeline.save(tmp_path / "a.anything")
    document = json.loads((tmp_path / "a.anything").read_text())
    assert document["kind"] == "timeline"
    assert document["schema_version"] == 1
    loaded = Timeline.load(tmp_path / "a.anything")
    assert loaded.to_dict() == timeline.to_dict()
    for column in ("start_s", "end_s", "kind", "name", "family", "queue"):
        np.testing.assert_array_equal(getattr(loaded.spans(), column), getattr(timeline.spans(), column))
    assert len(timeline.spans()) == 4 * 1000 - 1
    assert len(timeline.spans(repeats=1)) < 100
    assert "PIM" not in timeline._repr_html_()


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"kind": "result"}', '{"kind": "timeline"}', '{"kind": "timeline", "schema_version": 99}']
)
def test_a_file_that_is_no_timeline_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "x").write_text(text)
    with pytest.raises(TraceError):
        Timeline.load(tmp_path / "x")


def test_without_records_there_are_totals_but_no_operations() -> None:
    timeline = replay(ping_pong(1000), PIM, on(0, 1), record=False)
    assert timeline.time_s == replay(ping_pong(1000), PIM, on(0, 1)).time_s
    with pytest.raises(TraceError, match="record=True"):
        timeline.spans()


def test_the_evaluator_gives_the_totals_of_a_replay() -> None:
    timeline = replay(ping_pong(1000), PIM, on(0, 1))
    found = Evaluator(ping_pong(1000), PIM).evaluate(on(0, 1))
    assert (found.time_s, found.host_bound_s, found.energy_j) == (timeline.time_s, timeline.host_bound_s, timeline.energy_j)
    assert found.peak_memory_bytes == timeline.peak_memory_bytes


def test_both_engines_give_the_same_timeline() -> None:
    devices = Fixed("gpu", "hbm", (10, 10), moved=(1e6,)), Fixed("pim", "hbm", (5, 5), "pim")
    machine = toy(*devices, hand_overs=(hand_over(closed=0.5),), bandwidth=150e9, at=host(interval=2, latency=3))
    quick, slow = (replay(ping_pong(50), machine, on(0, 1), engine=engine).to_dict() for engine in ("fast", "reference"))
    differ = {key for key in quick if quick[key] != slow[key]}
    assert differ == {"engine", "entries", "launches_run", "launches_stepped"}


def test_unknown_engines_and_schedulers_are_errors() -> None:
    with pytest.raises(CodesignError, match="did you mean 'fast'"):
        replay(chain(), PIM, engine="fest")
    with pytest.raises(CodesignError, match="single-device"):
        replay(chain(), PIM, "single-devise")
    with pytest.raises(MappingError, match="one device for each"):
        replay(chain(), PIM, on(0))
