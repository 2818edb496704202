"""Do the profiler's counters follow from a kernel's work, the base clock and cold caches?"""

import numpy as np
import pytest

import arch
from arch.work import Work
from codesign.validation.profiler import HOT, Profile, at_base_clock, profile
from tests.toys import Toy

MIB = 2**20
SIZE = 64 * MIB


def counted(**changed: object) -> Profile:
    """One kernel that reads 64 MiB and writes as much, on the A5000 at its base clock."""
    toy = Toy()
    toy.tensor("x", SIZE)
    toy.tensor("y", SIZE)
    grid = {"grid_x": 16384, "grid_y": 1, "grid_z": 1, "block_x": 128, "block_y": 1, "block_z": 1, "registers": 32}
    toy.kernel("k", ["x"], ["y"], **{**grid, "flops_vector": 0.0, "flops_transcendental": 0.0, "instructions": 0.0, **changed})
    trace = toy.build()
    gpu = at_base_clock("a5000")
    return Profile(trace, gpu.price(Work.of(trace)), gpu)


def test_the_base_clock_carries_the_peaks_but_not_the_memory() -> None:
    base, boost = at_base_clock("a5000").entry, arch.machine("a5000").gpu.entry
    slower = 1.17 / 1.695
    assert base["clock"] == boost["base_clock"] == 1.17e9
    for number in ("vector_flops.f32", "matrix_flops.tf32", "l2_bandwidth"):
        assert base[number] == pytest.approx(slower * boost[number])
    assert base["memory_bandwidth"] == boost["memory_bandwidth"]


def test_a_copy_hits_l2_with_its_writes_and_keeps_dram_busy() -> None:
    found = counted()
    seconds = found.prices.duration_s[0]
    assert found.hits[0] == 0.5  # half of what L2 is asked for is written, and the other half comes from DRAM
    assert found.memory[0] == pytest.approx(2 * SIZE / (seconds * 768e9))
    assert 0.85 < found.memory[0] < 1.0
    assert found.sm_memory[0] == pytest.approx(2 * SIZE / (seconds * 64 * 64 * 1.17e9), rel=0.01)  # 64 B a clock and SM, 64 SMs
    assert found.instructions[0] == found.tensor[0] == found.fma[0] == 0.0


def test_instructions_are_counted_over_what_the_schedulers_can_issue() -> None:
    instructions = 100.0 * 16384 * 128
    found = counted(instructions=instructions)
    assert found.issue[0] == pytest.approx(instructions / (found.prices.duration_s[0] * 4 * 32 * 64 * 1.17e9))


@pytest.mark.parametrize(("precision", "busy", "idle"), [("highest", "fma", "tensor"), ("high", "tensor", "fma")])
def test_a_library_product_keeps_the_pipe_of_its_precision_busy(precision: str, busy: str, idle: str) -> None:
    shape = {"batch": 1, "m": 4096, "n": 4096, "k": 4096}
    grid = {f"{what}_{axis}": -1 for what in ("grid", "block") for axis in "xyz"}
    found = counted(family="gemm", launch_kind="library", precision=precision, flops_matrix=2.0 * 4096**3, **shape, **grid)
    assert 0.5 < getattr(found, busy)[0] < 1.0
    assert getattr(found, idle)[0] == 0.0
    assert found.instructions[0] >= getattr(found, busy)[0]


def test_tiny_products_of_a_batch_execute_the_padding_of_their_tiles() -> None:
    shape = {"batch": 8192, "m": 4, "n": 4, "k": 64}
    grid = {f"{what}_{axis}": -1 for what in ("grid", "block") for axis in "xyz"}
    work = 2.0 * 8192 * 4 * 4 * 64
    found = counted(family="gemm", launch_kind="library", precision="highest", flops_matrix=work, **shape, **grid)
    assert found.vector_flops[0] >= 100 * work


def test_a_counter_of_a_step_is_the_mean_of_the_hundred_hottest_kernels() -> None:
    found = profile("ferminet-lih-a5000")
    assert found is not None
    assert len(found.seconds) > HOT
    coldest, longest = found.seconds.argmin(), found.seconds.argmax()
    one = np.arange(len(found.seconds))
    assert found.mean(np.ones(len(found.seconds))) == 1.0
    assert found.mean((one == longest).astype(float)) == pytest.approx(1 / HOT)
    assert found.mean((one == coldest).astype(float)) == 0.0


def test_the_profiler_makes_nothing_faster() -> None:
    from codesign.validation.steps import step

    profiled, traced = profile("ferminet-lih-a5000"), step("ferminet-lih-a5000")
    assert profiled is not None
    assert traced is not None
    assert np.all(profiled.prices.duration_s >= traced.prices.duration_s * (1 - 1e-9))


def test_there_is_no_profile_of_what_is_not_recorded() -> None:
    assert profile("ferminet-helium-a5000") is None
