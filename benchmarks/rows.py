"""One measured value against its bar."""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Literal


@dataclass(frozen=True)
class Row:
    """A value, its unit, and the bar that it must reach ('higher' or 'lower' is better); bar None: only shown."""

    name: str
    value: float
    unit: str
    bar: float | None
    better: Literal["higher", "lower"]

    @property
    def met(self) -> bool:
        """Whether the value reaches the bar; true where there is none."""
        if self.bar is None:
            return True
        return self.value >= self.bar if self.better == "higher" else self.value <= self.bar

    def to_dict(self) -> dict[str, Any]:
        """Return the row with ``met``."""
        return {**asdict(self), "met": self.met}


def best_of(function: Callable[[], object], repeats: int = 5) -> float:
    """Return the shortest of several timed calls in seconds, after one that is not timed (it may compile)."""
    function()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return min(times)
