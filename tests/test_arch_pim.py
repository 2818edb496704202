"""Does the PIM model count commands as cycle-level simulators do, and refuse what the units cannot execute?"""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import arch
from arch.catalog import builtin
from arch.entry import Opcodes
from arch.opcodes import demand
from arch.pim import PIM, attention
from arch.work import Work
from tests.toys import Toy
from traces.errors import MachineError
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


# What cycle-level simulators print, in microseconds: PIMSimulator (b464dde) and aim_simulator (0f28a07); all of their runs are
# checked in tests/test_predict_pim.py, here devices of the catalogue are: channels, elements, refresh, time.
ADD = [(64, 16777216, True, 45.941), (16, 16777216, False, 165.273), (1, 2048, False, 0.731), (1, 131072, False, 21.017)]
RELU = [(1, 655360, True, 72.213), (16, 8388608, True, 58.064), (64, 1048576, False, 2.041), (1, 131072, False, 13.465)]
EWMUL = [(32, 65536, 0.045), (32, 4194304, 3.518), (8, 1024, 0.015), (8, 262144, 0.854)]
AIM_GEMV = [(32, 1024, 256, 0.206), (32, 1024, 8192, 2.8), (32, 2048, 4096, 2.544), (32, 8192, 512, 1.808), (32, 8192, 8192, 18.816)]
HBM_GEMV = [(64, 1024, 256, 1.138), (64, 2048, 2048, 6.970), (16, 1024, 2048, 6.970), (4, 8192, 8192, 825.601), (64, 4096, 11008, 35.022)]


@pytest.mark.parametrize(("opcode", "reads", "run"), [("add", 2, run) for run in ADD] + [("relu", 1, run) for run in RELU])
def test_hbm_pim_adds_as_fast_as_samsungs_simulator_says(opcode: str, reads: int, run: tuple[int, int, bool, float]) -> None:
    """The simulator's preset runs its units at 250 MHz. A device does not know when its first refresh is due."""
    channels, count, refresh, published_us = run
    device = pim("hbm-pim", channels, clock=250e6, refresh=refresh)
    ours = seconds(device, elementwise(count, "f16", opcode, reads)) * 1e6
    assert ours == pytest.approx(published_us, rel=0.01 if refresh else 1e-9)


@pytest.mark.parametrize(("channels", "count", "published_us"), EWMUL)
def test_aim_multiplies_as_fast_as_its_simulator_says(channels: int, count: int, published_us: float) -> None:
    ours = seconds(pim("aim", channels, refresh=False), elementwise(count, "bf16", "multiply", 2)) * 1e6
    assert ours == pytest.approx(published_us, rel=1e-9)


@pytest.mark.parametrize(("channels", "rows", "columns", "published_us"), AIM_GEMV)
def test_aim_multiplies_a_matrix_as_fast_as_its_simulator_says(channels: int, rows: int, columns: int, published_us: float) -> None:
    ours = seconds(pim("aim", channels, refresh=False), product(rows, 1, columns)) * 1e6
    assert ours == pytest.approx(published_us, rel=1e-9)


@pytest.mark.parametrize(("channels", "rows", "columns", "published_us"), HBM_GEMV)
def test_hbm_pim_multiplies_a_matrix_as_fast_as_its_simulator_says_but_for_the_read_out(
    channels: int, rows: int, columns: int, published_us: float
) -> None:
    """The simulator leaves the read-out of results away; a device pays for it."""
    prices = pim("hbm-pim", channels, clock=250e6).price(Work.of(product(rows, 1, columns, "f16")))
    ours = float(prices.duration_s[0] - prices.terms["readout_s"][0]) * 1e6
    assert ours == pytest.approx(published_us, rel=0.02)
    assert prices.terms["readout_s"][0] > 100e-9


