"""Time of a library's matrix products of which only the shape is known: tiles, waves, split-K, L2, DRAM, power.

A library has kernels that compute one tile of the result a block. Of its tiles and ways to split the inner dimension it is
taken to choose what is fastest here. A tile is computed in full even if the product does not fill it, and the busiest of the
SMs runs ceil(blocks / SMs) of them: the staircase that every measured product shows. On top of the multiply-adds of a block
come its start and its store of the result, its loads wait for L2 once a step of the inner dimension, and all blocks together
read their rows and columns through L2, and from DRAM what L2 does not hold. docs/gpu_model.md states each term with its source.
"""

from dataclasses import dataclass, fields

import numpy as np

from arch import power
from arch.catalog import Entry
from arch.facts import itemsize
from arch.gemm_library import Library, library
from arch.streaming import kept_share
from arch.work import Bool, Float, Int

_CHUNK = 2048
"""Products that are planned at once: with all their candidates they fit into a cache."""
_RELUCTANCE = 1 / 0.85
"""A split of a short inner dimension must be so much faster: libraries rarely take one."""
_WORST = np.finfo(np.float64).max
"""Seconds of a sensible choice that has no finite price: still before one that is not sensible."""


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
class Plan:
    """The fastest choice of each product; arrays of shape [products], seconds at the full clock, bytes and FLOP."""

    compute_s: Float
    """On the pipes of the busiest SM, its loads' waits and its blocks' starts and stores included."""
    l2_s: Float
    dram_s: Float
    extra_s: Float
    """What does not overlap: adding up the parts of a split product."""
    l2_bytes: Float
    again_bytes: Float
    """What DRAM serves more than once."""
    executed_flops: Float
    """Multiply-adds with the tiles' padding, counted twice."""
    sharpness: float

    def __getitem__(self, rows: Int) -> "Plan":
        return Plan(**{name: getattr(self, name)[rows] for name in _ARRAYS}, sharpness=self.sharpness)

    @property
    def total_s(self) -> Float:
        """Pipes and L2 work at once; DRAM overlaps them, but where both take equally long the sum of powers is longer than each."""
        return together(self.sharpness, np.maximum(self.compute_s, self.l2_s), self.dram_s) + self.extra_s


_ARRAYS = tuple(each.name for each in fields(Plan) if each.name != "sharpness")


def together(sharpness: float | Float, *seconds: Float) -> Float:
    """Return the time of activities that overlap, between the longest of them (infinite sharpness) and their sum (1)."""
    longest = np.maximum.reduce(seconds)
    scale = np.where(longest > 0, longest, 1.0)
    total: Float = scale * sum((each / scale) ** sharpness for each in seconds) ** (1 / sharpness)
    return total


def kernel_s(
    entry: Entry, dtype: str, batch: Float, m: Float, n: Float, k: Float, hot: Hot | None = None, idle_s: Float | float = 0.0
) -> Float:
    """Return the seconds of products of XLA dtype ``dtype``; 'f32' is full FP32 on the vector pipes, 'tf32' the tensor cores.

    ``hot`` says what L2 holds before (None: what fits), ``idle_s`` how long the GPU rests between kernels: its power is capped
    on average. Arrays of shape [products].
    """
    work = Products(batch, m, n, k, np.full(len(m), float(itemsize(dtype))))
    unit = library(entry, dtype)
    warm = resident(entry, work) if hot is None else hot
    rest = np.broadcast_to(np.asarray(idle_s, dtype=np.float64), m.shape)
    chosen = plan(unit, work, warm)
    share = clock_share(entry, unit, chosen, rest)
    slowed = together(unit.sharpness, np.maximum(chosen.compute_s, chosen.l2_s) / share, chosen.dram_s)
    return entry["kernel_floor"] + start_s(unit, warm.b) + slowed + chosen.extra_s


def start_s(unit: Library, hot: Float | float) -> Float | float:
    """Return the seconds until the first stages of operands that are not in L2 have come from DRAM."""
    return unit.stages * unit.dram_latency_s * (1 - hot)


def clock_share(entry: Entry, unit: Library, chosen: Plan, idle_s: Float | float) -> Float:
    """Return the share of the boost clock that the power cap leaves each product."""
    return power.clock_share(entry, unit.energy_per_flop, unit.dense_flops_per_s, chosen.executed_flops, chosen.total_s, idle_s)


