"""Why did a replay take that long, and what would shorten it?"""

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

import codesign as cd
from codesign.engine import fast
from codesign.engine.builder import ProgramBuilder
from codesign.engine.critical import Path, critical_path
from codesign.engine.program import Program
from codesign.errors import CodesignError
from codesign.explaining.limits import limits
from codesign.explaining.sensitivity import TIE, agree, sensitivities
from codesign.explaining.variants import Baseline
from tests.command_line import refusal, run
from tests.replay_cases import chain
from tests.replay_toys import Fixed, host, link, on, toy
from tests.strategies.programs import programs
from tests.toys import Toy
from traces.errors import TraceError
from traces.recordings import load_recorded

US = 1e-6
RELAXED = settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))


def path_of(program: Program) -> tuple[Path, int]:
    done = fast.run(program, step_over=False)
    assert done.records is not None
    return critical_path(program, done.records), done.time_ps


def test_a_chain_that_waits_for_the_host_first_and_then_for_itself() -> None:
    builder = ProgramBuilder(["gpu"], launch_interval_s=2 * US, launch_latency_s=3 * US)
    for duration in (10, 1, 10):
        builder.launch("gpu", duration * US)
    path, time = path_of(builder.build())
    assert (path.on_path.tolist(), path.latencies, path.intervals, time) == ([1, 1, 1], 1, 0, 24_000_000)


def test_small_kernels_wait_for_the_hosts_turns() -> None:
    builder = ProgramBuilder(["gpu"], launch_interval_s=2 * US, launch_latency_s=3 * US)
    with builder.loop(5):
        builder.launch("gpu", 1 * US)
    path, time = path_of(builder.build())
    assert (path.on_path.tolist(), path.latencies, path.intervals, time) == ([1], 1, 4, 12_000_000)


def test_a_full_queue_holds_the_host_back() -> None:
    builder = ProgramBuilder(["gpu"], launch_interval_s=0.0, launch_latency_s=1 * US, queue_depth=1)
    with builder.loop(3):
        builder.launch("gpu", 5 * US)
    path, time = path_of(builder.build())
    assert path.length_ps(builder.build(), builder.build()) == time


def test_a_round_trip_is_on_the_path() -> None:
    builder = ProgramBuilder(["gpu"])
    with builder.loop(3):
        builder.launch("gpu", 5 * US)
        builder.round_trip(2 * US)
    path, time = path_of(builder.build())
    assert (path.on_path.tolist(), time) == ([3, 3], 21_000_000)


@RELAXED
@given(programs())
def test_the_parts_of_the_path_add_up_to_the_makespan(program: Program) -> None:
    path, time = path_of(program)
    assert path.unknown_ps <= program["gap"].max(initial=0)  # a queue's first operation may begin with a gap
    assert path.length_ps(program, program) == time


@RELAXED
@given(programs(shared=True))
def test_the_parts_add_up_where_resources_are_shared_too(program: Program) -> None:
    path, time = path_of(program)
    assert path.length_ps(program, program) == pytest.approx(time, rel=1e-9, abs=len(program) + 1)


@RELAXED
@given(programs())
def test_a_path_bounds_every_other_replay_from_below(program: Program) -> None:
    path, _ = path_of(program)
    changed = program.ops.op.copy()
    changed["duration"] = changed["duration"] * np.arange(1, len(changed) + 1) // 2
    changed["gap"] = changed["gap"] * np.arange(len(changed), 0, -1) // 2
    other = replace(program, ops=program.ops._replace(op=changed))
    assert path.length_ps(other, program) <= fast.run(other).time_ps


def test_a_path_is_not_looked_for_in_what_was_stepped_over() -> None:
    builder = ProgramBuilder(["gpu"])
    with builder.loop(1000):
        builder.launch("gpu", 5 * US)
    done = fast.run(builder.build())
    assert done.records is not None
    with pytest.raises(TraceError, match="stepped over"):
        critical_path(builder.build(), done.records)


def two_devices() -> Baseline:
    """Kernel 0 on the GPU (10 us), 40 kB over a link of 10 GB/s and 1 us, kernel 1 on the PIM (5 us)."""
    machine = toy(Fixed("gpu", "hbm", (10.0,)), Fixed("pim", "far", (5.0,)), links=(link(),), at=host())
    return Baseline.of(chain(), machine, on(0, 1))


def test_transfers_are_on_the_path() -> None:
    base = two_devices()
    assert base.time_ps == 20_000_000
    kinds = np.bincount(base.program["kind"], base.path.elapsed_ps, minlength=4)
    assert kinds.tolist() == [15e6, 5e6, 0.0, 0.0]


