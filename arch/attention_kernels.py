"""FlashAttention's kernels: how each cuts attention into tiles, and what its warps read and do for a score.

Counts are those of the published algorithms and their code. What such a kernel costs on a GPU is in ``arch.attention``.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from arch.work import Float

FORWARD_PRODUCTS, BACKWARD_PRODUCTS = 2.0, 5.0
"""Scores and output; in the backward pass the scores again, their gradient, and those of queries, keys and values."""
HEAD_DIMS = (64, 128)
"""Head dimensions up to which kernels have one tile, up to which a second, and above which a third."""


@dataclass(frozen=True, eq=False)
class Shape:
    """Attention of [batch, heads, queries, dim]; arrays of shape [calls]."""

    batch: Float
    heads: Float
    queries: Float
    keys: Float
    dim: Float
    causal: bool = False
    backward: bool = False
    sharing: float = 1.0
    """Heads that share keys and values, which DRAM then delivers once."""

    @property
    def flops(self) -> Float:
        """FLOP by the convention of published tables: half of the scores if causal, 2.5 times the forward pass if backward."""
        forward = 2 * FORWARD_PRODUCTS * self.batch * self.heads * self.queries * self.keys * self.dim * (0.5 if self.causal else 1.0)
        return forward * (BACKWARD_PRODUCTS / FORWARD_PRODUCTS if self.backward else 1.0)


@dataclass(frozen=True)
class Tile:
    """Scores that a block computes at once, and how often its warps read the operands from shared memory.

    Elements a score: ``head dimension * (query_reads / keys + key_reads / queries) + score_reads``. A product whose result a x b warps
    share reads its left operand b times and its right one a times.
    """

    queries: int
    keys: int
    query_reads: float
    """Of operands of as many rows as queries: queries, and in the backward pass the output's gradient."""
    key_reads: float
    """Of operands of as many rows as keys."""
    score_reads: float = 0.0
    """Of the scores themselves and their gradients, writing them included."""

    def shared_elements(self, dim: Float) -> Float:
        """Return elements that pass shared memory for each score."""
        each: Float = dim * (self.query_reads / self.keys + self.key_reads / self.queries) + self.score_reads
        return each


@dataclass(frozen=True)
class Kernel:
    """One implementation of attention; counts are those of its published algorithm and code."""

    forward: tuple[Tile, Tile, Tile]
    """Tiles of head dimensions up to 64, up to 128, and above."""
    backward: tuple[Tile, Tile, Tile]
    overlap: str
    """Of products and softmax: 'none', 'partly' (as a product's loads) or 'full'."""
    older_instruction: bool
    """mma.sync, which reaches ``mma_sync_share`` of the tensor peak on chips that have wgmma."""
    softmax_instructions: float
    """FP32 instructions a score: scale and subtract, maximum, sum, conversion."""
    resident: float
    """Blocks of the forward pass on an SM; one of the backward pass, which fills shared memory."""
    longest_first: bool
    """Blocks of causal attention start with the longest, so that SMs end together."""
    summed: tuple[float, float] = (0.0, 1.0)
    """How often an element of the output (forward) and of the queries' gradient (backward), in FP32, passes L2 for each tile of keys."""
    barriers: bool = False
    """All warps of a block wait for each other between products and the passes through shared memory."""

    def resident_blocks(self, shape: Shape) -> float:
        """Return the blocks on an SM."""
        return 1.0 if shape.backward else self.resident

    def in_turn(self, shape: Shape) -> bool:
        """Return whether nothing overlaps: barriers, and no other block on the SM."""
        return self.barriers and self.resident_blocks(shape) == 1

    def tile(self, shape: Shape) -> Tile:
        """Return the tile of a call."""
        size = sum(float(np.max(shape.dim)) > most for most in HEAD_DIMS)
        return (self.backward if shape.backward else self.forward)[size]


