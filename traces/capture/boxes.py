"""Rectangular sets of array elements, and how they look through a bitcast.

A box is one ``range`` a dimension. A fused computation mostly asks for boxes of its operands: slices, halves of a
concatenation, whole arrays.
"""

from collections.abc import Sequence
from math import prod

import numpy as np

from traces.capture.hlo import Shape

Box = tuple[range, ...]


def whole(shape: Shape) -> Box:
    """Return all of an array."""
    return tuple(range(n) for n in shape.dims)


def volume(box: Box) -> int:
    """Number of elements of a box."""
    return prod(len(r) for r in box)


def clipped(r: range, low: int, high: int) -> range:
    """Return the part of an increasing range in low..high (excluded)."""
    start = max(0, -(-(low - r.start) // r.step))
    stop = max(start, -(-(high - r.start) // r.step))
    return r[start : min(stop, len(r))]


def shifted(r: range, by: int) -> range:
    """Return the range moved by a distance."""
    return range(r.start + by, r.stop + by, r.step)


def union_volume(boxes: Sequence[Box]) -> int:
    """Number of elements in at least one of the boxes (at most 63 count exactly; more are summed beyond)."""
    distinct = list(dict.fromkeys(b for b in boxes if volume(b)))
    if len(distinct) <= 1:
        return volume(distinct[0]) if distinct else 0
    exact, rest = distinct[:63], distinct[63:]
    groups = [_memberships([b[d] for b in exact]) for d in range(len(exact[0]))]
    masks, counts = groups[0] if groups else (np.ones(1, np.int64), np.ones(1, np.int64))
    for more, numbers in groups[1:]:
        masks, counts = _combined(masks, counts, more, numbers)
    return int(counts[masks != 0].sum()) + sum(volume(b) for b in rest)


def _memberships(ranges: list[range]) -> tuple[np.ndarray, np.ndarray]:
    """Group the positions of one dimension by which ranges hold them: (bit mask, how many positions)."""
    mask = np.zeros(max(r.stop for r in ranges), dtype=np.int64)
    for bit, r in enumerate(ranges):
        mask[r.start : r.stop : r.step] |= np.int64(1 << bit)
    return np.unique(mask, return_counts=True)


def _combined(masks: np.ndarray, counts: np.ndarray, more: np.ndarray, numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    both = (masks[:, None] & more[None, :]).ravel()
    times = (counts[:, None] * numbers[None, :]).ravel()
    kept, where = np.unique(both, return_inverse=True)
    return kept, np.bincount(where, weights=times, minlength=len(kept)).astype(np.int64)


def bounding(boxes: Sequence[Box]) -> Box:
    """Return the smallest box that holds all of them."""
    return tuple(range(min(r.start for r in dim), max(r.stop for r in dim)) for dim in zip(*boxes, strict=True))


def through_bitcast(box: Box, seen: Shape, stored: Shape) -> Box | None:
    """Return the same elements in the dimensions of ``stored``, of which ``seen`` is a bitcast; None if they are no box there."""
    if box == whole(seen):
        return whole(stored)
    outer = [(seen.dims[d], box[d]) for d in reversed(seen.minor_to_major) if seen.dims[d] != 1]
    inner = [d for d in reversed(stored.minor_to_major) if stored.dims[d] != 1]
    result = [range(n) for n in stored.dims]
    for dims, ranges, targets in _groups(outer, inner, stored.dims):
        found = _regrouped(dims, ranges, [stored.dims[d] for d in targets])
        if found is None:
            return None
        for d, r in zip(targets, found, strict=True):
            result[d] = r
    return tuple(result)


def _groups(outer: list[tuple[int, range]], inner: list[int], dims: tuple[int, ...]) -> list[tuple[list[int], list[range], list[int]]]:
    """Pair the fewest dimensions of both sides, from the major end, whose products are equal."""
    groups = []
    i = j = 0
    while i < len(outer) or j < len(inner):
        start, begin, left, right = i, j, 1, 1
        while left != right or (i == start and j == begin):
            if left <= right and i < len(outer):
                left *= outer[i][0]
                i += 1
            elif j < len(inner):
                right *= dims[inner[j]]
                j += 1
            else:
                return [([n for n, _ in outer], [r for _, r in outer], inner)]
        groups.append(([n for n, _ in outer[start:i]], [r for _, r in outer[start:i]], inner[begin:j]))
    return groups


def _regrouped(dims: list[int], ranges: list[range], targets: list[int]) -> list[range] | None:
    if dims == targets:
        return ranges
    if all(len(r) == n for r, n in zip(ranges, dims, strict=True)):
        return [range(n) for n in targets]
    flat = _flat(dims, ranges)
    return None if flat is None else _unflat(flat, targets)


def _flat(dims: list[int], ranges: list[range]) -> range | None:
    """Return a box's positions in row-major order as one range, if they are one."""
    flat, step = range(1), 1
    for n, r in zip(reversed(dims), reversed(ranges), strict=True):
        if len(r) == 1:
            flat = shifted(flat, r.start * step)
        elif len(flat) == 1:
            flat = range(flat.start + r.start * step, flat.start + r[-1] * step + 1, r.step * step)
        elif flat.start == 0 and len(flat) * flat.step == step and r.step == 1:
            flat = range(r.start * step, r.stop * step, flat.step)
        else:
            return None
        step *= n
    return flat


def _unflat(flat: range, dims: list[int]) -> list[range] | None:
    """Return the box whose row-major positions are the range, if it is one."""
    if not dims:
        return []
    below = prod(dims[1:])
    low, high = flat.start // below, flat[-1] // below
    if low == high:
        rest = _unflat(shifted(flat, -low * below), dims[1:])
        return None if rest is None else [range(low, low + 1), *rest]
    if flat.step >= below and flat.step % below == 0:
        rest = _unflat(range(flat.start % below, flat.start % below + 1), dims[1:])
        return None if rest is None else [range(low, high + 1, flat.step // below), *rest]
    if below % flat.step == 0 and flat.start % below < flat.step and len(flat) == (high - low + 1) * (below // flat.step):
        rest = _unflat(range(flat.start % below, below, flat.step), dims[1:])
        return None if rest is None else [range(low, high + 1), *rest]
    return None
