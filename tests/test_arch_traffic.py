"""How many bytes pass L1, L2 and DRAM, by how neighbouring threads step through an operand?"""

import numpy as np
import pytest

import arch
from arch.facts import facts
from arch.traffic import Caches, resident, traffic
from arch.work import Work
from tests.toys import Toy

MIB = 2**20


def moved(
    stride: str, requested: float = MIB, shape: str = "256x1024", dtype: str = "f32", sms: float = 64.0, written: int = 0, blocks: float = 1
) -> tuple[float, float, float]:
    """Bytes through L1 and L2, and DRAM bytes, of one read of 1 MiB besides a write of ``written`` bytes."""
    toy = Toy()
    toy.tensor("x", MIB)
    toy.tensor("y", written)
    toy.kernel("k", ["x"], ["y"])
    toy.accesses[0] |= {"stride": stride, "bytes_requested": requested}
    trace = toy.build()
    columns = trace.tensors.decoded()
    tensors = type(trace.tensors).build("tensors", {**columns, "shape": [shape, shape], "dtype": [dtype, dtype]})
    work = Work(trace.kernels, trace.accesses, trace.access_offsets, trace.reuse_distance_bytes, np.zeros(2, bool), tensors)
    found = traffic(facts(work), Caches(32, 8, MIB, sms), np.full(1, blocks), np.ones(1))
    return float(found.l1_bytes[0] - written), float(found.l2_bytes[0] - written), float(found.cold_bytes[0])


@pytest.mark.parametrize(("rows_of_a_block", "sectors"), [(0.5, 8), (1, 8), (2, 4), (4, 2), (8, 1), (64, 1)])
def test_a_sector_read_across_passes_l2_once_a_block_that_uses_it(rows_of_a_block: float, sectors: int) -> None:
    """Results of 256 elements a row: of a sector's eight elements, a block of two rows uses two, so that four blocks ask for it."""
    blocks = MIB / 4 / 256 / rows_of_a_block
    l1, l2, dram = moved("transposed", shape="1024x256", written=MIB, blocks=blocks)
    assert (l1, l2, dram) == (8 * MIB, sectors * MIB, MIB)


@pytest.mark.parametrize(("passed", "share"), [(0.0, 1.0), (0.85, 1.0), (0.95, 0.75), (1.05, 0.5), (1.25, 0.0), (np.inf, 0.0)])
def test_how_much_of_a_stream_l2_still_holds(passed: float, share: float) -> None:
    assert resident(Caches(32, 8, MIB, 1, 0.85, 1.25), np.array([passed * MIB]))[0] == pytest.approx(share)


@pytest.mark.parametrize(("passed", "share"), [(1.0, 1.0), (1.001, 0.0)])
def test_a_cache_without_a_measured_curve_keeps_the_youngest_bytes(passed: float, share: float) -> None:
    assert resident(Caches(32, 8, MIB, 1), np.array([passed * MIB]))[0] == share


def test_an_operand_larger_than_l2_finds_nothing_of_itself_there() -> None:
    """te42kyfo/gpu-benches: a data set of 1.23 times the L40's L2, read again and again, comes from DRAM at 95 %."""
    toy = Toy()
    for name in "xyz":
        toy.tensor(name, 4 * MIB)
    toy.kernel("first", ["x"], ["y"])
    toy.kernel("second", ["y"], ["z"])
    prices = arch.machine("a5000").gpu.price(Work.of(toy.build()))
    np.testing.assert_allclose(prices.dram_bytes, 8 * MIB)  # 8 MiB pass between the two touches of a line of y, and L2 has 6


@pytest.mark.parametrize(
    ("stride", "requested", "expected"),
    [
        ("contiguous", MIB, (MIB, MIB, MIB)),
        ("contiguous", 5 * MIB, (5 * MIB, 5 * MIB, MIB)),
        ("broadcast", 1000 * MIB, (1000 * MIB, 64 * MIB, MIB)),  # L1 serves repeats: an SM asks for each byte once
        ("strided", MIB, (8 * MIB, 8 * MIB, MIB)),  # a sector an element
        ("strided", 1000 * MIB, (8000 * MIB, 64 * MIB, MIB)),  # what threads share stays in L1
        ("gather", MIB, (8 * MIB, 8 * MIB, MIB)),
        ("transposed", MIB, (8 * MIB, 8 * MIB, MIB)),
    ],
)
def test_what_each_level_moves(stride: str, requested: float, expected: tuple[float, float, float]) -> None:
    assert moved(stride, requested) == expected


@pytest.mark.parametrize(("row", "sectors"), [(1, 4), (2, 4), (4, 4), (8, 8), (10, 10), (31, 31), (32, 32), (256, 32)])
def test_a_warp_that_reads_across_shares_sectors_where_the_results_rows_are_short(row: int, sectors: int) -> None:
    """Of 32 threads, ceil(32 / row) read next to each other in each of ``row`` places; a sector holds eight elements."""
    assert moved("transposed", shape=f"99x{row}")[1] == pytest.approx(MIB * sectors / 4)


def test_a_stride_of_a_few_bytes_shares_sectors_and_a_wide_element_fills_them() -> None:
    assert moved("strided", dtype="pred")[0] == 8 * MIB
    assert moved("strided", dtype="f64")[0] == 4 * MIB
    assert moved("gather", dtype="pred")[0] == 32 * MIB


def test_a_hit_rate_follows_from_what_passes_l2_and_what_dram_reads() -> None:
    toy = Toy()
    for name in "xyz":
        toy.tensor(name, MIB)
    toy.kernel("first", ["x"], ["y"], flops_vector=1.0)
    toy.kernel("second", ["y"], ["z"], flops_vector=1.0)
    prices = arch.machine("a5000").gpu.price(Work.of(toy.build()))
    assert prices.l2_bytes is not None
    assert prices.dram_read_bytes is not None
    np.testing.assert_allclose(prices.l2_bytes, 2 * MIB)
    np.testing.assert_allclose(prices.dram_read_bytes, [MIB, 0])  # the first reads what nobody read before, the second finds it in L2
