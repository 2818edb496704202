"""How grids fall onto the SMs, and what that says of traffic and of the latencies that follow each other.

It depends on the trace and on a few numbers of the GPU alone, so that GPUs which share them (of other clocks and bandwidths, say) share it.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from arch.entry import Entry
from arch.facts import Facts, facts, once, total
from arch.occupancy import Shape, blocks_per_sm, limits, shape
from arch.traffic import Caches, Traffic, traffic
from arch.work import Float, Work

_NUMBERS = (
    *("warp_threads", "max_warps_per_sm", "max_blocks_per_sm", "registers_per_sm", "register_unit", "warp_unit", "shared_per_sm"),
    *("shared_unit_bytes", "shared_reserved_bytes", "sm_count", "sector_bytes", "strided_step", "l2", "default_block_threads"),
    *("l2_full", "l2_none"),
    *("default_bytes_per_thread", "outstanding_bytes_per_thread", "fp32_lanes_per_sm", "arithmetic_latency_cycles"),
)
"""All on which a geometry depends."""


@dataclass(frozen=True, eq=False)
class FromDram:
    """Bytes of listed operands that DRAM serves, and those of them that are read; shape [kernels]."""

    moved: Float
    read: Float

    @classmethod
    def of(cls, known: Facts, served: Float) -> "FromDram":
        """Add up by kernel what DRAM serves of each operand; ``served`` is bytes, shape [accesses]."""
        kernels = len(known.launches)
        return cls(total(known.owner, served, kernels), total(known.owner, np.where(known.writes, 0.0, served), kernels))


@dataclass(frozen=True, eq=False)
class Geometry:
    """Grids on the SMs of a GPU; shapes [kernels]."""

    moved: Traffic
    warm: FromDram
    """If no operand is cold."""
    share: Float
    """Blocks of the busiest SM over its fair share."""
    hidden: Float
    """Share of the vector peak that the resident warps can fill."""
    turns: Float
    """How many times the blocks that are resident at once make the grid."""
    rounds: Float
    """Turns times rounds of loads: how many load latencies follow each other."""


def geometry(entry: Entry, work: Work) -> Geometry:
    """Return the geometry of a trace's kernels on a GPU of the catalogue."""
    numbers = {name: entry[name] for name in _NUMBERS}
    return once(work, ("gpu geometry", *numbers.values()), lambda: _make_geometry(numbers, facts(work)))


def _make_geometry(numbers: Mapping[str, float], known: Facts) -> Geometry:
    threads, blocks = _blocks(numbers, known)
    sms, grid = numbers["sm_count"], _grid(numbers, known, threads, blocks)
    moved = traffic(known, Caches.of_gpu(numbers), blocks, threads * blocks)
    return Geometry(
        moved=moved,
        warm=FromDram.of(known, moved.cold_bytes * (1.0 - moved.resident)),
        share=grid.busiest * sms / grid.blocks,
        hidden=_hidden(numbers, grid),
        turns=blocks / (sms * grid.resident),
        rounds=_rounds(numbers, grid, moved, threads * blocks),
    )


def _blocks(numbers: Mapping[str, float], known: Facts) -> tuple[Float, Float]:
    """Threads of a block and blocks of the grid; where not known, enough default blocks for what the kernel writes."""
    threads = np.where(np.isnan(known.threads), numbers["default_block_threads"], known.threads)
    written = total(known.owner, np.where(known.writes, known.unique, 0.0), len(threads))
    written = np.where(known.has_accesses, written, known.bytes_unique / 2)
    needed = np.ceil(written / (threads * numbers["default_bytes_per_thread"]))
    return threads, np.where(np.isnan(known.grid), np.maximum(needed, 1.0), known.grid)


def _grid(numbers: Mapping[str, float], known: Facts, threads: Float, blocks: Float) -> Shape:
    resident = blocks_per_sm(limits(numbers), threads, known.registers, known.shared)
    return shape(blocks, resident, threads, numbers["sm_count"], numbers["warp_threads"])


def _hidden(numbers: Mapping[str, float], grid: Shape) -> Float:
    """Enough resident warps hide the arithmetic latency; fewer fill the pipes in part."""
    needed = numbers["fp32_lanes_per_sm"] * numbers["arithmetic_latency_cycles"] / numbers["warp_threads"]
    filled: Float = np.minimum(grid.warps / needed, 1.0)
    return filled


def _rounds(numbers: Mapping[str, float], grid: Shape, moved: Traffic, threads: Float) -> Float:
    """How many load latencies a kernel waits for: at least one if it loads at all."""
    loads = np.ceil(moved.read_bytes / threads / numbers["outstanding_bytes_per_thread"])
    waits: Float = grid.waves * loads
    return waits
