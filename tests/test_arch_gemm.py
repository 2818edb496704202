"""Does the price of a library's matrix product follow from its tiles, waves, split, L2, DRAM and power, term by term?"""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

import arch
import codesign as cd
from arch import gemm, measuring, power
from arch.entry import Entry
from arch.gemm_choices import CHUNK, Hot, Products, ways
from arch.gemm_library import Library, library
from arch.registered import find
from arch.work import Float
from traces.errors import MachineError


def with_tiling(unit: Library, **changed: object) -> Library:
    return replace(unit, tiling=replace(unit.tiling, **changed))


PLAIN = replace(
    with_tiling(
        library(find("a100-sxm-80gb"), "bf16"),
        tile_m=(128.0,), tile_n=(128.0,), splits=(1.0,), sms=108.0, peak_share=1.0, issue_share=1.0, tile_loss=0.0, hiding_threads=0.0,
        tile_cycles=0.0, turn_cycles=0.0, accumulators=16384.0,
    ),
    clock_hz=1e9, flops_per_sm=1e12, l2_latency_s=0.0, l2_bytes_per_s=1e30, dram_bytes_per_s=1e30,
)  # fmt: skip
"""One tile of 128 x 128, one block an SM, a TFLOP/s an SM, nothing else takes time."""


def of(batch: float, m: float, n: float, k: float, size: float = 2) -> Products:
    return Products(*(np.array([float(value)]) for value in (batch, m, n, k, size)))


def of_seconds(*, compute: float, dram: float, flops: float) -> gemm.Plan:
    """One product of so many seconds on the pipes and of DRAM, which add as the root of their squares, and so many FLOP."""
    none, one = np.zeros(1), np.ones(1)
    counts = {"l2_bytes": none, "again_bytes": none, "executed_flops": flops * one}
    return gemm.Plan.of(2.0, compute_s=compute * one, l2_s=none, dram_s=dram * one, extra_s=none, **counts)


def hot(share: float, rows: int = 1) -> Hot:
    return Hot(*(np.full(rows, share),) * 3)


def planned(unit: Library, *shape: float, share: float = 1.0) -> gemm.Plan:
    return gemm.plan(unit, of(*shape), hot(share))


def microseconds(name: str, dtype: str, *shape: float, entry: Entry | None = None) -> float:
    batch, m, n, k = (np.array([float(value)]) for value in shape)
    return float(gemm.kernel_s(entry or find(name), dtype, batch, m, n, k)[0]) * 1e6


@pytest.mark.parametrize(("columns", "turns"), [(1, 1), (12, 1), (13, 2), (24, 2), (25, 3)])
def test_the_last_turn_of_tiles_costs_as_much_as_a_full_one(columns: int, turns: int) -> None:
    """108 SMs: 9 x 12 tiles are one turn, one more column of tiles makes it two."""
    assert planned(PLAIN, 1, 9 * 128, columns * 128, 1024).compute_s[0] == pytest.approx(turns * 2 * 128 * 128 * 1024 / 1e12)


@pytest.mark.parametrize(("m", "tiles"), [(2, 1), (128, 1), (129, 2)])
def test_a_tile_is_computed_in_full_even_if_the_product_does_not_fill_it(m: int, tiles: int) -> None:
    assert planned(PLAIN, 1, m, 128, 1024).executed_flops[0] == tiles * 2 * 128 * 128 * 1024


@pytest.mark.parametrize(("k", "steps"), [(1, 1), (32, 1), (33, 2)])
def test_the_inner_dimension_is_done_in_whole_steps(k: int, steps: int) -> None:
    assert planned(PLAIN, 1, 128, 128, k).executed_flops[0] == 2 * 128 * 128 * 32 * steps


def test_a_block_a_matrix_is_what_tiny_batched_products_get() -> None:
    """8,192 products of 4 x 64 x 4 fill 1/1024 of their tiles of 128 x 128 on GPUs since the A100."""
    unit = library(find("a5000"), "f32")
    chosen = planned(unit, 8192, 4, 4, 64, 4)
    assert chosen.executed_flops[0] == 8192 * 2 * 128 * 128 * 64
    assert chosen.compute_s[0] > 8192 * 2 * 128 * 128 * 64 / 27.8e12
    older = planned(library(find("t4"), "f32"), 8192, 4, 4, 64, 4)
    assert older.executed_flops[0] <= 8192 * 2 * 64 * 64 * 64


