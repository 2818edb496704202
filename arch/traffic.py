"""Bytes that a kernel moves on a GPU: through an SM's L1, through L2, and of those from and to DRAM.

A sector of 32 bytes is the granule. Neighbouring threads that step through an operand

- contiguously, use each sector once: DRAM moves the elements touched, L2 what is asked for;
- by broadcast, share sectors: L1 serves repeats, so that an SM asks L2 for each byte at most once;
- with a stride or by gather, use one element of a sector (with a stride of a few elements perhaps several): both levels move
  that much an element, DRAM at most the tensor, and L2 at most the tensor once an SM: L1 keeps what threads share;
- across the other dimension (transposed), use one element of a sector at a time, the rest soon after: L1 moves a sector an
  element, DRAM the elements; where a row of the result is shorter than a warp, its threads share sectors; L2 moves a sector once
  a block that has results of all its elements, so more where a block writes few rows; through shared memory (a tiled
  transposition) the elements only.

L1 moves all that is asked for, in whole sectors: what it serves alone costs its own bandwidth.

L2 holds an operand from one touch to the next as long as few enough other bytes pass: kernels stream their operands front to back,
so that the bytes between two touches of a line are those of a whole kernel, its own operand's included, and an operand that is
larger than L2 finds nothing of itself there.

(CUDA C++ Best Practices Guide, 'Coalesced Access to Global Memory'; gpu-l2-cache of te42kyfo/gpu-benches for what L2 holds.)
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from arch.entry import Entry
from arch.facts import Facts, total
from arch.work import Float, Int

_WARP = 32.0
"""Neighbouring threads whose loads are one request."""


@dataclass(frozen=True)
class Caches:
    """What the traffic of a kernel depends on: ``full`` and ``none`` are bytes passed over L2's capacity, see ``resident``."""

    sector_bytes: float
    strided_step: float
    """How many elements a stride of a few steps over at most."""
    l2_bytes: float
    cores: float
    """SMs, each with an L1 of its own."""
    full: float = 1.0
    none: float = 1.0

    @classmethod
    def of_gpu(cls, numbers: Entry | Mapping[str, float]) -> "Caches":
        """Return the caches of a GPU of the catalogue."""
        names = ("sector_bytes", "strided_step", "l2", "sm_count", "l2_full", "l2_none")
        return cls(*(numbers[name] for name in names))


@dataclass(frozen=True, eq=False)
class Traffic:
    """``cold_bytes`` (if nothing is in L2) and ``resident`` (share of it that is) by access; the rest by kernel."""

    cold_bytes: Float
    resident: Float
    extra_dram: Float
    """DRAM bytes of kernels whose operands are not listed."""
    l1_bytes: Float
    l2_bytes: Float
    read_bytes: Float
    """Asked for by loads; of broadcast operands what L1 does not serve."""
    passing: Float
    """L2 bytes of each access, shape [accesses]."""


def traffic(facts: Facts, caches: Caches, blocks: Float, threads: Float) -> Traffic:
    """Return what each operand and kernel moves in grids of ``blocks`` blocks and ``threads`` threads in all, shape [kernels]."""
    dram, l2, l1 = _bytes(facts, caches, blocks)
    kernels = len(facts.launches)
    extra = np.where(facts.has_accesses, 0.0, facts.bytes_unique)
    spilled = facts.spill * threads
    return Traffic(
        cold_bytes=dram,
        resident=still_held(facts, caches),
        extra_dram=extra,
        l1_bytes=total(facts.owner, l1, kernels) + extra + spilled,
        l2_bytes=total(facts.owner, l2, kernels) + extra + spilled,
        read_bytes=total(facts.owner, np.where(facts.writes, 0.0, np.minimum(l2, facts.requested)), kernels) + extra / 2,
        passing=l2,
    )


def resident(caches: Caches, passed: Float) -> Float:
    """Return the share of a stream that L2 still holds when ``passed`` bytes went by since, its own included; shape [accesses].

    All of it up to ``full`` times the capacity, nothing from ``none`` times on.
    """
    beyond = passed / caches.l2_bytes - caches.full
    width = caches.none - caches.full
    return np.clip(1.0 - beyond / width, 0.0, 1.0) if width > 0 else np.where(beyond > 0, 0.0, 1.0)


def still_held(facts: Facts, caches: Caches) -> Float:
    """Return the share of each operand that L2 still holds of its last use; shape [accesses]."""
    return resident(caches, facts.reuse + _from_here(facts.owner, facts.unique))


def _from_here(owner: Int, size: Float) -> Float:
    """Bytes of each access and of those that follow it in its kernel; accesses are in the order of their kernels."""
    until = np.cumsum(size[::-1])[::-1]
    after = np.searchsorted(owner, owner, side="right")
    later: Float = until - np.append(until, 0.0)[after]
    return later


def buffered_share(size: Float, distance: Float, capacity: float) -> Float:
    """Return the share of an operand that a buffer which keeps the youngest bytes still holds, shape [accesses].

    ``distance`` other bytes passed since: what they left is the operand's, up to its size. Falls from 1 to 0 as the distance
    goes from (capacity - size) to the capacity.
    """
    left = np.clip(capacity - distance, 0.0, size)
    return np.divide(left, size, out=np.zeros_like(size), where=size > 0)


def _transposed(facts: Facts, sector: float) -> Float:
    """Bytes moved over bytes asked for where a warp reads across: it steps over ``row`` rows, then on to the next elements of each.

    Of 32 elements, ceil(32 / row) lie next to each other in each of min(32, row) places.
    """
    rows = np.minimum(facts.row, _WARP)
    sectors = rows * np.ceil(np.ceil(_WARP / rows) * facts.itemsize / sector)
    scatter: Float = np.maximum(np.minimum(sectors, _WARP) * sector / (_WARP * facts.itemsize), 1.0)
    return scatter


def _bytes(facts: Facts, caches: Caches, blocks: Float) -> tuple[Float, Float, Float]:
    """Bytes of each access that DRAM moves if nothing is in L2, that L2 moves, and that L1 moves; shape [accesses]."""
    unique, requested, sector = facts.unique, facts.requested, caches.sector_bytes
    whole = np.maximum(sector / facts.itemsize, 1.0)
    scatter = np.where(facts.stride.is_("strided"), np.minimum(whole, caches.strided_step), whole)
    scatter = np.where(facts.stride.is_("transposed"), _transposed(facts, sector), scatter)
    sparse = facts.stride.is_("strided", "gather")
    across = facts.stride.is_("transposed") & ~(facts.shared > 0)[facts.owner]
    dram = np.where(sparse, np.minimum(unique * scatter, facts.tensor_bytes), unique)
    l1 = np.where(sparse | across, requested * scatter, requested)
    l2 = np.where(across, requested * np.minimum(scatter, whole / _rows_of_a_block(facts, blocks, whole)), l1)
    l2 = np.where(sparse | facts.stride.is_("broadcast"), np.minimum(l1, dram * caches.cores), l2)
    return dram, np.maximum(l2, unique), l1


def _rows_of_a_block(facts: Facts, blocks: Float, most: Float) -> Float:
    """Rows of the result that a block writes, from 1 to ``most``: so many elements of a sector read across are of one block."""
    written = np.bincount(facts.owner, weights=np.where(facts.writes, facts.unique / facts.itemsize, 0.0), minlength=len(blocks))
    rows: Float = np.clip((written / blocks)[facts.owner] / facts.row, 1.0, most)
    return rows
