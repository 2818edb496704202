"""Numbers as people read them: SI prefixes, three digits. Inside, everything stays in SI units."""

import math

_PREFIXES = ((1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"), (1.0, ""), (1e-3, "m"), (1e-6, "µ"), (1e-9, "n"), (1e-12, "p"))


def show(value: float | None, unit: str) -> str:
    """Return '183 ms' for (0.1834, 's'); '—' for what is unknown."""
    if value is None or math.isnan(value):
        return "—"
    if math.isinf(value):
        return f"{value} {unit}"
    if unit == "1":
        return f"{value:.4g}"
    if value == 0:
        return f"0 {unit}"
    scale, prefix = prefix_of(value)
    return f"{_three(value / scale)} {prefix}{unit}"


def capacity(size: int) -> str:
    """Return the bytes of a memory: '24 GiB' where that is whole, else '80.0 GB'."""
    return f"{size / 2**30:.4g} GiB" if size % 2**30 == 0 else show(size, "B")


def prefix_of(value: float) -> tuple[float, str]:
    """Return the SI prefix under which ``value`` has one to three digits before the point: (1e-3, 'm') for 0.18."""
    size = abs(value) * (1 + 5e-4)  # 999.6 is shown as 1.00 of the next prefix
    return next(((scale, prefix) for scale, prefix in _PREFIXES if size >= scale), _PREFIXES[-1])


def _three(value: float) -> str:
    digits = 2 - math.floor(math.log10(abs(value) * (1 + 5e-4)))
    return f"{value:.{max(digits, 0)}f}"


def percent(fraction: float | None) -> str:
    """Return '12.3' for 0.123: a percentage without its sign; '—' for what is unknown."""
    if fraction is None or math.isnan(fraction):
        return "—"
    return f"{round(100 * fraction, 1) + 0.0:.1f}"  # adding zero: -0.04 is 0.0, not -0.0
