"""How the time changes with the machine's numbers, from one critical path, and how far that holds."""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from codesign.explaining.variants import Baseline

if TYPE_CHECKING:
    from arch.parameter import Parameter

STEP = 1e-3
"""Relative step of the one-sided differences: prices are rounded to picoseconds, so that a smaller one would measure rounding."""
PROBES = (0.25, 0.5, 0.75, 1.0)
"""Where the path is replayed on the way to an end of a parameter's range (log scale): it may be critical there, but not before."""
HALVINGS = 8
"""How often what lies between two of these is halved: an end is known to a thousandth of the range."""
HOLDS = 1e-6
"""The path is still critical where a replay takes as long as it, up to this (rounding of prices to picoseconds)."""
OF_CHANGE = 1e-3
"""Or up to this much of what has changed: where resources are shared, how much operations stretch changes a little too."""
FLAT = 1e-4
"""An elasticity this small is rounding; then more of a rate and less of a time count as better."""
TIE = 0.02
"""Two one-sided elasticities that differ by more than this mark a tie: two paths, or two terms of a price, are equally long."""


@dataclass(frozen=True)
class Sensitivity:
    """What one continuous parameter does to the time.

    Parameters
    ----------
    derivative_down, derivative_up
        Seconds of makespan a unit of the parameter, for less and for more of it, at fixed mapping; at fixed order of events too where the
        path stays critical, else of replays. NaN at an end of its range.
    elasticity
        Relative change of the time over relative change of the parameter, towards less time.
    holds_low, holds_high
        Values of the parameter between which the same path stays critical: a replay takes as long, to a thousandth of the change.
    tie
        The two derivatives differ.
    doubled, doubled_s
        The value twice as good (within its range), and the time of a replay with it.
    """

    name: str
    value: float
    unit: str
    derivative_down: float
    derivative_up: float
    elasticity: float
    holds_low: float
    holds_high: float
    tie: bool
    doubled: float
    doubled_s: float | None


@dataclass(frozen=True)
class Size:
    """Another value of a discrete parameter: replayed."""

    name: str
    value: float
    unit: str
    other: float
    time_s: float | None


def sensitivities(base: Baseline) -> list[Sensitivity]:
    """Return one row a continuous parameter of the machine, the largest elasticity first."""
    rows = [_sensitivity(base, name, p) for name, p in base.machine.parameters.items() if not (p.integer or p.choices) and p.value > 0]
    return sorted(rows, key=lambda row: -abs(row.elasticity))


def sizes(base: Baseline) -> list[Size]:
    """Return the time at the next smaller and larger value of each discrete parameter, and at twice as many of what is counted."""
    discrete = {name: p for name, p in base.machine.parameters.items() if p.integer or p.choices}
    return [
        Size(name, p.value, p.unit, other, base.time_s(base.machine.with_(**{name: other})))
        for name, p in discrete.items()
        for other in _neighbours(p)
    ]


def _neighbours(parameter: "Parameter") -> list[float]:
    if parameter.choices:
        ordered = sorted(parameter.choices)
        below, above = [c for c in ordered if c < parameter.value], [c for c in ordered if c > parameter.value]
        return below[-1:] + above[:1]
    others = dict.fromkeys((parameter.value - 1, parameter.value + 1, 2 * parameter.value))
    return [other for other in others if parameter.low <= other <= parameter.high]


def _sensitivity(base: Baseline, name: str, parameter: "Parameter") -> Sensitivity:
    down, up = (_elasticity(base, name, parameter, factor) for factor in (1 - STEP, 1 + STEP))
    known = [e for e in (down, up) if not math.isnan(e)]
    steepest = max(known, key=abs, default=0.0)
    per_unit = base.time_ps / 1e12 / parameter.value
    fewer = steepest > 0 if abs(steepest) > FLAT else parameter.unit == "s"
    doubled = _clip(parameter, parameter.value * (0.5 if fewer else 2.0))
    return Sensitivity(
        name,
        parameter.value,
        parameter.unit,
        down * per_unit,
        up * per_unit,
        steepest,
        _end(base, name, parameter, parameter.low),
        _end(base, name, parameter, parameter.high),
        len(known) == 2 and abs(down - up) > TIE * max(abs(down), abs(up), STEP),
        doubled,
        base.time_s(base.machine.with_(**{name: doubled})),
    )


def _clip(parameter: "Parameter", value: float) -> float:
    return min(max(value, parameter.low), parameter.high)


def _elasticity(base: Baseline, name: str, parameter: "Parameter", factor: float) -> float:
    """Return d ln(time) / d ln(parameter) on one side, of the path or, where it does not stay critical, of a replay.

    NaN beyond the parameter's range.
    """
    value = parameter.value * factor
    if not parameter.low <= value <= parameter.high:
        return math.nan
    found = base.both_s(base.machine.with_(**{name: value}))
    if found is None:
        return math.nan
    path_s, replay_s = found
    stays = abs(path_s - replay_s) <= base.rounding_s
    return math.log((path_s if stays else replay_s) / (base.time_ps / 1e12)) / math.log(factor)


def _end(base: Baseline, name: str, parameter: "Parameter", limit: float) -> float:
    """Return how far towards ``limit`` the path stays critical: by probes, then by bisection, on a log scale (linear towards zero)."""
    if parameter.value == limit:
        return limit
    inside, outside = 0.0, 0.0
    for probe in PROBES:
        inside, outside = outside, probe
        if not _holds(base, name, limit if probe == 1.0 else _between(parameter.value, limit, probe)):
            break
    else:
        return limit
    for _ in range(HALVINGS):
        middle = (inside + outside) / 2
        inside, outside = (middle, outside) if _holds(base, name, _between(parameter.value, limit, middle)) else (inside, middle)
    return _between(parameter.value, limit, inside)


def _between(value: float, limit: float, share: float) -> float:
    if value > 0 and limit > 0:
        return float(value * (limit / value) ** share)
    return value + share * (limit - value)


def _holds(base: Baseline, name: str, value: float) -> bool:
    found = base.both_s(base.machine.with_(**{name: value}))
    return found is not None and agree(base, *found)


def agree(base: Baseline, path_s: float, replay_s: float) -> bool:
    """Say whether a replay on a changed machine takes as long as the path does there."""
    return abs(replay_s - path_s) <= max(HOLDS * path_s, base.rounding_s, OF_CHANGE * abs(path_s - base.time_ps / 1e12))
