"""Time of batched LU factorisations and triangular solves of small matrices, as cuBLAS was measured to take it.

Large batches are priced by what one more matrix keeps an SM busy: cycles measured at some sizes on one GPU (catalogue: ``lu_cycles``,
``triangular_cycles``), between them a power of the size. The library has kernels for up to 8, 16 and 32 rows, which compute in full, and
blocked ones above: the measured cycles jump there. Right-hand sides of matrices of more than 8 rows are solved in tiles of columns.

A batch takes at least as long as one matrix, a chain of dependent steps. Up to 32 rows a column of LU is a search for the pivot (a warp
reduction: five shuffles, each followed by a compare and a select), its broadcast through shared memory, a division, and an update of the
columns to its right, one multiply-add each a lane. Above, the chain is what few matrices were measured to take (``lu_chain_cycles``). A
step of a solve is a load, a division and an update of the rows below. The batched routines take arrays of pointers (cuBLAS
documentation, cublas<t>getrfBatched): a warp waits for its pointer, then for the matrix.

A matrix that is factorised alone (cuSOLVER's getrf) takes its panels one after another, 2,200 cycles a column of up to 128 rows and
6,000 of 8,192 as measured on one A100 (catalogue: ``one_lu_cycles``), and updates the rest as products of the whole GPU.
"""

from dataclasses import dataclass

import numpy as np

from arch.entry import Entry
from arch.work import Bool, Float
from traces.capture.library import BATCHED_ROWS
from traces.capture.spectral import SWEEPS

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
    lu_chain: Measured
    """Of one matrix of a batch, of more rows than a warp has lanes."""
    one_lu: Measured
    """Of a matrix that is factorised alone: cycles of its panels."""
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
    product_flops: float
    """FLOP/s of products."""

    @property
    def cycles(self) -> tuple[object, ...]:
        """All on which work depends that is counted in cycles: GPUs of other clocks have the same."""
        operations = self.arithmetic, self.shared, self.shuffle, self.divide
        return self.lu, self.lu_chain, self.one_lu, self.triangular, self.tile_columns, self.warp_threads, self.slots, *operations

    @classmethod
    def of(cls, entry: Entry) -> "Numbers":
        """Return the numbers of a GPU of the catalogue."""
        return cls(
            lu=Measured(entry.list("lu_rows"), entry.list("lu_cycles"), 3.0),
            lu_chain=Measured(entry.list("lu_chain_rows"), entry.list("lu_chain_cycles"), 3.0),
            one_lu=Measured(entry.list("one_lu_rows"), entry.list("one_lu_cycles"), 2.0),
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
            product_flops=entry.group("vector_flops")["f32"] * entry["gemm_efficiency_vector"],
        )


@dataclass(frozen=True, eq=False)
class Factorisations:
    """LU factorisations, without clocks; arrays of shape [calls]. GPUs that differ in clocks alone share them."""

    batch: Float
    chain_cycles: Float
    """Of the dependent steps of one matrix."""
    busy_cycles: Float
    """That one more matrix of a large batch keeps an SM busy."""
    panel_cycles: Float
    """Of the panels of a matrix that is factorised alone."""
    flops: Float
    batched: Bool

    @classmethod
    def of(cls, numbers: Numbers, batch: Float, n: Float) -> "Factorisations":
        """Return ``batch`` factorisations of n by n matrices in each call."""
        pivot = np.log2(numbers.warp_threads) * (numbers.shuffle + 2 * numbers.arithmetic) + numbers.arithmetic
        warp = n * (pivot + numbers.shared + numbers.divide) + n * (n - 1) / 2
        return cls(
            batch=batch,
            chain_cycles=np.where(n > numbers.warp_threads, numbers.lu_chain.at(n), warp),
            busy_cycles=numbers.lu.at(n),
            panel_cycles=numbers.one_lu.at(n),
            flops=2 / 3 * n**3,
            batched=(batch > 1) & (n <= BATCHED_ROWS * batch),
        )

    def seconds(self, numbers: Numbers) -> Float:
        """Return what each call takes, s."""
        chain = self.chain_cycles / numbers.clock_hz + 2 * numbers.memory_s
        busy = self.busy_cycles / numbers.clock_hz
        batched = np.maximum(chain, self.batch * busy / numbers.sms)
        alone = self.panel_cycles / numbers.clock_hz + self.flops / numbers.product_flops
        return np.where(self.batched, batched, self.batch * alone)


@dataclass(frozen=True, eq=False)
class Solves:
    """Triangular solves, without clocks; arrays of shape [calls].

    A solve that is not batched uses a kernel of its own, of which no time was measured: warps that take 32 right-hand sides each.
    """

    chain_cycles: Float
    """Of the dependent steps of one matrix."""
    busy_cycles: Float
    """Of all matrices and right-hand sides, if one SM solved them."""
    turns: Float
    """That the warps of a solve which is not batched take."""
    batched: Bool

    @classmethod
    def of(cls, numbers: Numbers, batch: Float, m: Float, columns: Float) -> "Solves":
        """Return ``batch`` solves with m by m matrices and ``columns`` right-hand sides in each call."""
        right = np.maximum(columns, 1)
        solved = np.where(m > _SMALLEST_KERNEL, np.ceil(right / numbers.tile_columns) * numbers.tile_columns, right)
        return cls(
            chain_cycles=m * (numbers.shared + numbers.divide + numbers.arithmetic) + m * (m - 1) / 2,
            busy_cycles=batch * solved * numbers.triangular.at(m),
            turns=np.ceil(batch * np.ceil(right / numbers.warp_threads) / numbers.slots),
            batched=batch > 1,
        )

    def seconds(self, numbers: Numbers) -> Float:
        """Return what each call takes, s."""
        chain = self.chain_cycles / numbers.clock_hz + 2 * numbers.memory_s
        busy = self.busy_cycles / (numbers.sms * numbers.clock_hz)
        return np.where(self.batched, np.maximum(chain, busy), self.turns * chain)


def lu_s(numbers: Numbers, batch: Float, n: Float) -> Float:
    """Return seconds for ``batch`` factorisations of n by n matrices; shape [calls]."""
    return Factorisations.of(numbers, batch, n).seconds(numbers)


def triangular_s(numbers: Numbers, batch: Float, m: Float, columns: Float) -> Float:
    """Return seconds for ``batch`` solves with m by m matrices and ``columns`` right-hand sides; shape [calls]."""
    return Solves.of(numbers, batch, m, columns).seconds(numbers)


def rotations_s(numbers: Numbers, batch: Float, n: Float) -> Float:
    """Return seconds until Jacobi's rotations have made ``batch`` matrices of n columns diagonal, a warp a matrix; shape [calls].

    Each of a sweep's n - 1 rounds waits for the one before: a sum over the warp for the angle, a division and two roots, as long each,
    and both columns from shared memory and back. No time of it was measured but with a call's overhead.
    """
    angle = np.log2(numbers.warp_threads) * (numbers.shuffle + numbers.arithmetic) + 3 * numbers.divide
    rounds = SWEEPS * np.maximum(n - 1, 0.0)
    turns = np.ceil(batch / numbers.slots)
    seconds: Float = turns * rounds * (angle + 2 * numbers.shared) / numbers.clock_hz + 2 * numbers.memory_s
    return seconds
