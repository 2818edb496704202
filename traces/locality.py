"""Who touched an operand last, and how many bytes ago: walks over the accesses of a trace."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from traces.compiled import compiled

Int = NDArray[np.int32]
Long = NDArray[np.int64]
Float = NDArray[np.float64]


@compiled
def last_writers(walk: Int, offsets: Long, alias: Int, writes: NDArray[np.bool_], alias_sets: int) -> Int:
    """Return for each access that reads the launch that wrote its alias set last, -1 if none; writes get -1.

    ``walk`` lists launches in the order in which they run, loop bodies twice, so that the later visit, which counts, sees
    what the end of a body left for its head.
    """
    found = np.full(len(alias), -1, dtype=np.int32)
    writer = np.full(alias_sets, -1, dtype=np.int32)
    for kernel in walk:
        for a in range(offsets[kernel], offsets[kernel + 1]):
            if not writes[a]:
                found[a] = writer[alias[a]]
        for a in range(offsets[kernel], offsets[kernel + 1]):
            if writes[a]:
                writer[alias[a]] = kernel
    return found


@compiled
def reuse_distances(walk: Int, offsets: Long, alias: Int, size: Float, alias_sets: int, steps: int) -> Float:
    """Return for each access the distinct bytes of other alias sets since its own was touched last; inf at the first touch.

    The LRU stack distance, counted with a Fenwick tree over time that holds each alias set's bytes at its last touch.
    A touch of less than half of what an access asks for leaves most of that where it was: the last touch that was large
    enough counts then (a row that is written to a cache of keys does not bring the whole cache back).
    ``size`` is bytes an access, ``steps`` the number of accesses of the walk. Cost: steps x log(steps).
    """
    tree = np.zeros(steps + 1, dtype=np.float64)
    last = np.zeros(alias_sets, dtype=np.int64)
    held = np.zeros(alias_sets, dtype=np.float64)
    whole = np.zeros(alias_sets, dtype=np.int64)
    covered = np.zeros(alias_sets, dtype=np.float64)
    distance = np.full(len(alias), np.inf, dtype=np.float64)
    total = 0.0
    time = 0
    for kernel in walk:
        for a in range(offsets[kernel], offsets[kernel + 1]):
            time += 1
            tensor = alias[a]
            before = last[tensor]
            if before > 0:
                since, own = before, 0.0
                if 2.0 * held[tensor] < size[a]:
                    since = whole[tensor] if 2.0 * covered[tensor] >= size[a] else 0
                    own = held[tensor] if since < before else 0.0
                distance[a] = np.inf
                if since > 0:
                    older = 0.0
                    i = since
                    while i > 0:
                        older += tree[i]
                        i -= i & -i
                    distance[a] = max(total - older - own, 0.0)
                i = before
                while i <= steps:
                    tree[i] -= held[tensor]
                    i += i & -i
                total -= held[tensor]
            i = time
            while i <= steps:
                tree[i] += size[a]
                i += i & -i
            total += size[a]
            last[tensor] = time
            held[tensor] = size[a]
            if 2.0 * size[a] >= covered[tensor]:
                whole[tensor] = time
                covered[tensor] = size[a]
    return distance


def walk_of(regions: dict[str, NDArray[Any]], kernels: int) -> Int:
    """Return the launches in order with the body of each loop that repeats walked twice (shape [steps], int32)."""
    children: dict[int, list[int]] = {}
    for region, parent in enumerate(regions["parent"]):
        children.setdefault(int(parent), []).append(region)
    pieces: list[Int] = []

    def visit(region: int) -> None:
        for _ in range(2 if regions["trip_count"][region] > 1 else 1):
            at = int(regions["first_kernel"][region])
            for child in children.get(region, []):
                pieces.append(np.arange(at, regions["first_kernel"][child], dtype=np.int32))
                visit(child)
                at = int(regions["end_kernel"][child])
            pieces.append(np.arange(at, regions["end_kernel"][region], dtype=np.int32))

    visit(0)
    return np.concatenate(pieces) if pieces else np.zeros(0, dtype=np.int32)
