"""What a search is for: the measures that it makes small, and the limits that a design must keep."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from arch import units
from traces.errors import MachineError, SearchError, nearest

MEASURES = {"time": "time_s", "energy": "energy_j", "power": "power_watts", "area": "area_mm2", "price": "price_usd"}
"""Objective: the attribute of a ``Design`` that measures it."""
UNITS = {"time_s": "s", "energy_j": "J", "power_watts": "W", "area_mm2": "mm2", "price_usd": "USD"}
NAMES = {measure: name for name, measure in MEASURES.items()}


@dataclass(frozen=True)
class Goal:
    """``measures`` are attributes of designs, the most important first; ``limits`` are upper limits of them, in the units of ``UNITS``."""

    measures: tuple[str, ...]
    limits: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def of(cls, objectives: str | Sequence[str], budget: Mapping[str, float | str]) -> Goal:
        """Return the goal that a user names. Raises SearchError for an unknown objective, one named twice, or a limit that is none."""
        names = [objectives] if isinstance(objectives, str) else list(objectives)
        for name in names:
            if name not in MEASURES:
                raise SearchError(f"there is no objective {name!r}; {nearest(name, MEASURES)}")
        if not names or len(set(names)) < len(names):
            raise SearchError(f"objectives must be one or more, each named once, but got {names}")
        return cls(tuple(MEASURES[name] for name in names), {name: _limit(name, limit) for name, limit in budget.items()})

    @property
    def wanted(self) -> tuple[str, ...]:
        """What must be known of a design: measures and limits, each once."""
        return tuple(dict.fromkeys([*self.measures, *self.limits]))


def _limit(name: str, given: float | str) -> float:
    if name not in UNITS:
        raise SearchError(f"there is no budget {name!r}; {nearest(name, UNITS)}")
    try:
        limit = units.parse(given, UNITS[name], f"the budget {name}") if isinstance(given, str) else float(given)
    except MachineError as error:
        raise SearchError(str(error)) from error
    if not 0 < limit < math.inf:
        raise SearchError(f"a budget must be positive and finite, but got {name}={given}")
    return limit