def test_a_long_inner_dimension_is_split_when_there_are_too_few_tiles() -> None:
    whole = planned(PLAIN, 1, 128, 128, 65536)
    split = planned(with_tiling(PLAIN, splits=(1.0, 16.0)), 1, 128, 128, 65536)
    assert split.compute_s[0] == pytest.approx(whole.compute_s[0] / 16)
    assert split.extra_s[0] == pytest.approx(PLAIN.launch_s + PLAIN.stages * PLAIN.dram_latency_s, rel=1e-6)
    assert whole.extra_s[0] == 0


def test_nothing_is_split_where_tiles_fill_the_gpu() -> None:
    unit = with_tiling(PLAIN, splits=(1.0, 16.0))
    assert planned(unit, 1, 128 * 108, 128 * 3, 65536).extra_s[0] == 0


@pytest.mark.parametrize(("steps", "waits"), [(1, 1), (10, 10)])
def test_a_main_loop_waits_for_l2_once_a_step(steps: int, waits: int) -> None:
    unit = replace(PLAIN, l2_latency_s=1e-3)
    assert planned(unit, 1, 128, 128, 32 * steps).compute_s[0] == pytest.approx(waits * 1e-3)


def test_every_tile_reads_its_rows_and_columns_through_l2_while_results_go_there() -> None:
    chosen = planned(replace(PLAIN, l2_bytes_per_s=1e9), 1, 256, 512, 1024)
    assert chosen.l2_bytes[0] == 8 * (128 + 128) * 1024 * 2
    assert chosen.l2_s[0] == pytest.approx(chosen.l2_bytes[0] / 1e9)
    assert planned(with_tiling(PLAIN, cluster=4.0), 1, 256, 512, 1024).l2_bytes[0] == chosen.l2_bytes[0] / 2
    assert planned(PLAIN, 1, 256, 512, 32).l2_bytes[0] == max(8 * (128 + 128) * 32 * 2, 256 * 512 * 2)
    assert planned(with_tiling(PLAIN, cluster=16.0), 1, 256, 512, 32).l2_bytes[0] == 256 * 512 * 2


@pytest.mark.parametrize("device", ["l40s", "rtx-4090", "l4", "rtx-pro-6000", "a100-pcie-40gb"])
def test_a_result_that_fits_l2_is_not_stored_faster_than_l2_takes_it(device: str) -> None:
    """Outer products of few terms are all result: a tenth of what a GPU could compute, more than L2 takes in that time."""
    entry = find(device)
    n = np.sqrt(0.5 * entry["l2"] / 4)
    one = np.ones(1)
    assert gemm.kernel_s(entry, "f32", one, n * one, n * one, 2 * one)[0] >= 4 * n * n / entry["l2_bandwidth"]


def test_a_row_times_a_matrix_in_fp64_is_computed_at_the_rate_of_fp64() -> None:
    entry = find("l40s")
    one, k = np.ones(1), np.full(1, 4096.0)
    in_cache = replace(gemm.STEADY, hot=hot(1.0))
    seconds = gemm.kernel_s(entry, "f64", 512 * one, one, 64 * one, k, in_cache)[0]
    assert seconds >= 512 * 2 * 64 * 4096 / entry["vector_flops.f64"]


def test_fp16_without_tensor_cores_adds_up_in_fp32_on_its_pipes() -> None:
    """A P4 computes FP16 at a 64th of FP32, but cuBLAS is asked to add up in FP32."""
    entry = find("p4")
    one, size = np.ones(1), np.full(1, 4096.0)
    half, full = (gemm.kernel_s(entry, dtype, one, size, size, size)[0] for dtype in ("f16", "f32"))
    assert 0.8 * full < half <= 1.01 * full


@pytest.mark.parametrize(("share", "moved"), [(0.0, 1.0), (0.5, 0.5), (1.0, 0.0)])
def test_what_l2_holds_does_not_come_from_dram(share: float, moved: float) -> None:
    chosen = planned(replace(PLAIN, dram_bytes_per_s=1e9), 1, 128, 128, 1024, share=share)
    assert chosen.dram_s[0] == pytest.approx(moved * 2 * (128 * 1024 + 1024 * 128 + 128 * 128) / 1e9)


def test_operands_that_do_not_stay_in_l2_between_waves_are_read_again() -> None:
    large = planned(PLAIN, 1, 65536, 65536, 8192)
    small = planned(PLAIN, 1, 1024, 1024, 1024)
    assert large.again_bytes[0] > 2 * 65536 * 8192 * 2
    assert small.again_bytes[0] == 0


