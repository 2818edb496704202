"""One measured value against its bar, and ways to measure."""

import json
import subprocess
import sys
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


def measure(what: str, *arguments: str) -> dict[str, float]:
    """Return the seconds and the peak memory that `benchmarks.measured` finds, in a process of its own."""
    done = subprocess.run([sys.executable, "-m", "benchmarks.measured", what, *arguments], check=True, capture_output=True, text=True)
    result: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return result
