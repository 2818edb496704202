"""Runs: stretches of a trace between two region borders, how often each follows another, and what is alive in between.

A run is a maximal stretch of kernels of one region, phase and stage: what a device may be set up for. Inside a loop the last run is
followed by the first of the next iteration.
"""

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from arch.text import Text
from arch.work import Bool, Float, Int

if TYPE_CHECKING:
    from traces.trace import Trace


@dataclass(frozen=True, eq=False)
class Runs:
    """R runs of a trace: ``of_kernel`` is the run of each kernel [kernels], ``executions`` how often each run runs [R]."""

    of_kernel: Int
    first: Int
    executions: Int
    loops: tuple[tuple[int, int, int], ...]
    """Loops: kernels from and to (exclusive), and how often the body is followed by another iteration."""
    common: Int
    """How often the way from run r to the next leads straight on, [R - 1]: executions of the innermost region that holds both."""

    def edges(self, used: Int) -> tuple[Int, Int, Int]:
        """Return which of the ``used`` runs follow which: from, to (indices into ``used``), how often."""
        straight = [int(self.common[a:b].min()) for a, b in itertools.pairwise(used)]
        rows = [(i, i + 1, times) for i, times in enumerate(straight)]
        for start, end, again in self.loops:
            inside = np.flatnonzero((self.first[used] >= start) & (self.first[used] < end))
            if len(inside) > 1 and again:
                rows.append((int(inside[-1]), int(inside[0]), again))
        table = np.array(rows, dtype=np.int64).reshape(-1, 3)
        return table[:, 0], table[:, 1], table[:, 2]


def runs_of(trace: "Trace") -> Runs:
    """Return the runs of a trace."""
    kernels, regions = trace.kernels, trace.regions
    labels = [kernels["region"].astype(np.int64), *(Text.of(kernels, name).code.astype(np.int64) for name in ("phase", "stage"))]
    border = np.zeros(len(kernels), dtype=np.bool_)
    border[:1] = True
    for label in labels:
        border[1:] |= label[1:] != label[:-1]
    first = np.flatnonzero(border).astype(np.int64)
    start, end, trips = (regions[name].astype(np.int64) for name in ("first_kernel", "end_kernel", "trip_count"))
    times = _times(regions["parent"].astype(np.int64), trips)
    return Runs(
        of_kernel=np.cumsum(border).astype(np.int64) - 1,
        first=first,
        executions=trace.executions[first].astype(np.int64),
        loops=tuple(
            (int(a), int(b), int((n - 1) * (t // max(n, 1)))) for a, b, n, t in zip(start, end, trips, times, strict=True) if n > 1
        ),
        common=_common(first, start, end, times),
    )


def _times(parent: Int, trips: Int) -> Int:
    """How often the body of each region runs; a region's parent has a smaller index."""
    times = trips.copy()
    for region in range(len(parent)):
        if parent[region] >= 0:
            times[region] *= times[parent[region]]
    return times


def _common(first: Int, start: Int, end: Int, times: Int) -> Int:
    """Executions of the innermost region that holds both of two neighbouring runs; regions nest, so that it runs most often."""
    a, b = first[:-1], first[1:]
    holds: Bool = (start[:, None] <= a) & (b < end[:, None])
    return np.where(holds, times[:, None], 1).max(axis=0, initial=1) if len(a) else np.zeros(0, np.int64)


@dataclass(frozen=True, eq=False)
class Lives:
    """Values between their writer and a reader: accesses, and which borders they cross."""

    access: Int
    reader: Int
    writer: Int
    carried: Bool
    """Read in a later iteration than written."""
    loop_start: Int
    loop_end: Int

    def crosses(self, switched: Bool) -> Bool:
        """Return which of them cross a border before a kernel at which ``switched`` [kernels] is set."""
        before = np.concatenate([[0], np.cumsum(switched)])
        straight = before[self.reader + 1] > before[self.writer + 1]
        inside = before[self.loop_end] > before[self.loop_start]
        return np.where(self.carried, inside, straight)

    def alive(self, size: Float, kernels: int) -> Float:
        """Return the bytes alive at the border before each kernel, shape [kernels + 1]; ``size`` is bytes of each access here.

        Of several readers of one value the last counts. What is carried to the next iteration is alive all through its loop.
        """
        start = np.where(self.carried, self.loop_start, self.writer + 1)
        end = np.where(self.carried, self.loop_end, self.reader + 1)
        change = np.zeros(kernels + 2)
        np.add.at(change, start, size)
        np.add.at(change, end, -size)
        return np.cumsum(change)[: kernels + 1]


def lives_of(trace: "Trace") -> Lives:
    """Return the values of a trace: for each write its last reader."""
    reader, writer = trace.accesses["kernel"].astype(np.int64), trace.last_writer.astype(np.int64)
    access = np.flatnonzero(writer >= 0)
    late = reader[access] + np.where(writer[access] >= reader[access], len(trace.kernels), 0)  # after the loop has come round
    order = np.lexsort((late, trace.access_alias[access], writer[access]))
    pair = np.stack([writer[access], trace.access_alias[access].astype(np.int64)])[:, order]
    last = np.ones(len(order), dtype=np.bool_)
    last[:-1] = np.any(pair[:, 1:] != pair[:, :-1], axis=0)
    access = access[order[last]]
    carried = writer[access] >= reader[access]
    start, end = _loops_around(trace, reader[access], writer[access])
    return Lives(access, reader[access], writer[access], carried, start, end)


def _loops_around(trace: "Trace", reader: Int, writer: Int) -> tuple[Int, Int]:
    """First and end kernel of the innermost loop that holds both."""
    start, end = (trace.regions[name].astype(np.int64) for name in ("first_kernel", "end_kernel"))
    loops = np.flatnonzero(trace.regions["trip_count"] > 1)
    best_start, best_end = np.zeros(len(reader), np.int64), np.full(len(reader), len(trace.kernels), np.int64)
    for loop in loops:  # few, and each is vectorised over all values
        low, high = np.minimum(reader, writer), np.maximum(reader, writer)
        inside = (start[loop] <= low) & (high < end[loop]) & (end[loop] - start[loop] <= best_end - best_start)
        best_start[inside], best_end[inside] = start[loop], end[loop]
    return best_start, best_end
