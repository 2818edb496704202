"""How many blocks an SM holds, and how many turns a grid takes: NVIDIA's occupancy rules (cuda_occupancy.h)."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from arch.entry import Entry
from arch.work import Float, Int


@dataclass(frozen=True)
class Limits:
    """What an SM has, and the units in which it is given out."""

    warp_threads: float
    max_warps: float
    max_blocks: float
    registers: float
    register_unit: float
    warp_unit: float
    shared_bytes: float
    shared_unit: float
    shared_reserved: float


def limits(entry: Entry | Mapping[str, float]) -> Limits:
    """Return the limits of a GPU of the catalogue, or of its numbers."""
    return Limits(
        warp_threads=entry["warp_threads"],
        max_warps=entry["max_warps_per_sm"],
        max_blocks=entry["max_blocks_per_sm"],
        registers=entry["registers_per_sm"],
        register_unit=entry["register_unit"],
        warp_unit=entry["warp_unit"],
        shared_bytes=entry["shared_per_sm"],
        shared_unit=entry["shared_unit_bytes"],
        shared_reserved=entry["shared_reserved_bytes"],
    )


def blocks_per_sm(limits: Limits, threads: Float, registers: Int, shared: Int) -> Float:
    """Return the blocks that fit on an SM at once, at least 1; all arrays of shape [kernels].

    ``registers`` is per thread, -1 if unknown (then they do not limit); ``shared`` is bytes a block.
    """
    warps = np.ceil(threads / limits.warp_threads)
    given = np.ceil(warps / limits.warp_unit) * limits.warp_unit
    per_warp = np.ceil(np.maximum(registers, 1) * limits.warp_threads / limits.register_unit) * limits.register_unit
    by_registers = np.where(registers > 0, np.floor(np.floor(limits.registers / per_warp) / given), np.inf)
    taken = np.ceil((shared + limits.shared_reserved) / limits.shared_unit) * limits.shared_unit
    by_shared = np.floor(limits.shared_bytes / np.maximum(taken, 1.0))  # nothing taken: does not limit
    fits = np.minimum(np.minimum(limits.max_blocks, np.floor(limits.max_warps / warps)), np.minimum(by_registers, by_shared))
    resident: Float = np.maximum(fits, 1.0)
    return resident


@dataclass(frozen=True, eq=False)
class Shape:
    """How a grid falls onto the SMs; arrays of shape [kernels]."""

    busiest: Float
    """Blocks that the busiest SM runs in all."""
    waves: Float
    """Turns of a full set of resident blocks."""
    warps: Float
    """Warps resident on the busiest SM."""
    blocks: Float
    resident: Float
    """Blocks that fit on an SM at once."""


def shape(blocks: Float, resident: Float, threads: Float, sms: float, warp_threads: float) -> Shape:
    """Return the shape of grids of ``blocks`` blocks of ``threads`` threads, ``resident`` of them on an SM at once."""
    busiest = np.ceil(blocks / sms)
    waves = np.ceil(blocks / (sms * resident))
    warps = np.minimum(busiest, resident) * np.ceil(threads / warp_threads)
    return Shape(busiest, waves, warps, blocks, resident)