def resident(entry: Entry, work: Products) -> Hot:
    """Return what L2 holds of operands that were used last."""
    share = kept_share(entry, np.sum(work.operand_bytes, axis=0), entry["l2"])
    return Hot(share, share, share)


def plan(unit: Library, work: Products, hot: Hot) -> Plan:
    """Return the fastest plan of each product."""
    parts = [slice(start, start + _CHUNK) for start in range(0, max(len(work.m), 1), _CHUNK)]
    return _joined([_fastest(unit, work[part], hot[part]) for part in parts])


def _joined(plans: list[Plan]) -> Plan:
    if len(plans) == 1:
        return plans[0]
    return Plan(**{name: np.concatenate([getattr(each, name) for each in plans]) for name in _ARRAYS}, sharpness=plans[0].sharpness)


def _fastest(unit: Library, work: Products, hot: Hot) -> Plan:
    """Price all sensible pairs of choice and product at once, and of each product keep the first choice that is fastest."""
    splits = np.asarray(unit.splits)
    sensible = _sensible(unit, splits, work)
    sensible[0, splits.argmin()] |= ~sensible.any(axis=(0, 1))  # where no choice is sensible: the first tile, whole
    tile, split, row = np.nonzero(sensible)
    tile_m, tile_n = np.asarray(unit.tile_m), np.asarray(unit.tile_n)
    tried = _candidate(unit, tile_m[tile], tile_n[tile], splits[split], work[row], hot[row])
    seconds, place = np.full(sensible.shape, np.inf), np.zeros(sensible.shape, dtype=np.int64)
    reluctant = np.where(_short(tile_m[tile] * tile_n[tile] / (tile_m[tile] + tile_n[tile]), splits[split], work[row]), _RELUCTANCE, 1.0)
    seconds[tile, split, row] = np.nan_to_num(tried.total_s * reluctant, nan=_WORST, posinf=_WORST)
    place[tile, split, row] = np.arange(len(row))
    best = seconds.reshape(-1, len(work.m)).argmin(axis=0)
    return _rows_of_one(unit, work, hot, tried[place.reshape(-1, len(work.m))[best, np.arange(len(work.m))]])


def _rows_of_one(unit: Library, work: Products, hot: Hot, tiled: Plan) -> Plan:
    """Return the plans of products of tiles, but where a vector meets a matrix that of the library's kernel for it, if faster.

    It streams the matrix once through all SMs: no tile is padded, and a block has next to nothing to keep and to store.
    """
    vector = (work.m == 1) | (work.n == 1)
    if not vector.any():
        return tiled
    a, b, c = work.operand_bytes
    cold = a * (1 - hot.a) + b * (1 - hot.b) + c * (1 - hot.c)
    flops = work.flops
    streamed = Plan(
        compute_s=flops / unit.vector_flops_per_s + unit.turn_cycles / unit.clock_hz,
        l2_s=(a + b + c) / unit.l2_bytes_per_s,
        dram_s=cold / unit.dram_bytes_per_s,
        extra_s=np.zeros_like(flops),
        l2_bytes=a + b + c,
        again_bytes=np.zeros_like(flops),
        executed_flops=flops,
        sharpness=unit.sharpness,
    )
    better = vector & (streamed.total_s < tiled.total_s)
    arrays = {name: np.where(better, getattr(streamed, name), getattr(tiled, name)) for name in _ARRAYS}
    return Plan(**arrays, sharpness=unit.sharpness)


def _sensible(unit: Library, splits: Float, work: Products) -> Bool:
    """Which products the library would compute with which tile and split, shape [tiles, splits, products].

    Batched ones only with the tiles for them, split ones only to fill the GPU.
    """
    tile_m, tile_n = np.asarray(unit.tile_m)[:, None, None], np.asarray(unit.tile_n)[:, None, None]
    split, alone = splits[:, None], work.batch <= 1
    tiles = np.ceil(work.m / tile_m) * np.ceil(work.n / tile_n)
    room = tiles * split <= 2 * unit.sms * unit.resident(tile_m * tile_n)
    listed = np.array([not unit.batched_tiles or tile in unit.batched_tiles for tile in zip(unit.tile_m, unit.tile_n, strict=True)])
    fits: Bool = np.where(split == 1, alone | listed[:, None, None], alone & room)
    return fits


