"""Do shapes fall onto the array as they must, do modes switch at region borders only, and does only what streams fuse?"""

import itertools
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import arch
import codesign as cd
from arch import arrays, catalog, modes
from arch.area import Area, at_node
from arch.chains import chains_of
from arch.device import Device
from arch.facts import facts
from arch.reconfigurable import Reconfigurable, with_mode
from arch.runs import lives_of, runs_of
from arch.work import Work
from codesign.testing import DeviceConformance
from tests.toys import Toy
from traces.errors import MachineError
from traces.trace import Trace

ARRAY = arrays.Array(engines=4, rows=8, columns=4, step_cycles=10)
MIB = 2**20


class TestDataflowUnit(DeviceConformance):
    def device(self) -> Device:
        return arch.machine("sn40l").devices[0]


class TestDataflowUnitInHalfPrecision(DeviceConformance):
    dtype = "bf16"

    def device(self) -> Device:
        return arch.machine("a5000+sn40l").device("sn40l")


class TestPlasticine(DeviceConformance):
    def device(self) -> Device:
        return arch.machine("plasticine").devices[0]


class Launches(Toy):
    """A toy whose kernels may be products and factorisations."""

    def kernel(self, name: str, reads: Sequence[str] = (), writes: Sequence[str] = (), **columns: Any) -> int:
        return super().kernel(name, reads, writes, **{"batch": -1, "m": -1, "n": -1, "k": -1, "precision": "", **columns})


def device(name: str = "plasticine", **overrides: Any) -> Reconfigurable:
    found = arch.machine(name, **overrides).devices[0]
    assert isinstance(found, Reconfigurable)
    return found


def one(value: float) -> np.ndarray[Any, np.dtype[np.float64]]:
    return np.array([value], dtype=np.float64)


@pytest.mark.parametrize(
    ("batch", "m", "n", "k", "turns"),
    [
        (1, 8, 4, 100, 1),
        (1, 9, 4, 100, 1),  # two tiles on four arrays
        (4, 8, 4, 100, 1),
        (5, 8, 4, 100, 2),
        (1, 4, 8, 100, 1),  # the transposed product needs one tile
        (1, 64, 4, 100, 2),  # eight tiles on four arrays
        (1, 65, 4, 100, 3),
    ],
)
def test_a_product_takes_whole_tiles_with_fill_and_drain(batch: int, m: int, n: int, k: int, turns: int) -> None:
    """SCALE-Sim, output-stationary: 2 R + C + k - 2 cycles a tile; the busiest of four arrays counts."""
    assert arrays.product_cycles(ARRAY, one(batch), one(m), one(n), one(k))[0] == turns * (2 * 8 + 4 + k - 2)


@given(st.integers(1, 300), st.integers(1, 300), st.integers(1, 2000), st.integers(1, 50))
def test_an_array_never_does_more_than_its_peak(m: int, n: int, k: int, batch: int) -> None:
    cycles = arrays.product_cycles(ARRAY, one(batch), one(m), one(n), one(k))[0]
    assert batch * m * n * k <= cycles * ARRAY.macs


def test_a_long_inner_dimension_fills_the_array() -> None:
    use = [32.0 * k * 4 / (arrays.product_cycles(ARRAY, one(4), one(8), one(4), one(k))[0] * ARRAY.macs) for k in (10, 100, 10_000)]
    assert use == sorted(use)
    assert use[0] < 0.4
    assert use[2] > 0.99


