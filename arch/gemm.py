"""Time of a library's matrix products of which only the shape is known: tiles, waves, split-K, L2, DRAM, power.

A library has kernels that compute one tile of the result a block. Of its tiles and ways to split the inner dimension it is
taken to choose what is fastest here. A tile is computed in full even if the product does not fill it, and the busiest of the
SMs runs ceil(blocks / SMs) of them: the staircase that every measured product shows. On top of the multiply-adds of a block
come its start and its store of the result, its loads wait for L2 once a step of the inner dimension, and all blocks together
read their rows and columns through L2, and from DRAM what L2 does not hold. docs/gpu_model.md states each term with its source.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from itertools import count

import numpy as np

from arch.entry import Entry
from arch.facts import itemsize
from arch.gemm_choices import CHUNK, Choices, Hot, Products, Vectors, Ways, choices
from arch.gemm_library import Library, library
from arch.streaming import kept_share
from arch.work import Float, Int

_WORST = np.finfo(np.float64).max
"""Seconds of a sensible choice that has no finite price: still before one that is not sensible."""


@dataclass(frozen=True, eq=False)
class Plan:
    """The fastest choice of each product; arrays of shape [products], seconds at the full clock, bytes and FLOP."""

    compute_s: Float
    """On the pipes of the busiest SM, its loads' waits and its blocks' starts and stores included."""
    l2_s: Float
    dram_s: Float
    extra_s: Float
    """What does not overlap: adding up the parts of a split product."""
    l2_bytes: Float
    again_bytes: Float
    """What DRAM serves more than once."""
    executed_flops: Float
    """Multiply-adds with the tiles' padding, counted twice."""
    total_s: Float
    """Pipes and L2 work at once; DRAM overlaps them, but where both take equally long the sum of powers is longer than each."""

    @classmethod
    def of(cls, sharpness: float, *, compute_s: Float, l2_s: Float, dram_s: Float, extra_s: Float, **others: Float) -> "Plan":
        """Return the plan whose activities overlap with this sharpness."""
        total = together(sharpness, np.maximum(compute_s, l2_s), dram_s) + extra_s
        return cls(compute_s=compute_s, l2_s=l2_s, dram_s=dram_s, extra_s=extra_s, total_s=total, **others)

    def __getitem__(self, rows: Int) -> "Plan":
        return Plan(**{name: getattr(self, name)[rows] for name in _ARRAYS})


_ARRAYS = tuple(each.name for each in fields(Plan))


def together(sharpness: float | Float, *seconds: Float) -> Float:
    """Return the time of activities that overlap, between the longest of them (infinite sharpness) and their sum (1)."""
    if len(seconds) == 2:
        return _both(sharpness, *seconds)
    longest = np.maximum.reduce(seconds)
    scale = np.where(longest > 0, longest, 1.0)
    total: Float = scale * sum((each / scale) ** sharpness for each in seconds) ** (1 / sharpness)
    return total


def _both(sharpness: float | Float, one: Float, other: Float) -> Float:
    """The same of two: the longer one's share of itself is 1, to whatever power."""
    longest, shorter = np.maximum(one, other), np.minimum(one, other)
    share = shorter / np.where(longest > 0, longest, 1.0)
    total: Float = longest * (1.0 + share**sharpness) ** (1 / sharpness)
    return total


@dataclass(frozen=True, eq=False)
class Conditions:
    """Under which products run; arrays of shape [products]."""

    hot: Hot | None = None
    """What L2 holds before; None: what fits."""
    idle_s: Float | float = 0.0
    """How long the GPU rests between kernels: its power is capped on average."""
    drawn: float = 1.0
    """Their power over that of the products whose energy is known."""
    vector_kernel: bool = True
    """Whether the library has a kernel of its own for a row times a matrix."""


STEADY = Conditions()


def kernel_s(entry: Entry, dtype: str, batch: Float, m: Float, n: Float, k: Float, under: Conditions = STEADY) -> Float:
    """Return the seconds of products of XLA dtype ``dtype``; 'f32' is full FP32 on the vector pipes, 'tf32' the tensor cores.

    Arrays of shape [products].
    """
    work = Products(batch, m, n, k, np.full(len(m), float(itemsize(dtype))))
    unit = library(entry, dtype, drawn=under.drawn, vector_kernel=under.vector_kernel)
    warm = resident(entry, work) if under.hot is None else under.hot
    rest = np.broadcast_to(np.asarray(under.idle_s, dtype=np.float64), m.shape)
    chosen = plan(unit, work, warm, rest)
    return entry["kernel_floor"] + start_s(unit, warm.b) + sustained_s(unit, chosen, rest)


def start_s(unit: Library, hot: Float | float) -> Float | float:
    """Return the seconds until the first stages of operands that are not in L2 have come from DRAM."""
    return unit.stages * unit.dram_latency_s * (1 - hot)


