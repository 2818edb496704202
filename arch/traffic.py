"""Bytes that a kernel moves on a GPU: through L2, and of those from and to DRAM.

A sector of 32 bytes is the granule. Neighbouring threads that step through an operand

- contiguously, use each sector once: DRAM moves the elements touched, L2 what is asked for;
- by broadcast, share sectors: L1 serves repeats, so that an SM asks L2 for each byte at most once;
- with a stride or by gather, use one element of a sector: both levels move a sector an element, DRAM at most the tensor;
- across the other dimension (transposed), use one element of a sector at a time, the rest soon after: L2 moves a sector an
  element, DRAM the elements; through shared memory (a tiled transposition) L2 moves the elements only.

(CUDA C++ Best Practices Guide, 'Coalesced Access to Global Memory'.)
"""

from dataclasses import dataclass

import numpy as np

from arch.device import Float
from arch.facts import Facts, total


@dataclass(frozen=True, eq=False)
class Traffic:
    """``cold_bytes`` (if nothing is in L2) and ``resident`` (share of it that is) by access; the rest by kernel."""

    cold_bytes: Float
    resident: Float
    extra_dram: Float
    """DRAM bytes of kernels whose operands are not listed."""
    l2_bytes: Float
    read_bytes: Float
    """Asked for by loads; of broadcast operands what L1 does not serve."""


def traffic(facts: Facts, sector: float, l2_bytes: float, sms: float, threads: Float) -> Traffic:
    """Return what each operand and kernel moves; ``threads`` is the number of threads of the whole grid, shape [kernels]."""
    dram, l2 = _bytes(facts, sector, sms)
    kernels = len(facts.launches)
    extra = np.where(facts.has_accesses, 0.0, facts.bytes_unique)
    return Traffic(
        cold_bytes=dram,
        resident=resident_share(facts.unique, facts.reuse, l2_bytes),
        extra_dram=extra,
        l2_bytes=total(facts.owner, l2, kernels) + extra + facts.spill * threads,
        read_bytes=total(facts.owner, np.where(facts.writes, 0.0, np.minimum(l2, facts.requested)), kernels) + extra / 2,
    )


def resident_share(size: Float, distance: Float, l2_bytes: float) -> Float:
    """Return the share of an operand that is still in L2 when a kernel touches it again, shape [accesses].

    ``distance`` other bytes passed since: of an L2 that keeps the youngest bytes, what they left is the operand's, up to
    its size. Falls from 1 to 0 as the distance goes from (L2 - size) to L2.
    """
    left = np.clip(l2_bytes - distance, 0.0, size)
    return np.divide(left, size, out=np.zeros_like(size), where=size > 0)


def _bytes(facts: Facts, sector: float, sms: float) -> tuple[Float, Float]:
    unique, requested = facts.unique, facts.requested
    scatter = np.maximum(sector / facts.itemsize, 1.0)
    sparse = facts.stride.is_("strided", "gather")
    across = facts.stride.is_("transposed") & ~(facts.shared > 0)[facts.owner]
    dram = np.where(sparse, np.minimum(unique * scatter, facts.tensor_bytes), unique)
    l2 = np.where(sparse | across, requested * scatter, requested)
    l2 = np.where(facts.stride.is_("broadcast"), np.minimum(requested, unique * sms), l2)
    return dram, np.maximum(l2, unique)
