"""Do tensors that live elsewhere come in time, leave in time, and never take more room than they should?"""

from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import codesign as cd
from arch.link import Link
from arch.memory import Memory
from codesign.engine import fast, reference
from codesign.engine.plan import make_plan, plan
from codesign.engine.program import KERNEL, TRANSFER, Program
from schedulers.offload import OffloadTensors, spread
from schedulers.scheduler import Mapping
from schedulers.tensors import Offload
from tests.engines_agree import agree
from tests.replay_cases import cases
from tests.replay_toys import Fixed, link, toy
from tests.toys import Toy
from traces import Trace
from traces.errors import CapacityError, MappingError

ENGINES = pytest.mark.parametrize("engine", [fast, reference])
MB = 1_000_000
MIB = 1 << 20


def layers(count: int = 4, trips: int = 5, size: int = 10 * MB) -> Trace:
    """A loop of kernels that each read weights of their own and pass x on."""
    toy_ = Toy()
    for i in range(count):
        toy_.tensor(f"w{i}", size, "parameter")
    with toy_.loop(trips):
        for i in range(count):
            toy_.kernel(f"k{i}", [f"w{i}", "x"], ["x"])
    return toy_.build()


def away(trace: Trace, *, kernels: int | None = None, names: str = "w", **options: Any) -> Mapping:
    home = np.array([1 if name.startswith(names) else -1 for name in trace.tensors["name"]])
    return Mapping(np.zeros(kernels or len(trace.kernels), np.int32), "by hand", offload=Offload(home, **options))


def with_dram(us: float, *, gb: float = 10.0, latency: float = 1.0, **options: Any) -> Any:
    return toy(Fixed("gpu", "hbm", (us,)), links=(link("hbm", "dram", gb, latency),), **options)


def on_queue(engine: Any, program: Program, kind: int) -> list[tuple[float, float]]:
    records = engine.run(program).records
    mine = program["kind"][records.op] == kind
    return [(s / 1e6, e / 1e6) for s, e in zip(records.start_ps[mine].tolist(), records.end_ps[mine].tolist(), strict=True)]


@ENGINES
def test_between_two_kernels_a_fetch_is_waited_for(engine: Any) -> None:
    """1.001 ms a fetch (10 MB at 10 GB/s and 1 us), 1.5 ms a kernel, twenty of each, one after another."""
    program = plan(trace := layers(), with_dram(1500), away(trace, distance=0))
    assert engine.run(program).time_ps == pytest.approx(20 * 2_501_000_000, abs=200)


@ENGINES
def test_copies_that_kernels_wait_for_take_as_long(engine: Any) -> None:
    program = plan(trace := layers(), with_dram(1500), away(trace, distance=0, synchronous=True))
    assert engine.run(program).time_ps == 20 * 2_501_000_000


@ENGINES
def test_double_buffering_hides_the_shorter_of_fetch_and_kernel(engine: Any) -> None:
    """Two fetches are seen (the pipeline fills), all others run beside kernels: 2 * 1.001 + 20 * 1.5 ms."""
    program = plan(trace := layers(), with_dram(1500), away(trace, distance=1))
    assert engine.run(program).time_ps == pytest.approx(32_002_000_000, abs=200)
    slow = plan(trace, with_dram(500), away(trace, distance=1))
    assert engine.run(slow).time_ps == pytest.approx(20 * 1_001_000_000 + 1_000_000_000, rel=2e-2)


@pytest.mark.parametrize(("distance", "buffers"), [(0, 1), (1, 2), (2, 3), (3, 3), (9, 3)])
def test_as_many_buffers_are_taken_as_kernels_are_looked_ahead(distance: int, buffers: int) -> None:
    """And never as far as the same kernel again: of four, three."""
    trace = layers()
    found = cd.replay(trace, with_dram(1500), away(trace, distance=distance))
    assert found.peak_memory_bytes == {"hbm": buffers * 10 * MB + 4096, "dram": 40 * MB}


def test_a_loop_far_longer_is_planned_no_larger() -> None:
    few, many = (plan(trace := layers(trips=trips), with_dram(1500), away(trace)) for trips in (50, 10**6))
    assert len(few) == len(many)
    assert fast.run(many, record=False).launches_stepped > 3_900_000


def test_whole_tensors_of_thousands_of_chunks_are_stepped_over() -> None:
    """3 GiB a kernel in chunks of 1 MiB, whose copies and kernels share a memory: what is pending is large, and repeats all the same."""
    machine = toy(Fixed("gpu", "hbm", (50_000,), moved=(4e9,)), links=(link("hbm", "dram"),), bandwidth=80e9, capacity=10**13)
    program = plan(trace := layers(trips=20, size=3 << 30), machine, away(trace))
    found, run = fast.run(program, record=False), fast.run(program, record=False, step_over=False)
    assert (found.time_ps, found.host_bound_ps, found.elapsed_ps.tolist()) == (run.time_ps, run.host_bound_ps, run.elapsed_ps.tolist())
    assert (found.launches_run, found.launches_run + found.launches_stepped) == (24, 80)


