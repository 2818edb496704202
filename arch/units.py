"""Units as catalogue files and users write them, and what they are in SI."""

import math
import re
from collections.abc import Mapping

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
        fitting = [u for u, (_, base) in _FACTORS.items() if base == dimension]
        raise MachineError(f"{where}: there is no unit {unit!r}; {nearest(unit, fitting)}")
    scale, base = _FACTORS[unit]
    if base != dimension:
        known = ", ".join(u for u, (_, b) in _FACTORS.items() if b == dimension)
        raise MachineError(f"{where} must be in one of {known}, but got {unit!r}")
    return scale


def parse(value: float | int | str, dimension: str, where: str) -> float:
    """Return an SI number from a number (taken as SI) or a text with its unit, such as '1.5 TB/s'.

    Raises MachineError if a text has no unit (and is not a pure number), or the value is not finite or is negative.
    """
    if isinstance(value, str):
        amount, unit = split(value, where, dimension)
        number = amount * factor(unit or ("1" if dimension == "1" else ""), dimension, where)
    else:
        number = _as_float(value, where)
    return checked(number, where)


def split(text: str, where: str, dimension: str = "TB/s") -> tuple[float, str]:
    """Return number and unit of a text such as '1.5 TB/s', the unit '' if there is none. Raises MachineError if it is no such text."""
    match = _TEXT.fullmatch(text)
    if match is None:
        wanted = "a number without a unit, such as '2'" if dimension == "1" else f"a number with a unit, such as '1.5 {dimension}'"
        raise MachineError(f"{where} must be {wanted}, but got {text!r}")
    return float(match[1]), match[2]


def parse_fields(part: object, who: str, dimensions: Mapping[str, str]) -> None:
    """Replace those fields of a frozen dataclass that are texts, such as '1.5 TB/s', by their SI numbers.

    ``dimensions`` are the base units by field. Raises MachineError naming ``who`` and the field.
    """
    for name, dimension in dimensions.items():
        value = getattr(part, name)
        if isinstance(value, str):
            object.__setattr__(part, name, parse(value, dimension, f"{who}: {name}"))


def check_known(part: object, who: str, dimensions: Mapping[str, str]) -> None:
    """Raise MachineError naming ``who`` and the field if a field of a part is neither None nor a finite number that is not negative.

    ``dimensions`` are the units that the message shows by field.
    """
    for name, unit in dimensions.items():
        value = getattr(part, name, None)
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or value < 0:
            raise MachineError(
                f"{name} of {who} must be None (unknown) or a finite number of {unit} that is not negative, but got {value!r}"
            )


def checked(number: float, where: str) -> float:
    """Return the number if it is finite and not negative; raises MachineError otherwise."""
    if not math.isfinite(number) or number < 0:
        raise MachineError(f"{where} must be finite and not negative, but got {number!r}")
    return number


def _as_float(value: object, where: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise MachineError(f"{where} must be a number or a text such as '1.5 TB/s', but got {value!r}")
    return float(value)