def test_an_addition_is_columns_turns_and_a_program() -> None:
    """One channel of 8 units: 2,048 FP16 elements are 16 columns of each operand, in a run of 8 in even and one in odd banks."""
    prices = pim("hbm-pim", 1, clock=250e6, refresh=False).price(Work.of(elementwise(2048, "f16", "add", 2)))
    assert prices.terms["column_s"][0] == pytest.approx(48 * 4e-9)
    # bus to reads, row to row, row to writes, less a column each, twice; the first reads wait for the row that started the units
    assert prices.terms["turn_s"][0] == pytest.approx(2 * (19 + 31 + 27 - 3 * 4) * 1e-9 + (54 - 19) * 1e-9)
    assert prices.duration_s[0] == pytest.approx(731e-9)
    assert prices.dram_bytes[0] == 3 * 2048 * 2


@pytest.mark.parametrize(("count", "runs"), [(2047, 6), (2048, 6), (2049, 9), (3072, 9), (3073, 12)])
def test_a_run_that_is_not_full_costs_a_whole_one(count: int, runs: int) -> None:
    prices = pim("hbm-pim", 1, clock=250e6).price(Work.of(elementwise(count, "f16", "add", 2)))
    assert prices.terms["column_s"][0] == pytest.approx(runs * 8 * 4e-9, rel=0.02)


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


@pytest.mark.parametrize(("busy_us", "refreshes"), [(1.9, 0), (2.0, 1), (5.4, 1), (5.5, 2)])
def test_refreshes_come_in_whole_numbers(busy_us: float, refreshes: int) -> None:
    """Due after 1.95 us, then every 3.9; each puts the rest off by 378 ns: tRFC 350, tRP 14, tRCDRD 14."""
    from arch.pim.pricing import _refresh

    assert _refresh(pim("hbm-pim"), np.array([busy_us * 1e-6]))[0] == pytest.approx(refreshes * 378e-9)


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
        ("f32", "transposed", 4096, ""),
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


def strided(device: PIM, stride: str) -> Any:
    trace = elementwise(2**20, "f32", "add", 1)
    work = Work.of(trace)
    accesses = {**work.accesses.decoded(), "stride": [stride, "contiguous"]}
    return device.price(replace(work, accesses=Table.build("accesses", accesses)))


@pytest.mark.parametrize("name", ["aim-fp32", "hbm-pim-fp32"])
def test_a_transposed_operand_costs_a_way_through_the_host(name: str) -> None:
    device = pim(name)
    straight, across = strided(device, "contiguous"), strided(device, "transposed")
    moved = 2 * 2**20 * 4 / device.entry["stack_bandwidth"] + 2 * device.entry["mode_switch"]
    assert straight.terms["layout_s"][0] == 0
    assert across.terms["layout_s"][0] == pytest.approx(moved)
    assert across.duration_s[0] > straight.duration_s[0]


PRODUCTS = ["hbm-pim", "aim", "attacc-bank", "attacc-bg", "attacc-buffer", "neupims", "pimba", "duplex", "upmem"]
DTYPE = {"hbm-pim": "f16", "aim": "bf16", "pimba": "f8e4m3fn", "upmem": "f32"}


@pytest.mark.parametrize("name", PRODUCTS)
def test_every_device_multiplies_within_its_bandwidth_and_its_peak(name: str) -> None:
    device = pim(name)
    prices = device.price(Work.of(product(8192, 1, 4096, DTYPE.get(name, "f16"))))
    bytes_ = 8192 * 4096 * device.element_bytes
    assert prices.duration_s[0] > bytes_ / device.internal_bandwidth
    assert prices.duration_s[0] > 2 * 8192 * 4096 / device.peak_flops
    assert prices.dram_bytes[0] >= bytes_
    assert sum(float(values[0]) for values in prices.terms.values()) == pytest.approx(float(prices.duration_s[0]))


@pytest.mark.parametrize("name", PRODUCTS)
@given(st.integers(1, 3000), st.integers(1, 3000), st.floats(1, 8), st.integers(1, 64))
def test_a_larger_product_is_never_faster(name: str, rows: int, inner: int, factor: float, batch: int) -> None:
    device, dtype = pim(name), DTYPE.get(name, "f16")
    base = seconds(device, product(rows, 1, inner, dtype, batch))
    assert base <= seconds(device, product(rows, 1, round(inner * factor), dtype, batch)) * (1 + 1e-9)
    assert base <= seconds(device, product(rows, 1, inner, dtype, round(batch * factor))) * (1 + 1e-9)


