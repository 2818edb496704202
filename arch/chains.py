"""Chains: consecutive kernels whose consumer reads its producer's tile in order, so that it can start before the producer ends.

A kernel joins the chain of the one before it if

- both lie in the same run (``arch.runs``) and on the same device, and the producer wrote an operand of it;
- it is elementwise (broadcasts too), or a reduction of rows whose row fits into the buffer: full reductions end in one value that
  needs all input, and break a chain on both sides;
- the producer is one of these, or a product;
- every operand that the chain produced is read contiguously or by broadcast. Transposes, LU, triangular solves, gathers,
  concatenations and library calls of other kinds break a chain.

Inside a chain produced operands are not read from memory; what nobody else reads is not written either.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from arch.facts import Facts, total
from arch.runs import Runs
from arch.text import Text
from arch.work import Bool, Float, Int

if TYPE_CHECKING:
    from traces.trace import Trace

_SCALAR_BYTES = 8
_IN_ORDER = ("contiguous", "broadcast")


@dataclass(frozen=True, eq=False)
class Chains:
    """``of_kernel`` is the chain of each kernel [kernels]; ``internal`` says which accesses [accesses] never leave the chip."""

    of_kernel: Int
    internal: Bool

    @property
    def length(self) -> Int:
        """Kernels in the chain of each kernel, shape [kernels]."""
        counts: Int = np.bincount(self.of_kernel, minlength=1)[self.of_kernel]
        return counts


def chains_of(
    trace: "Trace", known: Facts, runs: Runs, mine: Bool, row_bytes: float, most: int = 1 << 30, first: Bool | None = None
) -> Chains:
    """Return the chains that the kernels ``mine`` [kernels] form; rows of reductions must fit into ``row_bytes``.

    ``most`` limits the kernels of a chain; those that are ``first`` [kernels] of something else join none.
    """
    kernels = len(known.launches)
    joins = _joins(trace, known, runs, mine, row_bytes)
    if first is not None:
        joins &= ~first
    if most < kernels:
        joins &= _position(joins) % most != 0
    chain = np.cumsum(~joins).astype(np.int64)
    writer = trace.last_writer.astype(np.int64)
    reads = (writer >= 0) & (writer < known.owner) & (chain[writer] == chain[known.owner]) & ~known.writes
    return Chains(chain - 1, reads | _unread_outside(trace, known, reads))


def _position(joins: Bool) -> Int:
    """Place of each kernel in its chain."""
    index = np.arange(len(joins))
    start = np.maximum.accumulate(np.where(joins, 0, index))
    return index - start


def _joins(trace: "Trace", known: Facts, runs: Runs, mine: Bool, row_bytes: float) -> Bool:
    """Whether each kernel joins the one before it."""
    kernels = len(known.launches)
    rows = known.family.is_("reduce") & _rows_fit(known, row_bytes)
    streams = known.family.is_("elementwise") | rows
    feeds = streams | known.family.is_("gemm")
    writer = trace.last_writer.astype(np.int64)
    recent = (writer >= 0) & (writer < known.owner) & (runs.of_kernel[np.maximum(writer, 0)] == runs.of_kernel[known.owner])
    from_previous = np.bincount(known.owner, weights=recent & (writer == known.owner - 1), minlength=kernels) > 0
    in_order = known.stride.is_(*_IN_ORDER)
    disordered = np.bincount(known.owner, weights=recent & ~in_order & ~known.writes, minlength=kernels) > 0
    joins = np.zeros(kernels, dtype=np.bool_)
    same = runs.of_kernel[1:] == runs.of_kernel[:-1]
    joins[1:] = same & mine[1:] & mine[:-1] & streams[1:] & feeds[:-1] & from_previous[1:] & ~disordered[1:]
    return joins


def _rows_fit(known: Facts, row_bytes: float) -> Bool:
    """Reductions of rows that fit: several results, each of as many bytes of input as the buffer holds at most."""
    kernels = len(known.launches)
    read = total(known.owner, np.where(known.writes, 0.0, known.unique), kernels)
    written = total(known.owner, np.where(known.writes, known.unique, 0.0), kernels)
    size: Float = np.zeros(kernels)
    np.maximum.at(size, known.owner, known.itemsize)
    return np.asarray((written > _SCALAR_BYTES) & (read / np.maximum(written, 1.0) * size <= row_bytes), dtype=np.bool_)


def _unread_outside(trace: "Trace", known: Facts, internal: Bool) -> Bool:
    """Writes that only the chain itself reads, of tensors that die with it."""
    writer, alias = trace.last_writer.astype(np.int64), trace.access_alias.astype(np.int64)
    sets = int(alias.max(initial=0)) + 1
    read = writer >= 0
    key = np.where(read, writer, 0) * sets + alias
    outside = np.unique(key[read & ~internal])
    inside = np.unique(key[read & internal])
    own = known.owner * sets + alias
    temporary = Text.of(trace.tensors, "kind").at(trace.accesses["tensor"]).is_("temporary", "workspace")
    return np.asarray(known.writes & temporary & np.isin(own, inside) & ~np.isin(own, outside), dtype=np.bool_)


def sums(chains: Chains, values: Float) -> Float:
    """Return the sum of ``values`` [kernels] over the chain of each kernel, shape [kernels]."""
    of_chain = np.bincount(chains.of_kernel, weights=values, minlength=1)
    return np.asarray(of_chain[chains.of_kernel], dtype=np.float64)
