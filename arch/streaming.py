"""Time of kernels that stream tensors through an SM's registers: passes over rows, caches between the passes, instruction issue.

A grid of blocks, each of which reads a row ``passes`` times and writes it once. What the blocks that are resident together read
must be kept somewhere between the passes: in the SM's own L1, or in L2; where it is not, a pass reads DRAM again. Before Ampere
L2 reads a part of the sectors that are written in part: results whose rows do not begin on sectors.

DRAM and instruction issue overlap between blocks once they run out of step: they begin in step, so that the first turns of a grid
pay both one after the other. A block's passes wait for each other, so that it overlaps with other blocks alone, never with itself.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from arch.entry import Entry
from arch.occupancy import blocks_per_sm, limits
from arch.work import Float


@dataclass(frozen=True, eq=False)
class Stream:
    """Kernels that stream rows; arrays of shape [kernels]."""

    blocks: Float
    threads: Float
    row_bytes: Float
    """What a block reads in one pass."""
    moved_bytes: Float
    """Bytes of all operands, each once."""
    again_bytes: Float
    """Bytes that later passes read again."""
    held_bytes: Float
    """Of the operands, what L2 holds when the kernel starts, as far as it fits: warm inputs."""
    warp_instructions: Float
    """Of a block."""
    partial_bytes: Float
    """Of the result, what warps write in lines of 128 bytes that do not begin on sectors."""


@dataclass(frozen=True, eq=False)
class Cost:
    """Seconds of a kernel and of its terms; arrays of shape [kernels]."""

    total_s: Float
    dram_s: Float
    issue_s: Float


def dram_rate(entry: Entry, bandwidth: float | None = None) -> float:
    """Return the B/s that streaming reaches of ``bandwidth``, by default the data sheet's."""
    peak = entry["memory_bandwidth"] if bandwidth is None else bandwidth
    return peak * entry["dram_efficiency"]


def filled(entry: Entry) -> float:
    """Return what L2 reads from DRAM over what is written, where sectors are written in part; 0 where it waits for their rest."""
    return entry["l2_fills"] * entry["partial_fill"]


def kept_share(entry: Entry | Mapping[str, float], needed: Float, capacity: float) -> Float:
    """Return the share of what is read again that a cache of ``capacity`` bytes still holds, of ``needed`` bytes in use in turn."""
    full, none = entry["l2_full"], entry["l2_none"]
    return np.clip((none - needed / capacity) / (none - full), 0.0, 1.0)


def between_passes(entry: Entry, resident: Float, row_bytes: Float) -> Float:
    """Return the share of a row that L1 or L2 holds from one pass to the next; ``resident`` blocks share an SM."""
    on_sm = resident * row_bytes
    own_part_of_l2 = entry["l2"] / entry["l2_partitions"]
    in_l2 = kept_share(entry, on_sm * entry["sm_count"], own_part_of_l2)
    l1 = entry.get("l1")
    return in_l2 if l1 is None else np.maximum(in_l2, kept_share(entry, on_sm, l1 * entry["reuse_l1_share"]))


def overlapped(entry: Entry, memory_s: Float, issue_s: Float, turns: Float, own: Float | float = 0.0) -> Float:
    """Return the time of a grid of ``turns`` turns: the longer of both, and of the shorter what does not overlap.

    The first turns do not, and later ones not the share ``own`` that is of the same block.
    """
    in_step = 1 / (1 + np.maximum(turns, 1.0) / entry["overlap_turns"])
    exposed = in_step + (1 - in_step) * own
    return np.maximum(memory_s, issue_s) + np.minimum(memory_s, issue_s) * exposed


def cost(entry: Entry, stream: Stream) -> Cost:
    """Return what kernels take on a GPU, without a floor."""
    unknown = np.full(len(stream.blocks), -1, dtype=np.int64)
    resident = blocks_per_sm(limits(entry), stream.threads, unknown, np.zeros_like(unknown))
    again = stream.again_bytes * (1 - between_passes(entry, resident, stream.row_bytes))
    held = stream.held_bytes * kept_share(entry, stream.moved_bytes, entry["l2"])
    from_dram = (stream.moved_bytes - held + again + filled(entry) * stream.partial_bytes) / dram_rate(entry)
    from_l2 = (stream.moved_bytes + stream.again_bytes) / (entry["l2_bandwidth"] * entry["l2_efficiency"])
    to_sms = (stream.moved_bytes + stream.again_bytes) / sms_rate(entry, stream.blocks)
    issue = issue_s(entry, stream.blocks, stream.warp_instructions)
    memory = np.maximum(np.maximum(from_dram, from_l2), to_sms)
    turns = stream.blocks / (entry["sm_count"] * resident)
    return Cost(overlapped(entry, memory, issue, turns, own=1 / resident), memory, issue)


def sms_rate(entry: Entry, blocks: Float) -> Float:
    """Return the B/s that the SMs take which have a block of a grid: those without one leave their part of the bandwidth unused."""
    rate: Float = np.minimum(blocks, entry["sm_count"]) * entry["l1_bytes_per_clock"] * entry["clock"]
    return rate


def issue_s(entry: Entry, blocks: Float, warp_instructions: Float) -> Float:
    """Return the seconds to issue the instructions of all blocks, the busiest SM's."""
    per_sm = np.maximum(blocks / entry["sm_count"], 1.0)
    return per_sm * warp_instructions / (entry["schedulers_per_sm"] * entry["clock"])
