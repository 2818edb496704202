"""Time of fused attention: tensor cores, the exponential unit, vector pipes and shared memory as ceilings of their own.

A block holds ``query_rows`` queries and goes over the keys in tiles. Each score costs two multiply-adds of the head dimension on
the tensor cores (five in the backward pass), an exponential, and a few FP32 instructions of the online softmax; each warp, or
group of warps, reads every tile of keys and values from shared memory. FlashAttention-1 and -2 do these one after another in a
warp; FlashAttention-3 and -4 let one group of warps multiply while another works on the softmax (Shah et al., arXiv 2407.08608).
Causal attention skips tiles above the diagonal and does those on it in full. Blocks fall onto SMs in whole turns.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from arch import power
from arch.catalog import Entry
from arch.facts import itemsize
from arch.work import Float

_SHARED_BYTES_A_CLOCK = 128
"""Shared memory of an SM: 32 banks of 4 bytes (CUDA C++ Programming Guide, all capabilities since 5.0)."""


@dataclass(frozen=True)
class Kernel:
    """One implementation of attention; counts are those of its published algorithm."""

    query_rows: int
    key_rows: int
    rows_a_warp_group: int
    """Query rows for which one reader takes the operands out of shared memory."""
    overlapped: bool
    """Softmax of one group of warps runs beside the products of another."""
    older_instruction: bool
    """mma.sync, which reaches ``mma_sync_share`` of the tensor peak on chips that have wgmma."""
    softmax_instructions: float
    """FP32 instructions a score: scale and subtract, maximum, sum, conversion."""


KERNELS: Mapping[str, Kernel] = {
    "fa1": Kernel(128, 128, 16, False, True, 6.0),
    "fa2": Kernel(128, 64, 32, False, True, 4.0),
    "fa3": Kernel(128, 128, 64, True, False, 4.0),
    "fa4": Kernel(256, 128, 128, True, False, 4.0),
}
"""FlashAttention 1 (each warp reads all keys for its 16 rows and rescales every tile), 2 (Dao, arXiv 2307.08691), 3 and 4."""


@dataclass(frozen=True, eq=False)
class Shape:
    """Attention of [batch, heads, queries, dim] with as many key-value heads; arrays of shape [calls]."""

    batch: Float
    heads: Float
    queries: Float
    keys: Float
    dim: Float
    causal: bool = False
    backward: bool = False

    @property
    def flops(self) -> Float:
        """FLOP by the convention of published tables: half of the scores if causal, 2.5 times the forward pass if backward."""
        forward = 4 * self.batch * self.heads * self.queries * self.keys * self.dim * (0.5 if self.causal else 1.0)
        return forward * (2.5 if self.backward else 1.0)


@dataclass(frozen=True, eq=False)
class Ceilings:
    """Seconds of each unit on the busiest SM, at the boost clock; shape [calls]."""

    tensor_s: Float
    exponential_s: Float
    vector_s: Float
    shared_s: Float
    dram_s: Float
    start_s: Float
    """Starts and stores of the busiest SM's blocks, of which two are there at once: as those of a product's tiles."""
    overlapped: bool

    @property
    def total_s(self) -> Float:
        """Softmax beside the products or after them; shared memory and DRAM always beside."""
        softmax = np.maximum(self.exponential_s, self.vector_s) if self.overlapped else self.exponential_s + self.vector_s
        busy = np.maximum(self.tensor_s, softmax) if self.overlapped else self.tensor_s + softmax
        longest: Float = np.maximum.reduce([busy, self.shared_s, self.dram_s])
        return longest + self.start_s


def ceilings(entry: Entry, kernel: Kernel, dtype: str, shape: Shape) -> Ceilings:
    """Return what each unit needs for fused attention of an XLA dtype that has a tensor peak on the GPU."""
    scores = _busiest_scores(entry, kernel, shape)
    products, exponentials = (5.0, 1.0) if shape.backward else (2.0, 1.0)
    sms, clock = entry["sm_count"], entry["clock"]
    peak = entry["matrix_flops." + dtype] / sms * ((entry.get("mma_sync_share") or 1.0) if kernel.older_instruction else 1.0)
    lanes = entry["fp32_lanes_per_sm"] * clock
    instructions = kernel.softmax_instructions * (2.0 if shape.backward else 1.0)
    read = products * shape.dim * itemsize(dtype) / kernel.rows_a_warp_group
    return Ceilings(
        tensor_s=2 * products * shape.dim * scores / peak,
        exponential_s=exponentials * scores / (entry["sfu_lanes_per_sm"] * clock),
        vector_s=instructions * scores / lanes,
        shared_s=read * scores / (_SHARED_BYTES_A_CLOCK * clock),
        dram_s=_bytes(shape, dtype) / (entry["memory_bandwidth"] * entry["dram_efficiency"]),
        start_s=_start_s(entry, kernel, shape),
        overlapped=kernel.overlapped,
    )


def kernel_s(entry: Entry, kernel: Kernel, dtype: str, shape: Shape) -> Float:
    """Return the seconds of fused attention, slowed where the tensor cores alone would exceed the power cap. Shape [calls]."""
    needed = ceilings(entry, kernel, dtype, shape)
    share = power.clock_share(entry, power.energy_per_flop(entry, dtype, True), shape.flops, needed.total_s)
    return entry["kernel_floor"] + needed.total_s / share


def tflops(entry: Entry, kernel: Kernel, dtype: str, shape: Shape, both: bool = False) -> Float:
    """Return TFLOP/s by the published convention; ``both``: of a forward and a backward pass together."""
    forward = kernel_s(entry, kernel, dtype, shape)
    if not both:
        return 1e-12 * shape.flops / forward
    back = replace(shape, backward=True)
    return 1e-12 * (shape.flops + back.flops) / (forward + kernel_s(entry, kernel, dtype, back))


def table_shape(length: int, dim: int, causal: bool) -> Shape:
    """Return the shape of the published tables: 16,384 tokens in all and 2,048 hidden (FlashAttention-2, section 4.1)."""
    sizes = (16384 / length, 2048 / dim, length, length, dim)
    batch, heads, queries, keys, width = (np.array([float(size)]) for size in sizes)
    return Shape(batch, heads, queries, keys, width, causal)


def _busiest_scores(entry: Entry, kernel: Kernel, shape: Shape) -> Float:
    """Scores, of whole tiles, that the busiest SM computes; blocks of causal attention differ, so SMs even them out."""
    blocks = shape.batch * shape.heads * np.ceil(shape.queries / kernel.query_rows)
    tiles = np.ceil(shape.keys / kernel.key_rows)
    if shape.causal:
        diagonal = kernel.query_rows / kernel.key_rows
        tiles = np.minimum((tiles + np.maximum(diagonal, 1.0)) / 2, tiles)
    busiest: Float = np.ceil(blocks / entry["sm_count"]) * kernel.query_rows * tiles * kernel.key_rows
    return busiest


def _start_s(entry: Entry, kernel: Kernel, shape: Shape) -> Float:
    blocks = np.ceil(shape.batch * shape.heads * np.ceil(shape.queries / kernel.query_rows) / entry["sm_count"])
    stored = kernel.query_rows * shape.dim / (entry["registers_per_sm"] / 2)
    cycles: Float = blocks / 2 * (entry["gemm_turn_cycles"] + entry["gemm_tensor_tile_cycles"] * stored)
    return cycles / entry["clock"]


def _bytes(shape: Shape, dtype: str) -> Float:
    """Operands and results, each once: queries, keys, values, output, and their gradients in the backward pass."""
    one = shape.batch * shape.heads * shape.dim * itemsize(dtype)
    forward: Float = one * (2 * shape.queries + 2 * shape.keys)
    return forward * 2 if shape.backward else forward
