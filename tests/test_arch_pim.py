"""Does the PIM model count commands as cycle-level simulators do, and refuse what the units cannot execute?"""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import arch
from arch.catalog import Opcodes, builtin
from arch.device import Work
from arch.opcodes import demand
from arch.pim import PIM
from tests.toys import Toy
from traces.table import Table
from traces.trace import Trace


def pim(name: str, channels: int = 0, clock: float = 0.0, refresh: bool = True) -> PIM:
    """A device of the catalogue with another number of channels (in one stack) or another clock."""
    entry = builtin(name)
    if channels:
        changed = replace(entry.quantity("channels_per_stack"), si=float(channels), value=float(channels))
        entry = replace(entry, numbers={**entry.numbers, "channels_per_stack": changed})
    return PIM(entry, name, "memory", 1, round(entry["banks_per_unit"]), clock or entry["unit_clock"], True, refresh)


def elementwise(count: int, dtype: str, opcode: str, reads: int, **columns: Any) -> Trace:
    toy = Toy()
    names = [f"x{i}" for i in range(reads)]
    size = {"f32": 4, "f16": 2, "bf16": 2}[dtype] * count
    for name in [*names, "y"]:
        toy.tensor(name, size)
    toy.kernel("k", names, ["y"], dtype=dtype, opcodes=f"{opcode}:1", flops_vector=float(count), **columns)
    return toy.build()


def product(m: int, n: int, k: int, dtype: str = "bf16", batch: int = 1) -> Trace:
    toy = Toy()
    toy.kernel(
        "gemm", ["a", "b"], ["c"], family="gemm", launch_kind="library", library="gemm", dtype=dtype, opcodes="custom-call:1",
        precision="", batch=batch, m=m, n=n, k=k, flops_matrix=2.0 * batch * m * n * k, flops_vector=0.0,
    )  # fmt: skip
    return toy.build()


def seconds(device: PIM, trace: Trace) -> float:
    return float(device.price(Work.of(trace)).duration_s[0])


# Microseconds that Samsung's PIMSimulator (SAITPublic/PIMSimulator b464dde, HBM2_samsung_2M_16B_x64.ini, FP16) prints:
# kernel, channels, elements, refresh, time.
PIMSIMULATOR = [
    ("ADD", 64, 131072, True, 0.731),
    ("ADD", 64, 786432, True, 2.705),
    ("ADD", 64, 3145728, True, 8.866),
    ("ADD", 64, 16777216, True, 45.941),
    ("ADD", 16, 1048576, False, 10.713),
    ("ADD", 16, 16777216, False, 165.273),
    ("ADD", 1, 2048, False, 0.731),
    ("ADD", 1, 131072, False, 21.017),
    ("ADD", 1, 10240, True, 2.02),
    ("ADD", 1, 229376, True, 40.061),
    ("MUL", 4, 65536, True, 3.349),
    ("MUL", 4, 1572864, True, 68.334),
    ("RELU", 1, 4096, True, 0.817),
    ("RELU", 1, 655360, True, 72.213),
    ("RELU", 16, 65536, True, 0.817),
    ("RELU", 16, 8388608, True, 58.064),
    ("RELU", 64, 1048576, False, 2.041),
    ("RELU", 16, 16777216, False, 104.857),
    ("RELU", 1, 131072, False, 13.465),
]
# The same of aim_simulator (arkhadem/aim_simulator 0f28a07, GDDR6_AiM_timing; it never refreshes): channels, elements, time;
# and of matrix-vector products without register reuse: channels, rows, columns, time.
AIM_EWMUL = [
    (32, 65536, 0.045),
    (32, 1048576, 0.854),
    (32, 2097152, 1.742),
    (32, 4194304, 3.518),
    (8, 1024, 0.015),
    (8, 4096, 0.021),
    (8, 262144, 0.854),
]
AIM_GEMV = [(32, 1024, 256, 0.206), (32, 1024, 8192, 2.8), (32, 2048, 4096, 2.544), (32, 8192, 512, 1.808), (32, 8192, 8192, 18.816)]
HBM_GEMV = [(64, 1024, 256, 1.138), (64, 2048, 2048, 6.970), (16, 1024, 2048, 6.970), (4, 8192, 8192, 825.601), (64, 4096, 11008, 35.022)]


