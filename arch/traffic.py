"""Bytes that a kernel moves on a GPU: through an SM's L1, through L2, and of those from and to DRAM.

A sector of 32 bytes is the granule. Neighbouring threads that step through an operand

- contiguously, use each sector once: DRAM moves the elements touched, L2 what is asked for;
- by broadcast, share sectors: L1 serves repeats, so that an SM asks L2 for each byte at most once;
- with a stride or by gather, use one element of a sector (with a stride of a few elements perhaps several): both levels move
  that much an element, DRAM at most the tensor, and L2 at most the tensor once an SM: L1 keeps what threads share;
- across the other dimension (transposed), use one element of a sector at a time, the rest soon after: L2 moves a sector an
  element, DRAM the elements; where a row of the result is shorter than a warp, its threads share sectors; through shared memory
  (a tiled transposition) L2 moves the elements only.

L1 moves all that is asked for, in whole sectors: what it serves alone costs its own bandwidth.

(CUDA C++ Best Practices Guide, 'Coalesced Access to Global Memory'.)
"""

from dataclasses import dataclass

import numpy as np

from arch.facts import Facts, total
from arch.work import Float

_WARP = 32.0
"""Neighbouring threads whose loads are one request."""


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


def traffic(facts: Facts, sector: float, step: float, l2_bytes: float, sms: float, threads: Float) -> Traffic:
    """Return what each operand and kernel moves.

    ``step`` is how many elements a stride of a few steps over at most, ``threads`` the whole grid's, shape [kernels].
    """
    dram, l2, l1 = _bytes(facts, sector, step, sms)
    kernels = len(facts.launches)
    extra = np.where(facts.has_accesses, 0.0, facts.bytes_unique)
    return Traffic(
        cold_bytes=dram,
        resident=resident_share(facts.unique, facts.reuse, l2_bytes),
        extra_dram=extra,
        l1_bytes=total(facts.owner, l1, kernels) + extra + facts.spill * threads,
        l2_bytes=total(facts.owner, l2, kernels) + extra + facts.spill * threads,
        read_bytes=total(facts.owner, np.where(facts.writes, 0.0, np.minimum(l2, facts.requested)), kernels) + extra / 2,
        passing=l2,
    )


def resident_share(size: Float, distance: Float, l2_bytes: float) -> Float:
    """Return the share of an operand that is still in L2 when a kernel touches it again, shape [accesses].

    ``distance`` other bytes passed since: of an L2 that keeps the youngest bytes, what they left is the operand's, up to
    its size. Falls from 1 to 0 as the distance goes from (L2 - size) to L2.
    """
    left = np.clip(l2_bytes - distance, 0.0, size)
    return np.divide(left, size, out=np.zeros_like(size), where=size > 0)


def _transposed(facts: Facts, sector: float) -> Float:
    """Bytes moved over bytes asked for where a warp reads across: it steps over ``row`` rows, then on to the next elements of each.

    Of 32 elements, ceil(32 / row) lie next to each other in each of min(32, row) places.
    """
    rows = np.minimum(facts.row, _WARP)
    sectors = rows * np.ceil(np.ceil(_WARP / rows) * facts.itemsize / sector)
    scatter: Float = np.maximum(np.minimum(sectors, _WARP) * sector / (_WARP * facts.itemsize), 1.0)
    return scatter


def _bytes(facts: Facts, sector: float, step: float, sms: float) -> tuple[Float, Float, Float]:
    """Bytes of each access that DRAM moves if nothing is in L2, that L2 moves, and that L1 moves; shape [accesses]."""
    unique, requested = facts.unique, facts.requested
    whole = np.maximum(sector / facts.itemsize, 1.0)
    scatter = np.where(facts.stride.is_("strided"), np.minimum(whole, step), whole)
    scatter = np.where(facts.stride.is_("transposed"), _transposed(facts, sector), scatter)
    sparse = facts.stride.is_("strided", "gather")
    across = facts.stride.is_("transposed") & ~(facts.shared > 0)[facts.owner]
    dram = np.where(sparse, np.minimum(unique * scatter, facts.tensor_bytes), unique)
    l1 = np.where(sparse | across, requested * scatter, requested)
    l2 = np.where(sparse | facts.stride.is_("broadcast"), np.minimum(l1, dram * sms), l1)
    return dram, np.maximum(l2, unique), l1
