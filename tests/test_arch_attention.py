"""Does fused attention take what its slowest unit needs, and how near is that to the published tables?"""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from arch import gemm
from arch.attention import ceilings, kernel_s, table_shape, tflops
from arch.attention_kernels import KERNELS, Shape
from arch.registered import find

LENGTHS = (512, 1024, 2048, 4096, 8192, 16384)


def shape(queries: float, keys: float, dim: float = 128, batch: float = 132, causal: bool = False) -> Shape:
    sizes = (batch, 1, queries, keys, dim)
    whole, heads, rows, columns, width = (np.array([float(size)]) for size in sizes)
    return Shape(whole, heads, rows, columns, width, causal)


def test_each_unit_needs_what_its_counts_say() -> None:
    """One block of 128 queries an SM of an H100, 128 keys: 4 x 128^3 FLOP, 128^2 exponentials, 4 x 128^2 instructions."""
    entry = find("h100-sxm")
    found = ceilings(entry, KERNELS["fa3"], "f16", shape(128, 128))
    scores, clock = 128 * 128, entry["clock"]
    assert found.tensor_s[0] == pytest.approx(4 * 128 * scores / (989.4e12 / 132))
    assert found.exponential_s[0] == pytest.approx(scores / 16 / clock)
    assert found.vector_s[0] == pytest.approx(4 * scores / 128 / clock)
    assert found.shared_s[0] == pytest.approx(2 * 128 * 2 / 64 * scores / 128 / clock)
    assert found.l2_s[0] == found.extra_s[0] == 0.0


def test_shared_memory_serves_each_warp_its_operands() -> None:
    """FlashAttention-2, head 128. Forward, 128 x 64 scores, four warps of 32 queries each: all of K and V four times, queries once.

    Backward, 64 x 128 scores, eight warps: scores and their gradient 2 x 4, the gradients of K and V 4 x 2, that of Q 2 x 4.
    """
    forward, backward = KERNELS["fa2"].forward[1], KERNELS["fa2"].backward[1]
    q, k, scores, dim = 64 * 128, 128 * 128, 64 * 128, np.array([128.0])
    assert forward.shared_elements(dim)[0] == (128 * 128 + 4 * 64 * 128 * 2) / (128 * 64)
    twice = 4 * q + 2 * k  # queries (or the output's gradient) by four columns of warps, keys (or values) by two rows
    gradients = 2 * scores + 4 * q  # of scores and queries
    of_queries = 4 * scores + 2 * k
    moved = 2 * scores + 2 * q  # scores and their gradient are written, queries and the output's gradient brought in
    assert backward.shared_elements(dim)[0] == (2 * twice + 2 * gradients + of_queries + moved) / scores


def test_the_first_version_passes_its_warps_shares_of_the_result_through_shared_memory_and_waits_for_it() -> None:
    """FlashAttention-1, head 64, 16 queries at a time beside 256 keys: four warps forward, eight backward, results in FP32."""
    kernel, dim = KERNELS["fa1"], np.array([64.0])
    forward, backward = kernel.forward[0], kernel.backward[0]
    q, k, scores = 16 * 64, 256 * 64, 16 * 256
    share = 2 * q * 2  # written and read, each element as large as two
    assert forward.shared_elements(dim)[0] == 4 * (q + share) / scores
    assert backward.shared_elements(dim)[0] == (8 * (4 * q + share) + k + 4 * scores) / scores
    entry, call = find("a100-sxm-80gb"), shape(2048, 2048, dim=64, batch=1024)
    ahead, back = (ceilings(entry, kernel, "f16", replace(call, backward=passed)) for passed in (False, True))
    assert ahead.total_s[0] < ahead.busy_s[0] + ahead.shared_s[0]  # two blocks on an SM: one works while the other waits
    assert back.total_s[0] > back.busy_s[0] + back.shared_s[0]  # one block alone
    rate = entry["l2_bandwidth"] * entry["l2_efficiency"]
    passes = 1024 * 2048 * 64 * (2048 / 256)  # of the output's elements, for each tile of keys
    for found in (ahead, back):
        assert found.l2_s[0] * rate == pytest.approx(passes * 2 * 4, rel=0.05)  # whole turns of blocks


def test_products_and_softmax_follow_each_other_overlap_partly_or_in_full() -> None:
    found = ceilings(find("h100-sxm"), KERNELS["fa3"], "f16", shape(4096, 4096, batch=4))
    after, partly, beside = (replace(found, overlap=overlap).busy_s[0] for overlap in ("none", "partly", "full"))
    assert after == found.tensor_s[0] + found.exponential_s[0] + found.vector_s[0]
    assert beside == max(found.tensor_s[0], found.exponential_s[0])
    inner = gemm.together(found.sharpness, found.tensor_s, found.softmax_s)[0]
    assert partly == pytest.approx(inner + (after - inner) / 32)  # of 4,096 / 128 tiles the first has nothing to overlap
    assert beside < partly < after


@pytest.mark.parametrize(("batch", "turns"), [(1, 1), (132, 1), (133, 2)])
def test_blocks_fall_onto_sms_in_whole_turns(batch: int, turns: int) -> None:
    entry = find("h100-sxm")
    one = ceilings(entry, KERNELS["fa3"], "f16", shape(128, 128, batch=1)).tensor_s
    assert ceilings(entry, KERNELS["fa3"], "f16", shape(128, 128, batch=batch)).tensor_s == pytest.approx(turns * one)


