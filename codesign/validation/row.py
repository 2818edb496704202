"""One row of the validation: a published number, ours, and which of ours is accepted."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Value = float | str | None


@dataclass(frozen=True)
class Tolerance:
    """An interval of accepted values, ends included; an infinite end is open."""

    low: float = -math.inf
    high: float = math.inf

    def holds(self, value: float) -> bool:
        """Return whether the value is accepted; NaN never is."""
        return self.low <= value <= self.high

    def __str__(self) -> str:
        if math.isinf(self.low):
            return f"<= {self.high:.4g}"
        if math.isinf(self.high):
            return f">= {self.low:.4g}"
        return f"{self.low:.4g} to {self.high:.4g}"


def tolerance_of(rule: Mapping[str, float], published: Mapping[str, float]) -> Tolerance:
    """Return the interval that a rule of the data file means for a published number (``value``, or ``low`` and ``high``)."""
    low, high = published.get("value", published.get("low")), published.get("value", published.get("high"))
    if "points" in rule and low is not None and high is not None:
        return Tolerance(low - rule["points"], high + rule["points"])
    if "relative" in rule and low is not None and high is not None:
        return Tolerance(low * (1 - rule["relative"]), high * (1 + rule["relative"]))
    return Tolerance(rule.get("low", -math.inf), rule.get("high", math.inf))


@dataclass(frozen=True)
class Row:
    """A published number beside ours.

    Parameters
    ----------
    id
        'part/...': stable between releases.
    published
        The number, a range as text, a name (which ansatz is fastest), or None where only a bar is set.
    ours
        None if it cannot be computed: then the row is not met.
    tolerance
        What of ours is accepted; None for a row that is shown for comparison, without ``met``.
    """

    id: str
    quantity: str
    published: Value
    ours: Value
    tolerance: Tolerance | str | None
    configuration: str
    source: str
    note: str = ""

    @property
    def part(self) -> str:
        """The part of the page that the row belongs to."""
        head, _, rest = self.id.partition("/")
        if head == "survey":
            kind = rest.partition("/")[0]
            return {"memory": "memory", "memory-margin": "memory", "counter": "counters"}.get(kind, "survey")
        return head.replace("-", "_")

    @property
    def met(self) -> bool | None:
        """Whether ours is accepted; None for a row without a tolerance."""
        if self.tolerance is None:
            return None
        if self.ours is None:
            return False
        if isinstance(self.tolerance, str):
            return self.ours == self.tolerance
        return isinstance(self.ours, int | float) and self.tolerance.holds(float(self.ours))

    def to_dict(self) -> dict[str, Any]:
        """Return the row for JSON."""
        limits = self.tolerance if isinstance(self.tolerance, Tolerance) else None
        return {
            "id": self.id,
            "quantity": self.quantity,
            "published": self.published,
            "ours": self.ours,
            "tolerance": None if self.tolerance is None else str(self.tolerance),
            "low": None if limits is None or math.isinf(limits.low) else limits.low,
            "high": None if limits is None or math.isinf(limits.high) else limits.high,
            "met": self.met,
            "configuration": self.configuration,
            "source": self.source,
            "note": self.note,
        }


def shown(published: Mapping[str, float]) -> Value:
    """Return a published number, or 'low to high' for a range."""
    if "value" in published:
        return published["value"]
    return f"{published['low']:g} to {published['high']:g}"
