"""Is a GPU price what the arithmetic of its terms says, term by term, on both sides of every edge?"""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import arch
from arch import solvers
from arch.cost import cost_table
from arch.occupancy import Limits, blocks_per_sm, shape
from arch.pipes import matrix_unit
from arch.traffic import buffered_share
from arch.work import Prices, Work
from tests.gpu_kernels import elementwise, gpu, price, product
from tests.toys import Toy
from traces.errors import MachineError
from traces.recordings import load_recorded

MIB = 2**20
FLOOR = 1.2e-6


def streamed(size: int, grid: int, name: str = "a5000") -> float:
    """Seconds of `elementwise`: DRAM, and of the bytes through L1 what the first turns do not overlap."""
    entry = gpu(name).entry
    dram = 3 * size / (entry["memory_bandwidth"] * entry["dram_efficiency"])
    busiest = math.ceil(grid / entry["sm_count"]) * entry["sm_count"] / grid
    l1 = 3 * size / (entry["l1_bytes_per_clock"] * entry["sm_count"] * entry["clock"]) * busiest
    turns = max(grid / (entry["sm_count"] * min(entry["max_blocks_per_sm"], entry["max_warps_per_sm"] / 4)), 1)
    return FLOOR + dram + l1 / (1 + turns / entry["overlap_turns"])


