"""Which mode for which run: the cheapest choice when changes of mode cost something.

Exact dynamic programming. A part of the program is known by the least cost for every pair of modes of its first and its last run. Runs
that follow each other are joined into parts, loops from the inside out: the edge that leads back joins a body's last run to its first,
so its cost depends on this pair alone. Loops lie within each other or apart, which is all that it takes.
"""

import itertools
from bisect import bisect_left
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from arch.work import Float, Int


def choose(cost: Float, source: Int, target: Int, switch: Float) -> NDArray[np.int64]:
    """Return the mode of each run, int64[R]: no choice has a smaller ``total``. Time grows with R, and with the cube of M.

    Parameters
    ----------
    cost
        Seconds of all executions of each run in each mode, float64[R, M]; inf where a mode cannot run it.
    source, target
        Edges between runs, int64[E]: (r, r + 1) for all r first, then those that lead back, each from the last run of a loop to its first.
    switch
        Seconds of all traversals of an edge if the modes at its ends differ, float64[E].
    """
    runs = len(cost)
    parts = [_Part.of(run, seconds) for run, seconds in enumerate(cost)]
    between = switch[: runs - 1]
    loops = sorted(zip(target[runs - 1 :].tolist(), source[runs - 1 :].tolist(), switch[runs - 1 :].tolist(), strict=True), key=_length)
    for first, last, back in loops:
        start, end = (bisect_left(parts, run, key=lambda part: part.last) for run in (first, last))
        body = _joined(parts[start : end + 1], between)
        apart = ~np.eye(len(body.best), dtype=np.bool_)
        parts[start : end + 1] = [_Part(body.last, body.best + back * apart, body.pieces, body.came)]
    program = _joined(parts, between)
    chosen = np.empty(runs, np.int64)
    first_mode, last_mode = divmod(int(program.best.argmin()), cost.shape[1])
    _unfold(program, first_mode, last_mode, chosen)
    return chosen


def total(chosen: NDArray[np.int64], cost: Float, source: Int, target: Int, switch: Float) -> float:
    """Return the seconds of a choice, switches included."""
    return float(cost[np.arange(len(cost)), chosen].sum() + switch[chosen[source] != chosen[target]].sum())


def _length(loop: tuple[int, int, float]) -> int:
    first, last, _ = loop
    return last - first


@dataclass(frozen=True, eq=False)
class _Part:
    """Runs that follow each other: ``best`` [first mode, last mode], and for each piece after the first how its end was reached.

    ``came`` holds, for the first mode of the part and the last of the piece, the last mode of the piece before and the first of the piece.
    """

    last: int
    best: Float
    pieces: tuple["_Part", ...] = ()
    came: tuple[tuple[Int, Int], ...] = ()

    @classmethod
    def of(cls, run: int, seconds: Float) -> "_Part":
        """Return one run: its first mode is its last."""
        best = np.full((len(seconds), len(seconds)), np.inf)
        np.fill_diagonal(best, seconds)
        return cls(run, best)


def _joined(pieces: list[_Part], between: Float) -> _Part:
    """Return pieces that follow each other as one part; between the last run of each and the next stands the cost of a change."""
    if len(pieces) == 1:
        return pieces[0]
    best, came = pieces[0].best, []
    for before, piece in itertools.pairwise(pieces):
        change = best.min(axis=1, keepdims=True) + between[before.last]
        stays = best <= change
        left = np.where(stays, np.arange(best.shape[1]), best.argmin(axis=1)[:, None])
        through = np.minimum(best, change)[:, :, None] + piece.best[None]
        entered = through.argmin(axis=1)
        best = through.min(axis=1)
        came.append((np.take_along_axis(left, entered, axis=1), entered))
    return _Part(pieces[-1].last, best, tuple(pieces), tuple(came))


def _unfold(part: _Part, first: int, last: int, chosen: NDArray[np.int64]) -> None:
    """Write the modes of a part's runs that cost least with these modes of its first and its last run."""
    if not part.pieces:
        chosen[part.last] = last
        return
    for piece, (left, entered) in zip(part.pieces[:0:-1], part.came[::-1], strict=True):
        _unfold(piece, int(entered[first, last]), last, chosen)
        last = int(left[first, last])
    _unfold(part.pieces[0], first, last, chosen)