@pytest.mark.parametrize(("kernel", "channels", "count", "refresh", "published_us"), PIMSIMULATOR)
def test_hbm_pim_takes_as_long_as_samsungs_simulator_says(
    kernel: str, channels: int, count: int, refresh: bool, published_us: float
) -> None:
    """The simulator's preset runs its units at 250 MHz. Worst of its 115 elementwise runs 12 %, mean 4 %."""
    opcode = {"ADD": "add", "MUL": "multiply", "RELU": "relu"}[kernel]
    device = pim("hbm-pim", channels, clock=250e6, refresh=refresh)
    ours = seconds(device, elementwise(count, "f16", opcode, 1 if kernel == "RELU" else 2)) * 1e6
    assert ours == pytest.approx(published_us, rel=0.15)


@pytest.mark.parametrize(("channels", "count", "published_us"), AIM_EWMUL)
def test_aim_multiplies_as_fast_as_its_simulator_says(channels: int, count: int, published_us: float) -> None:
    ours = seconds(pim("aim", channels, refresh=False), elementwise(count, "bf16", "multiply", 2)) * 1e6
    assert ours == pytest.approx(published_us, rel=0.04)


@pytest.mark.parametrize(("channels", "rows", "columns", "published_us"), AIM_GEMV)
def test_aim_multiplies_a_matrix_as_fast_as_its_simulator_says(channels: int, rows: int, columns: int, published_us: float) -> None:
    ours = seconds(pim("aim", channels, refresh=False), product(rows, 1, columns)) * 1e6
    assert ours == pytest.approx(published_us, rel=0.15)


@pytest.mark.parametrize(("channels", "rows", "columns", "published_us"), HBM_GEMV)
def test_hbm_pim_multiplies_a_matrix_about_as_fast_as_its_simulator_says(
    channels: int, rows: int, columns: int, published_us: float
) -> None:
    ours = seconds(pim("hbm-pim", channels, clock=250e6), product(rows, 1, columns, "f16")) * 1e6
    assert ours == pytest.approx(published_us, rel=0.1)


def test_an_addition_is_columns_rows_program_and_refresh() -> None:
    """One channel of 8 units: 2,048 FP16 elements are 16 columns of each operand, one group of 8 registers x 2 banks."""
    prices = pim("hbm-pim", 1, clock=250e6, refresh=False).price(Work.of(elementwise(2048, "f16", "add", 2)))
    assert prices.terms["column_s"][0] == pytest.approx(48 * 4e-9)
    assert prices.terms["row_s"][0] == pytest.approx(2 * 29e-9 + 50e-9)
    assert prices.duration_s[0] == pytest.approx(192e-9 + 108e-9 + 409e-9)
    assert prices.dram_bytes[0] == 3 * 2048 * 2


@pytest.mark.parametrize(("count", "columns"), [(2047, 48), (2048, 48), (2049, 51)])
def test_a_column_that_is_not_full_costs_a_whole_one(count: int, columns: int) -> None:
    prices = pim("hbm-pim", 1, clock=250e6).price(Work.of(elementwise(count, "f16", "add", 2)))
    assert prices.terms["column_s"][0] == pytest.approx(columns * 4e-9)


def test_units_that_are_slower_than_the_columns_set_the_pace() -> None:
    fast, as_sold, slow = (pim("hbm-pim", clock=c).interval_s for c in (600e6, 300e6, 150e6))
    assert as_sold == pytest.approx(1 / 300e6, rel=1e-3)
    assert fast == pytest.approx(3.333e-9)
    assert slow == pytest.approx(1 / 150e6)