@pytest.mark.parametrize(("name", "bandwidth", "efficiency"), [("a5000", 768e9, 0.94), ("a100", 1555e9, 0.88), ("h200", 4.8e12, 0.84)])
def test_a_cold_elementwise_kernel_takes_its_bytes_over_the_achieved_bandwidth(name: str, bandwidth: float, efficiency: float) -> None:
    size = 128 * MIB
    seconds = price(elementwise(size, grid=size // 4 // 512), name).duration_s[0]
    assert seconds == pytest.approx(streamed(size, size // 4 // 512, name), rel=1e-9)
    assert seconds == pytest.approx(3 * size / (bandwidth * efficiency), rel=0.08)


def test_a_megapixel_addition_on_the_a5000_takes_20_us() -> None:
    prices = price(elementwise(4 * MIB))
    assert prices.duration_s[0] == pytest.approx(streamed(4 * MIB, 2048), rel=1e-9)
    assert prices.duration_s[0] * 1e6 == pytest.approx(
        17.43 + 1.2 + 1.53, abs=0.02
    )  # DRAM, the floor, and of L1 what the first turns do not overlap
    assert prices.dram_bytes[0] == 12 * MIB


@pytest.mark.parametrize(
    ("dtype", "precision", "unit"),
    [
        ("f32", "highest", ("f32", 19.5e12, False)),
        ("f32", "default", ("tf32", 156e12, True)),
        ("f32", "high", ("tf32", 156e12, True)),
        ("f32", "", ("tf32", 156e12, True)),
        ("bf16", "", ("bf16", 312e12, True)),
        ("f16", "highest", ("f16", 312e12, True)),
        ("f64", "highest", ("f64", 19.5e12, True)),
    ],
)
def test_which_unit_serves_a_product(dtype: str, precision: str, unit: tuple[str, float, bool]) -> None:
    assert matrix_unit(gpu("a100").entry, dtype, precision, True) == unit


def test_a_library_adds_up_fp16_in_fp32_where_there_are_no_tensor_cores() -> None:
    assert matrix_unit(gpu("p4").entry, "f16", "", True) == ("f32", 5.7e12, False)
    assert matrix_unit(gpu("p4").entry, "f16", "", False) == ("f16", 0.089e12, False)


def test_a_product_that_the_compiler_fused_into_a_loop_runs_on_the_vector_pipes() -> None:
    assert matrix_unit(gpu("a100").entry, "f32", "default", False) == ("f32", 19.5e12, False)


def test_double_precision_on_the_a5000_runs_at_a_64th() -> None:
    slow, fast = (price(elementwise(4096, flops_transcendental=0.0, dtype=d)).terms["compute_vector_s"][0] for d in ("f64", "f32"))
    assert slow / fast == pytest.approx(27.8 / 0.434)


@pytest.mark.parametrize(("distance", "share"), [(0.0, 1.0), (5 * MIB, 1.0), (5.5 * MIB, 0.5), (6 * MIB, 0.0), (np.inf, 0.0)])
def test_how_much_of_an_operand_a_buffer_still_holds(distance: float, share: float) -> None:
    assert buffered_share(np.array([1.0 * MIB]), np.array([distance]), 6.0 * MIB)[0] == share


def chain(size: int) -> Toy:
    toy = Toy()
    for name in "xyz":
        toy.tensor(name, size)
    toy.kernel("first", ["x"], ["y"])
    toy.kernel("second", ["y"], ["z"])
    return toy


def test_what_was_just_written_is_read_from_l2_unless_another_device_wrote_it() -> None:
    work = Work.of(chain(MIB).build())
    warm = gpu().price(work)
    cold = gpu().price(replace(work, cold=np.array([False, False, True, False])))
    assert list(warm.dram_bytes) == [2 * MIB, MIB]
    assert list(cold.dram_bytes) == [2 * MIB, 2 * MIB]
    assert cold.duration_s[1] > warm.duration_s[1]
    assert cold.duration_s[0] == warm.duration_s[0]


def test_an_operand_that_passes_l2_with_its_result_comes_partly_from_dram() -> None:
    """3 MiB read and 3 MiB written are 1 time the 6 MiB of L2: of the read, (1 - 0.85) / 0.4 comes from DRAM."""
    assert price(chain(3 * MIB)).dram_bytes[1] == pytest.approx(3 * MIB * (1 + 0.15 / 0.4))


@pytest.mark.parametrize(
    ("threads", "registers", "shared", "expected"),
    [
        (128, 32, 0, 12),  # warps: 48 / 4
        (64, 32, 0, 16),  # blocks
        (1024, 32, 0, 1),  # warps: 48 / 32
        (256, 64, 0, 4),  # registers: 65,536 / (64 x 32) = 32 warps
        (256, 65, 0, 3),  # 65 x 32 is rounded up to 2,304: 28 warps
        (128, -1, 0, 12),  # unknown registers do not limit
        (128, 32, 49 * 1024, 2),  # (49 + 1) KiB of 100
        (128, 32, 49 * 1024 + 1, 1),
        (96, 168, 0, 3),  # a block of three warps is given four
    ],
)
def test_blocks_on_an_sm_are_what_the_occupancy_calculator_says(threads: int, registers: int, shared: int, expected: int) -> None:
    ampere = Limits(32, 48, 16, 65536, 256, 4, 100 * 1024, 128, 1024)
    assert blocks_per_sm(ampere, np.array([float(threads)]), np.array([registers]), np.array([shared]))[0] == expected


@pytest.mark.parametrize(("blocks", "busiest", "waves"), [(1, 1, 1), (64, 1, 1), (65, 2, 1), (768, 12, 1), (769, 13, 2)])
def test_blocks_fall_onto_sms_in_whole_turns(blocks: int, busiest: int, waves: int) -> None:
    grid = shape(np.array([float(blocks)]), np.array([12.0]), np.array([128.0]), 64, 32)
    assert (grid.busiest[0], grid.waves[0]) == (busiest, waves)


def test_one_block_too_many_takes_a_second_turn() -> None:
    """Compute-bound, 1,024 threads a block: 64 blocks are one for each SM, 65 make one SM run two."""
    times = [
        price(elementwise(4096, grid=g, block_x=1024, **{"flops_transcendental": g * 1e6})).terms["transcendental_s"][0] for g in (64, 65)
    ]
    assert times[1] / times[0] == pytest.approx(2.0)


def test_few_warps_do_not_fill_the_vector_pipes() -> None:
    """16 warps hide four cycles of latency on 128 lanes: a block of 4 warps reaches a quarter of one of 16."""
    slow, fast = (price(elementwise(4096, grid=64, block_x=threads)).terms["compute_vector_s"][0] for threads in (128, 512))
    assert slow / fast == pytest.approx(4.0)


def test_a_grid_of_one_block_waits_for_its_loads() -> None:
    """128 threads with 32 bytes in flight: 8 MiB take 2,048 rounds of 336 ns."""
    prices = price(elementwise(4 * MIB, grid=1))
    assert prices.terms["latency_s"][0] == pytest.approx(8 * MIB / 128 / 32 * 336e-9)
    assert prices.duration_s[0] == pytest.approx(FLOOR + prices.terms["latency_s"][0])


def test_instructions_bound_a_kernel_where_they_are_known() -> None:
    prices = price(elementwise(4096, instructions=1e9))
    assert prices.terms["issue_s"][0] == pytest.approx(1e9 / (128 * 64 * 1.695e9))


def strided(stride: str, **columns: Any) -> Prices:
    toy = elementwise(MIB, **columns)
    work = Work.of(toy.build())
    columns = {**work.accesses.decoded(), "stride": [stride, "contiguous", "contiguous"], "bytes_unique": [2.0**17, 2.0**20, 2.0**20]}
    return gpu().price(replace(work, accesses=type(work.accesses).build("accesses", columns)))


@pytest.mark.parametrize(("stride", "dram"), [("contiguous", 2**17), ("transposed", 2**17), ("strided", 2**20), ("gather", 2**20)])
def test_dram_moves_whole_sectors_but_not_more_than_the_tensor(stride: str, dram: int) -> None:
    assert strided(stride).dram_bytes[0] == dram + 2 * MIB


def test_a_transposed_operand_costs_l2_a_sector_an_element_unless_it_goes_through_shared_memory() -> None:
    contiguous, across, tiled = (
        strided(s, shared_bytes=b).terms["l2_s"][0] for s, b in (("contiguous", 0), ("transposed", 0), ("transposed", 4224))
    )
    assert tiled == contiguous
    assert across / contiguous == pytest.approx((8 + 2) / 3)


def test_a_kernel_whose_work_is_unknown_is_named() -> None:
    toy = elementwise(4096)
    toy.kernel("riddle", ["z"], ["w"], flops_vector=float("nan"))
    with pytest.raises(MachineError, match=r"kernel 1 .'riddle', elementwise.*measured_s"):
        price(toy)


def test_a_product_or_a_factorisation_without_its_size_is_unknown() -> None:
    toy = Toy()
    toy.kernel("getrf", ["a"], ["a"], family="lu", launch_kind="library", flops_matrix=1e6)
    with pytest.raises(MachineError, match="'getrf', lu"):
        price(toy)


def test_a_library_call_of_no_family_is_unknown_until_its_flops_are_counted() -> None:
    toy, counted = Toy(), Toy()
    nobody = {"family": "other", "launch_kind": "library", "library": "syevd"}
    toy.kernel("eigh", ["a"], ["b"], **nobody, flops_vector=float("nan"), flops_matrix=float("nan"))
    counted.kernel("eigh", ["a"], ["b"], **nobody, flops_vector=1e6, flops_matrix=float("nan"))
    with pytest.raises(MachineError, match="'eigh', other"):
        price(toy)
    assert price(counted).duration_s[0] > FLOOR


@pytest.mark.parametrize(("target", "use", "expected"), [("a5000", True, 7e-6), ("a5000", False, None), ("", True, None)])
def test_a_kernel_measured_on_this_device_costs_what_was_measured(target: str, use: bool, expected: float | None) -> None:
    toy = elementwise(4 * MIB, measured_s=7e-6)
    seconds = replace(gpu(), use_measured=use).price(Work.of(toy.build(target=target))).duration_s[0]
    assert seconds == pytest.approx(expected or streamed(4 * MIB, 2048))


def test_a_kernel_measured_on_another_gpu_is_scaled_by_measured_over_predicted() -> None:
    """Twice as slow as the model on the A100 is twice as slow as the model on the A5000; what was not measured there is the model's."""
    there, here = (gpu(name).price(Work.of(elementwise(4 * MIB).build())).duration_s[0] for name in ("a100", "a5000"))
    measured = Work.of(elementwise(4 * MIB, measured_s=2 * there).build(target="a100-sxm-40gb"))
    assert gpu("a5000").price(measured).duration_s[0] == pytest.approx(2 * here)
    assert replace(gpu("a5000"), use_measured=False).price(measured).duration_s[0] == pytest.approx(here)


def test_a_kernel_measured_on_a_gpu_that_the_catalogue_lacks_is_priced_by_the_model() -> None:
    measured = elementwise(4 * MIB, measured_s=1.0)
    assert price(measured, target="tesla-v100").duration_s == price(elementwise(4 * MIB)).duration_s


def test_a_measured_kernel_needs_no_work() -> None:
    toy = elementwise(4096, measured_s=7e-6)
    toy.kernels[0]["flops_vector"] = float("nan")
    assert price(toy).duration_s[0] == 7e-6


def test_a_dtype_that_the_gpu_lacks_is_refused_with_its_name() -> None:
    toy = elementwise(4096, dtype="f8e4m3fn")
    refused = gpu().refuse(Work.of(toy.build()))
    assert refused.reason(0) == "dtype f8e4m3fn"


def test_energy_is_flops_and_bytes_times_their_constants() -> None:
    prices = price(elementwise(4 * MIB))
    flops, moved = 2 * MIB * 6.1e-12, 12 * MIB * (182e-12 + 31.7e-12)
    assert prices.energy_j[0] == pytest.approx(flops + moved)


def test_both_gradients_of_a_convolution_take_as_long_as_two_products() -> None:
    """One row has the sizes of one product and the FLOP of both, which no product reaches the peak with."""
    one, both = (product(12544, 64, 576, precision="default") for _ in range(2))
    both.kernels[0]["flops_matrix"] *= 2
    single, double = price(one, "a100"), price(both, "a100")
    assert double.terms["compute_matrix_s"][0] == pytest.approx(2 * single.terms["compute_matrix_s"][0])
    assert double.l2_bytes[0] == pytest.approx(2 * single.l2_bytes[0])


def test_a_dense_product_stays_below_the_power_cap() -> None:
    for name in ("a5000", "a100", "h200"):
        device = gpu(name)
        prices = price(product(16384, 16384, 8192, "default", dtype="bf16"), name)
        watts = prices.energy_j[0] / prices.duration_s[0] + (device.static_watts or 0)
        assert 0.5 * device.entry["board_power"] < watts <= device.entry["board_power"] * (1 + 1e-9), name


SOLVERS = solvers.Numbers(
    lu=solvers.Measured((8, 32, 64), (200, 6400, 100_000), 3.0),
    lu_chain=solvers.Measured((64, 128), (150_000, 600_000), 3.0),
    one_lu=solvers.Measured((64, 256), (128_000, 600_000), 2.0),
    triangular=solvers.Measured((8, 32), (50, 200), 2.0),
    tile_columns=16,
    arithmetic=4,
    shared=29,
    shuffle=23,
    divide=40,
    warp_threads=32,
    clock_hz=1.695e9,
    sms=64,
    slots=1024,
    memory_s=336e-9,
    product_flops=20e12,
)


def one(value: float) -> Any:
    return np.array([float(value)])


def test_a_small_factorisation_takes_its_columns_one_after_another() -> None:
    """Five shuffles with compare and select, a row a lane, a load, a division; then the updates. Before it a pointer and the matrix."""
    seconds = (10 * (5 * (23 + 8) + 4 + 29 + 40) + 45) / 1.695e9 + 2 * 336e-9
    assert solvers.lu_s(SOLVERS, one(2), one(10))[0] == pytest.approx(seconds)
    assert solvers.lu_s(SOLVERS, one(64), one(10))[0] == pytest.approx(seconds)


def test_large_batches_of_factorisations_take_what_was_measured() -> None:
    """Between 8 and 32 rows the cycles grow with the power that joins both: 16 rows lie in the middle."""
    seconds = 16384 * np.sqrt(200 * 6400) / 64 / 1.695e9
    assert solvers.lu_s(SOLVERS, one(16384), one(16))[0] == pytest.approx(seconds)
    assert solvers.lu_s(SOLVERS, one(16384), one(128))[0] == pytest.approx(16384 * 8 * 100_000 / 64 / 1.695e9)
    assert solvers.lu_s(SOLVERS, one(1 << 20), one(4))[0] == pytest.approx((1 << 20) * 100 / 64 / 1.695e9)


def test_a_batch_takes_at_least_as_long_as_one_matrix_of_it() -> None:
    chain = 150_000 / 1.695e9 + 2 * 336e-9
    assert solvers.lu_s(SOLVERS, one(2), one(64))[0] == pytest.approx(chain)
    assert solvers.lu_s(SOLVERS, one(96), one(64))[0] == pytest.approx(chain)
    assert solvers.lu_s(SOLVERS, one(128), one(64))[0] == pytest.approx(128 * 100_000 / 64 / 1.695e9)


def test_right_hand_sides_are_solved_in_tiles() -> None:
    """Of 8 rows each right-hand side costs its own, of 32 rows 17 as much as 32."""
    few, many = (solvers.triangular_s(SOLVERS, one(16384), one(8), one(c))[0] for c in (4, 8))
    assert (few, many) == (pytest.approx(16384 * 4 * 50 / 64 / 1.695e9), pytest.approx(2 * few))
    padded, full, first = (solvers.triangular_s(SOLVERS, one(16384), one(32), one(c))[0] for c in (17, 32, 16))
    assert padded == full == pytest.approx(2 * first) == pytest.approx(16384 * 32 * 200 / 64 / 1.695e9)


def test_a_matrix_alone_takes_its_panels_and_the_rest_as_products() -> None:
    """Cycles between those of the rows measured go with a power of the rows, below in proportion, above with the square."""
    rest = 2 / 3 / 20e12
    assert solvers.lu_s(SOLVERS, one(1), one(256))[0] == pytest.approx(600_000 / 1.695e9 + rest * 256**3)
    assert solvers.lu_s(SOLVERS, one(1), one(128))[0] == pytest.approx(np.sqrt(128_000 * 600_000) / 1.695e9 + rest * 128**3)
    assert solvers.lu_s(SOLVERS, one(1), one(16))[0] == pytest.approx(32_000 / 1.695e9 + rest * 16**3)
    assert solvers.lu_s(SOLVERS, one(1), one(512))[0] == pytest.approx(2_400_000 / 1.695e9 + rest * 512**3)


@pytest.mark.parametrize(("name", "published"), [("v100-sxm2-32gb", 41e-3), ("a100-sxm-40gb", 44e-3)])
def test_an_older_library_took_longer_for_4096_rows(name: str, published: float) -> None:
    """JAX issue 9694, 2022, the host's part of it included; the model's library, of 2026, takes 17.1 ms on an A100."""
    lu = Toy()
    lu.tensor("x", 4 * 4096**2)
    work = {"family": "lu", "launch_kind": "library", "batch": 1, "m": 4096, "n": 4096, "flops_matrix": 2 / 3 * 4096**3}
    lu.kernel("getrf", ["x"], ["x"], **work)
    assert published / 3 < price(lu, name).duration_s[0] < published


def test_large_matrices_are_factorised_one_by_one() -> None:
    """jaxlib batches two matrices of 256 rows, not of 257."""
    batched, apart, single = (solvers.lu_s(SOLVERS, one(b), one(n))[0] for b, n in ((2, 256), (2, 257), (1, 257)))
    assert apart == pytest.approx(2 * single)
    assert batched == pytest.approx(8 * 600_000 / 1.695e9 + 2 * 336e-9)


@given(st.integers(1, 200), st.integers(1, 5000), st.integers(1, 200))
def test_solvers_take_longer_for_larger_matrices_and_batches(n: int, batch: int, columns: int) -> None:
    base = (
        solvers.lu_s(SOLVERS, one(batch), one(n))[0],
        solvers.triangular_s(SOLVERS, one(batch), one(n), one(columns))[0],
    )
    larger = (
        solvers.lu_s(SOLVERS, one(batch), one(n + 1))[0],
        solvers.triangular_s(SOLVERS, one(2 * batch), one(n), one(columns + 1))[0],
    )
    assert 0 < base[0] < larger[0]
    assert 0 < base[1] <= larger[1]


@given(
    st.integers(64, 2**22),
    st.integers(1, 5000),
    st.sampled_from([64, 128, 256, 1024]),
    st.integers(16, 255),
    st.floats(1, 50),
    st.floats(1, 50),
)
def test_more_bytes_or_flops_never_take_less_time_at_the_same_grid(
    size: int, grid: int, threads: int, registers: int, bytes_factor: float, flops_factor: float
) -> None:
    launch = {"grid": grid, "block_x": threads, "registers": min(registers, 65536 // threads)}
    base = price(elementwise(4 * size, **launch)).duration_s[0]
    more = price(elementwise(4 * round(size * bytes_factor), **launch)).duration_s[0]
    toy = elementwise(4 * size, **launch)
    toy.kernels[0]["flops_vector"] *= flops_factor
    assert np.isfinite(base)
    assert FLOOR < base <= more
    assert base <= price(toy).duration_s[0]


@given(st.integers(1, 2000), st.integers(1, 2000), st.integers(1, 2000), st.integers(1, 64), st.sampled_from(["highest", "default"]))
def test_a_product_is_never_faster_than_its_roofline(m: int, n: int, k: int, batch: int, precision: str) -> None:
    peak = {"highest": 27.8e12, "default": 55.6e12}[precision]
    prices = price(product(m, n, k, precision, batch))
    moved = 4 * batch * (m * k + k * n + m * n)
    assert prices.duration_s[0] > max(2 * batch * m * n * k / peak, moved / 768e9)
    assert not np.isnan(prices.energy_j[0])


def test_a_kernel_whose_launch_is_not_known_gets_blocks_for_what_it_writes() -> None:
    toy = elementwise(4 * MIB, grid=-1)
    toy.kernels[0] |= {"grid_y": -1, "grid_z": -1, "block_x": -1, "block_y": -1, "block_z": -1}
    assert price(toy).duration_s[0] == pytest.approx(streamed(4 * MIB, 2048), rel=0.01)


def test_the_a100_gains_from_its_l2_what_bandwidth_alone_does_not_explain() -> None:
    """A chain of 4 MiB tensors stays in 40 MiB of L2, not in 6."""
    toy = Toy()
    for i in range(6):
        toy.tensor(f"t{i}", 4 * MIB)
    for i in range(40):
        toy.kernel(f"k{i}", [f"t{i % 5}"], [f"t{(i + 1) % 5}"], grid_x=2048)
    a5000, a100 = (price(toy, name).duration_s[10:].sum() for name in ("a5000", "a100"))
    assert a5000 / a100 > 1555 * 0.84 / (768 * 0.88)


@pytest.mark.parametrize("name", ["clock_hz", "sm_count", "l2_bytes"])
def test_what_machines_share_of_a_trace_does_not_change_their_prices(name: str) -> None:
    """A GPU that differs in one number costs after another one what it costs alone."""
    base = arch.machine("a5000")
    other = base.with_(**{name: base.parameters[name].value * 2})
    first, second = load_recorded("ferminet-ch4-a5000"), load_recorded("ferminet-ch4-a5000")
    cost_table(first, base)
    assert cost_table(first, other).duration_s.tolist() == cost_table(second, other).duration_s.tolist()