def test_pipes_and_dram_overlap_but_not_perfectly() -> None:
    one = np.ones(1)
    assert gemm.together(2.0, one, one)[0] == pytest.approx(2**0.5)
    assert gemm.together(2.0, one, 0 * one)[0] == 1
    assert gemm.together(np.inf, 2 * one, one)[0] == 2
    assert gemm.together(2.0, 0 * one, 0 * one)[0] == 0


def test_what_fits_into_l2_stays_there() -> None:
    entry = find("a5000").refitted({"l2": 6.0 * 2**20, "l2_full": 0.7, "l2_none": 1.2})
    shares = [gemm.resident(entry, of(1, side, side, side)).a[0] for side in (800, 1000, 1200)]
    assert shares[0] == 1
    assert 0 < shares[1] < 1
    assert shares[2] == 0


@pytest.mark.parametrize(("joules", "idle", "seconds"), [(99.0, 0.0, 1.0), (150.0, 0.0, 1.5), (150.0, 0.5, 1.0), (150.0, 10.0, 1.0)])
def test_a_gpu_at_its_cap_takes_as_long_as_its_energy_lasts(joules: float, idle: float, seconds: float) -> None:
    """A second of work at 1 J a FLOP under a cap of 100 W, after a rest that counts towards the cap."""
    unit = replace(library(find("a5000"), "f32"), capped_flops_per_s=100.0)
    assert gemm.sustained_s(unit, of_seconds(compute=1.0, dram=0.0, flops=joules), idle)[0] == seconds


@pytest.mark.parametrize(("clock", "share"), [(0.8475e9, 0.5), (1.695e9, 1.0), (3e9, 1.0)])
def test_a_published_sustained_clock_takes_the_place_of_the_estimate(clock: float, share: float) -> None:
    entry = find("a5000").refitted({"sustained_clock": clock, "board_power": 1.0})
    assert power.sustained_flops_per_s(entry, "f32", 7e12, tensor=False, drawn=2.0) == pytest.approx(7e12 * share)


def test_power_is_capped_by_what_is_known_of_a_process_or_refused() -> None:
    entry = find("a40")
    assert power.sustained_flops_per_s(entry, "f32", 1e30, tensor=False) == pytest.approx(300 / 12.9e-12)
    assert power.sustained_flops_per_s(entry, "f32", 1e30, tensor=False, drawn=2.0) == pytest.approx(150 / 12.9e-12)
    unknown = replace(entry, text={**entry.text, "node": "2 nm"})
    with pytest.raises(MachineError, match="'a40' has node '2 nm'"):
        power.sustained_flops_per_s(unknown, "f32", 1e30, tensor=False)
    assert power.sustained_flops_per_s(unknown.refitted({"sustained_clock": 1.0}), "f32", unknown["clock"], tensor=False) == pytest.approx(
        1.0
    )


@pytest.mark.parametrize(("name", "dtype", "ratio"), [("a40", "f16", 1.05), ("a40", "s8", 0.5), ("t4", "f16", 1.0), ("t4", "s8", 0.5)])
def test_energy_on_tensor_cores_is_known_of_bf16_or_where_there_is_none_of_fp16(name: str, dtype: str, ratio: float) -> None:
    entry = find(name)
    assert power.energy_per_flop(entry, dtype, tensor=True) == pytest.approx(ratio * entry["capped_energy_tensor"])


def test_a_sustained_clock_slows_the_largest_products_alone() -> None:
    """Kernels that keep the pipes less busy, or let the GPU rest, have power left."""
    entry = find("a5000").refitted({"sustained_clock": 0.6 * 1.695e9})
    unit = library(entry, "f32")
    full, few = (gemm.plan(unit, of(1, side, side, 16384, 4), hot(1.0)) for side in (16384, 64))
    assert full.total_s[0] / gemm.sustained_s(unit, full, 0.0)[0] == pytest.approx(0.6, rel=0.05)
    assert gemm.sustained_s(unit, full, full.total_s)[0] == full.total_s[0]
    assert gemm.sustained_s(unit, few, 0.0)[0] == few.total_s[0]


