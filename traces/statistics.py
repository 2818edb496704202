"""Statistics that turn the time of a step into the time to a given standard error: variance, and how long a chain remembers.

Series are local energies [samples, walkers] of walkers that do not depend on each other, a fixed number of transitions apart.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from traces.errors import TraceError

Series = npt.NDArray[np.float64]

WINDOW = 5.0
"""The sum over correlations ends at this many autocorrelation times (Sokal 1989)."""

CLIP = 5.0
"""Energies further from their median than this many mean absolute deviations are clipped, as a training step does."""


def clipped(series: Series) -> Series:
    """Clip energies to their median plus and minus ``CLIP`` mean absolute deviations: at a node of psi they have no limit."""
    centre = np.median(series)
    width = CLIP * np.abs(series - centre).mean()
    return np.clip(series, centre - width, centre + width)


def autocorrelation_time(series: Series) -> tuple[float, float]:
    """Return the integrated autocorrelation time in samples, tau = 1/2 + sum of rho, and its standard error.

    Correlations are averaged over walkers about the common mean; the sum ends where it is a fifth of the distance (Sokal's window).
    The error is the jackknife's over walkers. A mean of n samples has the variance of n / (2 tau) independent ones.
    """
    covariance = _covariance(series)
    return _time(covariance.mean(1)), jackknife(np.array([_time(left) for left in _without_each(covariance)]))


def _covariance(series: Series) -> Series:
    """Return the mean product of deviations at each distance, for each walker: [distances, walkers]."""
    centred, count = series - series.mean(), len(series)
    return np.array([(centred[: count - lag] * centred[lag:]).mean(0) for lag in range(max(1, count // 2))])


def _time(covariance: Series) -> float:
    if covariance[0] <= 0:
        return 0.5
    times = np.cumsum(covariance / covariance[0]) - 0.5
    ended = np.flatnonzero(np.arange(len(times)) >= WINDOW * times)
    return float(max(0.5, times[ended[0] if len(ended) else -1]))


def _without_each(values: Series) -> Iterable[Series]:
    """Yield the mean over all walkers but one, for each of them; values are [..., walkers]."""
    walkers = values.shape[-1]
    total = values.sum(-1)
    return ((total - values[..., walker]) / (walkers - 1) for walker in range(walkers))


def jackknife(without_each: Series) -> float:
    """Return the standard error of a statistic from its values with one walker left out each time."""
    count = len(without_each)
    return float(np.sqrt((count - 1) / count * ((without_each - without_each.mean()) ** 2).sum()))


def variance(series: Series) -> tuple[float, float]:
    """Return the variance of all energies and its standard error, the jackknife's over walkers."""
    moments = np.array([series.mean(0), (series**2).mean(0)])
    return float(series.var()), jackknife(np.array([second - first**2 for first, second in _without_each(moments)]))


def inefficiency(row: Mapping[str, Any], transitions: int) -> float:
    """Return 2 tau in steps (at least 1) for a step of so many transitions: how many steps' energies count as one independent one.

    Between the spacings that were measured the value is interpolated in the logarithm of the spacing; beyond the last it is the last.
    ``row`` is one of ``Trace.statistics``. Raises TraceError for transitions below one.
    """
    if transitions < 1:
        raise TraceError(f"a step must have at least one transition, but got {transitions}")
    spacing, known = np.array(row["spacing"], float), np.array(row["inefficiency"], float)
    if transitions < spacing[0]:  # as many independent energies in as many transitions
        return float(max(1.0, known[0] * spacing[0] / transitions))
    return float(np.interp(np.log(transitions), np.log(spacing), known))


def seconds_to_error(row: Mapping[str, Any], step_s: float, *, walkers: int, transitions: int, error: float) -> float:
    """Return the seconds until the mean energy has the standard error ``error`` (hartree).

    step_s x variance x 2 tau / (walkers x error^2), tau in steps: each step of ``step_s`` seconds makes ``transitions`` transitions of
    ``walkers`` walkers and takes one local energy of each. Raises TraceError where walkers or error are not positive.
    """
    if walkers < 1 or not error > 0:
        raise TraceError(f"`walkers >= 1` and `error > 0` must hold, but got walkers={walkers}, error={error}")
    return step_s * float(row["variance"]) * inefficiency(row, transitions) / (walkers * error**2)
