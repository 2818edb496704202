"""Does the price of kernels that stream rows know caches between passes, issue, alignment and turns, and grow with its work?"""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from arch import catalog, operators, streaming
from arch.entry import Entry
from arch.operators import ELEMENTWISE, Operators

GPUS = [name for name in catalog.builtin_ids() if catalog.builtin(name).kind == "gpu"]


def reduction(op: str, rows: float, cols: float, dtype: str = "f32") -> Operators:
    return Operators(op, op, dtype, {"rows": np.array([float(rows)]), "cols": np.array([float(cols)])})


def seconds(entry: Entry, op: str, rows: float, cols: float, dtype: str = "f32") -> float:
    return float(operators.kernel_s(entry, reduction(op, rows, cols, dtype))[0])


def elementwise(name: str, elements: float) -> Operators:
    return Operators("elementwise", name, "f32", {"rows": np.array([float(elements)]), "cols": np.array([1.0])})


@pytest.mark.parametrize("name", GPUS)
def test_a_long_addition_moves_three_tensors_at_the_streaming_rate(name: str) -> None:
    entry = catalog.builtin(name)
    elements = 2.0**32
    rate = entry["memory_bandwidth"] * entry["dram_efficiency"]
    expected = entry["kernel_floor"] + 12 * elements / rate
    assert operators.kernel_s(entry, elementwise("add", elements))[0] == pytest.approx(expected)
    assert operators.kernel_s(entry, elementwise("relu", elements))[0] < 0.7 * expected


def test_warm_inputs_that_fit_l2_are_not_read_from_dram() -> None:
    entry = catalog.builtin("a100-pcie-40gb")
    fits, does_not = (operators.kernel_s(entry, elementwise("add", mib * 2**20 / 12))[0] - entry["kernel_floor"] for mib in (20, 200))
    assert fits < 0.05 * does_not  # a tenth of the bytes, two thirds of them from L2
    l2 = 20 * 2**20 / (entry["l2_bandwidth"] * entry["l2_efficiency"])
    written = 20 / 3 * 2**20 / streaming.dram_rate(entry)
    assert fits == pytest.approx(max(l2, written))


def test_what_lies_between_passes_is_kept_up_to_a_share_of_a_cache_and_lost_beyond() -> None:
    entry = catalog.builtin("t4")
    full, none = entry["l2_full"], entry["l2_none"]
    needed = np.array([0.5 * full, full, (full + none) / 2, none, 2 * none]) * 1e6
    np.testing.assert_allclose(streaming.kept_share(entry, needed, 1e6), [1, 1, 0.5, 0, 0], atol=1e-12)


def test_rows_that_leave_every_cache_are_read_again_by_each_pass() -> None:
    """Softmax of long rows reads three times and writes once: twice the bytes of one pass."""
    entry = catalog.builtin("p4")
    rows, cols = 2.0**17, 2.0**14
    moved = 4 * rows * cols * 4 / streaming.dram_rate(entry)
    assert seconds(entry, "softmax", rows, cols) == pytest.approx(moved, rel=0.1)
    assert seconds(entry, "layernorm", rows, cols) == pytest.approx(0.75 * moved, rel=0.1)


def test_one_l2_for_each_half_of_the_gpu_holds_half_of_what_the_blocks_need() -> None:
    whole = catalog.builtin("a100-sxm-40gb").refitted({"l2_partitions": 1.0, "reuse_l1_share": 1e-3})
    halves = whole.refitted({"l2_partitions": 2.0})
    needed = np.array([0.45 * whole["l2"] / whole["sm_count"]])
    one = np.ones(1)
    assert streaming.between_passes(whole, one, needed)[0] == 1
    assert 0 < streaming.between_passes(halves, one, needed)[0] < 1


def test_a_kernel_bound_by_instructions_takes_what_its_busiest_sm_issues() -> None:
    entry = catalog.builtin("v100-pcie-32gb")
    issue = streaming.issue_s(entry, np.array([80.0, 160.0, 1.0]), np.full(3, 5520.0))
    np.testing.assert_allclose(issue, [1e-6, 2e-6, 1e-6])  # 5,520 warp instructions, 4 schedulers, 1.38 GHz