@ENGINES
def test_a_small_message_waits_for_a_chunk_not_for_a_prefetch(engine: Any) -> None:
    """A prefetch of 16 MiB is under way when a kernel needs 1 kB: it comes after the chunk on the link."""
    toy_ = Toy()
    toy_.tensor("w", 16 * MIB, "parameter")
    toy_.tensor("small", 1000, "temporary")
    toy_.kernel("near", [], ["x"])
    toy_.kernel("far makes", [], ["small"])
    toy_.kernel("near reads", ["small"], ["y"])
    toy_.kernel("needs w", ["w", "y"], ["z"])
    trace = toy_.build()
    machine = toy(Fixed("gpu", "hbm", (10,)), Fixed("cpu", "dram", (150,)), links=(link("hbm", "dram", 10.0, 0.0),))
    home = np.array([1 if name == "w" else -1 for name in trace.tensors["name"]])
    mapping = Mapping(np.array([0, 1, 0, 0], np.int32), "by hand", offload=Offload(home, distance=2))
    program = plan(trace, machine, mapping)
    agree(program)
    moved = on_queue(engine, program, TRANSFER)
    chunk = MIB / 10e9 * 1e6  # us
    small = [(s, e) for s, e in moved if e - s < 1]
    assert len(small) == 1
    assert 150 <= small[0][0] <= 150 + chunk + 1e-3
    assert len(moved) == 17
    assert max(e for _, e in moved) == pytest.approx(10 + 16 * chunk + 0.1, abs=0.2)


@ENGINES
def test_a_path_of_two_links_is_a_pipeline_of_chunks(engine: Any) -> None:
    """8 MiB from an SSD (2.5 GB/s read) over DRAM (10 GB/s): the slower link, and one chunk of the faster."""
    toy_ = Toy()
    toy_.tensor("w", 8 * MIB, "parameter")
    toy_.kernel("needs w", ["w"], ["x"])
    trace = toy_.build()
    base = toy(Fixed("gpu", "hbm", (10,)), links=(link("hbm", "dram", 10.0, 0.0, "one"), link("dram", "ssd", 10.0, 0.0, "two")))
    ssd = Memory("ssd", 10**12, 3e9, read_bandwidth=2.5e9, role="ssd")
    machine = cd.Machine(base.id, base.devices, (*base.memories[:2], ssd), base.host, base.links)
    home = np.array([2 if name == "w" else -1 for name in trace.tensors["name"]])
    program = plan(trace, machine, Mapping(np.zeros(1, np.int32), "by hand", offload=Offload(home)))
    agree(program)
    assert engine.run(program).time_ps / 1e12 == pytest.approx(8 * MIB / 2.5e9 + MIB / 10e9 + 10e-6, rel=1e-6)


def test_what_is_not_pinned_moves_slower() -> None:
    trace, base = layers(), with_dram(0)
    slow = cd.Machine(base.id, base.devices, base.memories, base.host, (Link("link", "hbm", "dram", 10e9, None, 0.0, None, None, 5e9),))
    times = [fast.run(plan(trace, slow, away(trace, distance=0, pinned=pinned))).time_ps for pinned in (True, False)]
    assert times[1] / times[0] == pytest.approx(2, rel=1e-3)


def activations(count: int = 4) -> Trace:
    """Forward kernels make an activation each, backward kernels need them in the opposite order."""
    toy_ = Toy()
    for i in range(count):
        toy_.tensor(f"a{i}", 10 * MB)
    for i in range(count):
        toy_.kernel(f"forward{i}", ["x"], [f"a{i}", "x"])
    for i in reversed(range(count)):
        toy_.kernel(f"backward{i}", [f"a{i}", "x"], ["x"])
    return toy_.build()


def test_activations_leave_after_the_forward_kernel_and_come_back_for_the_backward_one() -> None:
    trace = activations(6)
    mapping = away(trace, names="a", distance=1)
    made = make_plan(trace, with_dram(1500), mapping)
    agree(made.program)
    assert made.evictions >= 4
    found, plain = cd.replay(trace, with_dram(1500), mapping), cd.replay(trace, with_dram(1500))
    assert plain.peak_memory_bytes["hbm"] == 60 * MB + 4096
    assert found.peak_memory_bytes["hbm"] <= 40 * MB + 4096
    assert found.time_s == pytest.approx(plain.time_s, rel=1e-6), "copies are shorter than kernels"


