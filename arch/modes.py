"""Which mode for which run: the cheapest choice when changes of mode cost something.

Dynamic programming over the runs in program order finds the optimum where no loop leads back; back edges of loops are charged in
sweeps that change one run at a time until none improves. So the result is optimal without loops, and good with them.
"""

import numpy as np
from numpy.typing import NDArray

from arch.work import Float, Int

_SWEEPS = 20


def choose(cost: Float, source: Int, target: Int, switch: Float) -> NDArray[np.int64]:
    """Return the mode of each run, int64[R].

    Parameters
    ----------
    cost
        Seconds of all executions of each run in each mode, float64[R, M]; inf where a mode cannot run it.
    source, target
        Edges between runs, int64[E]: (r, r + 1) for all r first, then those that lead back.
    switch
        Seconds of all traversals of an edge if the modes at its ends differ, float64[E].
    """
    chosen = _chain(cost, switch[: len(cost) - 1])
    for _ in range(_SWEEPS):
        if not _sweep(chosen, cost, source, target, switch):
            break
    return chosen


def total(chosen: NDArray[np.int64], cost: Float, source: Int, target: Int, switch: Float) -> float:
    """Return the seconds of a choice, switches included."""
    return float(cost[np.arange(len(cost)), chosen].sum() + switch[chosen[source] != chosen[target]].sum())


def _chain(cost: Float, switch: Float) -> NDArray[np.int64]:
    """The best choice along the program, without the edges that lead back."""
    runs, modes = cost.shape
    best, came = cost[0].copy(), np.zeros((runs, modes), np.int64)
    for run in range(1, runs):
        change = best.min() + switch[run - 1]
        stays = best <= change
        came[run] = np.where(stays, np.arange(modes), best.argmin())
        best = np.where(stays, best, change) + cost[run]
    chosen = np.empty(runs, np.int64)
    chosen[-1] = best.argmin()
    for run in range(runs - 1, 0, -1):
        chosen[run - 1] = came[run, chosen[run]]
    return chosen


def _sweep(chosen: NDArray[np.int64], cost: Float, source: Int, target: Int, switch: Float) -> bool:
    """Give each run, one after another, the mode that is best beside its neighbours; say whether anything changed."""
    changed = False
    for run in range(len(cost)):
        beside = np.concatenate([chosen[target[source == run]], chosen[source[target == run]]])
        price = np.concatenate([switch[source == run], switch[target == run]])
        options = cost[run] + np.array([price[beside != mode].sum() for mode in range(cost.shape[1])])
        if options[chosen[run]] > options.min() * (1 + 1e-12):
            chosen[run] = options.argmin()
            changed = True
    return changed