@pytest.mark.parametrize(("dram_s", "energy", "seconds"), [(0.0, 4.0, 4.0), (3.0, 4.0, 5.0), (3.0, 6.0, 6.0), (8.0, 6.0, 80**0.5)])
def test_dram_time_counts_towards_the_time_that_the_cap_asks_for(dram_s: float, energy: float, seconds: float) -> None:
    """Of a product of 4 s on the pipes and ``dram_s``, together the root of their squares; the cap asks for ``energy`` seconds."""
    unit = replace(library(find("a5000"), "f32"), sharpness=2.0, capped_flops_per_s=1.0)
    chosen = of_seconds(compute=4.0, dram=dram_s, flops=energy)
    assert gemm.sustained_s(unit, chosen, 0.0)[0] == pytest.approx(seconds)
    assert gemm.together(2.0, gemm.on_sm_s(unit, chosen), chosen.dram_s)[0] == pytest.approx(seconds)


@pytest.mark.parametrize(("lanes", "width", "stretch"), [(64, 128, (1 + 1 / 16) ** 0.5), (128, 128, (1 + 1 / 4) ** 0.5), (128, 64, 2**0.5)])
def test_vector_pipes_wait_for_shared_memory_the_more_the_narrower_it_is(lanes: float, width: float, stretch: float) -> None:
    """Half a byte a multiply-add: 128 lanes use 64 bytes a clock, as long as a clock of theirs where shared memory is 64 wide."""
    entry = find("h100-sxm").refitted(
        {"fp32_lanes_per_sm": lanes, "l1_bytes_per_clock": width, "gemm_sharpness": 2.0, "gemm_simt_rate": 1.0, "gemm_shared_bytes": 0.5}
    )
    assert library(entry, "f32").tiling.shared_stretch == pytest.approx(stretch)


@pytest.mark.parametrize(("dtype", "step"), [("f8e4m3fn", 128), ("bf16", 64), ("tf32", 32)])
def test_a_step_of_tensor_cores_is_as_many_bytes_whatever_the_dtype(dtype: str, step: float) -> None:
    assert library(find("h100-sxm"), dtype).tiling.k_step == step


@pytest.mark.parametrize(
    ("name", "side", "tflops", "tolerance"),
    [
        ("h100-sxm", 8192, 51.8, 0.08), ("h200", 8192, 51.3, 0.08), ("a40", 8192, 23.7, 0.08), ("a100-sxm-80gb", 8192, 19.2, 0.08),
        ("rtx-pro-6000", 4096, 74.0, 0.1), ("l40s", 8192, 46.9, 0.05), ("l4", 8192, 11.4, 0.05), ("b200", 8192, 66.2, 0.2),
    ],
)  # fmt: skip
def test_full_fp32_products_reach_what_pytorch_was_measured_to(name: str, side: int, tflops: float, tolerance: float) -> None:
    """zzc0721/torch-performance-test-data: squares, 30 in a row. The L40S's and L4's energies a FLOP are these; the others are not told."""
    assert 2 * side**3 / microseconds(name, "f32", 1, side, side, side) / 1e6 == pytest.approx(tflops, rel=tolerance)


@pytest.mark.parametrize(
    ("dtype", "m", "n", "k", "tflops"),
    [
        ("f8e4m3fn", 4096, 4096, 4096, 2765), ("f8e4m3fn", 4096, 512, 4096, 1485),
        ("bf16", 4096, 1024, 4096, 1205), ("bf16", 4096, 1024, 2048, 990),
    ],
)  # fmt: skip
def test_products_on_a_b200_take_what_xla_measured(dtype: str, m: int, n: int, k: int, tflops: float) -> None:
    """openxla/xla, matmul_interpolator_data.h, sm_100. Nothing is fitted to any B200; operands from DRAM."""
    shape = [np.array([float(value)]) for value in (1, m, n, k)]
    seconds = gemm.kernel_s(find("b200"), dtype, *shape, gemm.Conditions(hot(0.0)))[0]
    assert 2e-12 * m * n * k / seconds == pytest.approx(tflops, rel=0.15)


def test_a_long_inner_dimension_of_few_outputs_is_split_until_it_fills_the_gpu() -> None:
    """NeuSight on an A100, without the host: 26 x 113 x 56,909 in 57 us; four times that with 32 parts."""
    assert microseconds("a100-pcie-40gb", "f32", 1, 26, 113, 56909) == pytest.approx(57, rel=0.3)


