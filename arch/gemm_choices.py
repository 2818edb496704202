"""What a GEMM library can choose from for a product: tiles and splits, and what of each depends on no rate.

The busiest SM's blocks and waits, the bytes that pass L2 and DRAM: GPUs that differ in clocks and bandwidths share them. ``arch.gemm``
makes times of them and takes the fastest.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from arch.gemm_library import Tiling
from arch.work import Bool, Float, Int

CHUNK = 2048
"""Products that are planned at once: with all their choices they fit into a cache."""


@dataclass(frozen=True, eq=False)
class Products:
    """A batch of (m x k) @ (k x n) in each row; arrays of shape [products], elements of ``size`` bytes (itself an array)."""

    batch: Float
    m: Float
    n: Float
    k: Float
    size: Float

    def __getitem__(self, rows: Int | slice) -> "Products":
        return Products(self.batch[rows], self.m[rows], self.n[rows], self.k[rows], self.size[rows])

    @property
    def flops(self) -> Float:
        """Multiply-adds, counted twice."""
        return 2 * self.batch * self.m * self.n * self.k

    @property
    def operand_bytes(self) -> tuple[Float, Float, Float]:
        """Bytes of the left and the right operand and of the result."""
        a, b, c = (self.batch * self.size * area for area in (self.m * self.k, self.k * self.n, self.m * self.n))
        return a, b, c


@dataclass(frozen=True, eq=False)
class Hot:
    """Shares of the left operand, the right one and the result that L2 holds; arrays of shape [products]."""

    a: Float
    b: Float
    c: Float

    def __getitem__(self, rows: Int | slice) -> "Hot":
        return Hot(self.a[rows], self.b[rows], self.c[rows])


@dataclass(frozen=True, eq=False)
class Ways:
    """Ways to compute products, one a row; arrays of shape [ways]."""

    busiest_flops: Float
    """Multiply-adds of the busiest SM, counted twice."""
    share: Float
    """Of an SM's peak that they reach."""
    waits: Float
    """How many times the busiest SM waits for L2."""
    fixed_cycles: Float
    """Of starts and stores of its blocks."""
    stretch: Float
    """By how much pages that the SM's table does not hold stretch the main loop and what is around it."""
    l2_bytes: Float
    parts_bytes: Float
    """Of the sums of the parts of split products, written and read again."""
    dram_bytes: Float
    again_bytes: Float
    """Of these, what DRAM serves more than once."""
    executed_flops: Float
    split: Bool


@dataclass(frozen=True, eq=False)
class Choices:
    """All sensible ways of some products."""

    ways: Ways
    spot: Int
    """Place of each way in an array of shape [tiles x splits, products], flattened; shape [ways]."""
    way: Int
    """The way at each place of that array."""
    vectors: "Vectors"


@dataclass(frozen=True, eq=False)
class Vectors:
    """The products of a vector and a matrix for which the library has a kernel; arrays of shape [such products]."""

    rows: Int
    """Which products they are."""
    flops: Float
    bytes: Float
    """Of operands and result."""
    cold_bytes: Float


def choices(tiling: Tiling, work: Products, hot: Hot) -> Iterator[Choices]:
    """Yield the choices for each ``CHUNK`` products."""
    for start in range(0, max(len(work.m), 1), CHUNK):
        part = slice(start, start + CHUNK)
        yield _choices(tiling, work[part], hot[part])


def _choices(tiling: Tiling, work: Products, hot: Hot) -> Choices:
    splits = np.asarray(tiling.splits)
    sensible = _sensible(tiling, splits, work)
    sensible[0, splits.argmin()] |= ~sensible.any(axis=(0, 1))  # where no choice is sensible: the first tile, whole
    tile, split, row = np.nonzero(sensible)
    tile_m, tile_n = np.asarray(tiling.tile_m)[tile], np.asarray(tiling.tile_n)[tile]
    spot = np.flatnonzero(sensible)
    way = np.zeros(sensible.size, dtype=np.int64)
    way[spot] = np.arange(len(spot))
    return Choices(
        ways=ways(tiling, tile_m, tile_n, splits[split], work[row], hot[row]),
        spot=spot,
        way=way.reshape(-1, len(work.m)),
        vectors=_vectors(tiling, work, hot),
    )


def _vectors(tiling: Tiling, work: Products, hot: Hot) -> Vectors:
    rows = np.flatnonzero(((work.m == 1) | (work.n == 1)) & tiling.vector_kernel)
    few, held = work[rows], hot[rows]
    a, b, c = few.operand_bytes
    cold = a * (1 - held.a) + b * (1 - held.b) + c * (1 - held.c)
    return Vectors(rows, few.flops, a + b + c, cold)