def test_twice_as_fast_is_a_replay_and_not_an_extrapolation() -> None:
    base = two_devices()
    assert base.faster(np.array([True, False]), 2.0) == pytest.approx(15 * US)
    assert base.faster(np.array([True, True]), 2.0) == pytest.approx(12.5 * US)


def test_derivatives_are_what_replays_nearby_say() -> None:
    trace, machine = load_recorded("ferminet-lih-a5000"), cd.machine("a5000+aim-fp32@link")
    base = Baseline.of(trace, machine, "intensity-threshold")
    rows = {row.name: row for row in sensitivities(base)}
    row = rows["link_bandwidth_bytes_per_s"]
    assert row.elasticity < -0.1
    assert row.holds_low <= row.value <= row.holds_high
    inside = row.value * 1.002
    assert row.value < inside < row.holds_high
    there = base.time_s(machine.with_(link_bandwidth_bytes_per_s=inside))
    assert there is not None
    slope = (there - base.time_ps / 1e12) / (inside - row.value)
    assert slope == pytest.approx(row.derivative_up, rel=0.01)


EXPLAINED = [
    ("ferminet-lih-a5000", "a5000", "single-device"),
    ("ferminet-lih-a5000", "a5000+aim-fp32@link", "intensity-threshold"),
    ("psiformer-lih-a5000", "a5000+aim-fp32", "intensity-threshold"),
    ("orbformer-lih-a5000", "h200+near-l2", "cut-points"),
    ("default-lih-a5000", "a5000+plasticine@pcie4", "intensity-threshold"),
    ("llama-2-7b-h200", "h200", "single-device"),
    ("flashvan-a5000-sweeps1", "h100-sxm+hbm-pim", "intensity-threshold"),
]
STEPS = {"array_scale", "pim_unit_clock_hz"}
"""Whole arrays and whole clocks are counted: the price jumps, and a difference depends on its step."""


@pytest.mark.parametrize(("name", "of", "scheduler"), EXPLAINED)
def test_inside_the_stated_intervals_the_path_is_critical_and_differences_are_the_derivatives(name: str, of: str, scheduler: str) -> None:
    machine = cd.machine(of)
    base = Baseline.of(load_recorded(name), machine, scheduler)
    now = base.time_ps / 1e12
    for row in sensitivities(base):
        for low, high in ((row.holds_low, row.value), (row.value, row.holds_high)):
            for share in (0.1, 0.37, 0.83):
                found = base.both_s(machine.with_(**{row.name: low + share * (high - low)}))
                assert found is not None
                assert found[0] == pytest.approx(found[1], rel=2e-6, abs=2e-3 * abs(found[0] - now)), row  # twice what ends may be off
        for step, derivative in ((-5e-4, row.derivative_down), (5e-4, row.derivative_up)):
            if not np.isnan(derivative) and row.name not in STEPS:
                there = base.time_s(machine.with_(**{row.name: row.value * (1 + step)}))
                assert there is not None
                assert (there - now) / step == pytest.approx(derivative * row.value, rel=TIE, abs=2e-6 * now), row


def test_the_gap_between_kernels_of_a_command_buffer_has_a_derivative() -> None:
    base = Baseline.of(load_recorded("ferminet-lih-a5000"), cd.machine("a5000"), "single-device")
    row = next(row for row in sensitivities(base) if row.name == "host_graph_gap_s")
    gaps = int(base.path.gaps.sum())
    assert gaps > 0
    assert row.derivative_up == pytest.approx(gaps, rel=1e-3)  # a second more between kernels is a second more each time
    assert row.derivative_down == pytest.approx(gaps, rel=1e-3)
    assert row.holds_low == 0.0


def test_one_rank_of_several_is_explained_with_the_others() -> None:
    trace = load_recorded("llama-2-70b-a100-sxm-80gb-tensor_parallel4-batch1-prompt128-tokens0")
    why = cd.explain(trace, "4xa100-sxm-80gb")
    assert why.time_s == cd.replay(trace, "4xa100-sxm-80gb").time_s
    assert sum(why.path["queue"].values()) == pytest.approx(1.0, abs=1e-6)


def test_the_path_is_critical_up_to_the_stated_end_and_not_beyond_it() -> None:
    trace, machine = load_recorded("ferminet-lih-a5000"), cd.machine("a5000+aim-fp32@link")
    base = Baseline.of(trace, machine, "intensity-threshold")
    row = next(row for row in sensitivities(base) if row.name == "link_bandwidth_bytes_per_s")
    assert row.holds_high < machine.parameters[row.name].high
    for value, holds in ((row.holds_high, True), (row.holds_high * 1.05, False)):
        found = base.both_s(machine.with_(link_bandwidth_bytes_per_s=value))
        assert found is not None
        assert agree(base, *found) is holds