def test_attacc_is_faster_the_nearer_its_units_are_to_the_banks() -> None:
    trace = product(16384, 1, 4096, "f16")
    times = [seconds(pim(f"attacc-{level}"), trace) for level in ("bank", "bg", "buffer")]
    assert times == sorted(times)
    assert pim("attacc-bank").internal_bandwidth / 670.4e9 == pytest.approx(9, rel=0.2)  # 9x, 3x and 1x by its authors
    assert pim("attacc-bg").internal_bandwidth / 670.4e9 == pytest.approx(3, rel=0.2)
    assert pim("attacc-buffer").internal_bandwidth / 670.4e9 == pytest.approx(1, rel=0.02)


def test_logic_die_pim_has_four_times_the_bandwidth_at_eight_operations_a_byte() -> None:
    device = pim("duplex")
    assert device.internal_bandwidth == pytest.approx(4 * 670.4e9, rel=1e-3)
    assert device.peak_flops == pytest.approx(21.3e12, rel=1e-3)
    assert device.peak_flops / device.internal_bandwidth == pytest.approx(8, rel=0.01)


def test_logic_die_pim_reads_the_matrix_once_for_some_vectors_and_then_computes_longer() -> None:
    """A vector is one operation a byte in FP16: up to eight take as long as one."""
    device = pim("duplex")
    times = [seconds(device, product(8192, n, 8192, "f16")) for n in (1, 4, 8, 16, 64)]
    assert times[2] < 1.02 * times[0]
    assert times[3] > 1.9 * times[2]
    assert times[4] == pytest.approx(2 * 8192 * 8192 * 64 / device.peak_flops, rel=0.01)


@pytest.mark.parametrize(
    ("name", "closed"), [("h200+attacc-bank", 1.0), ("h200+neupims", 0.0), ("h200+duplex", 0.0), ("a100+hbm-pim", 0.6)]
)
def test_the_host_is_shut_out_unless_there_are_two_row_buffers_or_bundles_of_banks(name: str, closed: float) -> None:
    assert arch.machine(name).hand_overs[0].closed_fraction == pytest.approx(closed)


def test_upmem_is_bound_by_its_software_floating_point() -> None:
    """2,560 DPUs at 4.91 million FP32 additions a second each."""
    device = arch.machine("a5000+upmem@link").device("upmem")
    assert isinstance(device, PIM)
    assert device.units == 2560
    assert seconds(device, elementwise(2**26, "f32", "add", 2)) == pytest.approx(2**26 / (2560 * 4.91e6), rel=0.01)


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("style", "register", "style must be one of .*did you mean 'registers'"),
        ("level", "die", "must be one of .*registers at bank.* but got 'registers' at 'die'"),
        ("timing", "a5000", "must be an entry of kind 'dram', but 'a5000' is of kind 'gpu'"),
        ("timing", "dram-hbm2", "there is no device 'dram-hbm2'"),
    ],
)
def test_a_device_driven_in_no_known_way_is_an_error(key: str, value: str, says: str) -> None:
    entry = builtin("hbm-pim")
    changed = replace(entry, text={**entry.text, key: value})
    with pytest.raises(MachineError, match=says):
        PIM(changed, "x", "memory", 1, 2, changed["unit_clock"], True).price(Work.of(elementwise(2048, "f16", "add", 2)))


def test_only_units_that_may_be_spread_otherwise_can_be() -> None:
    assert arch.machine("h200+hbm-pim", pim_banks_per_unit=4).devices[1].units == 3 * 16 * 4  # type: ignore[attr-defined]
    with pytest.raises(MachineError, match="pim_banks_per_unit"):
        arch.machine("h200+attacc-bank", pim_banks_per_unit=4)


