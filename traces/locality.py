"""Who touched an operand last, and how many bytes ago: walks over the accesses of a trace."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from traces.compiled import compiled, in_place

Int = NDArray[np.int32]
Long = NDArray[np.int64]
Float = NDArray[np.float64]
Bool = NDArray[np.bool_]


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
def reuse_distances(walk: Int, second: Long, offsets: Long, alias: Int, later: Int, size: Float, alias_sets: int, touches: int) -> Float:
    """Return for each access the distinct bytes of other alias sets since its own was touched last; inf at the first touch.

    The LRU stack distance, counted with a Fenwick tree over time that holds each alias set's bytes at its last touch.
    In the second pass of a loop an
    access touches ``later`` instead of ``alias``: where these differ it is another part, which the iteration before did not touch, and
    the distance that it had at the entry into the loop stays.
    ``size`` is bytes an access, ``touches`` the number of accesses of the walk. Cost: touches x log(touches).
    """
    tree = np.zeros(touches + 1, dtype=np.float64)
    last = np.zeros(alias_sets, dtype=np.int64)
    held = np.zeros(alias_sets, dtype=np.float64)
    whole = np.zeros(alias_sets, dtype=np.int64)
    covered = np.zeros(alias_sets, dtype=np.float64)
    distance = np.full(len(alias), np.inf, dtype=np.float64)
    began = np.zeros(len(walk), dtype=np.int64)
    total = 0.0
    time = 0
    for step in range(len(walk)):
        began[step] = time
        for a in range(offsets[walk[step]], offsets[walk[step] + 1]):
            time += 1
            tensor = later[a] if second[step] >= 0 else alias[a]
            before = last[tensor]
            if before > 0:
                another_part = tensor != alias[a] and before <= began[second[step]]
                if not another_part:
                    distance[a] = _since(tree, total, size[a], before, held[tensor], whole[tensor], covered[tensor])
                _add(tree, before, -held[tensor])
                total -= held[tensor]
            _add(tree, time, size[a])
            total += size[a]
            last[tensor] = time
            held[tensor] = size[a]
            if 2.0 * size[a] >= covered[tensor]:
                whole[tensor] = time
                covered[tensor] = size[a]
    return distance


@in_place
def _since(tree: Float, total: float, size: float, last: int, held: float, whole: int, covered: float) -> float:
    """Distinct bytes of others since the last touch that left what an access of ``size`` bytes asks for; inf if none did.

    A touch of less than half of it leaves most of that where it was: the last one that was large enough (``covered`` bytes at time
    ``whole``) counts then. A row that is written to a cache of keys does not bring the whole cache back.
    """
    since, own = last, 0.0
    if 2.0 * held < size:
        since = whole if 2.0 * covered >= size else 0
        own = held if since < last else 0.0
    return max(total - _up_to(tree, since) - own, 0.0) if since > 0 else np.inf


@in_place
def _up_to(tree: Float, place: int) -> float:
    """Sum of a Fenwick tree's values up to a place."""
    found = 0.0
    while place > 0:
        found += tree[place]
        place -= place & -place
    return found


@in_place
def _add(tree: Float, place: int, amount: float) -> None:
    while place < len(tree):
        tree[place] += amount
        place += place & -place


@dataclass(frozen=True, eq=False)
class Walk:
    """Launches in the order in which they run, the body of each loop that repeats twice.

    ``steps`` holds kernels, and for the entry into a loop the number of kernels plus that of the region. ``second`` is for each
    step that at which the second pass of the innermost loop around it began; -1 in first passes, and where no loop is. Shapes [steps].
    """

    steps: Int
    second: Long

    def only(self, kept: Bool) -> "Walk":
        """Return the walk of some of its steps, ``kept`` [steps]."""
        place = np.concatenate(([0], np.cumsum(kept)))
        return Walk(self.steps[kept], np.where(self.second < 0, -1, place[self.second])[kept])


