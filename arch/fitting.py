"""The search for constants: logarithms over where it starts, drawn back to it where a table hardly tells them apart."""

from collections.abc import Callable
from typing import Any

import numpy as np

from arch.work import Float

_PULL, _ROUNDS, _STEP = 0.03, 2, 0.2


def far(logs: Float) -> float:
    """Return what is added to the error of constants that lie ``logs`` from where the search starts.

    A factor of two costs 1.4 points of mean error: several constants say nearly the same of a table, and without a pull the
    search follows its noise far away, to values that do worse on a device that it has not seen.
    """
    return _PULL * float(np.square(logs).sum())


def search(loss: Callable[[Float], float], size: int, evaluations: int) -> Float:
    """Return the logarithms, shape [size], with the least loss: simplex searches, each from where the last one ended."""
    import scipy.optimize

    minimize: Any = scipy.optimize.minimize
    at = np.zeros(size)
    for _ in range(_ROUNDS):
        options = {"maxfev": evaluations, "adaptive": True, "initial_simplex": np.vstack([at, at + _STEP * np.eye(size)])}
        at = np.asarray(minimize(loss, at, method="Nelder-Mead", options=options).x, dtype=np.float64)
    return at