def test_sms_wait_for_the_longest_blocks_of_causal_attention_unless_they_start_first() -> None:
    """1,024 queries and keys of 132 heads on 132 SMs: eight blocks a head, of 1 to 8 tiles of 128 keys."""
    entry, causal = find("h100-sxm"), shape(1024, 1024, dim=64, causal=True)
    scores = 2 * 128 * 128 * 64 * 2 / (989.4e12 / 132)
    first, second = (ceilings(entry, KERNELS[name], "f16", causal).tensor_s[0] for name in ("fa3", "fa2"))
    assert first == pytest.approx(8 * 4.5 * scores)
    assert second == pytest.approx((8 * 4.5 + 8) * scores / entry["mma_sync_share"])  # two blocks an SM: half of a longest at half speed


def test_a_backward_pass_adds_up_the_queries_gradient_in_l2_and_has_kernels_around_it() -> None:
    entry, forward = find("a100-sxm-80gb"), shape(4096, 4096, batch=4)
    found = ceilings(entry, KERNELS["fa2"], "f16", replace(forward, backward=True))
    elements = 4 * 4096 * 128
    rate = entry["l2_bandwidth"] * entry["l2_efficiency"]
    share = np.ceil(4 * 32 / 108) * 108 / (4 * 32)  # of the busiest SM
    assert found.l2_s[0] == pytest.approx(share * elements * 4 * (4096 / 128) / rate)  # once for each tile of keys
    dram = entry["memory_bandwidth"] * entry["dram_efficiency"]
    assert found.extra_s[0] == pytest.approx(elements * (2 + 2 + 4 + 4 + 2) / dram + 2 * entry["kernel_floor"])


@pytest.mark.parametrize(
    ("name", "kernel", "dim", "causal", "both", "published"),
    [
        ("h100-sxm", "fa2", 64, False, False, (282, 306, 318, 321, 322, 324)),
        ("h100-sxm", "fa2", 128, False, False, (309, 350, 362, 368, 370, 370)),
        ("h100-sxm", "fa2", 64, True, False, (180, 229, 262, 284, 295, 299)),
        ("h100-sxm", "fa2", 128, True, False, (191, 260, 298, 319, 333, 335)),
        ("h100-sxm", "fa2", 256, False, False, (275, 313, 321, 323, 324, 326)),
        ("h100-sxm", "fa3", 64, False, False, (333, 392, 460, 476, 496, 497)),
        ("h100-sxm", "fa3", 128, False, False, (467, 565, 625, 638, 646, 648)),
        ("h100-sxm", "fa3", 128, True, False, (292, 423, 521, 579, 602, 616)),
        ("a100-sxm-80gb", "fa2", 64, False, True, (132, 153, 162, 171, 175, 176)),
        ("a100-sxm-80gb", "fa2", 128, False, True, (150, 173, 187, 196, 201, 203)),
        ("a100-sxm-80gb", "fa2", 128, True, True, (99, 133, 155, 173, 182, 189)),
        ("h100-sxm", "fa2", 64, False, True, (215, 254, 274, 288, 294, 296)),
        ("h100-sxm", "fa2", 128, False, True, (248, 294, 320, 326, 335, 338)),
        ("h100-sxm", "fa2", 128, True, True, (163, 221, 265, 294, 308, 328)),
    ],
)
def test_published_rates_of_flashattention(
    name: str, kernel: str, dim: int, causal: bool, both: bool, published: tuple[float, ...]
) -> None:
    """Nothing is fitted to these tables."""
    ours = [float(tflops(find(name), KERNELS[kernel], "f16", table_shape(length, dim, causal), both)[0]) for length in LENGTHS]
    assert ours == pytest.approx(published, rel=0.2)
    assert ours == sorted(ours)


def test_flashattention_4_on_a_b200_comes_near_its_published_best() -> None:
    assert float(tflops(find("b200"), KERNELS["fa4"], "bf16", table_shape(16384, 128, False))[0]) == pytest.approx(1613, rel=0.1)


def test_the_published_convention_halves_causal_scores_and_counts_the_backward_pass_two_and_a_half_times() -> None:
    plain = table_shape(4096, 128, False)
    assert plain.flops[0] == 4 * 4 * 16 * 4096**2 * 128
    assert table_shape(4096, 128, True).flops[0] == plain.flops[0] / 2
    assert replace(plain, backward=True).flops[0] == 2.5 * plain.flops[0]


@given(
    st.integers(1, 4096), st.integers(1, 4096), st.integers(1, 256), st.integers(1, 512), st.booleans(), st.sampled_from(sorted(KERNELS))
)
def test_longer_attention_never_takes_less_time(queries: int, keys: int, dim: int, batch: int, causal: bool, kernel: str) -> None:
    entry = find("a100-sxm-80gb")
    time = kernel_s(entry, KERNELS[kernel], "bf16", shape(queries, keys, dim, batch, causal))[0]
    assert np.isfinite(time)
    for more in ((2 * queries, keys, dim, batch), (queries, 2 * keys, dim, batch), (queries, keys, dim, 2 * batch)):
        assert kernel_s(entry, KERNELS[kernel], "bf16", shape(*more, causal))[0] >= time * (1 - 1e-9)
