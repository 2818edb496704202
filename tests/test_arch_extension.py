"""Does what is built into a GPU take what it can, cost what its bytes and lanes cost, and share the GPU's L2 and launches?"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import arch
import codesign as cd
from arch.area import at_node
from arch.device import Device
from arch.extension import Extension
from arch.gpu import GPU
from arch.work import Work
from codesign.search.bounds import lower_bound
from codesign.testing import DeviceConformance
from tests.toys import Toy
from traces.errors import MachineError
from traces.trace import Trace

MIB = 2**20
ALL = "a5000+layout-engine+near-l2+fused-chains"


class TestLayoutEngine(DeviceConformance):
    opcodes = "copy:1,transpose:1"

    def device(self) -> Device:
        return arch.machine("a5000+layout-engine").device("layout-engine")


class TestNearL2(DeviceConformance):
    opcodes = "add:2,multiply:3,exponential:1"

    def device(self) -> Device:
        return arch.machine("a5000+near-l2").device("near-l2")


class TestNearL2InHalfPrecision(DeviceConformance):
    dtype = "bf16"

    def device(self) -> Device:
        return arch.machine("h200+near-l2").device("near-l2")


class TestGPUWithFusedChains(DeviceConformance):
    def device(self) -> Device:
        return arch.machine("a5000+fused-chains").devices[0]


class Launches(Toy):
    """A toy whose kernels may be products."""

    def kernel(self, name: str, reads: Sequence[str] = (), writes: Sequence[str] = (), **columns: Any) -> int:
        return super().kernel(name, reads, writes, **{"batch": -1, "m": -1, "n": -1, "k": -1, "precision": "", **columns})


def extension(name: str, gpu: str = "a5000", **overrides: Any) -> Extension:
    found = arch.machine(f"{gpu}+{name}", **overrides).device(name)
    assert isinstance(found, Extension)
    return found


def one_kernel(size: int = 64 * MIB, stride: str = "contiguous", **columns: Any) -> Work:
    """A kernel that reads one tensor of ``size`` bytes and writes another, neither of which is in L2."""
    toy = Launches()
    toy.tensor("x", size, kind="parameter")
    toy.tensor("y", size)
    toy.kernel("k", ("x",), ("y",), **columns)
    toy.accesses[0]["stride"] = stride
    return Work.of(toy.build())


MOVES = {"family": "transpose", "opcodes": "transpose:1", "flops_vector": 0.0}


def test_the_layout_engine_moves_bytes_at_the_slowest_of_dram_l2_and_its_ports() -> None:
    """128 MiB in all through DRAM; a port moves 64 B a clock of 1.695 GHz; one unit is the narrowest, all 32 are not."""
    bytes_ = 2.0 * 64 * MIB
    entry = extension("layout-engine").gpu.entry
    dram = bytes_ / (768e9 * entry["dram_efficiency"])
    fixed = 0.5e-6 + 336e-9
    assert extension("layout-engine").units == 32  # 2,048 B a clock in slices of 64
    assert extension("layout-engine").price(one_kernel(**MOVES)).duration_s[0] == pytest.approx(fixed + dram, rel=1e-12)
    slow = extension("layout-engine", layout_units=1).price(one_kernel(**MOVES)).duration_s[0]
    assert slow == pytest.approx(fixed + bytes_ / (64 * 1.695e9), rel=1e-12)


def test_what_lies_in_l2_is_moved_at_the_speed_of_l2() -> None:
    """The second kernel reads 1 MiB that the first wrote and overwrites what that read: both lie in the 6 MiB of L2."""
    toy = Launches()
    for name in ("x", "y"):
        toy.tensor(name, MIB)
    toy.kernel("a", ("x",), ("y",), **MOVES)
    toy.kernel("b", ("y",), ("x",), **MOVES)
    prices = extension("layout-engine").price(Work.of(toy.build()))
    entry = extension("layout-engine").gpu.entry
    assert prices.dram_bytes.tolist() == [2 * MIB, 0]
    l2 = 2 * MIB / (entry["l2_bandwidth"] * entry["l2_efficiency"])
    assert prices.duration_s[1] == pytest.approx(0.5e-6 + 126e-9 + l2, rel=1e-12)


@pytest.mark.parametrize(
    ("stride", "buffer", "expected"),
    [
        ("contiguous", 8192, 2.0),
        ("transposed", 8192, 2.0),  # runs of 32 FP32: four requests of 32 B
        ("transposed", 512, 2.0),  # runs of eight: one request
        ("transposed", 392, 1.0 + 32 / 28),  # runs of seven waste four bytes of a request
        ("transposed", 8, 1.0 + 8.0),  # an element at a time: a request each
    ],
)
def test_a_tile_whose_side_is_shorter_than_a_request_wastes_the_rest_of_it(stride: str, buffer: float, expected: float) -> None:
    device = extension("layout-engine")
    device = replace(device, entry=device.entry.changed({"buffer": buffer}))
    prices = device.price(one_kernel(stride=stride, **MOVES))
    assert prices.dram_bytes[0] == pytest.approx(expected * 64 * MIB)


def test_a_strided_operand_costs_a_request_an_element_at_most_the_tensor() -> None:
    work = one_kernel(stride="strided", family="slice_concat", opcodes="slice:1", flops_vector=0.0)
    touched = replace(work, accesses=_with(work, "bytes_unique", [MIB, MIB]))
    assert extension("layout-engine").price(touched).dram_bytes[0] == 8 * MIB + MIB
    touched = replace(work, accesses=_with(work, "bytes_unique", [16 * MIB, MIB]))
    assert extension("layout-engine").price(touched).dram_bytes[0] == 64 * MIB + MIB  # the tensor, not 128 MiB


def _with(work: Work, name: str, values: list[float]) -> Any:
    columns = {**work.accesses.decoded(), name: np.array(values, dtype=np.float64)}
    return type(work.accesses).build("accesses", columns)


@pytest.mark.parametrize(
    ("columns", "stride", "reason"),
    [
        (MOVES, "transposed", ""),
        ({"family": "copy", "opcodes": "", "launch_kind": "copy"}, "contiguous", ""),
        ({"family": "slice_concat", "opcodes": "concatenate:1,slice:2"}, "strided", ""),
        ({"family": "transpose", "opcodes": "add:1,transpose:1"}, "transposed", "opcode add"),
        ({"family": "transpose", "opcodes": ""}, "transposed", "opcodes unknown"),
        (MOVES, "gather", "gather operand"),
        ({"family": "reduce", "opcodes": "reduce:1"}, "contiguous", "family reduce"),
    ],
)
def test_the_layout_engine_takes_what_only_moves_data(columns: dict[str, Any], stride: str, reason: str) -> None:
    assert extension("layout-engine").refuse(one_kernel(stride=stride, **columns)).reason(0) == reason


@pytest.mark.parametrize(
    ("columns", "stride", "reason"),
    [
        ({"opcodes": "add:1,multiply:1,tanh:1"}, "contiguous", ""),
        ({"opcodes": "add:1,concatenate:1", "family": "slice_concat"}, "broadcast", ""),
        ({"opcodes": "add:1", "dtype": "f64"}, "contiguous", "dtype f64"),
        ({"opcodes": "add:1,transpose:1"}, "contiguous", "opcode transpose"),
        ({"opcodes": "add:1"}, "transposed", "transposed operand"),
        ({"opcodes": "add:1"}, "gather", "gather operand"),
        ({"opcodes": "add:1,reduce:1", "family": "reduce"}, "contiguous", "family reduce"),
        ({"opcodes": "transpose:1", "family": "transpose"}, "transposed", "family transpose"),
    ],
)
def test_elementwise_units_take_what_streams_through_their_lanes(columns: dict[str, Any], stride: str, reason: str) -> None:
    assert extension("near-l2").refuse(one_kernel(stride=stride, **columns)).reason(0) == reason


def test_elementwise_units_are_bound_by_lanes_where_there_are_few() -> None:
    """1e9 additions on 32 units of 16 lanes at 1.695 GHz; tanh is 15 of them."""
    work = one_kernel(flops_vector=1e9)
    price = extension("near-l2").price(work)
    assert price.terms["vector_s"][0] == pytest.approx(1e9 / (32 * 16 * 1.695e9), rel=1e-12)
    assert price.duration_s[0] == pytest.approx(0.5e-6 + 336e-9 + price.terms["vector_s"][0], rel=1e-12)
    assert extension("near-l2", near_l2_lanes=32).price(work).terms["vector_s"][0] == pytest.approx(price.terms["vector_s"][0] / 2)
    special = one_kernel(opcodes="tanh:1", flops_vector=0.0, flops_transcendental=1e9)
    assert extension("near-l2").price(special).terms["vector_s"][0] == pytest.approx(15 * price.terms["vector_s"][0])


def test_halves_fill_a_lane_with_two_elements() -> None:
    single, half = (one_kernel(flops_vector=1e9, dtype=dtype) for dtype in ("f32", "bf16"))
    terms = [extension("near-l2").price(work).terms["vector_s"][0] for work in (single, half)]
    assert terms[1] == terms[0] / 2


def test_what_lies_in_another_slice_crosses_the_crossbar() -> None:
    device = extension("near-l2")
    for aligned in (0.0, 0.5, 1.0):
        changed = replace(device, entry=device.entry.changed({"aligned_share": aligned}))
        crossing = changed.price(one_kernel()).terms["crossbar_s"][0]
        assert crossing == pytest.approx((1 - aligned) * 64 * MIB / (device.gpu.entry["l2_bandwidth"] * device.gpu.entry["l2_efficiency"]))


def test_energy_adds_up_by_term_and_bytes_cost_less_beside_the_slice() -> None:
    work = one_kernel(flops_vector=1e6)
    prices, gpu = extension("near-l2").price(work), arch.machine("a5000").devices[0].price(work)
    assert prices.energy_j[0] == pytest.approx(sum(term[0] for term in prices.energy_terms.values()), rel=1e-12)
    assert prices.energy_terms["compute_vector_j"][0] == pytest.approx(1e6 * 2 * 2.3e-12)
    across = 0.5 * 64 * MIB
    assert prices.energy_terms["l2_j"][0] == pytest.approx((0.5 * 128 * MIB + 0.5 * across) * 31.7e-12)
    assert prices.energy_terms["dram_j"][0] == gpu.energy_terms["dram_j"][0]
    assert prices.energy_terms["l2_j"][0] < gpu.energy_terms["l2_j"][0]


def test_areas_are_those_of_the_units_in_the_gpus_process() -> None:
    """Eight times 0.019 mm2 at 40 nm, moved to 8 nm by density; the sequencers' area is the GPU's."""
    machine = arch.machine(ALL)
    layout, near, chains = (
        count * at_node(mm2, node, "8 nm").mm2 for count, mm2, node in ((32, 0.152, "40 nm"), (32, 0.38, "45 nm"), (64, 0.05, "40 nm"))
    )
    assert machine.device("layout-engine").area_mm2 == pytest.approx(layout)
    assert machine.area_mm2 == pytest.approx(628.4 + layout + near + chains)
    assert machine.static_watts == pytest.approx(56 + 32 * 0.005 + 32 * 0.010 + 64 * 0.001)
    assert machine.with_(near_l2_lanes=32).area_mm2 == pytest.approx(628.4 + layout + 2 * near + chains)


def test_a_machine_with_extensions_is_hypothetical_and_has_no_price() -> None:
    assert arch.machine("a5000+layout-engine").hypothetical
    assert arch.machine("a5000+fused-chains").hypothetical
    assert arch.machine("l40s+near-l2").price_usd is None


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("plasticine+layout-engine", "must be built into a GPU"),
        ("a5000+near-l2@pcie4", "takes no link"),
        ("a5000+layout-engine+layout-engine", "each extension once"),
        ("a5000+layout-engin", "layout-engine"),
        ("a5000+dram@", "'@' must be followed by a link"),
    ],
)
def test_what_cannot_be_built_is_refused(name: str, message: str) -> None:
    with pytest.raises(MachineError, match=message):
        arch.machine(name)


def test_what_the_gpu_wrote_last_is_warm_for_what_shares_its_l2() -> None:
    """The copy on the engine finds the product of the SMs in L2; attached PIM would not."""
    toy = Launches()
    for name in ("x", "y", "z"):
        toy.tensor(name, MIB)
    toy.kernel("a", ("x",), ("y",))
    toy.kernel("b", ("y",), ("z",), **MOVES)
    costs = arch.cost_table(toy.build(), arch.machine("a5000+layout-engine"), np.array([0, 1], dtype=np.int32))
    assert costs.dram_bytes[1, 1] == MIB  # z alone comes from DRAM


def test_a_layout_engine_works_beside_the_sms_on_what_does_not_depend_on_them() -> None:
    toy = Launches()
    for name in ("w", "x", "y", "z"):
        toy.tensor(name, 64 * MIB)
    toy.kernel("product", ("w",), ("y",), family="gemm", launch_kind="library", batch=1, m=4096, n=4096, k=4096, precision="highest",
               flops_matrix=2.0 * 4096**3)  # fmt: skip
    toy.kernel("layout", ("x",), ("z",), **MOVES)
    trace, machine = toy.build(), arch.machine("a5000+layout-engine")
    for engine in ("fast", "reference"):
        timeline = cd.replay(trace, machine, "cut-points", engine=engine)
        assert timeline.by_group["device"]["layout-engine"] > 0
        assert timeline.time_s < 0.999 * timeline.kernel_time_s


def chain(families: Sequence[str], size: int = 16 * MIB, kind: str = "temporary", **columns: Any) -> Trace:
    """Kernels that each read the one before's output and nothing else of the trace."""
    toy = Launches()
    toy.tensor("t-1", size, kind="parameter")
    for row, family in enumerate(families):
        toy.tensor(f"t{row}", size if family != "reduce" else size // 64, kind=kind)
        product = {"batch": 1, "m": 2048, "n": 2048, "k": 64, "flops_matrix": 2.0 * 2048**2 * 64, "launch_kind": "library", "opcodes": ""}
        toy.kernel(f"k{row}", (f"t{row - 1}",), (f"t{row}",), family=family, **{**(product if family == "gemm" else {}), **columns})
    return toy.build()


def fused(trace: Trace, **overrides: Any) -> arch.CostTable:
    return arch.cost_table(trace, arch.machine("a5000+fused-chains", **overrides))


def test_a_chain_has_one_floor_and_moves_only_what_enters_and_leaves_it() -> None:
    """Three kernels over 16 MiB: what the second and third read stays in tiles, the last output is written."""
    trace = chain(["elementwise"] * 3)
    costs, alone = fused(trace), arch.cost_table(trace, arch.machine("a5000"))
    assert costs.joined is not None
    assert costs.joined[0].tolist() == [False, True, True]
    assert costs.dram_bytes[0].sum() == 2 * 16 * MIB
    gpu = arch.machine("a5000").gpu
    rate = 768e9 * gpu.entry["dram_efficiency"]
    floor = gpu.entry["kernel_floor"] + 2 * 0.2e-6
    assert costs.duration_s[0].sum() >= floor + 2 * 16 * MIB / rate
    assert costs.duration_s[0].sum() < 0.5 * alone.duration_s[0].sum()


@pytest.mark.parametrize(
    ("families", "joined"),
    [
        (["elementwise", "elementwise"], [False, True]),
        (["gemm", "elementwise"], [False, True]),
        (["elementwise", "reduce", "elementwise"], [False, True, True]),
        (["elementwise", "transpose", "elementwise"], [False, False, False]),
        (["elementwise", "lu", "elementwise"], [False, False, False]),
        (["elementwise", "triangular_solve", "elementwise"], [False, False, False]),
        (["elementwise", "gather_scatter", "elementwise"], [False, False, False]),
    ],
)
def test_only_what_reads_in_order_is_started_without_a_launch(families: list[str], joined: list[bool]) -> None:
    columns = {"batch": 1, "m": 64, "n": 64} if {"lu", "triangular_solve"} & set(families) else {}
    found = fused(chain(families, **columns)).joined
    assert [False] * len(families) == joined if found is None else found[0].tolist() == joined


@pytest.mark.parametrize(("tiles", "joined"), [(2, [0, 1, 0, 1, 0]), (3, [0, 1, 1, 0, 1]), (5, [0, 1, 1, 1, 1])])
def test_a_chain_has_as_many_kernels_as_tiles_fit(tiles: int, joined: list[int]) -> None:
    found = fused(chain(["elementwise"] * 5), chain_buffer_bytes=4096 * tiles).joined
    assert found is not None
    assert found[0].astype(int).tolist() == joined


def test_a_row_longer_than_a_tile_breaks_a_chain() -> None:
    """Sixteen MiB into 256 KiB: rows of 64 elements; into 4 KiB rows of 4,096 FP32, four times a tile."""
    for results, joins in ((256 * 1024, True), (16 * 1024, True), (8 * 1024, False)):
        toy = Launches()
        toy.tensor("x", 16 * MIB)
        toy.tensor("y", 16 * MIB)
        toy.tensor("sums", results)
        toy.kernel("a", ("x",), ("y",))
        toy.kernel("rows", ("y",), ("sums",), family="reduce")
        found = fused(toy.build()).joined
        assert (found is not None and bool(found[0, 1])) is joins


def test_kernels_of_several_launches_and_those_that_open_a_command_buffer_are_launched() -> None:
    assert fused(chain(["elementwise"] * 2, launches=2)).joined is None
    toy = Launches()
    toy.tensor("x", MIB)
    for row, buffer in enumerate((0, 0, 1, 1)):
        toy.kernel(f"k{row}", (f"t{row - 1}" if row else "x",), (f"t{row}",), command_buffer=buffer)
    found = fused(toy.build()).joined
    assert found is not None
    assert found[0].tolist() == [False, True, False, True]


@pytest.mark.parametrize("engine", ["fast", "reference"])
def test_the_host_issues_a_chain_once(engine: str) -> None:
    """Ten kernels of 4 KiB: the host's 3 us a launch bound them one by one, but not as a chain."""
    trace = chain(["elementwise"] * 10, size=4096)
    plain, chained = (cd.replay(trace, arch.machine(name), engine=engine) for name in ("a5000", "a5000+fused-chains"))
    assert plain.host_bound_s > 5e-6
    assert chained.host_bound_s == pytest.approx(4e-6)  # before the first launch
    assert chained.time_s == pytest.approx(4e-6 + chained.kernel_time_s, abs=1e-11)
    assert chained.launches == plain.launches == 10


def test_energy_of_a_chain_is_less_by_dram_and_l2_and_more_by_tiles() -> None:
    trace = chain(["elementwise"] * 3)
    work = Work.of(trace)
    device = arch.machine("a5000+fused-chains").devices[0]
    chained, alone = device.arrange(trace, work, np.ones(3, dtype=np.bool_)), device.price(work)
    assert chained.energy_terms["tiles_j"].sum() == pytest.approx(2 * 16 * MIB * 2.56e-12)
    assert chained.energy_terms["dram_j"].sum() < alone.energy_terms["dram_j"].sum()
    assert chained.energy_terms["l2_j"].sum() == pytest.approx(alone.energy_terms["l2_j"].sum() / 3)
    assert chained.energy_j == pytest.approx(np.sum(list(chained.energy_terms.values()), axis=0))
    assert chained.energy_j.sum() < alone.energy_j.sum()


def test_another_device_in_between_breaks_a_chain() -> None:
    trace = chain(["elementwise"] * 3)
    device = np.array([0, 1, 0], dtype=np.int32)
    costs = arch.cost_table(trace, arch.machine("a5000+near-l2+fused-chains"), device)
    assert costs.joined is None


SIZES = st.sampled_from([4096, MIB, 16 * MIB])
FAMILIES = st.lists(st.sampled_from(["elementwise", "reduce", "gemm", "transpose"]), min_size=2, max_size=9)


@given(FAMILIES, SIZES, st.sampled_from([0.0, 1e5, 1e8]), st.integers(2, 16))
@settings(deadline=None, max_examples=60)
def test_a_chain_is_never_slower_nor_moves_more_than_its_kernels_one_by_one(
    families: list[str], size: int, flops: float, tiles: int
) -> None:
    trace = chain(families, size, flops_vector=flops)
    costs, alone = fused(trace, chain_buffer_bytes=4096 * tiles), arch.cost_table(trace, arch.machine("a5000"))
    assert costs.duration_s[0].sum() <= alone.duration_s[0].sum() * (1 + 1e-12)
    assert np.all(costs.dram_bytes[0] <= alone.dram_bytes[0] * (1 + 1e-12))
    work = Work.of(trace)
    assert np.all(arch.machine("a5000+fused-chains").devices[0].least(work) <= costs.duration_s[0] * (1 + 1e-12))


@given(FAMILIES, SIZES, st.sampled_from(["layout-engine", "near-l2", "fused-chains", "layout-engine+near-l2+fused-chains"]))
@settings(deadline=None, max_examples=40)
def test_engines_agree_and_no_replay_beats_the_bound(families: list[str], size: int, extensions: str) -> None:
    trace, machine = chain(families, size), arch.machine(f"a5000+{extensions}")
    fast, reference = (cd.replay(trace, machine, "cut-points", engine=engine) for engine in ("fast", "reference"))
    assert fast.time_s == pytest.approx(reference.time_s, abs=2e-12)
    assert fast.energy_j == pytest.approx(reference.energy_j, rel=1e-9)
    bound = lower_bound(trace, machine).seconds
    assert bound is not None
    assert bound <= fast.time_s * (1 + 1e-9)


@given(st.integers(1, 128), st.integers(1, 128))
@settings(deadline=None, max_examples=30)
def test_more_units_never_take_more_time(few: int, more: int) -> None:
    few, more = sorted((few, more))
    work = one_kernel(4 * MIB, **MOVES)
    assert extension("layout-engine", layout_units=more).price(work).duration_s <= extension("layout-engine", layout_units=few).price(
        work
    ).duration_s * (1 + 1e-12)


def test_a_search_finds_what_extensions_are_worth() -> None:
    trace = chain(["gemm", "elementwise", "transpose", "elementwise", "elementwise"])
    found = cd.explore(trace, cd.machine(ALL), trials=6, seed=0)
    assert found.best.time_s <= cd.replay(trace, cd.machine("a5000")).time_s
    assert found.lower_bound_s is not None
    assert found.best.time_s >= found.lower_bound_s


def test_a_gpu_without_chains_prices_as_before() -> None:
    trace = chain(["elementwise"] * 3)
    work = Work.of(trace)
    plain = arch.machine("a5000").devices[0]
    assert isinstance(plain, GPU)
    assert plain.arrange(trace, work, np.ones(3, dtype=np.bool_)) is plain.price(work)
    assert arch.cost_table(trace, arch.machine("a5000")).joined is None


def test_no_measurement_stands_behind_what_may_be_in_a_chain() -> None:
    """A long elementwise kernel and a long product of an A100 were measured; in a chain the first was not."""
    toy = Launches()
    for name in ("x", "y", "z"):
        toy.tensor(name, 256 * MIB)
    toy.kernel("a", ("x",), ("y",))
    toy.kernel("g", ("y",), ("z",), family="gemm", launch_kind="library", batch=1, m=8192, n=8192, k=8192, precision="highest",
               flops_matrix=2.0 * 8192**3)  # fmt: skip
    work = Work.of(toy.build())
    plain, chained = (arch.machine(name).devices[0].trust(work) for name in ("a100", "a100+fused-chains"))
    assert plain.validated.tolist() == [True, True]
    assert chained.validated.tolist() == [False, True]
    assert chained.relative[0] > plain.relative[0]
    assert not arch.machine("a100+near-l2").device("near-l2").trust(work).validated.any()
