"""Does FlashAttention in a trace take what the model of its kernels says, and only that?"""

from typing import Any

import numpy as np
import pytest

import arch
from arch import gemm
from arch.attention import Ceilings, around_bytes, ceilings, kernel_s
from arch.attention_kernels import KERNELS, Shape
from arch.registered import find
from arch.work import Prices, Work
from tests.toys import Toy

A100 = "a100-sxm-80gb"


def call(batch: int, queries: int, keys: int, dim: int = 128, scores: float = 1.0, **columns: Any) -> Toy:
    """One call of [batch, queries, dim], of whose scores a share is visible; it moves its operands once."""
    toy, backward = Toy(), columns.get("library") == "flash_attention_backward"
    for name, rows in (("q", queries), ("k", keys), ("v", keys), ("o", queries)):
        toy.tensor(name, batch * rows * dim * 2)
    flops = (10.0 if backward else 4.0) * batch * queries * keys * dim * scores
    given = {"family": "attention", "launch_kind": "library", "library": "flash_attention", "dtype": "bf16", "precision": "default"}
    sizes = {"batch": batch, "m": queries, "n": keys, "k": dim, "grid_x": -(-queries // 128), "grid_y": 1, "grid_z": batch}
    toy.kernel("sdpa", ["q", "k", "v"], ["o"], **{**given, **sizes, "flops_matrix": flops, "flops_vector": 0.0, **columns})
    return toy


def price(toy: Toy, name: str = A100) -> Prices:
    return arch.machine(name).gpu.price(Work.of(toy.build(target=name)))


def shape(batch: float, queries: float, keys: float, dim: float = 128, causal: bool = False, backward: bool = False) -> Shape:
    sizes = (np.array([float(size)]) for size in (batch, 1, queries, keys, dim))
    return Shape(*sizes, causal, backward)


def on_sm_s(kernel: str, of: Shape) -> float:
    found = needed(kernel, of)
    return float(gemm.together(found.sharpness, found.busy_s, found.shared_s, found.l2_s)[0])


def needed(kernel: str, of: Shape) -> Ceilings:
    return ceilings(find(A100), KERNELS[kernel], "bf16", of)


@pytest.mark.parametrize(("queries", "scores", "causal"), [(2048, 1.0, False), (2048, 2049 / 4096, True)])
def test_a_call_of_a_trace_takes_what_the_model_of_its_kernel_says(queries: int, scores: float, causal: bool) -> None:
    found = price(call(64, queries, queries, scores=scores)).duration_s[0]
    assert found == pytest.approx(kernel_s(find(A100), KERNELS["fa2"], "bf16", shape(64, queries, queries, causal=causal))[0], rel=0.01)


def test_one_query_takes_a_block_of_rows() -> None:
    """128 rows against 1: the same SMs are as busy."""
    one, many = (price(call(4096, queries, 256)).terms["compute_matrix_s"][0] for queries in (1, 128))
    assert one == pytest.approx(many, rel=1e-9) == on_sm_s("fa2", shape(4096, 1, 256))


def test_heads_that_share_keys_are_rows_of_one_block() -> None:
    """Eight heads a key: 512 blocks instead of 4096."""
    found = price(call(4096, 1, 256, grid_z=512)).terms["compute_matrix_s"][0]
    assert found == pytest.approx(on_sm_s("fa2", shape(512, 1, 256)))


def test_keys_in_parts_are_those_of_smaller_tiles() -> None:
    found = price(call(16, 1, 4096, launches=2, grid_y=13, grid_z=16))
    assert found.terms["compute_matrix_s"][0] == pytest.approx(on_sm_s("fa2 split", shape(16 * 13, 1, 4096 / 13)))
    assert found.terms["floor_s"][0] == pytest.approx(
        2 * find(A100)["kernel_floor"] + needed("fa2 split", shape(208, 1, 4096 / 13)).start_s[0]
    )


def test_a_window_leaves_the_keys_that_a_block_sees() -> None:
    """256 keys before each of 128 queries: 384 of 8192."""
    found = price(call(64, 8192, 8192, scores=256 / 8192)).terms["compute_matrix_s"][0]
    assert found == pytest.approx(on_sm_s("fa2", shape(64, 8192, 384)))
    wide = price(call(64, 256, 256, scores=100 / 256)).terms["compute_matrix_s"][0]
    assert wide == pytest.approx(on_sm_s("fa2", shape(64, 256, 256, causal=True)))


def test_kernels_around_a_backward_pass_move_their_bytes_apart() -> None:
    """Output, its gradient and the queries' in BF16, the sum in FP32 twice: 14 bytes of an element, of 24 that the call moves."""
    toy = call(64, 2048, 2048, library="flash_attention_backward", launches=3, bytes_unique=24.0 * 64 * 2048 * 128)
    found, of = price(toy), shape(64, 2048, 2048, backward=True)
    apart = around_bytes(of, "bf16")[0] / (24 * 64 * 2048 * 128)
    dram, units = found.terms["dram_s"][0], needed("fa2", of)
    beside = gemm.together(units.sharpness, np.array([max(on_sm_s("fa2", of), found.terms["l2_s"][0])]), np.array([dram * (1 - apart)]))[0]
    assert apart == pytest.approx(14 / 24)
    assert found.duration_s[0] == pytest.approx(beside + dram * apart + 3 * find(A100)["kernel_floor"] + units.start_s[0], rel=1e-6)


@pytest.mark.parametrize(
    ("name", "library", "blocks", "sms"), [(A100, "efficient_attention", 256, 108), ("p4", "flash_attention", 256, 20)]
)
def test_other_kernels_and_gpus_without_tensor_cores_are_priced_by_their_work(name: str, library: str, blocks: int, sms: int) -> None:
    """512 queries of 64 heads in 256 blocks: the busiest SM has three of 108 SMs' 256, or 13 of 20's."""
    toy = call(64, 512, 512, dtype="f16", library=library)
    entry = find(name)
    peak = entry.group("matrix_flops").get("f16")
    rate = peak * entry["gemm_efficiency_matrix"] if peak else entry["vector_flops.f32"] * entry["gemm_efficiency_vector"]  # summed in FP32
    busiest = -(-blocks // sms) * sms / blocks
    found = price(toy, name).terms["compute_matrix_s"][0]
    assert found == pytest.approx(4 * 64 * 512**2 * 128 * busiest / rate, rel=1e-6)