@given(st.integers(1, 3000), st.integers(1, 3000), st.integers(1, 40), st.sampled_from(PRODUCTS))
def test_prices_of_many_kernels_are_those_of_each_alone(rows: int, inner: int, vectors: int, name: str) -> None:
    device, dtype = pim(name), DTYPE.get(name, "f16")
    toy = Toy()
    for i, (m, n, k) in enumerate([(rows, vectors, inner), (64, 1, 64), (inner, vectors, rows)]):
        toy.kernel(
            f"gemm{i}", ["a", "b"], ["c"], family="gemm", launch_kind="library", library="gemm", dtype=dtype, opcodes="custom-call:1",
            precision="", batch=1, m=m, n=n, k=k, flops_matrix=2.0 * m * n * k, flops_vector=0.0,
        )  # fmt: skip
    work = Work.of(toy.build())
    alone = [device.price(work.rows([i])).duration_s[0] for i in range(3)]
    np.testing.assert_allclose(device.price(work).duration_s, alone)


def fused_attention(queries: int, keys: int, library: str = "flash_attention", dtype: str = "f16") -> Work:
    """256 heads of 128, with the statistics in FP32 that a library writes beside the result."""
    toy, heads, dim = Toy(), 256, 128
    for name, rows in (("q", queries), ("k", keys), ("v", keys), ("o", queries)):
        toy.tensor(name, 2 * heads * rows * dim)
    toy.tensor("statistics", 4 * heads * queries)
    toy.kernel(
        "attention", ["q", "k", "v"], ["o", "statistics"], family="attention", launch_kind="library", library=library, dtype=dtype,
        opcodes="attention:1", precision="", batch=heads, m=queries, n=keys, k=dim, flops_matrix=4.0 * heads * queries * keys * dim,
        flops_vector=0.0,
    )  # fmt: skip
    made = toy.build()
    tensors = made.tensors.decoded() | {"dtype": [dtype] * 4 + ["f32"]}
    return Work.of(Trace(made.kernels, Table.build("tensors", tensors), made.accesses, made.regions, made.manifest))


@pytest.mark.parametrize("name", ["attacc-bank", "attacc-bg", "attacc-buffer", "neupims"])
def test_fused_attention_takes_what_scores_softmax_and_context_take(name: str) -> None:
    device = pim(name, refresh=False)
    one, heads = np.ones(1), attention.Heads(np.array([521.0]), np.array([256.0]), np.array([128.0]), 2.0, np.array([16.0]))
    clocks = attention.clocks(device.timing, device.entry.text["level"], heads, refresh=False)
    for queries in (1, 3):
        prices = device.price(fused_attention(queries, 521))
        assert prices.duration_s == pytest.approx(queries * clocks * device.clock_s)
        assert prices.dram_bytes >= 2 * 2 * 256 * 521 * 128 * queries * one  # what units read beyond the keys and values is padding


@pytest.mark.parametrize(("kind", "reason"), [("workspace", ""), ("temporary", "operand dtype f32")])
def test_where_a_gpu_adds_up_parts_of_its_keys_is_no_operand_of_the_units(kind: str, reason: str) -> None:
    toy = Toy()
    for name in "qkvo":
        toy.tensor(name, 1 << 20)
    toy.tensor("parts", 1 << 18, kind)
    toy.kernel(
        "attention", ["q", "k", "v", "parts"], ["o", "parts"], family="attention", launch_kind="library", library="flash_attention",
        dtype="f16", opcodes="attention:1", precision="", batch=256, m=1, n=16, k=128, flops_matrix=4.0 * 256 * 16 * 128, flops_vector=0.0,
    )  # fmt: skip
    made = toy.build()
    tensors = made.tensors.decoded() | {"dtype": ["f16"] * 4 + ["f32"]}
    work = Work.of(Trace(made.kernels, Table.build("tensors", tensors), made.accesses, made.regions, made.manifest))
    assert pim("attacc-bank").refuse(work).reason(0) == reason


@pytest.mark.parametrize(
    ("name", "work", "reason"),
    [
        ("duplex", fused_attention(1, 521), "library call flash_attention"),
        ("attacc-bank", fused_attention(1, 521, "flash_attention_backward"), "library call flash_attention_backward"),
        ("attacc-bank", fused_attention(1, 521, dtype="f32"), "library call flash_attention"),
    ],
)
def test_fused_attention_that_units_cannot_run_is_refused(name: str, work: Work, reason: str) -> None:
    assert pim(name).refuse(work).reason(0) == reason