def _short(tile: Float, split: Float, work: Products) -> Bool:
    """Return which splits leave parts of the inner dimension that are read faster than a tile of sums is written and read again."""
    short: Bool = (split > 1) & (work.k / split * work.size < 2 * 4 * tile)
    return short


def _candidate(unit: Library, tile_m: Float, tile_n: Float, split: Float, work: Products, hot: Hot) -> Plan:
    """Price one choice of tile and split: numbers, or arrays of shape [products]."""
    rows, columns = np.ceil(work.m / tile_m), np.ceil(work.n / tile_n)
    blocks = work.batch * rows * columns * split
    inner = np.ceil(np.ceil(work.k / split) / unit.k_step) * unit.k_step
    l2_bytes = blocks * (tile_m + tile_n) * inner * work.size / np.sqrt(unit.cluster)
    parts = np.where(split > 1, work.batch * work.m * work.n * 4.0 * (split + 1), 0.0)
    again_a, again_b = _again(unit, tile_m * tile_n, work, rows, columns)
    a, b, c = work.operand_bytes
    written = c * (1 - hot.c) * (1 + unit.partial_fill * (work.n * work.size % unit.sector_bytes != 0))
    cold = a * (1 - hot.a) + b * (1 - hot.b) + written
    return Plan(
        compute_s=_compute_s(unit, tile_m, tile_n, blocks, inner) * _page_misses(unit, (tile_m + tile_n) * work.k * work.size),
        l2_s=l2_bytes / unit.l2_bytes_per_s,
        dram_s=(cold + again_a + again_b) / unit.dram_bytes_per_s,
        extra_s=parts / unit.l2_bytes_per_s + np.where(split > 1, unit.launch_s + start_s(unit, 0.0), 0.0),
        l2_bytes=l2_bytes + parts,
        again_bytes=again_a + again_b,
        executed_flops=2 * tile_m * tile_n * inner * blocks,
        sharpness=unit.sharpness,
    )


def _compute_s(unit: Library, tile_m: Float, tile_n: Float, blocks: Float, inner: Float) -> Float:
    """Seconds of the busiest SM: multiply-adds, or waits for L2 if they are longer, and starts and stores of its blocks."""
    area = tile_m * tile_n
    most = unit.resident(area)
    busiest = np.ceil(blocks / unit.sms)
    at_once = np.minimum(busiest, most)
    turns = np.ceil(busiest / most)
    threads = at_once * area / unit.outputs_per_thread
    rate = unit.flops_per_sm * np.minimum(unit.efficiency(tile_m, tile_n) * threads / (threads + unit.hiding_threads), unit.issue_share)
    pipes = busiest * 2 * area * inner / rate
    waits = turns * inner / unit.k_step * unit.l2_latency_s
    full = at_once * area / unit.accumulators
    fixed = np.where(unit.persistent, 1.0, turns) * (unit.tile_cycles * full + unit.turn_cycles) / unit.clock_hz
    seconds: Float = np.maximum(pipes, waits) + fixed
    return seconds


def _page_misses(unit: Library, reach: Float) -> Float:
    """Return by how much pages that the SM's table does not hold stretch a main loop.

    Its tile's rows are as far apart as the inner dimension is long: each step reads another place of all the bytes in ``reach``.
    """
    missing: Float = 1 + unit.tlb_loss * np.maximum(1 - unit.tlb_bytes / np.maximum(reach, 1.0), 0.0)
    return missing


def _again(unit: Library, area: Float, work: Products, rows: Float, columns: Float) -> tuple[Float, Float]:
    """Bytes of the two operands that DRAM serves again: those that do not stay in L2 are read once a wave of tiles.

    A wave is as wide as it is high (blocks are numbered so), and a half of what it reads was read by the wave before.
    """
    a, b, _ = work.operand_bytes
    wave = unit.sms * unit.resident(area)
    high = np.minimum(rows, np.sqrt(wave))
    wide = np.minimum(columns, wave / high)
    spills = (rows * columns > wave) & (a + b > unit.l2_bytes / 2)
    again_a = np.where(spills & (a > unit.l2_bytes / 2), np.maximum(columns / wide / 2 - 1, 0.0), 0.0)
    again_b = np.where(spills & (b > unit.l2_bytes / 2), np.maximum(rows / high / 2 - 1, 0.0), 0.0)
    return a * again_a, b * again_b
