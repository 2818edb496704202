"""What is live at every cut of a trace: the bytes that the serial hand-over model moves there, without unrolling its loops.

A cut lies between two launches that follow each other. In kernel rows there are few of them: cut j < K lies before row j, where row
j - 1 (or the start of the trace) comes first; cut K + r is taken when loop region r goes from its last row back to its first. Each is
passed once an iteration, and what is live there is the same in all iterations of a loop except the first (some tensors do not exist
yet) and the last (no later iteration needs them). So a walk that visits each loop body at most three times, with weights, counts
everything exactly; it costs 3^depth visits a row.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from schedulers.per_trace import once_a_trace
from schedulers.serial_model import exists_at_start

if TYPE_CHECKING:
    from traces.trace import Trace

Int = npt.NDArray[np.int64]
Float = npt.NDArray[np.float64]


@dataclass(frozen=True)
class LiveCuts:
    """How often each cut is passed and what is live then; all float64[K + R], sums over a run of the trace."""

    passes: Float
    """How often the cut is passed."""
    passes_with_bytes: Float
    """How often something is live there."""
    moved_bytes: Float
    """Live bytes, summed over all passes."""


@dataclass(frozen=True)
class Walk:
    """A walk over kernel rows that stands for all launches: step i goes to ``row[i]`` through ``cut[i]``, ``weight[i]`` times in all."""

    row: Int
    cut: Int
    weight: Float

    def scaled(self, factor: float) -> Walk:
        return Walk(self.row, self.cut, self.weight * factor)

    def entered_by(self, cut: int, weight: float) -> Walk:
        """Return the walk with its first step through another cut."""
        cuts, weights = self.cut.copy(), self.weight.copy()
        cuts[:1], weights[:1] = cut, weight
        return Walk(self.row, cuts, weights)


@once_a_trace
def live_cuts(trace: Trace) -> LiveCuts:
    """Return what is live at each cut of ``trace``; it does not depend on the machine."""
    walk = walk_thrice(trace)
    live = _live_at_steps(trace, walk)
    cuts = len(trace.kernels) + len(trace.regions)
    totals = [np.bincount(walk.cut, walk.weight * share, cuts) for share in (np.ones(len(live)), live > 0, live)]
    return LiveCuts(*(total.astype(np.float64) for total in totals))


def walk_thrice(trace: Trace) -> Walk:
    """Return the walk that visits every loop body at most three times: the first, all middle ones as one, and the last iteration."""
    regions = trace.regions
    children: dict[int, list[int]] = {row: [] for row in range(len(regions))}
    for row, parent in enumerate(regions["parent"].tolist()):
        children.get(parent, []).append(row)
    back = len(trace.kernels)

    def body(region: int) -> Walk:
        pieces, at = [], int(regions["first_kernel"][region])
        for child in children[region]:
            pieces.append(_straight(at, int(regions["first_kernel"][child])))
            pieces.append(repeated(child))
            at = int(regions["end_kernel"][child])
        return _joined([*pieces, _straight(at, int(regions["end_kernel"][region]))])

    def repeated(region: int) -> Walk:
        once, trips = body(region), int(regions["trip_count"][region])
        again, cut = [], back + region
        if trips > 2:
            again.append(once.scaled(trips - 2).entered_by(cut, 1.0))
        if trips > 1:
            again.append(once.entered_by(cut, max(trips - 2, 1)))
        return _joined([once, *again])

    return repeated(0)


def _straight(start: int, end: int) -> Walk:
    rows = np.arange(start, end, dtype=np.int64)
    return Walk(rows, rows, np.ones(len(rows)))


def _joined(walks: list[Walk]) -> Walk:
    return Walk(*(np.concatenate([getattr(w, name) for w in walks]) for name in ("row", "cut", "weight")))


def _live_at_steps(trace: Trace, walk: Walk) -> Float:
    """Return the bytes that are live just before each step of ``walk``, float64[steps].

    An alias set is live from the step after one touch up to the next touch, if that one reads and the set has been written before.
    """
    alias, step, reads, writes = _touches(trace, walk)
    same = np.diff(alias, prepend=-1) == 0
    start = np.where(same, np.concatenate([[-1], step[:-1]]) + 1, 0)
    first_write = np.full(len(trace.alias_bytes), len(walk.row) + 1)
    np.minimum.at(first_write, alias[writes], step[writes] + 1)
    first_write[exists_at_start(trace)] = 0
    live = reads & (first_write[alias] <= start)
    change = np.zeros(len(walk.row) + 1)
    size = trace.alias_bytes[alias[live]]
    np.add.at(change, start[live], size)
    np.add.at(change, step[live] + 1, -size)
    return np.cumsum(change)[:-1]


def _touches(trace: Trace, walk: Walk) -> tuple[Int, Int, npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Return (alias set, step, whether it reads, whether it writes), a row for each set that a step touches, sorted by set and step."""
    first, count = trace.access_offsets[walk.row], np.diff(trace.access_offsets)[walk.row]
    step = np.repeat(np.arange(len(walk.row)), count)
    access = np.arange(len(step)) + np.repeat(first - (np.cumsum(count) - count), count)
    key, where = np.unique(trace.access_alias[access].astype(np.int64) * max(len(walk.row), 1) + step, return_inverse=True)
    needed, written = trace.access_needs[access], trace.access_writes[access]
    reads, writes = np.bincount(where[needed], minlength=len(key)) > 0, np.bincount(where[written], minlength=len(key)) > 0
    return key // max(len(walk.row), 1), key % max(len(walk.row), 1), reads, writes