def walk_of(regions: Mapping[str, NDArray[Any]], kernels: int) -> Walk:
    """Return the walk through the regions of a trace."""
    children: dict[int, list[int]] = {}
    for region, parent in enumerate(regions["parent"]):
        children.setdefault(int(parent), []).append(region)
    pieces: list[Int] = []
    seconds: list[Long] = []

    def steps(first: int, end: int, second: int) -> None:
        pieces.append(np.arange(first, end, dtype=np.int32))
        seconds.append(np.full(end - first, second, dtype=np.int64))

    def visit(region: int, second: int) -> None:
        if regions["trip_count"][region] <= 1:
            body(region, second)
            return
        steps(kernels + region, kernels + region + 1, -1)
        body(region, -1)
        body(region, sum(map(len, pieces)))

    def body(region: int, second: int) -> None:
        at = int(regions["first_kernel"][region])
        for child in children.get(region, []):
            steps(at, int(regions["first_kernel"][child]), second)
            visit(child, second)
            at = int(regions["end_kernel"][child])
        steps(at, int(regions["end_kernel"][region]), second)

    visit(0, -1)
    return Walk(np.concatenate(pieces), np.concatenate(seconds)) if pieces else Walk(np.zeros(0, np.int32), np.zeros(0, np.int64))


@dataclass(frozen=True, eq=False)
class Sweeps:
    """Accesses that touch another part of their tensor in every iteration of the innermost loop around them.

    A part is taken to be another one where as many parts as there are iterations fit into the allocation: weights of layers that lie
    in one tensor, of which iteration i reads layer i. What repeats more often than that reads one part again and again.
    ``loop`` is the innermost loop of each access, -1 without; ``swept`` whether it is such an access; shapes [accesses].
    """

    loop: Int
    swept: Bool
    rest: Float
    """Bytes that all iterations but two touch, as a walk passes twice; shape [accesses]."""

    @classmethod
    def of(cls, regions: Mapping[str, NDArray[Any]], region: Int, size: Float, allocated: Float) -> "Sweeps":
        """Return the sweeps among accesses of ``size`` bytes in a ``region``, to allocations of so many bytes; shapes [accesses]."""
        innermost = np.full(len(regions["parent"]), -1, dtype=np.int32)
        for number, (parent, trips) in enumerate(zip(regions["parent"], regions["trip_count"], strict=True)):
            innermost[number] = number if trips > 1 else (innermost[parent] if parent >= 0 else -1)
        loop = innermost[region]
        trips = np.where(loop >= 0, regions["trip_count"][loop], 1).astype(np.float64)
        return cls(loop, (trips > 1) & (size > 0) & (trips * size <= allocated), (trips - 2) * size)

    def later(self, alias: Int, sets: int) -> tuple[Int, int]:
        """Return the alias set of each access in second passes, and how many there are now; shape [accesses]."""
        own, number = np.unique(alias[self.swept], return_inverse=True)
        found = alias.copy()
        found[self.swept] = sets + number
        return found, sets + len(own)

    def at_entries(self, alias: Int, sets: int, regions: int, kept: Bool) -> tuple[Long, Int, Float, int]:
        """Return what the other iterations touch as accesses of the entries into loops: offsets by region, alias sets, sizes, all sets.

        Of the accesses ``kept``; once for each alias set and loop. These have alias sets of their own, from ``sets`` on.
        """
        chosen = np.flatnonzero(self.swept & kept)
        key, place = np.unique(self.loop[chosen].astype(np.int64) * sets + alias[chosen], return_inverse=True)
        size = np.zeros(len(key))
        np.maximum.at(size, place, self.rest[chosen])
        own, number = np.unique(key % max(sets, 1), return_inverse=True)
        offsets = np.searchsorted(key // max(sets, 1), np.arange(regions + 1)).astype(np.int64)
        return offsets, (sets + number).astype(np.int32), size, sets + len(own)