def test_few_write_backs_at_a_time_hold_kernels_back() -> None:
    """Copies take 4 ms, kernels 1 ms: with one write-back under way at most, each kernel waits for the one before."""
    trace = activations(6)
    times = [cd.replay(trace, with_dram(1000, gb=2.5), away(trace, names="a", write_backs=n)).time_s for n in (1, 2, 6)]
    assert times[0] > times[1] > times[2] * 0.999


def test_a_memory_that_is_too_small_is_named_with_tensor_time_and_excess() -> None:
    trace = layers()
    with pytest.raises(CapacityError, match=r"'hbm' holds 25,000,000 bytes, but with the tensor 'w.' .* at [\d.e-]+ s, 5,004,096 too many"):
        cd.replay(trace, _small(25 * MB), away(trace, distance=2))
    assert cd.replay(trace, _small(25 * MB), away(trace, distance=1)).peak_memory_bytes["hbm"] <= 25 * MB
    with pytest.raises(CapacityError, match="'hbm'"):
        cd.replay(trace, _small(25 * MB))


def _small(capacity: int) -> Any:
    base = with_dram(1500)
    return cd.Machine(base.id, base.devices, (Memory("hbm", capacity, 1e12), *base.memories[1:]), base.host, base.links)


def stacked(trips: int = 10, touched: float = 10.0 * MB) -> Trace:
    """A loop whose kernels read a part of stacked weights in each iteration, a tenth by default."""
    toy_ = Toy()
    toy_.tensor("w", 100 * MB, "parameter")
    with toy_.loop(trips):
        for name in "abcd":
            toy_.kernel(name, ["w", "x"], ["x"])
    trace = toy_.build()
    columns = trace.accesses.decoded()
    columns["bytes_unique"] = np.where(columns["tensor"] == 0, touched, columns["bytes_unique"])
    return Trace(trace.kernels, trace.tensors, type(trace.kernels).build("accesses", columns), trace.regions, trace.manifest)


def test_slices_move_what_a_kernel_touches() -> None:
    trace = stacked()
    found = cd.replay(trace, with_dram(1500), away(trace, slices=True, distance=1))
    assert found.transfer_s == pytest.approx(40 * 1.001e-3, rel=1e-6)
    assert found.peak_memory_bytes == {"hbm": 20 * MB + 4096, "dram": 100 * MB}
    assert found.time_s == pytest.approx(40 * 1.5e-3 + 2 * 1.001e-3, rel=1e-6)
    agree(plan(trace, with_dram(1500), away(trace, slices=True, distance=1)))


@pytest.mark.parametrize("distance", [0, 1, 2])
def test_what_lives_within_an_iteration_is_released_in_each_though_its_slices_come_in_the_one_before(distance: int) -> None:
    """A temporary that is only read comes to be at home with its fetch, and is released there with the kernel that needs it last."""
    toy_ = Toy()
    toy_.tensor("t")
    with toy_.loop(12):
        toy_.kernel("use", ["t", "x"], ["x"])
        toy_.kernel("other", ["x"], ["x"])
    trace = toy_.build()
    program = plan(trace, with_dram(1500), away(trace, names="t", slices=True, distance=distance))
    level = program.memory_initial.copy()
    times = program.executions[program.changes["op"]] // program.changes["every"]
    np.add.at(level, program.changes["memory"], program.changes["bytes"] * times)
    assert level.tolist() == [4096, 0], "x stays"
    agree(program)


def test_slices_cannot_go_through_a_hand_over() -> None:
    from tests.replay_toys import hand_over

    machine = toy(Fixed("gpu", "hbm", (1,)), Fixed("pim", "hbm", (1,), "pim"), links=(link("hbm", "dram"),), hand_overs=(hand_over(),))
    trace = stacked()
    home = np.array([1, -1])
    mapping = Mapping(np.array([0, 1, 0, 0], np.int32), "by hand", offload=Offload(home, slices=True))
    with pytest.raises(MappingError, match=r"kernel 1 \('b'\) is on 'pim': offload whole"):
        plan(trace, machine, mapping)


