"""Time of batched LU factorisations and triangular solves of small matrices: chains of dependent steps, a warp a matrix.

A column of LU is a search for the pivot (a warp reduction: five shuffles, each followed by a compare and a select), its
broadcast through shared memory, a division, and an update of the columns to its right, one multiply-add each a lane. A step
of a solve is a load, a division and an update of the rows below. Matrices of more than 32 rows take a lane several rows.
The batched routines take arrays of pointers (cuBLAS documentation, cublas<t>getrfBatched): a warp waits for its pointer, then for the
matrix. The pattern is that of cuBLAS' batched routines and of MAGMA's (Abdelfattah et al., ICCS 2017); no time of it is fitted.

A matrix that is factorised alone may use the whole GPU: four dependent kernels a column (LAPACK's getf2: search, exchange, scale,
update) and the update of the rest as products. 4,096 rows took 41 ms on a V100 and 44 ms on an A100 (JAX issue 9694): 10 us a column.
"""

from dataclasses import dataclass

import numpy as np

from arch.work import Float

_KERNELS_A_COLUMN = 4
_BATCHED_ROWS = 128
"""jaxlib (gpu/solver_kernels_ffi.cc) batches factorisations of at most this many rows a matrix of the batch; others run one by one."""


@dataclass(frozen=True)
class Latencies:
    """Cycles of dependent operations, and what the GPU runs at once."""

    arithmetic: float
    shared: float
    shuffle: float
    divide: float
    warp_threads: float
    clock_hz: float
    slots: float
    """Blocks of one warp that are resident on the whole GPU."""
    memory_s: float
    """Seconds of a load that misses L2."""
    launch_s: float
    """Seconds of the shortest kernel."""
    product_flops: float
    """FLOP/s of products."""


def lu_s(latency: Latencies, batch: Float, n: Float) -> Float:
    """Return seconds for ``batch`` factorisations of n by n matrices; shape [calls]."""
    rows = np.ceil(n / latency.warp_threads)
    pivot = np.log2(latency.warp_threads) * (latency.shuffle + 2 * latency.arithmetic) + rows * latency.arithmetic
    column = pivot + latency.shared + latency.divide
    cycles = n * column + rows * n * (n - 1) / 2
    loads = 2 * latency.memory_s
    batched = np.ceil(batch / latency.slots) * (cycles / latency.clock_hz + loads)
    by_kernels = n * _KERNELS_A_COLUMN * (latency.launch_s + latency.memory_s) + 2 / 3 * n**3 / latency.product_flops
    apart = batch * np.minimum(cycles / latency.clock_hz + loads, by_kernels)
    seconds: Float = np.where(n > _BATCHED_ROWS * batch, apart, batched)
    return seconds


def triangular_s(latency: Latencies, batch: Float, m: Float, columns: Float) -> Float:
    """Return seconds for ``batch`` solves with m by m matrices and ``columns`` right-hand sides; shape [calls]."""
    warps = batch * np.ceil(np.maximum(columns, 1) / latency.warp_threads)
    cycles = m * (latency.shared + latency.divide + latency.arithmetic) + m * (m - 1) / 2
    seconds: Float = np.ceil(warps / latency.slots) * (cycles / latency.clock_hz + 2 * latency.memory_s)
    return seconds
