"""Refresh as whole events: how many fall into a kernel, each delaying it."""

import numpy as np

from arch.work import Float


def refreshes(busy: Float, first: float, interval: float, lost: Float | float) -> Float:
    """Return how many refreshes fall into kernels that would take ``busy`` without any; all times in one unit.

    They are due at ``first``, ``first + interval``, ...; each puts the rest of the kernel off by ``lost``. A kernel that ends
    when one is due does not wait for it. Raises nothing: an ``interval`` not above ``lost`` would never let a kernel end and
    gives infinity.
    """
    free = np.asarray(interval - lost, dtype=np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        count = np.where(free > 0, np.ceil((busy - first) / free), np.inf)
    return np.where(busy > first, np.maximum(count, 0.0), 0.0)