def _readers(products: float, queries: int, keys: int, *, rows: int) -> tuple[Tile, Tile, Tile]:
    """Tiles of which each reader takes ``rows`` queries and, for each product, all keys or values; queries stay in registers."""
    tile = Tile(queries, keys, query_reads=0.0, key_reads=products * queries / rows)
    return tile, tile, tile


def _slices_of_keys(warps: int, operands: int, *, key_reads: float, score_reads: float) -> tuple[Tile, Tile, Tile]:
    """Tiles of FlashAttention-1: 16 queries at a time, keys in as many slices as there are warps, which keep theirs in registers.

    Each warp reads all rows of ``operands`` (queries; in the backward pass the output's gradient too, both for two products). Its share of
    the result, in FP32 as large as two elements each, goes to shared memory and comes back to be added up.
    """
    result = 2 * 2
    query_reads = float(warps * (operands + result))
    return _three(Tile(128, keys, query_reads, key_reads, score_reads) for keys in (256, 128, 128))


def _three(tiles: Iterable[Tile]) -> tuple[Tile, Tile, Tile]:
    small, medium, large = tiles
    return small, medium, large


def _columns_of_warps(*sizes: tuple[int, int]) -> tuple[Tile, Tile, Tile]:
    """Tiles of FlashAttention-2's forward pass, queries x keys: four warps below each other read all keys and all values."""
    return _three(Tile(queries, keys, query_reads=1, key_reads=8) for queries, keys in sizes)


_FA1 = Kernel(
    forward=_slices_of_keys(4, 1, key_reads=0.0, score_reads=0.0),
    backward=_slices_of_keys(8, 4, key_reads=128 / 16, score_reads=4.0),  # values stay in shared memory, scores pass it to be transposed
    overlap="none",
    older_instruction=True,
    softmax_instructions=6.0,
    resident=2.0,
    longest_first=False,
    summed=(2.0, 2.0),
    barriers=True,
)
_FA2 = Kernel(
    forward=_columns_of_warps((128, 128), (128, 64), (64, 64)),
    backward=(
        Tile(128, 128, query_reads=14, key_reads=12, score_reads=8),
        Tile(64, 128, query_reads=18, key_reads=6, score_reads=10),
        Tile(64, 64, query_reads=10, key_reads=10, score_reads=14),
    ),
    overlap="none",
    older_instruction=True,
    softmax_instructions=4.0,
    resident=2.0,
    longest_first=False,
)
_FA3 = Kernel(
    forward=_readers(FORWARD_PRODUCTS, 128, 128, rows=64),
    backward=_readers(BACKWARD_PRODUCTS, 128, 128, rows=64),
    overlap="partly",
    older_instruction=False,
    softmax_instructions=4.0,
    resident=1.0,
    longest_first=True,
)
_FA4 = replace(
    _FA3,
    forward=_readers(FORWARD_PRODUCTS, 256, 128, rows=128),
    backward=_readers(BACKWARD_PRODUCTS, 256, 128, rows=128),
    overlap="full",
)

KERNELS: Mapping[str, Kernel] = {
    "fa1": _FA1,
    "fa2": _FA2,
    "fa2 split": replace(_FA2, forward=_columns_of_warps((64, 256), (64, 128), (64, 64))),
    "fa3": _FA3,
    "fa4": _FA4,
}
"""FlashAttention 1 (fmha_fprop_kernel_1xN.h, fmha_dgrad_kernel_1xN_loop.h and their FMHA_kernel_traits: keys outside, queries inside, so
that the output is read, rescaled and written for every tile of keys), 2 (Dao, arXiv 2307.08691; its tiles and warps are
those of flash_fwd_launch_template.h and flash_bwd_launch_template.h: forward four warps in a column; backward eight warps, of which by
head dimension 4 x 2, 2 x 4 and 4 x 2 share the scores, 4 x 2, 4 x 2 and 2 x 4 the gradients of keys and values, 4 x 2, 2 x 4 and
2 x 4 that of the queries; 'split': of keys in parts, run_mha_fwd_splitkv_dispatch), 3 and 4."""