def test_explanations_add_up_and_gains_are_at_most_half_of_the_share() -> None:
    found = cd.explain(load_recorded("ferminet-lih-a5000"), cd.machine("a5000"))
    for by in ("queue", "kind"):
        assert sum(found.path[by].values()) == pytest.approx(1.0, abs=1e-6)
    for gain in found.gains:
        assert -1e-9 <= gain.gain <= gain.share_of_path / 2 + 1e-3
    assert found.gains[0].gain == max(gain.gain for gain in found.gains)
    assert all(gain.name != "none" for gain in found.gains)  # of no phase or stage: no group that anybody could make faster
    assert repr(found).endswith(f"twice as fast {found.gains[0].by} {found.gains[0].name} buys {100 * found.gains[0].gain:.1f} %>")


def test_discrete_parameters_are_replayed_at_the_next_sizes_and_at_twice_as_many() -> None:
    found = cd.explain(load_recorded("ferminet-lih-a5000"), cd.machine("a5000+aim-fp32"), "intensity-threshold")
    stacks = {size.other for size in found.sizes if size.name == "pim_stacks"}
    value = cd.machine("a5000+aim-fp32").parameters["pim_stacks"].value
    assert stacks == {value - 1, value + 1, 2 * value}


def test_what_binds_kernels_is_the_longest_term_of_their_price() -> None:
    """A copy is bound by DRAM, a square product by the units, a kernel of few bytes by its start: by arithmetic on an A5000."""
    trace = Toy()
    sizes = {
        "m": -1,
        "n": -1,
        "k": -1,
        "batch": -1,
        "flops_matrix": 0.0,
        "library": "",
        "launch_kind": "fusion",
        "precision": "",
    }
    for name, size, blocks in (("large", 2**30, 2**19), ("small", 64, 1)):
        trace.tensor(f"{name} in", size)
        trace.tensor(f"{name} out", size)
        trace.kernel(name, [f"{name} in"], [f"{name} out"], family="elementwise", bytes_unique=2.0 * size, grid_x=blocks, **sizes)
    product = {
        "m": 4096,
        "n": 4096,
        "k": 4096,
        "batch": 1,
        "flops_matrix": 2.0 * 4096**3,
        "library": "gemm",
        "launch_kind": "library",
        "grid_x": -1,
        "precision": "highest",
    }
    for name in "abc":
        trace.tensor(name, 4 * 4096**2)
    trace.kernel("product", ["a", "b"], ["c"], family="gemm", bytes_unique=3.0 * 4 * 4096**2, **product)
    machine = cd.machine("a5000")
    found = limits(trace.build(), machine, on(0, 0, 0))
    assert found.tolist() == ["DRAM", "start of a kernel", "matrix units or power cap"]


def test_the_tables_fit_a_terminal_of_a_hundred_columns_and_leave_out_groups_of_one() -> None:
    done = run("explain", "llama-3-8b-h200", "--machine", "h200")
    assert max(map(len, done.stdout.splitlines())) <= 100
    assert "stack_bandwidth_bytes_per_s" in done.stdout
    assert "kind of operation" in done.stdout
    assert "none" not in done.stdout


def test_the_command_prints_one_document() -> None:
    done = run("explain", "ferminet-lih-a5000", "--machine", "a5000", "--json")
    assert done.exit_code == 0
    document = json.loads(done.stdout)
    assert document["kind"] == "explanation"
    assert document["gains"][0]["time_s"] < document["time_s"]


def test_the_command_refuses_a_machine_that_is_not_there() -> None:
    assert "there is no device" in refusal("explain", "ferminet-lih-a5000", "--machine", "a6000x")


def test_an_empty_trace_cannot_be_explained() -> None:
    with pytest.raises(CodesignError, match="must have kernels"):
        cd.explain(Toy().build(), cd.machine("a5000"))


def test_the_gap_before_the_first_launch_of_a_queue_is_explained() -> None:
    """The second launch of a command buffer goes to a queue that has run nothing: its gap counts from the beginning."""
    builder = ProgramBuilder(["gpu", "pim"], launch_interval_s=0.0, launch_latency_s=0.0)
    with builder.command_buffer(3e-6):
        builder.launch("gpu", 1e-6)
        builder.launch("pim", 1e-6)
    program = builder.build()
    path, time = path_of(program)
    assert (time, path.host_ps(program), path.unknown_ps) == (4_000_000, 3_000_000, 0)


@RELAXED
@given(programs(disturbed=True))
def test_the_path_explains_every_picosecond_where_queues_take_turns(program: Program) -> None:
    path, time = path_of(program)
    if program.hardware.spread == 0 and not program.hardware.guest.any():
        assert path.length_ps(program, program) == time
        assert path.unknown_ps == 0