def test_a_long_computation_waits_for_its_operations() -> None:
    """An exponential is nine commands an element: more than reading and writing it."""
    device = pim("hbm-pim-fp32")
    work = Work.of(elementwise(2**20, "f32", "exponential", 1, flops_transcendental=float(2**20)))
    work = replace(work, kernels=Table.build("kernels", {**work.kernels.decoded(), "flops_vector": [0.0]}))
    terms = device.price(work).terms
    lanes = 128 * 8
    reads = 2**20 * 4 / 32 / 128
    assert terms["operation_s"][0] == pytest.approx((9 * 2**20 / lanes - reads) * device.interval_s)


@pytest.mark.parametrize(("busy_us", "refreshes"), [(1.7, 0), (1.8, 1), (5.3, 1), (5.4, 2)])
def test_refreshes_come_in_whole_numbers(busy_us: float, refreshes: int) -> None:
    from arch.pim.device import _refresh

    assert _refresh(pim("hbm-pim"), np.array([busy_us * 1e-6]))[0] == pytest.approx(refreshes * 360e-9)


REFUSED: list[tuple[str, dict[str, Any], str]] = [
    ("aim", {"dtype": "bf16", "opcodes": "multiply:1"}, ""),
    ("aim", {"dtype": "bf16", "opcodes": "add:1,multiply:1"}, "opcode add"),
    ("aim", {"dtype": "f32", "opcodes": "multiply:1"}, "dtype f32"),
    ("aim", {"dtype": "", "opcodes": "multiply:1"}, "dtype unknown"),
    ("hbm-pim", {"dtype": "f16", "opcodes": "add:4,broadcast:2,multiply:1"}, ""),
    ("hbm-pim", {"dtype": "f16", "opcodes": "add:1,exponential:1"}, "opcode exponential"),
    ("hbm-pim", {"dtype": "bf16", "opcodes": "add:1"}, "dtype bf16"),
    ("hbm-pim", {"dtype": "f16", "opcodes": ""}, "opcodes unknown"),
    ("hbm-pim-fp32", {"dtype": "f32", "opcodes": "add:1,exponential:1,select:2"}, ""),
    ("hbm-pim-fp32", {"dtype": "f32", "opcodes": "add:1,cbrt:1,gather:1"}, "opcode gather"),
    ("hbm-pim-fp32", {"dtype": "f32", "opcodes": "add:1,cbrt:1"}, "opcode cbrt"),
    ("hbm-pim-fp32", {"dtype": "f32", "opcodes": "add:1", "launch_kind": "triton"}, "triton kernel"),
    (
        "hbm-pim-fp32",
        {"dtype": "f32", "family": "lu", "launch_kind": "library", "library": "getrf", "flops_matrix": 0.0},
        "library call getrf",
    ),
    ("hbm-pim-fp32", {"dtype": "f32", "flops_vector": float("nan")}, "work unknown"),
    ("hbm-pim-fp32", {"dtype": "f32", "family": "copy", "launch_kind": "copy", "opcodes": ""}, ""),
    ("aim", {"dtype": "bf16", "family": "gemm", "launch_kind": "library", "opcodes": "custom-call:1"}, ""),
    ("aim", {"dtype": "f16", "family": "gemm", "launch_kind": "library", "opcodes": "custom-call:1"}, "dtype f16"),
]


@pytest.mark.parametrize(("device", "columns", "reason"), REFUSED)
def test_what_a_device_refuses_and_why(device: str, columns: dict[str, Any], reason: str) -> None:
    toy = Toy()
    toy.kernel("k", ["x"], ["y"], **columns)
    work = Work.of(toy.build())
    assert pim(device).refuse(work).reason(0) == reason
    assert np.isinf(pim(device).price(work).duration_s[0]) == bool(reason)


