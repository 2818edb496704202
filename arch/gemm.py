"""Time of a library's matrix product whose grid is not known: tiles, split-K, waves, L2 traffic and pipeline fill.

The library is taken to choose, of its tiles and ways to split the inner dimension, the one that is fastest here. A tile is
computed in full even if the product does not fill it; the busiest SM runs ceil(tiles / SMs) of them. Every tile reads its
rows and columns of both operands through L2. The main loop waits for L2 once a group of stages.
"""

from dataclasses import dataclass
from functools import reduce
from itertools import product

import numpy as np

from arch.device import Float


@dataclass(frozen=True)
class Library:
    """The tiles that a GEMM library has, and the GPU that they run on."""

    tile_m: tuple[float, ...]
    tile_n: tuple[float, ...]
    tile_efficiency: tuple[float, ...]
    split_k: tuple[float, ...]
    k_step: float
    stages: float
    sms: float
    l2_bytes_per_s: float
    l2_latency_s: float


@dataclass(frozen=True, eq=False)
class Plan:
    """Times of the fastest choice: on the pipes, through L2, and waiting for stages; shape [products], seconds."""

    compute_s: Float
    l2_s: Float
    wait_s: Float
    l2_bytes: Float

    @property
    def total_s(self) -> Float:
        """Pipes and L2 overlap; the waits of the main loop do not."""
        return np.maximum(self.compute_s, self.l2_s) + self.wait_s


def plan(library: Library, batch: Float, m: Float, n: Float, k: Float, itemsize: Float, flops_per_s: Float) -> Plan:
    """Return the fastest plan of each product; ``flops_per_s`` is what a large product reaches. Arrays of shape [products]."""
    tiles = zip(library.tile_m, library.tile_n, library.tile_efficiency, strict=True)
    return reduce(
        _faster,
        (_candidate(library, tile, split, batch, m, n, k, itemsize, flops_per_s) for tile, split in product(tiles, library.split_k)),
    )


def _candidate(
    library: Library,
    tile: tuple[float, float, float],
    split: float,
    batch: Float,
    m: Float,
    n: Float,
    k: Float,
    itemsize: Float,
    flops_per_s: Float,
) -> Plan:
    rows, columns, efficiency = tile
    tiles = batch * np.ceil(m / rows) * np.ceil(n / columns)
    inner = np.ceil(np.ceil(k / split) / library.k_step) * library.k_step
    blocks = tiles * split
    turns = np.ceil(blocks / library.sms)
    compute = turns * (2 * rows * columns * inner) / (flops_per_s * efficiency / library.sms)
    partial = np.where(split > 1, 2 * split * batch * m * n * 4.0, 0.0)  # FP32 partial sums, written and read again
    moved = blocks * (rows + columns) * inner * itemsize + partial
    wait = np.ceil(inner / library.k_step / library.stages) * library.l2_latency_s
    return Plan(compute, moved / library.l2_bytes_per_s, wait, moved)


def _faster(a: Plan, b: Plan) -> Plan:
    better = b.total_s < a.total_s
    return Plan(
        np.where(better, b.compute_s, a.compute_s),
        np.where(better, b.l2_s, a.l2_s),
        np.where(better, b.wait_s, a.wait_s),
        np.where(better, b.l2_bytes, a.l2_bytes),
    )
