"""Named timing parameters: out of the catalogue, and single ones changed."""

from collections.abc import Mapping
from functools import lru_cache
from types import MappingProxyType

from arch.entry import Entry
from arch.registered import find
from traces.errors import MachineError, nearest

Timing = Mapping[str, float]


def dram(name: str) -> Entry:
    """Return a ``dram`` entry by its id or the path of a TOML file. Raises MachineError if it is no such entry."""
    entry = find(name) if name.endswith(".toml") else _registered(name)
    if entry.kind != "dram":
        raise MachineError(f"the timing of PIM must be an entry of kind 'dram', but {name!r} is of kind {entry.kind!r}")
    return entry


@lru_cache(maxsize=64)
def _registered(name: str) -> Entry:
    return find(name)


def timing(entry: Entry, **changed: float) -> dict[str, float]:
    """Return the clocks of a ``dram`` entry by name, single ones changed.

    Names are matched without case, underscores and whether they begin with 'n' or 't' (simulators differ in that). What the
    entry calls idle has no effect on any kernel and may be given too. Raises MachineError for another name, with the nearest.
    """
    values = entry.group("timing")
    known = {plain(name): name for name in values}
    idle = {plain(name) for name in entry.text["idle"].split()}
    for name, value in changed.items():
        found = known.get(plain(name))
        if found is not None:
            values[found] = float(value)
        elif plain(name) not in idle:
            raise MachineError(f"{entry.id} has no timing parameter {name!r}; {nearest(name, values)}")
    return values


def plain(name: str) -> str:
    """Return a parameter's name as simulators agree on it: 'tCCD_L', 'nCCDL' and 'tCCDL' are 'CCDL'."""
    bare = name.replace("_", "")
    return bare[1:].upper() if bare[:1] in "nt" else bare.upper()


_COLUMNS = {
    ("registers", "bank"): ("tCCDL",),
    ("global-buffer", "bank"): ("nCCDS", "nCCDL"),
    ("attention", "bank"): ("nCCDAB",),
    ("attention", "bg"): ("nCCDSB",),
    ("attention", "buffer"): ("nBL", "nCCDS"),
    ("state-update", "bank"): ("nCCDL",),
}
"""The parameters that are the interval between column accesses of the units, by how they are driven and where they sit."""


@lru_cache(maxsize=256)
def paced(entry: Entry, style: str, level: str, interval_s: float) -> Timing:
    """Return the clocks of a ``dram`` entry with columns every ``interval_s`` seconds.

    Raises MachineError if units that are driven so cannot sit there.
    """
    if (style, level) not in _COLUMNS:
        raise MachineError(f"PIM must be one of {', '.join(f'{s} at {w}' for s, w in _COLUMNS)}, but got {style!r} at {level!r}")
    values = entry.group("timing")
    clocks = interval_s / entry["clock_period"]
    return MappingProxyType({**values, **dict.fromkeys(_COLUMNS[style, level], clocks)})
