"""Time of fused attention: tensor cores, the exponential unit, vector pipes, shared memory and L2 as ceilings of their own.

A block holds a tile of queries and goes over the keys in tiles (backward: a tile of keys, over the queries). Each score costs two
multiply-adds of the head dimension on the tensor cores (five in the backward pass), an exponential, and a few FP32 instructions of the
online softmax; each warp, or group of warps, reads its operands from shared memory. FlashAttention-1 and -2 do products and softmax one
after another in a warp; FlashAttention-3 lets one group of warps multiply while another works on the softmax (Shah et al., arXiv
2407.08608), and -4 gives each a warp of its own. Activities that overlap do so imperfectly, as those of a product (`gemm.together`).

What is lost beside the ceilings: tiles on the diagonal of causal attention are computed in full; blocks fall onto SMs in whole turns, and
where those of causal attention start in the order of the grid (FlashAttention-1 and -2), SMs wait at the end for the longest; a block's
first products have no softmax to overlap; FlashAttention-1's warps share keys, so that they pass their parts of the result through
shared memory and wait for each other meanwhile, and its output passes L2 for every tile of keys; the backward pass adds up the queries'
gradient in L2, in FP32, and has two more kernels, which clear and convert it (flash_bwd_launch_template.h of FlashAttention-2).
"""

from dataclasses import dataclass, replace

import numpy as np

from arch import gemm, power
from arch.attention_kernels import BACKWARD_PRODUCTS, FORWARD_PRODUCTS, Kernel, Shape
from arch.entry import Entry
from arch.facts import itemsize
from arch.streaming import dram_rate
from arch.work import Float

_SUM_BYTES = 4.0
"""An element of the queries' gradient while it is added up, FP32."""


@dataclass(frozen=True, eq=False)
class Ceilings:
    """Seconds of each unit on the busiest SM, at the boost clock; shape [calls]."""

    tensor_s: Float
    exponential_s: Float
    vector_s: Float
    shared_s: Float
    l2_s: Float
    """The queries' gradient, and in FlashAttention-1 the output, added up in L2."""
    dram_s: Float
    start_s: Float
    """Starts and stores of the busiest SM's blocks, of which two are there at once: as those of a product's tiles."""
    tiles: Float
    """Tiles of a block, on average."""
    extra_s: Float
    """Kernels before and after a backward pass."""
    overlap: str
    in_turn: bool
    """Nothing overlaps."""
    sharpness: float

    @property
    def softmax_s(self) -> Float:
        """Exponentials and FP32 instructions of a warp follow each other."""
        return self.exponential_s + self.vector_s

    @property
    def busy_s(self) -> Float:
        """Products and softmax; where they overlap, all but those of a block's first tile."""
        alone = self.tensor_s + self.softmax_s
        if self.overlap == "none":
            return alone
        if self.overlap == "full":
            busiest: Float = np.maximum.reduce([self.tensor_s, self.exponential_s, self.vector_s])
            return busiest
        beside = gemm.together(self.sharpness, self.tensor_s, self.softmax_s)
        return beside + (alone - beside) / self.tiles

    @property
    def total_s(self) -> Float:
        """Shared memory, L2 and DRAM beside the rest; shared memory after it where warps wait for each other."""
        busy = (self.busy_s + self.shared_s,) if self.in_turn else (self.busy_s, self.shared_s)
        parts = (*busy, self.l2_s, self.dram_s)
        longest: Float = np.maximum.reduce(parts) if self.overlap == "full" else gemm.together(self.sharpness, *parts)
        return longest + self.start_s + self.extra_s


def ceilings(entry: Entry, kernel: Kernel, dtype: str, shape: Shape) -> Ceilings:
    """Return what each unit needs for fused attention of an XLA dtype that has a tensor peak on the GPU."""
    tile, tiles = kernel.tile(shape), _tiles(kernel, shape)
    scores = _busiest_scores(entry, kernel, shape)
    products = BACKWARD_PRODUCTS if shape.backward else FORWARD_PRODUCTS
    sms, clock = entry["sm_count"], entry["clock"]
    peak = entry["matrix_flops." + dtype] / sms * ((entry.get("mma_sync_share") or 1.0) if kernel.older_instruction else 1.0)
    instructions = kernel.softmax_instructions * (2.0 if shape.backward else 1.0)
    summed = kernel.summed[shape.backward] * shape.dim * _SUM_BYTES / tile.keys
    rate = dram_rate(entry)
    return Ceilings(
        tensor_s=2 * products * shape.dim * scores / peak,
        exponential_s=scores / (entry["sfu_lanes_per_sm"] * clock),
        vector_s=instructions * scores / (entry["fp32_lanes_per_sm"] * clock),
        shared_s=tile.shared_elements(shape.dim) * itemsize(dtype) * scores / (entry["shared_bytes_per_clock"] * clock),
        l2_s=summed * scores * sms / (entry["l2_bandwidth"] * entry["l2_efficiency"]),
        dram_s=_bytes(shape, dtype) / rate,
        start_s=_start_s(entry, kernel, shape),
        tiles=tiles,
        extra_s=_around_s(entry, shape, dtype, rate),
        overlap=kernel.overlap,
        in_turn=kernel.in_turn(shape),
        sharpness=entry["gemm_sharpness"],
    )


