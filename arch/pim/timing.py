"""Named timing parameters: out of the catalogue, and single ones changed."""

from collections.abc import Mapping

from arch.catalog import Entry
from traces.errors import MachineError, nearest

Timing = Mapping[str, float]


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