@pytest.mark.parametrize(
    ("dtype", "stride", "size", "reason"),
    [
        ("f32", "contiguous", 4096, ""),
        ("f32", "broadcast", 4096, ""),
        ("f32", "gather", 4096, "gather operand"),
        ("f32", "transposed", 4096, "transposed operand"),
        ("s32", "contiguous", 4096, "operand dtype s32"),
        ("s32", "contiguous", 4, ""),
        ("pred", "contiguous", 4096, ""),
    ],
)
def test_an_operand_of_another_type_or_layout_is_refused_unless_it_is_a_scalar(dtype: str, stride: str, size: int, reason: str) -> None:
    toy = Toy()
    toy.tensor("x", size)
    toy.kernel("k", ["x"], ["y"])
    work = Work.of(toy.build())
    tensors = {**work.tensors.decoded(), "dtype": [dtype, "f32"]}
    accesses = {**work.accesses.decoded(), "stride": [stride, "contiguous"]}
    work = replace(work, tensors=Table.build("tensors", tensors), accesses=Table.build("accesses", accesses))
    assert pim("aim-fp32").refuse(work).reason(0) == reason


def test_commands_an_element_are_averaged_over_the_computation() -> None:
    table = Opcodes({"f32": {"add": 1.0, "divide": 5.0, "exponential": 9.0, "log": 10.0}}, frozenset({"bitcast"}))
    asked = demand("add:3,bitcast:7,divide:1,exponential:1,log:1", table, "f32")
    assert asked.missing == ""
    assert asked.per_vector == pytest.approx((3 + 5) / 4)
    assert asked.per_transcendental == pytest.approx(9.5)


def test_a_hypothetical_device_is_marked_and_so_is_a_changed_one() -> None:
    assert not arch.machine("a5000+aim").hypothetical
    assert arch.machine("a5000+aim-fp32").hypothetical
    assert arch.machine("a5000+aim", pim_banks_per_unit=2).hypothetical
    assert not arch.machine("a5000+aim", pim_stacks=3).hypothetical


def test_fp32_units_have_half_the_lanes_and_scaled_energy_and_area() -> None:
    for name in ("aim", "hbm-pim"):
        sold, wide = pim(name), pim(f"{name}-fp32")
        assert wide.peak_flops == sold.peak_flops / 2
        assert wide.internal_bandwidth == sold.internal_bandwidth
        assert wide.entry["unit_area"] / sold.entry["unit_area"] == pytest.approx(11884 / 3000 / 2, rel=0.02)
        assert wide.entry["energy_per_flop"] / sold.entry["energy_per_flop"] == pytest.approx(4.6 / 1.5, rel=0.01)


@given(st.integers(1, 2**24), st.integers(1, 3), st.sampled_from(["hbm-pim-fp32", "aim-fp32"]), st.floats(1, 20))
def test_more_elements_never_take_less_time(count: int, reads: int, name: str, factor: float) -> None:
    device = pim(name)
    first, second = (seconds(device, elementwise(n, "f32", "add", reads)) for n in (count, round(count * factor)))
    assert 0 < first <= second < 1


@given(st.integers(1, 500), st.integers(1, 500), st.integers(1, 500), st.integers(1, 50))
def test_a_product_never_beats_the_peak_of_the_units(m: int, n: int, k: int, batch: int) -> None:
    device = pim("aim")
    assert seconds(device, product(m, n, k, batch=batch)) > 2 * batch * m * n * k / device.peak_flops


def test_more_stacks_are_faster_and_fewer_banks_a_unit_too() -> None:
    trace = elementwise(2**22, "f32", "add", 2)
    times = [seconds(arch.machine("a5000+aim-fp32", pim_stacks=s).devices[1], trace) for s in (1, 4, 12)]  # type: ignore[arg-type]
    assert times == sorted(times, reverse=True)
    assert times[0] > 8 * times[2]
    few, many = (arch.machine("a5000+aim-fp32", pim_banks_per_unit=b).devices[1] for b in (4, 1))
    assert seconds(many, trace) < seconds(few, trace)  # type: ignore[arg-type]


def test_energy_is_bytes_at_the_banks_and_flops() -> None:
    prices = pim("hbm-pim", 1).price(Work.of(elementwise(2048, "f16", "add", 2)))
    assert prices.energy_j[0] == pytest.approx(3 * 4096 * (0.88e-12 + 3.52e-12) + 2048 * 0.75e-12)