def _sensible(tiling: Tiling, splits: Float, work: Products) -> Bool:
    """Which products the library would compute with which tile and split, shape [tiles, splits, products].

    Batched ones only with the tiles for them, split ones only to fill the GPU.
    """
    tile_m, tile_n = np.asarray(tiling.tile_m)[:, None, None], np.asarray(tiling.tile_n)[:, None, None]
    split, alone = splits[:, None], work.batch <= 1
    tiles = np.ceil(work.m / tile_m) * np.ceil(work.n / tile_n)
    room = tiles * split <= 2 * tiling.sms * tiling.resident(tile_m * tile_n)
    listed = np.array([not tiling.batched_tiles or tile in tiling.batched_tiles for tile in zip(tiling.tile_m, tiling.tile_n, strict=True)])
    fits: Bool = np.where(split == 1, alone | listed[:, None, None], alone & room)
    return fits


def ways(tiling: Tiling, tile_m: Float, tile_n: Float, split: Float, work: Products, hot: Hot) -> Ways:
    """Return what each product does with a tile and a split, all of shape [ways]."""
    rows, columns = np.ceil(work.m / tile_m), np.ceil(work.n / tile_n)
    blocks = work.batch * rows * columns * split
    inner = np.ceil(np.ceil(work.k / split) / tiling.k_step) * tiling.k_step
    loaded = blocks * (tile_m + tile_n) * inner * work.size / np.sqrt(tiling.cluster)
    parts = np.where(split > 1, work.batch * work.m * work.n * 4.0 * (split + 1), 0.0)
    again_a, again_b = _again(tiling, tile_m * tile_n, work, rows, columns)
    a, b, c = work.operand_bytes
    written = c * (1 - hot.c) * (1 + tiling.partial_fill * (work.n * work.size % tiling.sector_bytes != 0))
    cold = a * (1 - hot.a) + b * (1 - hot.b) + written
    busiest, share, waits, fixed = _on_busiest(tiling, tile_m, tile_n, blocks, inner)
    return Ways(
        busiest_flops=busiest,
        share=share,
        waits=waits,
        fixed_cycles=fixed,
        stretch=_page_misses(tiling, (tile_m + tile_n) * work.k * work.size),
        l2_bytes=np.maximum(loaded, np.where(split > 1, 0.0, c)),  # loads come and stores go on networks of their own
        parts_bytes=parts,
        dram_bytes=cold + again_a + again_b,
        again_bytes=again_a + again_b,
        executed_flops=2 * tile_m * tile_n * inner * blocks,
        split=np.asarray(split > 1, dtype=np.bool_),
    )


def _on_busiest(tiling: Tiling, tile_m: Float, tile_n: Float, blocks: Float, inner: Float) -> tuple[Float, Float, Float, Float]:
    """What the busiest SM does: multiply-adds (counted twice), at which share of its peak, waits for L2, and cycles around its blocks."""
    area = tile_m * tile_n
    most = tiling.resident(area)
    busiest = np.ceil(blocks / tiling.sms)
    at_once = np.minimum(busiest, most)
    turns = np.ceil(busiest / most)
    threads = at_once * area / tiling.outputs_per_thread
    share = tiling.loop_share(tile_m, tile_n, threads)
    full = at_once * area / tiling.accumulators
    fixed = np.where(tiling.persistent, 1.0, turns) * (tiling.tile_cycles * full + tiling.turn_cycles)
    return busiest * 2 * area * inner, share, turns * inner / tiling.k_step, fixed


def _page_misses(tiling: Tiling, reach: Float) -> Float:
    """Return by how much pages that the SM's table does not hold stretch a main loop.

    Its tile's rows are as far apart as the inner dimension is long: each step reads another place of all the bytes in ``reach``.
    """
    missing: Float = 1 + tiling.tlb_loss * np.maximum(1 - tiling.tlb_bytes / np.maximum(reach, 1.0), 0.0)
    return missing


def _again(tiling: Tiling, area: Float, work: Products, rows: Float, columns: Float) -> tuple[Float, Float]:
    """Bytes of the two operands that DRAM serves again: those that do not stay in L2 are read once a wave of tiles.

    A wave is as wide as it is high (blocks are numbered so), and a half of what it reads was read by the wave before.
    """
    a, b, _ = work.operand_bytes
    wave = tiling.sms * tiling.resident(area)
    high = np.minimum(rows, np.sqrt(wave))
    wide = np.minimum(columns, wave / high)
    spills = (rows * columns > wave) & (a + b > tiling.l2_bytes / 2)
    again_a = np.where(spills & (a > tiling.l2_bytes / 2), np.maximum(columns / wide / 2 - 1, 0.0), 0.0)
    again_b = np.where(spills & (b > tiling.l2_bytes / 2), np.maximum(rows / high / 2 - 1, 0.0), 0.0)
    return a * again_a, b * again_b