@pytest.mark.parametrize(
    ("name", "dtype", "shape", "tflops", "tolerance"),
    [
        ("a100-sxm-80gb", "bf16", (1, 1024, 10240, 5120), 271.2, 0.05),
        ("a100-pcie-80gb", "bf16", (1, 2048, 5120, 6144), 252.9, 0.1),
        ("h100-sxm", "bf16", (1, 2048, 2048, 13312), 794.5, 0.15),
        ("h200", "bf16", (1, 2048, 2048, 13312), 794.5, 0.15),
        ("b200", "bf16", (1, 1792, 16128, 3072), 1745.0, 0.1),
        ("a40", "f32", (1, 4092, 4092, 4092), 23.25, 0.05),
    ],
)
def test_published_rates_of_large_products_are_met(
    name: str, dtype: str, shape: tuple[float, ...], tflops: float, tolerance: float
) -> None:
    """Bekman's table of achievable BF16 rates, each at its shape; Boehm's cuBLAS on an A6000, whose cap and chip are the A40's."""
    batch, m, n, k = shape
    assert 2 * batch * m * n * k / microseconds(name, dtype, *shape) / 1e6 == pytest.approx(tflops, rel=tolerance)


@pytest.mark.parametrize(("side", "published"), [(4096, 716e12), (8192, 795e12)])
def test_square_products_on_an_h100_take_what_cublas_was_measured_to(side: int, published: float) -> None:
    """pranjalssh/fast.cu, README: BF16, accumulated in FP32. Nothing is fitted to any H100."""
    assert 2 * side**3 / (microseconds("h100-sxm", "bf16", 1, side, side, side) * 1e-6) == pytest.approx(published, rel=0.12)


@pytest.mark.parametrize(("side", "us", "tolerance"), [(16384, 336, 0.15), (32768, 1231, 0.2)])
def test_a_row_times_a_matrix_on_the_a100_takes_what_waferllm_measured(side: int, us: float, tolerance: float) -> None:
    assert microseconds("a100-sxm-80gb", "f16", 1, 1, side, side) == pytest.approx(us, rel=tolerance)


