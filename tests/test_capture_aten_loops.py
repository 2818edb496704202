"""Do loops of PyTorch programs run for real, and are they captured as loops with the right sums?"""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch", reason="needs the extra torch")

from tests.targets import A5000
from traces.capture.aten import attention, capture_torch, launch, operators, repeat, scan, steps
from traces.capture.aten.loops import cut
from traces.errors import CaptureError

torch.set_num_threads(1)


def layers(x, weights):
    with torch.no_grad():
        return scan(lambda x, w: torch.relu(x @ w), x, weights, name="layers")


def growing(x, cache, first=10, count=100, segments=8):
    """Step p reads p rows of the cache and writes one."""

    def step(x, position):
        cache[position] = x
        return (cache[:position] * x).sum(dim=0)

    with torch.no_grad():
        return steps(step, x, range(first, first + count), name="grow", segments=segments)


def test_a_scan_runs_for_real_as_the_loop_that_it_is():
    x, weights = torch.randn(4, 8), torch.randn(5, 8, 8)
    expected = x
    for w in weights:
        expected = torch.relu(expected @ w)
    assert torch.equal(layers(x, weights), expected)


def test_a_captured_scan_is_one_body_with_a_trip_count_over_slices_of_whole_tensors():
    trace = capture_torch(layers, (torch.randn(4, 8), torch.randn(80, 8, 8)), target=A5000)
    assert len(trace.kernels) == 2
    assert trace.launches == 160
    assert trace.regions["trip_count"].tolist() == [1, 80]
    weights = trace.tensors["name"].tolist().index("weights")
    assert trace.tensors["bytes"][weights] == 80 * 8 * 8 * 4
    assert trace.accesses["bytes_unique"][trace.accesses["tensor"] == weights].tolist() == [8 * 8 * 4]


def test_what_an_iteration_hands_to_the_next_is_one_allocation_with_its_last_writer():
    trace = capture_torch(layers, (torch.randn(4, 8), torch.randn(80, 8, 8)), target=A5000)
    names, sets = trace.tensors["name"].tolist(), trace.tensors["alias_set"]
    assert sets[names.index("x")] == sets[names.index("output")]
    reads = (trace.accesses["kernel"] == 0) & (sets[trace.accesses["tensor"]] == sets[names.index("x")])
    assert trace.last_writer[reads].tolist() == [1]


def test_steps_run_for_real_at_every_position():
    seen = []
    assert steps(lambda carry, p: seen.append(p) or carry, torch.zeros(1), range(3, 8)) == 0
    assert seen == [3, 4, 5, 6, 7]


@given(first=st.integers(0, 5000), count=st.integers(0, 5000), segments=st.integers(1, 20))
def test_runs_of_positions_are_odd_and_cover_every_position_once(first, count, segments):
    runs = cut(range(first, first + count), segments)
    assert [p for run in runs for p in run] == list(range(first, first + count))
    assert all(len(run) % 2 for run in runs)
    assert len(runs) <= max(segments + 1, 1)


@settings(max_examples=8, deadline=None)
@given(count=st.integers(1, 200), segments=st.integers(1, 9))
def test_amounts_that_are_affine_in_the_position_sum_exactly(count, segments):
    x, cache = torch.empty(16, device="meta"), torch.empty(512, 16, device="meta")
    trace = capture_torch(growing, (x, cache), {"count": count, "segments": segments}, target=A5000)
    executed = trace.executions
    positions = np.arange(10, 10 + count)
    assert trace.launches == 3 * count
    # a product of p x 16 elements, then the sum of p rows
    assert np.sum(executed * trace.kernels["flops_vector"]) == np.sum(16 * positions + 16 * (positions - 1))
    product = trace.kernels["name"] == "aten::mul.Tensor"
    assert np.sum((executed * trace.kernels["bytes_unique"])[product]) == np.sum(2 * 64 * positions + 64)


def test_many_steps_cost_as_much_to_capture_as_few_and_the_manifest_says_how_affine_they_are():
    x, cache = torch.empty(16, device="meta"), torch.empty(5000, 16, device="meta")
    trace = capture_torch(growing, (x, cache), {"count": 4096}, target=A5000)
    assert len(trace.kernels) == 8 * 3
    assert trace.launches == 4096 * 3
    assert trace.manifest["steps"] == {"grow": {"positions": 8, "affine_defect": 0.0, "kernel": ""}}


@pytest.mark.parametrize(
    ("workload", "affine", "settings"),
    [
        ("llama-3-8b", True, {"batch": 8, "prompt": 1000, "prefill": "no", "tokens": 64}),
        ("flashvan", True, {"program": "sample", "size": 64}),
        ("flashvan", False, {"program": "sample", "size": 64, "sampling": "full"}),
    ],
)
def test_eight_pieces_take_the_time_that_every_position_takes(workload, affine, settings):
    from arch import machine
    from codesign import replay
    from traces import registry

    h200 = machine("h200")
    pieces, every = (registry.get("workloads", workload).capture(h200.target, segments=n, **settings) for n in (8, 64))
    assert len(pieces.kernels) < len(every.kernels) / 3
    assert (pieces.manifest["steps"].popitem()[1]["affine_defect"] < 1e-3) == affine
    # sizes that are not affine in the position are off by what L2 keeps between positions, which only a loop shows
    assert replay(pieces, h200).time_s == pytest.approx(replay(every, h200).time_s, rel=0.01 if affine else 0.015)