def kernel_s(entry: Entry, kernel: Kernel, dtype: str, shape: Shape) -> Float:
    """Return the seconds of fused attention, slowed where the tensor cores alone would exceed the power cap. Shape [calls]."""
    needed = ceilings(entry, kernel, dtype, shape)
    dense = entry["matrix_flops." + dtype]
    least = shape.flops * computed(kernel, shape) / power.sustained_flops_per_s(entry, dtype, dense, tensor=True)
    return entry["kernel_floor"] + np.maximum(needed.total_s, least)


def computed(kernel: Kernel, shape: Shape) -> Float:
    """Return the scores computed over those that count, shape [calls]: of causal attention the tiles on the diagonal in full."""
    if not shape.causal:
        return np.ones_like(shape.dim)
    return 2 * _tiles(kernel, shape) / _tiles(kernel, shape, longest=True)


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


def _blocks(kernel: Kernel, shape: Shape) -> Float:
    tile = kernel.tile(shape)
    rows = np.ceil(shape.keys / tile.keys) if shape.backward else np.ceil(shape.queries / tile.queries)
    blocks: Float = shape.batch * shape.heads * rows
    return blocks


def _tiles(kernel: Kernel, shape: Shape, longest: bool = False) -> Float:
    """Tiles that a block goes over, on average or at most; of causal attention those below the diagonal and on it."""
    tile = kernel.tile(shape)
    outer, inner = (tile.keys, tile.queries) if shape.backward else (tile.queries, tile.keys)
    tiles = np.ceil((shape.queries if shape.backward else shape.keys) / inner)
    if shape.causal and not longest:
        tiles = np.minimum((tiles + max(outer / inner, 1.0)) / 2, tiles)
    return np.asarray(tiles, dtype=np.float64)


def _busiest_scores(entry: Entry, kernel: Kernel, shape: Shape) -> Float:
    """Scores, of whole tiles, that the busiest SM computes.

    Blocks of causal attention differ and SMs even them out, but for the end: where the longest do not start first, an SM waits there
    for half of the longest on average, at the share of an SM that one of its resident blocks has.
    """
    tile, sms, blocks = kernel.tile(shape), entry["sm_count"], _blocks(kernel, shape)
    whole = np.ceil(blocks / sms) * _tiles(kernel, shape)
    if shape.causal and not kernel.longest_first:
        longest = _tiles(kernel, shape, longest=True)
        whole = np.maximum(blocks / sms * _tiles(kernel, shape) + longest * kernel.resident_blocks(shape) / 2, longest)
    busiest: Float = whole * tile.queries * tile.keys
    return busiest


def _start_s(entry: Entry, kernel: Kernel, shape: Shape) -> Float:
    tile = kernel.tile(shape)
    blocks = np.ceil(_blocks(kernel, shape) / entry["sm_count"])
    stored = (2 * tile.keys if shape.backward else tile.queries) * shape.dim / (entry["registers_per_sm"] / 2)
    cycles: Float = blocks / 2 * (entry["gemm_turn_cycles"] + entry["gemm_tensor_tile_cycles"] * stored)
    return cycles / entry["clock"]


def around_bytes(shape: Shape, dtype: str) -> Float:
    """Return bytes of the kernels around a backward pass: output times its gradient, a row; clearing and converting the sum in FP32."""
    if not shape.backward:
        return np.zeros_like(shape.dim)
    elements: Float = shape.batch * shape.heads * shape.queries * shape.dim
    return elements * (3 * itemsize(dtype) + 2 * _SUM_BYTES)


def _around_s(entry: Entry, shape: Shape, dtype: str, rate: float) -> Float:
    return around_bytes(shape, dtype) / rate + 2 * entry["kernel_floor"] * shape.backward


def _bytes(shape: Shape, dtype: str) -> Float:
    """Operands and results, each once: queries, keys, values, output, and their gradients in the backward pass."""
    one = shape.batch * shape.heads * shape.dim * itemsize(dtype)
    forward: Float = one * (2 * shape.queries + 2 * shape.keys / shape.sharing)
    return forward * 2 if shape.backward else forward
