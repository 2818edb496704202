"""Fused attention that a trace calls from a library: FlashAttention-2 as PyTorch carries it, by the ceilings of ``arch.attention``.

The trace says which kernel runs and what it moves, with what several heads share and what L2 still has; here is what its SMs need.
A block computes whole tiles: with one query, as while a language model generates, all but one of its rows are padding.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from arch import attention, gemm, measuring, power
from arch.attention_kernels import BACKWARD_PRODUCTS, FORWARD_PRODUCTS, HEAD_DIMS, KERNELS, Kernel, Shape
from arch.entry import Entry
from arch.facts import Facts
from arch.text import Text
from arch.work import Bool, Float, Int, Work

_DTYPES = ("f16", "bf16")
_FULL, _CAUSAL, _WINDOW = range(3)
_NEARLY_ALL = 0.99
"""Share of the scores from which on a call is taken to compute all of them."""
_ROWS = 128
"""Most rows of a tile, of which a block sees the keys of all windows."""


@dataclass(frozen=True, eq=False)
class Group:
    """Calls that run one kernel; arrays of shape [calls]."""

    kernel: Kernel
    dtype: str
    shape: Shape
    """What a block computes: of the keys those of one part, where they are split, and those that a window leaves."""
    rows: Int
    """The kernels of the trace that these are."""
    flops: Float
    apart: Float
    """Share of the bytes that kernels before and behind a backward pass move."""


@dataclass(frozen=True, eq=False)
class Needed:
    """What SMs need for a group, seconds of the busiest; arrays of shape [calls]."""

    rows: Int
    on_sm_s: Float
    start_s: Float
    apart: Float


def groups(work: Work, known: Facts) -> list[Group]:
    """Return the calls of a trace that ``arch.attention`` prices, by kernel."""
    library = Text.of(work.kernels, "library")
    sized = (np.minimum.reduce([known.batch, known.m, known.n, known.k]) > 0) & (known.flops_matrix > 0)
    rows = np.flatnonzero(library.is_("flash_attention", "flash_attention_backward") & known.dtype.isin(_DTYPES) & sized)
    if not len(rows):
        return []
    backward = library.is_("flash_attention_backward")[rows]
    split = ~backward & (known.launches[rows] > 1)
    size = sum(known.k[rows] > most for most in HEAD_DIMS)
    keys = np.stack([known.dtype.code[rows], backward, split, _mask(known, rows, backward), size])
    distinct, group = np.unique(keys, axis=1, return_inverse=True)
    parts = [(rows[np.ravel(group) == i], *distinct[:4, i]) for i in range(distinct.shape[1])]
    return [_group(work, known, of, known.dtype.values[dtype], bool(back), bool(cut), mask) for of, dtype, back, cut, mask in parts]


def needed(entry: Entry, found: list[Group]) -> Iterator[Needed]:
    """Yield what each group needs of whose dtype the GPU has tensor cores, at the clock that the power cap leaves."""
    for group in found:
        dense = entry.group("matrix_flops").get(group.dtype)
        if dense is not None:
            units = attention.ceilings(entry, group.kernel, group.dtype, group.shape)
            on_sm = gemm.together(units.sharpness, units.busy_s, units.shared_s, units.l2_s)
            drawn = measuring.drawn_by_programs(entry, group.dtype)
            computed = group.flops * attention.computed(group.kernel, group.shape)
            least = computed / power.sustained_flops_per_s(entry, group.dtype, dense, tensor=True, drawn=drawn)
            slowed = np.maximum(least / (on_sm + units.start_s), 1.0)
            yield Needed(group.rows, on_sm * slowed, units.start_s * slowed, group.apart)


def _mask(known: Facts, rows: Int, backward: Bool) -> Int:
    """Tell from a call's FLOP which scores it computes: all, those of keys up to the query's, or those of a window of keys."""
    scores = known.flops_matrix[rows] / (known.batch[rows] * known.k[rows] * 2 * np.where(backward, BACKWARD_PRODUCTS, FORWARD_PRODUCTS))
    queries, keys = known.m[rows], known.n[rows]
    few = scores + _ROWS * queries < queries * np.minimum(queries, keys) / 2  # a wider window hides no whole tile below the diagonal
    return np.where(scores > _NEARLY_ALL * queries * keys, _FULL, np.where(few, _WINDOW, _CAUSAL))


def _group(work: Work, known: Facts, rows: Int, dtype: str, backward: bool, split: bool, mask: int) -> Group:
    kernel, flops = KERNELS["fa2 split" if split else "fa2"], known.flops_matrix[rows]
    batch, queries, keys, dim = known.batch[rows], known.m[rows], known.n[rows], known.k[rows]
    call = Shape(batch, np.ones(len(rows)), queries, keys, dim, mask == _CAUSAL, backward)
    parts = np.maximum(work.kernels["grid_y"][rows].astype(np.float64), 1.0) if split else np.ones(len(rows))
    # one query of each head that shares keys is a row of one block, so that there are fewer blocks than heads
    grid = known.grid[rows]
    blocks = np.where((queries == 1) & ~np.isnan(grid), grid, batch * parts)
    apart = attention.around_bytes(call, dtype) / np.maximum(known.bytes_unique[rows], 1.0)
    shape = _seen(replace(call, batch=blocks, keys=keys / parts), kernel, mask, flops / batch)
    return Group(kernel, dtype, shape, rows, flops, np.minimum(apart, 1.0))


def _seen(call: Shape, kernel: Kernel, mask: int, flops: Float) -> Shape:
    """Return the call with no more keys (backward: queries) than its blocks see; ``flops`` of one head."""
    tile, backward = kernel.tile(call), call.backward
    outer, inner, rows = (call.keys, call.queries, tile.keys) if backward else (call.queries, call.keys, tile.queries)
    most = inner
    if mask == _CAUSAL:
        most = outer
    elif mask == _WINDOW:
        most = flops / (outer * call.dim * 2 * (BACKWARD_PRODUCTS if backward else FORWARD_PRODUCTS)) + rows
    seen = np.minimum(inner, most)
    return replace(call, queries=seen) if backward else replace(call, keys=seen)
