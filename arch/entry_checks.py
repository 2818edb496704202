"""What must hold of a whole entry of the catalogue once every number of it has been read."""

from arch.entry import Entry
from arch.keys import KINDS, TEXTS
from traces.errors import MachineError

_LIMITS = {
    "bandwidth": "peak_bandwidth",
    "read_bandwidth": "peak_bandwidth",
    "write_bandwidth": "peak_bandwidth",
    "static_power": "board_power",
}
"""Numbers that must not exceed another one, of kinds that have both."""


def check_complete(entry: Entry, where: str) -> None:
    """Every required number is there: a base may leave some to its devices. Raises MachineError with what is missing."""
    present = {name.split(".")[0] for name in entry.numbers}
    missing = [name for name, key in KINDS[entry.kind].items() if key.required and name not in present]
    if missing:
        more = f" and {len(missing) - 10} more" if len(missing) > 10 else ""
        raise MachineError(
            f"{where} must have the number {missing[0]!r} ({KINDS[entry.kind][missing[0]].doc}); missing: {', '.join(missing[:10])}{more}; "
            "give them, or name in `base` a device of the catalogue to take them from"
        )
    _check_modes(entry, where)
    for key in TEXTS[entry.kind]:
        if key not in entry.text:
            raise MachineError(f"{where} must have the text {key!r}")


def check_limits(entry: Entry, where: str) -> None:
    """Nothing that is reached exceeds what the pins or the package allow. Raises MachineError."""
    for name, limit in _LIMITS.items():
        reached, most = entry.get(name), entry.get(limit)
        if reached is not None and most is not None and reached > most:
            unit = KINDS[entry.kind][name].dimension
            raise MachineError(f"{where}: `{name} <= {limit}` must hold, but got {reached:g} and {most:g} {unit}")


def _check_modes(entry: Entry, where: str) -> None:
    """Every group by mode has a number for every mode of the others."""
    groups = [name for name, key in KINDS[entry.kind].items() if key.group and key.by == "mode"]
    modes = list(dict.fromkeys(mode for name in groups for mode in entry.group(name)))
    for name in groups:
        for mode in modes:
            if mode not in entry.group(name):
                known = f"{name} has {', '.join(entry.group(name))}"
                raise MachineError(f"{where} must have {name}.{mode}, as other groups have the mode {mode!r}; {known}")