@pytest.mark.parametrize("n", [1, 2, 7, 8, 9, 30])
@pytest.mark.parametrize("batch", [1, 4, 5])
def test_a_factorisation_is_its_steps_one_by_one(n: int, batch: int) -> None:
    updates = sum(-(-left // 8) * -(-left // 4) for left in range(n))
    assert arrays.lu_cycles(ARRAY, one(batch), one(n))[0] == -(-batch // 4) * (10 * n + updates)
    solves = sum(-(-left // 8) * -(-6 // 4) for left in range(n))
    assert arrays.triangular_cycles(ARRAY, one(batch), one(n), one(6))[0] == -(-batch // 4) * (10 * n + solves)


def test_a_product_that_fits_reads_its_operands_once_and_a_large_one_in_blocks() -> None:
    assert arrays.product_bytes(one(1000), one(1000), one(1000), one(4), 8 * MIB)[0] == 0
    size, buffer = 10_000.0, 3 * 4 * 1000.0**2  # blocks of 1,000 x 1,000
    assert arrays.product_bytes(one(size), one(size), one(size), one(4), buffer)[0] == 2 * 9 * 4 * size**2


def chain_toy(families: list[str], **columns: Any) -> Trace:
    """Kernels that each read the one before's output and nothing else of the trace."""
    toy = Launches()
    for row, family in enumerate(families):
        extra = {"batch": 1, "m": 64, "n": 64, "k": 64, "flops_matrix": 1e6, "launch_kind": "library"} if family in ("gemm", "lu") else {}
        if family == "reduce":
            toy.tensor(f"t{row}", 1024)
        toy.kernel(f"k{row}", (f"t{row - 1}",), (f"t{row}",), family=family, **{**extra, **columns})
    return toy.build()


def chains(trace: Trace, mine: list[bool] | None = None, row_bytes: float = 1 * MIB) -> list[int]:
    known = facts(Work.of(trace))
    used = np.ones(len(trace.kernels), dtype=np.bool_) if mine is None else np.array(mine)
    return chains_of(trace, known, runs_of(trace), used, row_bytes).of_kernel.tolist()


@pytest.mark.parametrize(
    ("families", "expected"),
    [
        (["elementwise", "elementwise", "elementwise"], [0, 0, 0]),
        (["gemm", "elementwise", "reduce", "elementwise"], [0, 0, 0, 0]),
        (["elementwise", "gemm", "elementwise"], [0, 1, 1]),
        (["elementwise", "transpose", "elementwise"], [0, 1, 2]),
        (["elementwise", "lu", "elementwise"], [0, 1, 2]),
        (["elementwise", "triangular_solve", "elementwise"], [0, 1, 2]),
        (["elementwise", "slice_concat", "elementwise"], [0, 1, 2]),
    ],
)
def test_only_consumers_that_read_in_order_join_a_chain(families: list[str], expected: list[int]) -> None:
    columns = {"batch": 1, "m": 64, "n": 64} if "triangular_solve" in families else {}
    assert chains(chain_toy(families, **columns)) == expected


def test_a_full_reduction_breaks_a_chain_on_both_sides_and_a_long_row_too() -> None:
    toy = Launches()
    toy.tensor("sum", 4)
    toy.tensor("rows", 1024)
    toy.kernel("a", ("x",), ("y",))
    toy.kernel("all", ("y",), ("sum",), family="reduce")
    toy.kernel("b", ("sum",), ("z",))
    toy.kernel("each", ("z",), ("rows",), family="reduce")
    trace = toy.build()
    assert chains(trace) == [0, 1, 2, 2]
    assert chains(trace, row_bytes=16) == [0, 1, 2, 2]  # a row is four elements of four bytes
    assert chains(trace, row_bytes=15) == [0, 1, 2, 3]


@pytest.mark.parametrize(("stride", "joins"), [("contiguous", True), ("broadcast", True), ("transposed", False), ("gather", False)])
def test_how_the_producers_tile_is_read_decides(stride: str, joins: bool) -> None:
    toy = Launches()
    toy.kernel("a", ("x",), ("y",))
    toy.kernel("b", ("y",), ("z",))
    toy.accesses[2]["stride"] = stride
    assert (chains(toy.build()) == [0, 0]) is joins


def test_another_device_or_a_region_border_breaks_a_chain() -> None:
    trace = chain_toy(["elementwise"] * 4)
    assert chains(trace, [True, True, False, True]) == [0, 0, 1, 2]
    toy = Launches()
    toy.kernel("a", ("x",), ("y",), stage="A")
    toy.kernel("b", ("y",), ("z",), stage="B")
    assert chains(toy.build()) == [0, 1]


def test_what_only_the_chain_reads_stays_on_the_chip() -> None:
    """y is read by b alone; z by c and, later, by the product, so it is written."""
    toy = Launches()
    toy.kernel("a", ("x",), ("y",))
    toy.kernel("b", ("y",), ("z",))
    toy.kernel("c", ("z",), ("w",))
    toy.kernel("d", ("z",), ("v",), family="gemm", launch_kind="library", batch=1, m=8, n=8, k=8, flops_matrix=1024.0)
    trace = toy.build()
    known = facts(Work.of(trace))
    found = chains_of(trace, known, runs_of(trace), np.ones(4, dtype=np.bool_), MIB)
    assert found.of_kernel.tolist() == [0, 0, 0, 1]
    assert found.internal.tolist() == [False, True, True, False, True, False, False, False]  # reads and writes of a, b, c, d


def big_chain(count: int, size: int = 64 * MIB) -> Trace:
    toy = Launches()
    for row in range(count):
        toy.tensor(f"t{row}", size)
    toy.tensor("t-1", size, kind="parameter")
    for row in range(count):
        toy.kernel(f"k{row}", (f"t{row - 1}",), (f"t{row}",), flops_vector=1e6)
    return toy.build()


def test_a_chain_moves_only_what_enters_and_leaves_it() -> None:
    """Three kernels over 64 MiB: alone each reads and writes all but the 8 MiB that were kept, together one read and one write.

    The last output is not read by anybody, so it is written.
    """
    trace, unit = big_chain(3), with_mode(device(), "vector")
    prices = arch.cost_table(trace, replace(arch.machine("plasticine"), devices=(unit,)))
    alone = unit.price(Work.of(trace))
    rate = 51.2e9 * 0.85
    assert alone.dram_bytes.sum() == (6 * 64 - 2 * 8) * MIB
    assert prices.dram_bytes.sum() == 2 * 64 * MIB
    assert prices.duration_s.sum() == pytest.approx(1e-6 + 2 * 64 * MIB / rate)


def test_a_chain_is_never_slower_than_its_kernels_one_by_one_but_for_its_fill() -> None:
    for size in (4096, MIB, 64 * MIB):
        trace, unit = big_chain(6, size), device()
        fused, plain = (
            arch.cost_table(trace, replace(arch.machine("plasticine"), devices=(replace(unit, fuses=fuses),))).duration_s.sum()
            for fuses in (True, False)
        )
        assert fused <= plain + 5 * 150e-9


def staged(sizes: dict[str, int], trips: int = 1) -> Trace:
    """A stage of products, a stage of factorisations, and a stage of elementwise work, in a loop if trips > 1."""
    toy = Launches()

    def body() -> None:
        for i in range(sizes["gemm"]):
            toy.kernel(f"g{i}", ("a",), ("b",), family="gemm", launch_kind="library", stage="A", precision="highest",
                       batch=1, m=2048, n=2048, k=2048, flops_matrix=2.0 * 2048**3)  # fmt: skip
        for i in range(sizes["lu"]):
            toy.kernel(f"l{i}", ("b",), ("c",), family="lu", launch_kind="library", stage="D",
                       batch=4096, m=30, n=30, flops_matrix=4096 * 2 / 3 * 30.0**3)  # fmt: skip
        for i in range(sizes["vector"]):
            toy.kernel(f"v{i}", ("c",), ("a",), flops_vector=1e9, flops_transcendental=1e7, stage="E")

    if trips == 1:
        body()
    else:
        with toy.loop(trips):
            body()
    return toy.build()


def modes_of(trace: Trace, unit: Reconfigurable) -> list[str]:
    work = Work.of(trace)
    plan = unit.arrangement(trace, work, np.ones(len(work), dtype=np.bool_))
    return [unit.modes[m].name for m in plan.mode]


def test_each_stage_gets_the_mode_that_suits_it_if_it_is_worth_a_switch() -> None:
    assert modes_of(staged({"gemm": 2, "lu": 2, "vector": 1}), device()) == ["gemm", "gemm", "solver", "solver", "vector"]


def test_a_switch_that_costs_more_than_it_saves_is_not_made() -> None:
    slow = device()
    entry = slow.entry.changed({"configuration": 1e12})
    assert len(set(modes_of(staged({"gemm": 2, "lu": 2, "vector": 1}), replace(slow, entry=entry)))) == 1


def test_a_mode_holds_for_a_whole_run_even_if_a_kernel_of_it_would_rather_have_another() -> None:
    toy = Launches()
    for i in range(3):
        toy.kernel(f"g{i}", ("a",), ("b",), family="gemm", launch_kind="library", batch=1, m=2048, n=2048, k=2048, precision="highest",
                   flops_matrix=2.0 * 2048**3)  # fmt: skip
        toy.kernel(f"l{i}", ("b",), ("c",), family="lu", launch_kind="library", batch=64, m=10, n=10, flops_matrix=1e5)
    assert set(modes_of(toy.build(), device())) == {"gemm"}


def test_a_switch_drains_loads_and_spills_what_is_alive() -> None:
    """4 KiB of b are alive between products and factorisations, 4 KiB of c after them; 1 MiB/4 of configuration over a channel."""
    trace, unit = staged({"gemm": 1, "lu": 1, "vector": 1}), device()
    work = Work.of(trace)
    plan = unit.arrangement(trace, work, np.ones(3, dtype=np.bool_))
    fixed = 150 / 1e9 + 256 * 1024 / 12.8e9
    assert plan.switches.tolist() == [0, 1, 1]
    assert plan.switch_s[1:].tolist() == pytest.approx([fixed + 4096 / 51.2e9] * 2)
    prices = unit.arrange(trace, work, np.ones(3, dtype=np.bool_))
    assert prices.terms["switch_s"].tolist() == pytest.approx([0.0, *plan.switch_s[1:]])
    assert prices.dram_bytes[1] == pytest.approx(4096 + 4096 + 4096)  # the spill, b again, and c


def test_a_loop_switches_back_in_every_iteration_but_not_after_the_last() -> None:
    trace, unit = staged({"gemm": 1, "lu": 1, "vector": 1}, trips=10), device()
    plan = unit.arrangement(trace, Work.of(trace), np.ones(3, dtype=np.bool_))
    assert plan.switches.tolist() == [9, 10, 10]
    prices = arch.cost_table(trace, replace(arch.machine("plasticine"), devices=(unit,)))
    least = unit.price(Work.of(trace)).duration_s
    switched = (plan.switches * plan.switch_s).sum()
    reread = 3 * 10 * 4096 / (51.2e9 * 0.6)
    total = float((prices.duration_s[0] * trace.executions).sum())
    assert 0 <= total - float((least * trace.executions).sum()) - switched <= reread


def test_switches_cost_time_and_energy_in_a_replay() -> None:
    trace = staged({"gemm": 1, "lu": 1, "vector": 1}, trips=10)
    machine = arch.machine("plasticine")
    unit = device()
    plan = unit.arrangement(trace, Work.of(trace), np.ones(3, dtype=np.bool_))
    timeline = cd.replay(trace, machine)
    costs = arch.cost_table(trace, machine)
    assert timeline.kernel_time_s == pytest.approx(float((costs.duration_s[0] * trace.executions).sum()), rel=1e-6)
    assert timeline.energy_j is not None
    dynamic = timeline.energy_j - 8 * timeline.time_s
    assert dynamic == pytest.approx(float((costs.energy_j[0] * trace.executions).sum()))
    assert dynamic > plan.switches.sum() * 256 * 1024 * 160e-12


cost_tables = st.integers(1, 6).flatmap(
    lambda runs: st.tuples(
        st.lists(st.lists(st.integers(0, 50), min_size=3, max_size=3), min_size=runs, max_size=runs),
        st.lists(st.integers(0, 30), min_size=runs - 1, max_size=runs - 1),
    )
)


@given(cost_tables)
def test_without_loops_the_chosen_modes_are_the_best_of_all(table: tuple[list[list[int]], list[int]]) -> None:
    cost, switch = np.array(table[0], dtype=np.float64), np.array(table[1], dtype=np.float64)
    source, target = np.arange(len(cost) - 1), np.arange(1, len(cost))
    chosen = modes.choose(cost, source, target, switch)
    every = (np.array(option) for option in itertools.product(range(3), repeat=len(cost)))
    assert modes.total(chosen, cost, source, target, switch) == min(modes.total(o, cost, source, target, switch) for o in every)


@given(cost_tables, st.data())
def test_with_loops_within_loops_the_chosen_modes_are_the_best_of_all(
    table: tuple[list[list[int]], list[int]], data: st.DataObject
) -> None:
    cost = np.array(table[0], dtype=np.float64)
    cost[cost == 50] = np.inf
    cost[:, 0] = np.minimum(cost[:, 0], 50)  # one mode runs all
    edges = [(run, run + 1, seconds) for run, seconds in enumerate(table[1])]
    spans = [(0, len(cost) - 1)]
    while spans:  # loops lie within each other or apart
        first, last = spans.pop()
        if last <= first:
            continue
        if data.draw(st.booleans()):
            edges.append((last, first, data.draw(st.integers(0, 100))))
        cut = data.draw(st.integers(first, last))
        spans += [(first, cut), (cut + 1, last)]
    source, target = (np.array([edge[end] for edge in edges], dtype=np.int64) for end in (0, 1))
    switch = np.array([edge[2] for edge in edges], dtype=np.float64)
    found = modes.total(modes.choose(cost, source, target, switch), cost, source, target, switch)
    every = (np.array(option) for option in itertools.product(range(3), repeat=len(cost)))
    assert found == min(modes.total(option, cost, source, target, switch) for option in every)


def test_a_run_ends_where_region_phase_or_stage_changes() -> None:
    trace = staged({"gemm": 2, "lu": 1, "vector": 1}, trips=5)
    runs = runs_of(trace)
    assert runs.of_kernel.tolist() == [0, 0, 1, 2]
    assert runs.loops == ((0, 4, 4),)
    assert runs.executions.tolist() == [5, 5, 5]
    source, target, times = runs.edges(np.array([0, 1, 2]))
    assert list(zip(source.tolist(), target.tolist(), times.tolist(), strict=True)) == [(0, 1, 5), (1, 2, 5), (2, 0, 4)]


def test_a_value_is_alive_from_its_writer_to_its_last_reader() -> None:
    toy = Launches()
    toy.kernel("a", ("x",), ("y",))
    toy.kernel("b", ("y",), ("z",))
    toy.kernel("c", ("y", "z"), ("w",))
    lives = lives_of(toy.build())
    size = np.full(len(lives.access), 10.0)
    assert lives.alive(size, 3).tolist() == [0.0, 10.0, 20.0, 0.0]
    assert lives.crosses(np.array([False, False, True])).tolist() == [True, True]
    assert lives.crosses(np.array([True, False, False])).tolist() == [False, False]


@pytest.mark.parametrize(("name", "mode", "tflops"), [("sn40l", "gemm", 638), ("plasticine", "gemm", 12.3)])
def test_the_peak_is_the_published_one(name: str, mode: str, tflops: float) -> None:
    assert device(name).peak_flops(mode) == pytest.approx(tflops * 1e12, rel=0.002)


def test_a_large_product_comes_near_the_peak_and_a_thin_one_does_not() -> None:
    def use(m: int, n: int, k: int) -> float:
        toy = Launches()
        toy.tensor("a", 2 * m * k, kind="parameter")
        toy.kernel(
            "g", ("a",), ("c",), family="gemm", launch_kind="library", dtype="bf16", batch=1, m=m, n=n, k=k, flops_matrix=2.0 * m * n * k
        )
        seconds = device("sn40l").price(Work.of(toy.build())).terms["compute_matrix_s"][0]
        return float(2.0 * m * n * k / seconds / 638e12)

    assert 0.97 < use(16640, 8192, 8192) < 1.0
    assert use(1, 8192, 8192) < 0.15


def test_three_tiers_of_memory() -> None:
    machine = arch.machine("sn40l")
    assert [(m.id, m.capacity_bytes, m.bandwidth) for m in machine.memories] == [
        ("sn40l-memory", 64 * 2**30, 1.8e12),
        ("sn40l-tier", 1.5 * 2**40, 125e9),
    ]
    assert device("sn40l").modes[0].buffer_bytes == 0.75 * 520 * MIB


@pytest.mark.parametrize(("host_link", "published"), [(32e9, 31), (64e9, 15)])
def test_switching_models_is_as_much_faster_as_published(host_link: float, published: float) -> None:
    """SN40L paper, table V: a node of eight loads an expert from DDR 31 and 15 times faster than DGX over 32 and 64 GB/s."""
    node = 8 * arch.machine("sn40l").links[0].bandwidth
    assert node / host_link == pytest.approx(published, rel=0.05)


@pytest.mark.parametrize(
    ("against_a100", "expert_a100", "expert_h100", "ours", "published"),
    [(4.8, 2.0, 1.5, 2.80, 2.8), (6.6, 2.0, 1.5, 3.64, 3.7), (3.9, 3.2, 2.3, 2.62, 2.6), (4.2, 3.2, 2.3, 2.76, 2.7)],
)
def test_the_samba_coe_table_closes_with_two_terms(
    against_a100: float, expert_a100: float, expert_h100: float, ours: float, published: float
) -> None:
    """Execution over switching time is fitted to the A100 column; the H100 column is predicted (published switching: 31 and 15)."""
    execute = (31 - against_a100) / (against_a100 - expert_a100)
    predicted = (15 + expert_h100 * execute) / (1 + execute)
    assert predicted == pytest.approx(ours, abs=0.005)
    assert predicted == pytest.approx(published, rel=0.03)


def test_a_larger_array_is_never_slower_and_costs_area() -> None:
    trace = staged({"gemm": 2, "lu": 2, "vector": 1})
    small, large = (arch.machine("plasticine", array_scale=scale) for scale in (1.0, 2.0))
    assert large.area_mm2 == 2 * 112.8
    assert np.all(arch.cost_table(trace, large).duration_s <= arch.cost_table(trace, small).duration_s * (1 + 1e-12))


def test_an_area_of_an_old_node_shrinks_in_a_new_one_within_stated_limits() -> None:
    """112.8 mm2 at 28 nm are 33 mm2 at 8 nm by the densities of GM200 and GA102."""
    found = at_node(112.8, "28 nm", "8 nm")
    assert found.mm2 == pytest.approx(112.8 * 13.3 / 45.0)
    assert found.low < found.mm2 < found.high
    assert "GM200" in found.source
    assert at_node(100.0, "7 nm", "7 nm") == Area(100.0, 100.0, 100.0, "7 nm", at_node(1.0, "7 nm", "7 nm").source)
    with pytest.raises(MachineError, match="no node '6 nm'; did you mean"):
        at_node(1.0, "6 nm", "7 nm")


def test_an_unknown_mode_is_refused_with_the_nearest() -> None:
    with pytest.raises(MachineError, match="no mode 'gem'; did you mean 'gemm'"):
        with_mode(device(), "gem")


def test_wide_types_and_sorts_are_refused() -> None:
    toy = Launches()
    toy.kernel("wide", ("x",), ("y",), dtype="f64")
    toy.kernel("order", ("x",), ("z",), family="sort")
    toy.kernel("fine", ("x",), ("w",), dtype="f32")
    refused = device().refuse(Work.of(toy.build()))
    assert [refused.reason(k) for k in range(3)] == ["dtype f64", "family sort", ""]
    narrow = with_mode(device("sn40l"), "gemm")
    assert narrow.refuse(Work.of(toy.build())).reason(2) == "dtype f32"


def test_no_arrangement_of_a_real_step_is_below_its_least_and_the_bound_of_a_search_holds() -> None:
    trace = cd.load("traces/recorded/ferminet-lih-a5000.trace")
    machine = arch.machine("a5000+plasticine")
    unit = machine.device("plasticine")
    work = Work.of(trace)
    runs = unit.refuse(work).code == 0
    rng = np.random.default_rng(0)
    for share in (1.0, 0.7, 0.3):
        mine = runs & (rng.random(len(work)) < share)
        assert np.all(unit.arrange(trace, work, mine).duration_s[mine] >= unit.least(work)[mine] * (1 - 1e-12))


def test_every_mode_of_a_preset_has_every_number() -> None:
    for name in ("sn40l", "plasticine"):
        entry = catalog.builtin(name)
        names = set(entry.group("engines"))
        for group in ("rows", "columns", "step_cycles", "vector_lanes", "transcendental_lanes", "buffer", "bandwidth_share", "bits"):
            assert set(entry.group(group)) == names, (name, group)


def product_of(dtype: str, batch: int = 1, side: int = 2048, k: int = 2048) -> Trace:
    toy = Launches()
    toy.kernel("g", ("a",), ("b",), family="gemm", launch_kind="library", dtype=dtype, precision="highest", batch=batch, m=side, n=side,
               k=k, flops_matrix=2.0 * batch * side**2 * k)  # fmt: skip
    return toy.build()


@pytest.mark.parametrize(
    ("dtype", "mode", "faster"),
    [("f32", "gemm", 1), ("s32", "gemm", 1), ("f16", "gemm16", 2), ("bf16", "gemm16", 2), ("s8", "gemm8", 4), ("f8e4m3fn", "gemm8", 4)],
)
def test_narrow_operands_get_the_mode_whose_lanes_split(dtype: str, mode: str, faster: float) -> None:
    """A lane of 32 bits holds two operands of 16 or four of 8: the peak is 12.3 TFLOP/s times two or four."""
    unit = device("plasticine-flex")
    assert modes_of(product_of(dtype), unit) == [mode]
    assert unit.peak_flops(mode) == faster * unit.peak_flops("gemm")
    seconds = [with_mode(unit, m).price(Work.of(product_of(dtype))).terms["compute_matrix_s"][0] for m in (mode, "gemm")]
    assert seconds[1] / seconds[0] == pytest.approx(faster, rel=0.05)


@pytest.mark.parametrize(
    ("dtype", "forced", "reason"),
    [
        ("f32", "gemm8", "dtype f32"),
        ("f16", "gemm8", "dtype f16"),
        ("s8", "gemm8", ""),
        ("f32", "gemm16", "dtype f32"),
        ("f16", "gemm16", ""),
    ],
)
def test_operands_wider_than_a_mode_are_refused_and_as_wide_ones_taken(dtype: str, forced: str, reason: str) -> None:
    work = Work.of(product_of(dtype))
    assert with_mode(device("plasticine-flex"), forced).refuse(work).reason(0) == reason


def test_small_products_get_the_mode_whose_units_split_into_engines() -> None:
    """8,192 products of 4 x 4 x 64: a unit of 16 x 6 computes one at a time, its four engines of 4 x 6 four, in shorter folds."""
    trace, unit = product_of("f32", batch=8192, side=4, k=64), device("plasticine-flex")
    assert modes_of(trace, unit) == ["split"]
    cycles = {m.name: arrays.product_cycles(m.array, one(8192), one(4), one(4), one(64))[0] for m in unit.modes}
    assert cycles["gemm"] == 8192 / 64 * (2 * 16 + 6 + 64 - 2)
    assert cycles["split"] == 8192 / 256 * (2 * 4 + 6 + 64 - 2)


def test_a_type_with_an_energy_of_its_own_costs_that() -> None:
    unit = device("plasticine-flex")
    joules = {
        dtype: unit.price(Work.of(product_of(dtype))).energy_terms["compute_matrix_j"][0] / 2 / 2048**3 for dtype in ("s8", "f32", "s32")
    }
    assert {dtype: pytest.approx(1e12 * value) for dtype, value in joules.items()} == {"s8": 0.5, "f32": 3.3, "s32": 1.5}


class TestPlasticineWhoseLanesSplit(DeviceConformance):
    def device(self) -> Device:
        return arch.machine("plasticine-flex").devices[0]


class TestPlasticineWhoseLanesSplitInBytes(DeviceConformance):
    dtype = "s8"

    def device(self) -> Device:
        return arch.machine("a5000+plasticine-flex").device("plasticine-flex")
