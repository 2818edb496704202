"""Time of batched LU factorisations and triangular solves of small matrices, as cuBLAS was measured to take it.

Large batches are priced by what one more matrix keeps an SM busy: cycles measured at some sizes on one GPU (catalogue: ``lu_cycles``,
``triangular_cycles``), between them a power of the size. The library has kernels for up to 8, 16 and 32 rows, which compute in full, and
blocked ones above: the measured cycles jump there. Right-hand sides of matrices of more than 8 rows are solved in tiles of columns.

A batch takes at least as long as one matrix, a chain of dependent steps. A column of LU is a search for the pivot (a warp reduction: five
shuffles, each followed by a compare and a select), its broadcast through shared memory, a division, and an update of the columns to its
right, one multiply-add each a lane. A step of a solve is a load, a division and an update of the rows below. Matrices of more than 32 rows
take a lane several rows, and keep an SM busy alone; from 128 rows on, where the update has several blocks, several SMs. The batched
routines take arrays of pointers (cuBLAS documentation, cublas<t>getrfBatched): a warp waits for its pointer, then for the matrix.

A matrix that is factorised alone may use the whole GPU: four dependent kernels a column (LAPACK's getf2: search, exchange, scale,
update) and the update of the rest as products. 4,096 rows took 41 ms on a V100 and 44 ms on an A100 (JAX issue 9694): 10 us a column. Of
fewer rows a warp alone is taken to be faster, though cuSOLVER was measured to need 1.7 us a column of 64 to 256 rows on an A100.
"""

from dataclasses import dataclass

import numpy as np

from arch.entry import Entry
from arch.work import Float

_KERNELS_A_COLUMN = 4
_BATCHED_ROWS = 128
"""jaxlib (gpu/solver_kernels_ffi.cc) batches factorisations of at most this many rows a matrix of the batch; others run one by one."""
_UPDATE_ROWS = 128
"""Side of the tile of a product that a block computes, in the update of the rest."""
_SMALLEST_KERNEL = 8
"""Rows up to which solves have a kernel that does not pad the right-hand sides."""


@dataclass(frozen=True)
class Measured:
    """Cycles that one more matrix of a large batch keeps an SM busy, by its rows; outside of what was measured they grow with ``power``."""

    rows: tuple[float, ...]
    cycles: tuple[float, ...]
    power: float

    def at(self, n: Float) -> Float:
        """Return the cycles for matrices of ``n`` rows; any shape."""
        inside = np.exp(np.interp(np.log(np.maximum(n, 1.0)), np.log(self.rows), np.log(self.cycles)))
        beyond = np.maximum(n / self.rows[-1], 1.0) ** self.power
        below = np.minimum(n / self.rows[0], 1.0)
        found: Float = inside * beyond * below
        return found


@dataclass(frozen=True)
class Numbers:
    """What was measured of the library, cycles of dependent operations, and what the GPU runs at once."""

    lu: Measured
    triangular: Measured
    """For each right-hand side."""
    tile_columns: float
    """Right-hand sides that are solved together."""
    arithmetic: float
    shared: float
    shuffle: float
    divide: float
    warp_threads: float
    clock_hz: float
    sms: float
    slots: float
    """Blocks of one warp that are resident on the whole GPU."""
    memory_s: float
    """Seconds of a load that misses L2."""
    launch_s: float
    """Seconds of the shortest kernel."""
    product_flops: float
    """FLOP/s of products."""

    @classmethod
    def of(cls, entry: Entry) -> "Numbers":
        """Return the numbers of a GPU of the catalogue."""
        return cls(
            lu=Measured(entry.list("lu_rows"), entry.list("lu_cycles"), 3.0),
            triangular=Measured(entry.list("triangular_rows"), entry.list("triangular_cycles"), 2.0),
            tile_columns=entry["triangular_tile_columns"],
            arithmetic=entry["arithmetic_latency_cycles"],
            shared=entry["shared_latency_cycles"],
            shuffle=entry["shuffle_latency_cycles"],
            divide=entry["divide_latency_cycles"],
            warp_threads=entry["warp_threads"],
            clock_hz=entry["clock"],
            sms=entry["sm_count"],
            slots=entry["sm_count"] * entry["max_blocks_per_sm"],
            memory_s=max(entry["dram_latency"], entry["l2_latency"]),
            launch_s=entry["kernel_floor"],
            product_flops=entry.group("vector_flops")["f32"] * entry["gemm_efficiency_vector"],
        )


def lu_s(numbers: Numbers, batch: Float, n: Float) -> Float:
    """Return seconds for ``batch`` factorisations of n by n matrices; shape [calls]."""
    rows = np.ceil(n / numbers.warp_threads)
    pivot = np.log2(numbers.warp_threads) * (numbers.shuffle + 2 * numbers.arithmetic) + rows * numbers.arithmetic
    column = pivot + numbers.shared + numbers.divide
    chain = (n * column + rows * n * (n - 1) / 2) / numbers.clock_hz + 2 * numbers.memory_s
    busy = numbers.lu.at(n) / numbers.clock_hz
    alone = np.where(n > numbers.warp_threads, busy / np.maximum((n / _UPDATE_ROWS) ** 2, 1.0), 0.0)
    batched = np.maximum.reduce([chain, alone, batch * busy / numbers.sms])
    by_kernels = n * _KERNELS_A_COLUMN * (numbers.launch_s + numbers.memory_s) + 2 / 3 * n**3 / numbers.product_flops
    together = (batch > 1) & (n <= _BATCHED_ROWS * batch)
    seconds: Float = np.where(together, batched, batch * np.minimum(chain, by_kernels))
    return seconds


def triangular_s(numbers: Numbers, batch: Float, m: Float, columns: Float) -> Float:
    """Return seconds for ``batch`` solves with m by m matrices and ``columns`` right-hand sides; shape [calls].

    A solve that is not batched uses a kernel of its own, of which no time was measured: warps that take 32 right-hand sides each.
    """
    right = np.maximum(columns, 1)
    chain = (m * (numbers.shared + numbers.divide + numbers.arithmetic) + m * (m - 1) / 2) / numbers.clock_hz + 2 * numbers.memory_s
    turns = np.ceil(batch * np.ceil(right / numbers.warp_threads) / numbers.slots)
    solved = np.where(m > _SMALLEST_KERNEL, np.ceil(right / numbers.tile_columns) * numbers.tile_columns, right)
    busy = batch * solved * numbers.triangular.at(m) / (numbers.sms * numbers.clock_hz)
    seconds: Float = np.where(batch > 1, np.maximum(chain, busy), turns * chain)
    return seconds
