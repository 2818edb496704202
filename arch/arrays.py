"""Cycles of products and factorisations on arrays of multiply-accumulators: how shapes fall onto rows and columns.

A product runs output-stationary: an array of R x C holds R x C results and takes 2 R + C + k - 2 cycles for them, the fill and the
drain included (SCALE-Sim: Samajdar et al., ISPASS 2020, equation for output-stationary folds). Results at the edge of the product
leave part of the array idle, and the busiest array has ceil(tiles / arrays) of them.

A factorisation of n x n is n dependent steps: a pivot and a division (``step`` cycles), then the update of what remains, R x C
elements a cycle. A triangular solve is m such steps on the right-hand sides.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from arch.work import Float, Int


@dataclass(frozen=True)
class Array:
    """``engines`` arrays of ``rows`` x ``columns`` multiply-accumulators that work side by side."""

    engines: float
    rows: float
    columns: float
    step_cycles: float

    @property
    def macs(self) -> float:
        """Multiply-accumulators in all."""
        return self.engines * self.rows * self.columns


def product_cycles(array: Array, batch: Float, m: Float, n: Float, k: Float) -> Float:
    """Return cycles of ``batch`` products m x n x k, shape [products]; the better of the product and its transpose."""
    fold = 2 * array.rows + array.columns + k - 2
    upright = np.ceil(m / array.rows) * np.ceil(n / array.columns)
    across = np.ceil(n / array.rows) * np.ceil(m / array.columns)
    turns = np.ceil(batch * np.minimum(upright, across) / array.engines)
    cycles: Float = turns * fold
    return cycles


def product_bytes(m: Float, n: Float, k: Float, itemsize: Float, buffer: float) -> Float:
    """Return bytes that a product reads and writes beyond its operands, shape [products]: those that it reads again.

    Where an operand fits into half of the buffer both are read once. Else blocks of b x b results and as much of both operands
    share the buffer, and each operand is read once for every block along the other.
    """
    first, second = m * k * itemsize, k * n * itemsize
    block = np.maximum(np.floor(np.sqrt(buffer / 3 / itemsize)), 1.0)
    again = first * (np.ceil(n / block) - 1) + second * (np.ceil(m / block) - 1)
    return np.where(np.minimum(first, second) <= buffer / 2, 0.0, again)


def lu_cycles(array: Array, batch: Float, n: Float) -> Float:
    """Return cycles of ``batch`` factorisations of n x n matrices, an array each; shape [calls]."""
    updates = _updates(n, lambda left: np.ceil(left / array.rows) * np.ceil(left / array.columns))
    cycles: Float = np.ceil(batch / array.engines) * (n * array.step_cycles + updates)
    return cycles


def triangular_cycles(array: Array, batch: Float, m: Float, columns: Float) -> Float:
    """Return cycles of ``batch`` solves with m x m matrices and ``columns`` right-hand sides, an array each; shape [calls]."""
    updates = _updates(m, lambda left: np.ceil(left / array.rows))
    cycles: Float = np.ceil(batch / array.engines) * (m * array.step_cycles + updates * np.ceil(np.maximum(columns, 1) / array.columns))
    return cycles


def _updates(n: Float, of: Callable[[Float], Float]) -> Float:
    """Sum over the steps of a factorisation, what remains after each being n - 1 ... 0."""
    size: Int = np.maximum(n, 0).astype(np.int64)
    left = np.arange(int(size.max(initial=0)), dtype=np.float64)
    sums = np.concatenate([[0.0], np.cumsum(of(left))])
    return np.asarray(sums[size], dtype=np.float64)