def sustained_s(unit: Library, chosen: Plan, idle_s: Float | float) -> Float:
    """Return the seconds of each product at the clock that the power cap leaves it; the GPU rests ``idle_s`` before each."""
    seconds: Float = np.maximum(chosen.total_s, chosen.executed_flops / unit.capped_flops_per_s - idle_s)
    return seconds


def on_sm_s(unit: Library, chosen: Plan) -> Float:
    """Return the seconds of pipes and L2 at that clock: what together with the plan's DRAM takes as long as the product does."""
    overlapped = sustained_s(unit, chosen, 0.0) - chosen.extra_s
    left = np.maximum(1 - (chosen.dram_s / overlapped) ** unit.sharpness, 0.0)
    seconds: Float = np.maximum(overlapped * left ** (1 / unit.sharpness), np.maximum(chosen.compute_s, chosen.l2_s))
    return seconds


HELD_BY = ("l2", "l2_full", "l2_none")
"""The numbers on which ``resident`` depends."""


def resident(entry: Entry | Mapping[str, float], work: Products) -> Hot:
    """Return what L2 holds of operands that were used last."""
    share = kept_share(entry, np.sum(work.operand_bytes, axis=0), entry["l2"])
    return Hot(share, share, share)


def plan(unit: Library, work: Products, hot: Hot, idle_s: Float | None = None) -> Plan:
    """Return the fastest plan of each product; the GPU rests ``idle_s`` before each, shape [products]."""
    return fastest(unit, choices(unit.tiling, work, hot), np.zeros(len(work.m)) if idle_s is None else idle_s)


def fastest(unit: Library, parts: Iterable[Choices], idle_s: Float) -> Plan:
    """Return the fastest plan of each product of which ``parts`` are the choices."""
    return _joined([_fastest(unit, part, idle_s[start : start + CHUNK]) for start, part in zip(count(0, CHUNK), parts, strict=False)])


def _joined(plans: list[Plan]) -> Plan:
    if len(plans) == 1:
        return plans[0]
    return Plan(**{name: np.concatenate([getattr(each, name) for each in plans]) for name in _ARRAYS})


def _fastest(unit: Library, part: Choices, idle_s: Float) -> Plan:
    """Price all choices at once, and of each product keep the first that is fastest, under the power cap: padding draws power too."""
    tried = timed(unit, part.ways)
    seconds = np.full(part.way.size, np.inf)
    total = sustained_s(unit, tried, idle_s[part.spot % len(idle_s)])
    seconds[part.spot] = np.where(np.isfinite(total), total, _WORST)
    best = seconds.reshape(part.way.shape).argmin(axis=0)
    chosen = tried[part.way[best, np.arange(len(best))]]
    return _rows_of_one(unit, part.vectors, chosen, idle_s) if len(part.vectors.rows) else chosen


def _rows_of_one(unit: Library, vectors: Vectors, tiled: Plan, idle_s: Float) -> Plan:
    """Return the plans of products of tiles, but where a vector meets a matrix that of the library's kernel for it, if faster.

    It streams the matrix once through all SMs: no tile is padded, and a block has next to nothing to keep and to store.
    """
    none = np.zeros_like(vectors.flops)
    streamed = Plan.of(
        unit.sharpness,
        compute_s=vectors.flops / unit.vector_flops_per_s + unit.tiling.turn_cycles / unit.clock_hz,
        l2_s=vectors.bytes / unit.l2_bytes_per_s,
        dram_s=vectors.cold_bytes / unit.dram_bytes_per_s,
        extra_s=none,
        l2_bytes=vectors.bytes,
        again_bytes=none,
        executed_flops=vectors.flops,
    )
    rest = idle_s[vectors.rows]
    better = sustained_s(unit, streamed, rest) < sustained_s(unit, tiled[vectors.rows], rest)
    arrays = {name: getattr(tiled, name).copy() for name in _ARRAYS}
    for name, values in arrays.items():
        values[vectors.rows[better]] = getattr(streamed, name)[better]
    return Plan(**arrays)


def timed(unit: Library, ways: Ways) -> Plan:
    """Return what ways to compute products take: the SM's pipes, or its waits for L2 if they are longer, and starts and stores."""
    pipes = ways.busiest_flops / (unit.flops_per_sm * ways.share)
    busy = np.maximum(pipes, ways.waits * unit.l2_latency_s) + ways.fixed_cycles / unit.clock_hz
    return Plan.of(
        unit.sharpness,
        compute_s=busy * ways.stretch,
        l2_s=ways.l2_bytes / unit.l2_bytes_per_s,
        dram_s=ways.dram_bytes / unit.dram_bytes_per_s,
        extra_s=ways.parts_bytes / unit.l2_bytes_per_s + np.where(ways.split, unit.launch_s + start_s(unit, 0.0), 0.0),
        l2_bytes=ways.l2_bytes + ways.parts_bytes,
        again_bytes=ways.again_bytes,
        executed_flops=ways.executed_flops,
    )