@given(st.floats(1e-6, 1e-3), st.floats(1e-6, 1e-3), st.floats(1, 1e4))
def test_overlap_lies_between_the_longer_term_and_the_sum(memory: float, issue: float, turns: float) -> None:
    entry = catalog.builtin("h200")
    t = streaming.overlapped(entry, np.array([memory]), np.array([issue]), np.array([turns]))[0]
    assert max(memory, issue) <= t <= memory + issue
    assert streaming.overlapped(entry, np.array([memory]), np.array([issue]), np.array([1e12]))[0] == pytest.approx(max(memory, issue))


def test_a_block_does_not_overlap_with_itself() -> None:
    """Of four blocks on an SM a quarter of the shorter term stays, however many turns there are; of one block all of it."""
    entry = catalog.builtin("h200")
    memory, issue, turns = (np.array([value]) for value in (3e-3, 2e-3, 1e12))
    assert streaming.overlapped(entry, memory, issue, turns, own=0.25)[0] == pytest.approx(3.5e-3)
    assert streaming.overlapped(entry, memory, issue, turns, own=1.0)[0] == pytest.approx(5e-3)
    assert streaming.overlapped(entry, issue, memory, turns, own=0.25)[0] == pytest.approx(3.5e-3)


@pytest.mark.parametrize("dtype", ["f32", "f16"])
@pytest.mark.parametrize("name", GPUS)
def test_no_longer_row_of_a_softmax_takes_15_percent_less(name: str, dtype: str) -> None:
    """Whatever lies between: the kernel of long rows, twice the threads a row, what stays in caches."""
    entry = catalog.builtin(name)
    cols = np.arange(1.0, 9000.0)
    for rows in (80.0, 4096.0, 33_000.0, 2.0**19):
        shape = {"rows": np.full(len(cols), rows), "cols": cols}
        taken = operators.kernel_s(entry, Operators("softmax", "softmax", dtype, shape))
        assert (taken >= 0.85 * np.maximum.accumulate(taken)).all()


@pytest.mark.parametrize(("cols", "threads"), [(1025, 128), (1028, 128), (1040, 256), (2048, 256), (2049, 256), (4096, 512), (65536, 512)])
@pytest.mark.parametrize("size", [2, 4, 8])
def test_the_threads_of_a_softmax_block_are_pytorchs(cols: int, threads: int, size: int) -> None:
    """Half as many as a row has loads of 16 bytes, in powers of two."""
    assert operators._block_threads(np.array([cols * 4.0 // size]), size)[0] == threads


@given(
    st.sampled_from(GPUS),
    st.sampled_from([*sorted(ELEMENTWISE), "softmax", "layernorm"]),
    st.integers(1, 2**20),
    st.integers(1, 2**14),
    st.integers(1, 2**20),
)
@settings(max_examples=200)
def test_more_rows_never_take_less_time_and_nothing_is_nan(name: str, op: str, rows: int, cols: int, more: int) -> None:
    entry = catalog.builtin(name)
    kind = "elementwise" if op in ELEMENTWISE else op
    shape = {"rows": np.array([float(rows), float(rows + more)]), "cols": np.full(2, float(cols))}
    less, longer = operators.kernel_s(entry, Operators(kind, op, "f32", shape))
    assert np.isfinite(less)
    assert less > 0
    # turns fill up and warm inputs leave L2 without a step back; across such borders a drop of at most 15 % is allowed
    assert longer >= 0.85 * less


@given(
    st.sampled_from(GPUS),
    st.floats(1, 1e6),
    st.sampled_from([32.0, 128.0, 512.0, 1024.0]),
    st.floats(32, 1e6),
    st.floats(0, 1e5),
    st.floats(1, 3),
    st.sampled_from(["moved_bytes", "again_bytes", "warp_instructions"]),
)
@settings(max_examples=200)
def test_more_bytes_or_instructions_of_the_same_grid_never_take_less_time(
    name: str, blocks: float, threads: float, row: float, instructions: float, more: float, what: str
) -> None:
    entry = catalog.builtin(name)
    one = np.ones(1)
    moved = 2 * blocks * row * one
    stream = streaming.Stream(blocks * one, threads * one, row * one, moved, moved, 0 * one, instructions * one, one)
    grown = replace(stream, **{what: getattr(stream, what) * more})
    assert streaming.cost(entry, grown).total_s[0] >= streaming.cost(entry, stream).total_s[0]
