"""Records written out: stretches that were stepped over, as often as they happened, or a few times of each."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from codesign.engine.program import Indices, Ints, Records


@dataclass(frozen=True, eq=False)
class Instances:
    """Instances of operations, in launch order; an entry with ``op`` -1 stands for ``skipped`` instances of ``skipped_op``."""

    op: Indices
    start_ps: Ints
    end_ps: Ints
    skipped_op: Indices
    skipped: Ints


def expand(records: Records, at_most: int | None = None) -> Instances:
    """Write every step out ``at_most`` times (None: as often as it happened); the times are the true ones of the first so many."""
    if not len(records.step_count):
        none = np.zeros(len(records.op), np.int64)
        return Instances(records.op, records.start_ps, records.end_ps, none.astype(np.int32) - 1, none)
    parts = _Parts(at_most)
    steps = zip(
        records.step_first.tolist(), records.step_end.tolist(), records.step_count.tolist(), records.step_period_ps.tolist(), strict=True
    )
    reached = 0
    columns = np.stack([records.op.astype(np.int64), records.start_ps, records.end_ps])
    for first, end, count, period in steps:
        if end > reached:
            parts.add(reached, columns[:, reached:end])
            reached = end
        parts.repeat(first, count, period)
    parts.add(reached, columns[:, reached:])
    return _joined(parts.table)


class _Parts:
    """A growing list of stretches; knows where each record stands in it."""

    def __init__(self, at_most: int | None) -> None:
        self.at_most = at_most
        self.room = np.empty((5, 1024), np.int64)
        self.size = 0
        self.begins: list[tuple[int, int]] = [(0, 0)]

    @property
    def table(self) -> Ints:
        """What there is by now: op, start, end, skipped op, times skipped."""
        return self.room[:, : self.size]

    def add(self, record: int, columns: Ints) -> None:
        """Append records (op, start, end), the first of them number ``record``."""
        self.begins.append((record, self.size))
        new = self._more(columns.shape[1])
        new[:3], new[3], new[4] = columns, -1, 0

    def repeat(self, first: int, count: int, period: int) -> None:
        """Append the stretch from record ``first`` on ``count`` times, the last of them as a summary if there are too many."""
        record, begin = next((r, at) for r, at in reversed(self.begins) if r <= first)
        stretch = self.table[:, begin + first - record :].copy()
        shown = count if self.at_most is None else min(count, self.at_most)
        copies = self._more(stretch.shape[1] * shown).reshape(5, shown, stretch.shape[1])
        copies[:] = stretch[:, None]
        copies[1:3] += (np.arange(1, shown + 1) * period)[:, None]
        for rest in _summary(stretch, count - shown):
            self._more(rest.shape[1])[:] = rest

    def _more(self, entries: int) -> Ints:
        """Return room for so many entries more."""
        begin, self.size = self.size, self.size + entries
        if self.size > self.room.shape[1]:
            larger = np.empty((5, 2 * self.size), np.int64)
            larger[:, :begin] = self.room[:, :begin]
            self.room = larger
        return self.room[:, begin : self.size]


def _summary(stretch: Ints, times: int) -> Iterator[Ints]:
    """Yield the entries that stand for ``times`` more of a stretch."""
    if times:
        op = np.where(stretch[0] >= 0, stretch[0], stretch[3])
        weight = np.where(stretch[0] >= 0, 1, stretch[4])
        total = np.zeros(int(op.max(initial=-1)) + 1, np.int64)
        np.add.at(total, op, weight)
        ops = np.flatnonzero(total)
        none = np.zeros(len(ops), np.int64)
        yield np.stack([none - 1, none, none, ops, total[ops] * times])


def _joined(table: Ints) -> Instances:
    return Instances(table[0].astype(np.int32), table[1], table[2], table[3].astype(np.int32), table[4])