def test_the_optimiser_on_the_host_updates_parameters_where_they_live() -> None:
    toy_ = Toy()
    toy_.tensor("w", 10 * MB, "parameter")
    toy_.kernel("step", ["w"], ["g"], phase="step")
    toy_.kernel("update", ["g", "w"], ["w"], phase="optimiser")
    trace = toy_.build()
    base = toy(Fixed("gpu", "hbm", (100,)), Fixed("cpu", "dram", (100, 500)), links=(link("hbm", "dram"),))
    memories = (base.memories[0], Memory("dram", 10**12, 1e24, role="dram"))
    machine = cd.Machine(base.id, base.devices, memories, base.host, base.links)
    found = cd.replay(trace, machine, OffloadTensors(host_phase="optimiser"))
    assert found.mapping["runs"] == [[0, 1], [1, 1]]
    assert found.time_s == pytest.approx((1001 + 100 + 1.4096 + 500) * 1e-6), "fetch w, step, gradient of 4 kB back, update at home"


@pytest.mark.parametrize(("touched", "slices"), [(49.9 * MB, True), (50.0 * MB, False)])
def test_the_policy_moves_parts_where_kernels_touch_less_than_half(touched: float, slices: bool) -> None:
    """Of 100 MB of stacked weights; asked for, it does as asked."""
    base = with_dram(1500)
    machine = cd.Machine(base.id, base.devices, (base.memories[0], Memory("dram", 10**12, 1e12, role="dram")), base.host, base.links)
    for asked, expected in ((None, slices), (True, True), (False, False)):
        offload = Mapping.from_dict(cd.replay(stacked(touched=touched), machine, OffloadTensors(slices=asked)).mapping).offload
        assert offload is not None
        assert offload.slices is expected


def test_shares_are_spread_evenly() -> None:
    home = spread(np.full(100, 7), {1: 0.5, 2: 0.3})
    assert [int((home == m).sum()) for m in (1, 2, -1)] == [50, 30, 20]
    assert all(abs(int((home[:n] == 1).sum()) - 0.5 * n) <= 1 for n in range(1, 101))


def test_a_policy_says_which_memory_is_missing() -> None:
    with pytest.raises(MappingError, match=r"a memory of role 'dram', but 'toy' has hbm \(device\).*: add '\+dram'"):
        cd.replay(layers(), toy(Fixed("gpu", "hbm", (1,))), OffloadTensors())


def test_a_mapping_with_tensors_is_read_back() -> None:
    mapping = away(layers(), distance=3, slices=True)
    again = Mapping.from_dict(mapping.to_dict())
    assert again == mapping
    assert hash(again) == hash(mapping)
    assert again != Mapping(mapping.device, mapping.scheduler)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"distance": -1}, "distance"),
        ({"write_backs": 0}, "write_backs"),
        ({"synchronous": True}, "distance == 0"),
    ],
)
def test_options_out_of_range_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(MappingError, match=message):
        Offload(np.zeros(3, np.int32), **options)


def test_homes_must_be_memories_and_fit_the_trace() -> None:
    trace = layers()
    for home, message in ((np.zeros(2, np.int32), "one entry for each of the trace's 5"), (np.full(5, 7), "below 2")):
        with pytest.raises(MappingError, match=message):
            plan(trace, with_dram(1), Mapping(np.zeros(4, np.int32), "by hand", offload=Offload(home)))


@st.composite
def offloaded(draw: st.DrawFn) -> tuple[Trace, Any, Mapping]:
    trace, machine, mapping = draw(cases(shared=True))
    plain = not machine.hand_overs or all(machine.devices[d].kind != "pim" for d in mapping.device)
    options = {
        "distance": draw(st.integers(0, 3)),
        "slices": plain and draw(st.booleans()),
        "write_backs": draw(st.integers(1, 3)),
    }
    if options["distance"] == 0:
        options["synchronous"] = draw(st.booleans())
    home = draw(st.lists(st.integers(-1, len(machine.memories) - 1), min_size=len(trace.tensors), max_size=len(trace.tensors)))
    return trace, machine, Mapping(mapping.device, "by hand", offload=Offload(np.array(home, np.int32), **options))


@settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))
@given(offloaded())
def test_engines_agree_and_memory_is_released_as_often_as_taken(case: tuple[Trace, Any, Mapping]) -> None:
    made = make_plan(*case)
    program = made.program
    agree(program)
    times = program.executions[program.changes["op"]] // program.changes["every"]
    level = program.memory_initial.copy()
    np.add.at(level, program.changes["memory"], program.changes["bytes"] * times)
    assert (level >= 0).all()
    if not (case[0].tensors["last_kernel"] < 0).any():
        assert level.sum() == 0
    assert (program["kind"] == KERNEL).any()


def test_what_no_schedule_can_satisfy_says_so_and_names_the_kernel() -> None:
    trace = layers()
    message = r"holds 8,000,000 bytes.*Kernel 0 \('k0'\) alone needs 10,004,096 bytes at once in the memory 'hbm': no"
    with pytest.raises(CapacityError, match=message):
        cd.replay(trace, _small(8 * MB), away(trace, distance=0))