@pytest.mark.parametrize(("side", "copies", "share"), [(512, 5, 1.0), (4096, 2, 0.0), (5120, 1, 0.12), (8192, 1, 0.0)])
def test_aiconfigurator_uses_as_many_copies_of_the_weights_as_exceed_l2(side: int, copies: int, share: float) -> None:
    """50 MiB of L2 on an H100: 5120 x 5120 BF16 weights fill exactly that, of which L2 holds a part from one use to the next."""
    entry = find("h100-sxm")
    work = of(1, 16, side, side)
    assert measuring.hot(entry, "aiconfigurator", "bf16", work).b[0] == pytest.approx(share, abs=0.01)
    assert measuring.hot(entry, "vidur", "f16", work).b[0] == 0
    assert copies == min(5, max(1, -(-50 * 2**20 // (2 * side * side))))


@pytest.mark.parametrize(("device", "k", "n"), [("a100-sxm", 4096, 4096), ("l40s", 1536, 1536), ("h200", 8192, 4096)])
def test_one_row_takes_as_long_as_two_where_cublaslt_multiplies_it(device: str, k: int, n: int) -> None:
    """AIConfigurator's rows come from cublasLt, which has no kernel for a row times a matrix; cuBLAS has one."""
    table = pd.DataFrame({"device": device, "op": "gemm", "dtype": "bfloat16", "batch": 1, "m": [1, 2], "n": n, "k": k})
    one, two = 1e-6 * cd.predict(table.assign(source="aiconfigurator")).kernel_us
    assert one == pytest.approx(two, rel=0.02)
    under = measuring.conditions(find(device), "aiconfigurator", "bf16", of(1, 1, n, k), 0.0)
    own = gemm.kernel_s(find(device), "bf16", *(np.array([float(size)]) for size in (1, 1, n, k)), replace(under, vector_kernel=True))
    assert own[0] < 0.95 * one


def test_a_kernel_that_the_host_cannot_keep_up_with_is_not_slowed_by_the_cap() -> None:
    entry = find("t4")
    shape = [np.array([float(value)]) for value in (1, 1024, 1024, 1024)]
    steady, rested = gemm.kernel_s(entry, "f32", *shape), gemm.kernel_s(entry, "f32", *shape, gemm.Conditions(idle_s=1.0))
    assert rested[0] < 0.7 * steady[0]


SIZES = st.integers(1, 4096)


@given(
    SIZES, SIZES, SIZES, st.integers(1, 64), st.sampled_from(["f32", "bf16", "f16"]), st.sampled_from(["t4", "a100-sxm-80gb", "h100-sxm"])
)
def test_a_product_is_never_faster_than_its_roofline(m: int, n: int, k: int, batch: int, dtype: str, name: str) -> None:
    entry = find(name)
    if dtype == "bf16" and name == "t4":
        dtype = "f16"
    peak = entry.group("matrix_flops").get(dtype) or entry.group("vector_flops")[dtype]
    us = microseconds(name, dtype, batch, m, n, k)
    assert np.isfinite(us)
    assert us * 1e-6 > 2 * batch * m * n * k / peak


def _fixed(unit: Library, batch: int, m: int, n: int, k: int, tile: tuple[float, float], split: float) -> Float:
    """The time of one choice of tile and split, nothing resident."""
    work = of(batch, m, n, k)
    each = ways(unit.tiling, *(np.asarray(value) for value in (*tile, split)), work, hot(0.0))
    return gemm.timed(unit, each).total_s


@given(
    SIZES, SIZES, SIZES, st.integers(1, 64), st.sampled_from([(128.0, 128.0), (64.0, 64.0)]), st.sampled_from([1.0, 4.0]), st.integers(0, 3)
)
def test_more_work_never_takes_less_time_with_the_same_tile_and_split(
    m: int, n: int, k: int, batch: int, tile: tuple[float, float], split: float, which: int
) -> None:
    unit = library(find("a100-sxm-80gb"), "bf16")
    shape = [batch, m, n, k]
    more = [size * 2 if i == which else size for i, size in enumerate(shape)]
    before, after = (_fixed(unit, *each, tile, split)[0] for each in (shape, more))
    assert before <= after * (1 + 1e-12)


@given(SIZES, SIZES, SIZES, st.integers(1, 64), st.integers(0, 3), st.sampled_from(["f32", "bf16"]))
def test_a_larger_product_is_hardly_ever_faster(m: int, n: int, k: int, batch: int, which: int, dtype: str) -> None:
    """Across choices of tile and split a drop of at most 15 %."""
    shape = [batch, m, n, k]
    more = [size + 1 if i == which else size for i, size in enumerate(shape)]
    before, after = (microseconds("a100-sxm-80gb", dtype, *each) for each in (shape, more))
    assert after > 0.85 * before


def test_the_model_of_products_is_what_the_gpu_prices_library_calls_with() -> None:
    from tests.gpu_kernels import price, product

    seconds = price(product(2048, 2048, 2048), "a100").duration_s[0]
    entry = find("a100-sxm-40gb")
    shape = [np.array([2048.0])] * 3
    cold = gemm.kernel_s(entry, "f32", np.ones(1), *shape, gemm.Conditions(hot(0.0)))[0]
    assert seconds == pytest.approx(cold, rel=0.05)
    assert arch.machine("a100").gpu.id == "a100-sxm-40gb"


def test_products_planned_together_get_what_each_gets_alone() -> None:
    """More than are planned at once, one of them batched; a joined plan keeps the order."""
    random = np.random.default_rng(0)
    unit = library(find("a5000"), "tf32")
    count = CHUNK + 3
    sizes = [np.floor(2 ** random.uniform(0, 12, count)) for _ in range(3)]
    work = Products(np.where(random.random(count) < 0.3, 16.0, 1.0), *sizes, np.full(count, 4.0))
    together = gemm.plan(unit, work, hot(0.5, count))
    for row in (0, 1, 7, CHUNK - 1, CHUNK, count - 1):
        alone = gemm.plan(unit, work[slice(row, row + 1)], hot(0.5))
        assert [getattr(together, name)[row] for name in gemm._ARRAYS] == [getattr(alone, name)[0] for name in gemm._ARRAYS]


@given(SIZES, SIZES, SIZES)
def test_of_single_products_no_whole_tile_is_faster_than_the_plan(m: int, n: int, k: int) -> None:
    unit = replace(library(find("a100-sxm-80gb"), "bf16"), capped_flops_per_s=np.inf)
    fastest = planned(unit, 1, m, n, k, share=0.0).total_s[0]
    assert fastest <= min(_fixed(unit, 1, m, n, k, tile, 1.0)[0] for tile in zip(unit.tiling.tile_m, unit.tiling.tile_n, strict=True))


def test_a_batched_product_without_a_tile_of_its_own_takes_the_first_tile_whole() -> None:
    unit = with_tiling(PLAIN, tile_m=(64.0, 128.0), tile_n=(64.0, 128.0), splits=(1.0, 2.0), batched_tiles=((32.0, 32.0),))
    assert planned(unit, 16, 128, 128, 32).executed_flops[0] == 16 * 2 * 128 * 128 * 32
    assert planned(with_tiling(unit, tile_m=(256.0, 64.0)), 16, 128, 128, 32).executed_flops[0] == 16 * 2 * 256 * 128 * 32