def test_a_program_that_is_not_affine_in_the_position_is_found_out():
    def square(x):
        return steps(lambda x, p: x + torch.empty(p, p, device="meta").sum(), x, range(1, 101), name="square")

    defect = capture_torch(square, (torch.zeros(()),), target=A5000).manifest["steps"]["square"]
    assert defect["affine_defect"] > 0.1
    assert defect["kernel"] == "aten::sum"


def test_a_repeated_body_runs_at_every_position_and_is_captured_as_one_loop():
    def numbered(x, table):
        return repeat(lambda x, p: x + table[p], x, range(6), name="rows")

    x, table = torch.zeros(4), torch.randn(6, 4)
    torch.testing.assert_close(numbered(x, table), table.sum(0))
    trace = capture_torch(numbered, (x, table), target=A5000)
    assert trace.kernels["name"].tolist() == ["aten::add.Tensor"]
    assert dict(zip(trace.regions["name"], trace.regions["trip_count"], strict=True))["rows"] == 6


@pytest.mark.parametrize("window", [1, 3, 7, 8, 100])
def test_a_window_leaves_the_last_keys_of_each_query(window):
    pairs = sum(max(i - window, -1) < j <= i for i in range(8) for j in range(8))
    assert attention.visible(8, 8, True, window) == pairs


def test_a_loop_may_be_inside_a_loop():
    def nested(x, weights):
        return steps(lambda x, _: layers(x, weights), x, range(7), segments=1)

    trace = capture_torch(nested, (torch.randn(4, 8), torch.randn(80, 8, 8)), target=A5000)
    assert trace.regions["parent"].tolist() == [-1, 0, 1]
    assert trace.launches == 7 * 80 * 2


def test_a_carry_that_changes_its_shape_is_refused():
    with pytest.raises(CaptureError, match="the carry of a loop must keep its shapes and types"):
        capture_torch(lambda x: steps(lambda x, _: torch.cat((x, x)), x, range(4)), (torch.randn(2),), target=A5000)


def test_a_loop_that_needs_gradients_is_refused():
    weights = torch.randn(5, 8, 8, requires_grad=True)
    with pytest.raises(CaptureError, match=r"needs gradients: use torch\.no_grad"):
        capture_torch(lambda x, w: scan(lambda x, w: x @ w, x, w), (torch.randn(4, 8), weights), target=A5000)


def test_slices_of_unequal_numbers_are_refused():
    with pytest.raises(CaptureError, match="tensors of one length"):
        scan(lambda x, w: x, torch.zeros(1), (torch.zeros(2), torch.zeros(3)))


def test_keys_are_split_as_flash_attentions_comment_says():
    """flash_api.cpp: with batch x heads = 48 and 108 SMs, 2 splits (efficiency 0.89) are better than 3 (0.67)."""
    assert attention.splits(48, 108, 64) == 2
    assert attention.splits(108, 108, 64) == 1  # the GPU is full
    assert attention.splits(1, 108, 4) == 4  # no more parts than blocks of keys


@given(blocks=st.integers(1, 400), key_blocks=st.integers(1, 300))
def test_the_split_is_eligible_and_fills_the_gpu_nearly_as_well_as_any(blocks, key_blocks):
    chosen = attention.splits(blocks, 128, key_blocks)
    assert 1 <= chosen <= key_blocks

    def filled(n):
        waves = blocks * n / 128
        return waves / np.ceil(waves)

    if blocks < 0.8 * 128:
        assert filled(chosen) >= 0.85 * max(filled(n) for n in {1, chosen})


def test_a_causal_mask_leaves_a_triangle():
    for queries, keys in ((4, 4), (3, 5), (6, 2)):
        mask = np.tril(np.ones((queries, keys)))
        assert attention.visible(queries, keys, causal=True) == mask.sum()


def test_reductions_launch_as_reduce_cuh_says():
    # by hand: 2^20 elements to one result are 512 threads of 2048 values; 128 parts leave 16 values a thread
    assert launch.reduction(1, 2**20, True, sms=64, threads_per_sm=1536) == ((1, 128, 1), (512, 1, 1))
    # 4096 rows of 32 elements: a warp a row, 16 rows a block
    assert launch.reduction(4096, 32, True, sms=64, threads_per_sm=1536) == ((256, 1, 1), (32, 16, 1))


def test_many_small_tensors_share_a_launch():
    assert operators.multi_tensor_launches(1, [10] * 110) == 1
    assert operators.multi_tensor_launches(1, [10] * 111) == 2
    assert operators.multi_tensor_launches(4, [10] * 37) == 2
    assert operators.multi_tensor_launches(1, [65536 * 321]) == 2
