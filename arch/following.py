"""What follows from some numbers of a GPU when others change, by proportion.

SMs carry their share of all peaks; the clock carries the peaks, L2's bandwidth and L2's latency in cycles; stacks carry capacity and
bandwidth; the die's area follows from its parts, static power from its area.
"""

from collections.abc import Mapping

from arch.area import die_mm2
from arch.entry import Entry, Quantity

_PEAKS = ("matrix_flops", "vector_flops")
_SIZES = ("sm_count", "l2", "memory_stacks")
_UNITS = (*_PEAKS, "l2_bandwidth")
"""Numbers that make a die's area unknown where they do not follow from SMs and clock."""


def times(entry: Entry, group: str, factor: float) -> dict[str, float]:
    """Return the numbers of a group (or one number) times a factor, in SI."""
    return {key: entry[key] * factor for key in entry.numbers if key.split(".")[0] == group}


def at_clock(entry: Entry, clock: float) -> dict[str, float]:
    """Return what changes with the clock (Hz), the clock itself first; nothing if it is as it was."""
    faster = clock / entry["clock"]
    if faster == 1.0:
        return {}
    carried = [times(entry, group, faster) for group in ("base_clock", "l2_bandwidth", *_PEAKS)]
    return (
        {"clock": clock} | {key: value for group in carried for key, value in group.items()} | {"l2_latency": entry["l2_latency"] / faster}
    )


def with_die(entry: Entry, made: Entry) -> Entry:
    """Return a change of ``entry`` with the area of its die, and static power in proportion; without an area where it is unknown."""
    if all(made[key] == entry[key] for key in _SIZES):
        return made
    area = die_mm2(entry, *(made[key] for key in _SIZES))
    if area is None:
        return made.without("die_area")
    return made.changed({"die_area": area} | times(entry, "static_power", area / entry["die_area"]))


def of_a_file(base: Entry, given: Mapping[str, Quantity]) -> dict[str, Quantity]:
    """Return the numbers of a base that a file leaves as they are: those that follow from numbers which the file does give are changed."""
    if base.kind != "gpu":
        return dict(base.numbers)
    new = {key: quantity.si for key, quantity in given.items() if key in base.numbers and not isinstance(quantity.si, tuple)}
    made = _carried(base, new)
    own_units = any(new.get(key, made[key]) != made[key] for group in _UNITS for key in times(base, group, 1.0))
    made = made.changed({key: new[key] for key in _SIZES if key in new})
    made = made.without("die_area") if own_units else with_die(base, made)
    return {key: quantity for key, quantity in made.numbers.items() if key not in given}


def _carried(base: Entry, new: Mapping[str, float]) -> Entry:
    """Return the base with other SMs, clock and stacks where ``new`` has them, and what these carry."""
    sms, clock, stacks = (new.get(key, base[key]) for key in ("sm_count", "clock", "memory_stacks"))
    more = [times(base, group, sms / base["sm_count"]) for group in _PEAKS]
    made = base if sms == base["sm_count"] else base.changed({"sm_count": sms} | more[0] | more[1])
    made = made.changed(at_clock(made, clock))
    if stacks != base["memory_stacks"]:
        carried = [times(base, key, stacks / base["memory_stacks"]) for key in ("memory", "memory_bandwidth", "memory_stacks")]
        made = made.changed({key: value for each in carried for key, value in each.items()})
    return made if made is base else made.without("price")
