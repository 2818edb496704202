"""Units as catalogue files and users write them, and what they are in SI."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from numbers import Real

from traces.errors import MachineError, nearest

_FACTORS: dict[str, tuple[float, str]] = {
    "1": (1.0, "1"),
    "s": (1.0, "s"),
    "ms": (1e-3, "s"),
    "us": (1e-6, "s"),
    "ns": (1e-9, "s"),
    "ps": (1e-12, "s"),
    "Hz": (1.0, "Hz"),
    "kHz": (1e3, "Hz"),
    "MHz": (1e6, "Hz"),
    "GHz": (1e9, "Hz"),
    "B": (1.0, "B"),
    "kB": (1e3, "B"),
    "MB": (1e6, "B"),
    "GB": (1e9, "B"),
    "TB": (1e12, "B"),
    "KiB": (2.0**10, "B"),
    "MiB": (2.0**20, "B"),
    "GiB": (2.0**30, "B"),
    "TiB": (2.0**40, "B"),
    "B/s": (1.0, "B/s"),
    "kB/s": (1e3, "B/s"),
    "MB/s": (1e6, "B/s"),
    "GB/s": (1e9, "B/s"),
    "TB/s": (1e12, "B/s"),
    "MiB/s": (2.0**20, "B/s"),
    "GiB/s": (2.0**30, "B/s"),
    "Gbit/s": (1e9 / 8, "B/s"),
    "FLOP/s": (1.0, "FLOP/s"),
    "GFLOP/s": (1e9, "FLOP/s"),
    "TFLOP/s": (1e12, "FLOP/s"),
    "PFLOP/s": (1e15, "FLOP/s"),
    "J": (1.0, "J"),
    "nJ": (1e-9, "J"),
    "pJ": (1e-12, "J"),
    "J/B": (1.0, "J/B"),
    "nJ/B": (1e-9, "J/B"),
    "pJ/B": (1e-12, "J/B"),
    "pJ/bit": (8e-12, "J/B"),
    "J/FLOP": (1.0, "J/FLOP"),
    "pJ/FLOP": (1e-12, "J/FLOP"),
    "W": (1.0, "W"),
    "kW": (1e3, "W"),
    "mW": (1e-3, "W"),
    "mm2": (1.0, "mm2"),
    "USD": (1.0, "USD"),
}
"""Unit: factor to the base unit of its dimension, and that base unit. Areas stay in mm2, the unit in which chips are quoted."""

_AMBIGUOUS = {
    "KB": "kB (1,000 bytes) or KiB (1,024 bytes)",
    "Kb": "kB or KiB",
    "Gb/s": "Gbit/s or GB/s",
    "GBps": "GB/s",
    "TBps": "TB/s",
    "Gbps": "Gbit/s",
    "b": "B for bytes",
}
_TEXT = re.compile(r"\s*([-+]?[0-9][0-9_]*(?:\.[0-9]*)?(?:[eE][-+]?[0-9]+)?)\s*(\S*)\s*")


def factor(unit: str, dimension: str, where: str) -> float:
    """Return what a value in ``unit`` is multiplied by to be in the base unit ``dimension`` ('s', 'B/s', 'J/FLOP', '1', ...).

    Raises MachineError, naming ``where`` (file and key), if the unit is unknown, ambiguous, or of another dimension.
    """
    if not unit:
        known = ", ".join(u for u, (_, base) in _FACTORS.items() if base == dimension)
        raise MachineError(f"{where}: a number without a unit is ambiguous; write one of {known} behind it")
    if unit in _AMBIGUOUS:
        raise MachineError(f"{where}: the unit {unit!r} is ambiguous or missing; write {_AMBIGUOUS[unit]}")
    if unit not in _FACTORS:
        raise MachineError(f"{where}: there is no unit {unit!r}; {_meant(unit, dimension)}")
    scale, base = _FACTORS[unit]
    if base != dimension:
        known = ", ".join(u for u, (_, b) in _FACTORS.items() if b == dimension)
        raise MachineError(f"{where} must be in one of {known}, but got {unit!r}")
    return scale


def _meant(unit: str, dimension: str) -> str:
    """Which unit was meant: 'TBps', 'tb/s' and 'TFLOPS' are close to the one that is written otherwise."""
    fitting = [u for u, (_, base) in _FACTORS.items() if base == dimension]
    plain = re.sub(r"flops$", "flop/s", re.sub(r"ps$", "/s", unit.lower()) if dimension.endswith("/s") else unit.lower())
    same = [u for u in fitting if u.lower() == plain]
    return f"did you mean {same[0]!r}?" if same else nearest(unit, fitting)


def parse(value: float | int | str, dimension: str, where: str) -> float:
    """Return an SI number from a number (taken as SI) or a text with its unit, such as '1.5 TB/s'.

    Raises MachineError if a text has no unit (and is not a pure number), or the value is not finite or is negative.
    """
    if isinstance(value, str):
        amount, unit = split(value, where, dimension)
        number = amount * factor(unit or ("1" if dimension == "1" else ""), dimension, where)
    else:
        number = _as_float(value, where, dimension)
    return checked(number, where)


def split(text: str, where: str, dimension: str = "TB/s") -> tuple[float, str]:
    """Return number and unit of a text such as '1.5 TB/s', the unit '' if there is none. Raises MachineError if it is no such text."""
    match = _TEXT.fullmatch(text)
    if match is None:
        wanted = "a number without a unit, such as '2'" if dimension == "1" else f"a number with a unit, such as '{example(dimension)}'"
        raise MachineError(f"{where} must be {wanted}, but got {text!r}")
    return float(match[1]), match[2]


@dataclass(frozen=True)
class Amount:
    """What a field of a part must be: a finite number in ``unit`` that is not negative, and what else is asked of it."""

    unit: str
    positive: bool = False
    optional: bool = False
    """None is a value too."""
    most: float = math.inf
    whole: bool = False
    """Whole numbers only; a text such as '1.3 GiB' is cut down to one."""

    def rule(self) -> str:
        """Return what must hold, in words."""
        number = ("a whole number" if self.whole else "a finite number") + (f" of {self.unit}" if self.unit != "1" else "")
        sign = "above zero" if self.positive else "that is not negative"
        most = f" and at most {self.most:,.15g}" if self.most < math.inf else ""
        text = f", or a text such as '{example(self.unit)}'" if self._texts and self.unit != "1" else ""
        return ("None or " if self.optional else "") + f"{number} {sign}{most}{text}"

    @property
    def _texts(self) -> bool:
        return self.unit in _FACTORS

    def read(self, value: object, where: str) -> float | int | None:
        """Return the number that was given. Raises MachineError naming ``where``."""
        if value is None and self.optional:
            return None
        number = parse(value, self.unit, where) if isinstance(value, str) and self._texts else value
        if isinstance(value, str) and self.whole and isinstance(number, float):
            number = math.floor(number)
        if isinstance(number, bool) or not isinstance(number, Real) or not self._holds(float(number)):
            raise MachineError(f"{where} must be {self.rule()}, but got {value!r}")
        return int(float(number)) if self.whole else float(number)

    def _holds(self, number: float) -> bool:
        low = number > 0 if self.positive else number >= 0
        return low and number <= self.most and math.isfinite(number) and (not self.whole or number == math.floor(number))


def settle(part: object, who: str, amounts: Mapping[str, Amount]) -> None:
    """Replace the fields of a frozen dataclass by their numbers in SI, where texts such as '1.5 TB/s' were given.

    Raises MachineError naming ``who``, the field, what must hold and what was given.
    """
    for name, amount in amounts.items():
        value = getattr(part, name, None)
        number = amount.read(value, f"{name} of {who}")
        if number is not value:
            object.__setattr__(part, name, number)


def example(unit: str) -> str:
    """Return a text with a unit of the dimension, as people write it."""
    common = {"B/s": "1.5 TB/s", "B": "16 GB", "s": "2 us", "Hz": "1.5 GHz", "FLOP/s": "20 TFLOP/s", "W": "75 W", "mm2": "600 mm2"}
    return common.get(unit, f"1.5 {unit}")


def checked(number: float, where: str) -> float:
    """Return the number if it is finite and not negative; raises MachineError otherwise."""
    if not math.isfinite(number) or number < 0:
        raise MachineError(f"{where} must be finite and not negative, but got {number!r}")
    return number


def _as_float(value: object, where: str, dimension: str) -> float:
    if isinstance(value, bool) or not isinstance(value, Real):
        text = f" or a text such as '{example(dimension)}'" if dimension != "1" else ""
        raise MachineError(f"{where} must be a number{text}, but got {value!r}")
    return float(value)
