"""The catalogue: the devices that come with codesign, by id and alias, and what their calibration left open."""

from functools import cache
from pathlib import Path

from arch.entry import Entry
from arch.entry_file import FOLDER, load_entry, parsed
from traces.errors import MachineError, nearest


@cache
def builtin_ids() -> tuple[str, ...]:
    """Return the ids of the files in arch/catalog, sorted; those that only serve as a base are left out."""
    return tuple(sorted(path.stem for path in FOLDER.glob("*.toml") if not parsed(path).get("abstract", False)))


@cache
def builtin(entry_id: str) -> Entry:
    """Return a file of arch/catalog by its id. Raises MachineError with the nearest ids."""
    if entry_id not in builtin_ids():
        raise MachineError(f"there is no device {entry_id!r} in the catalogue; {nearest(entry_id, builtin_ids())}")
    return load_entry(FOLDER / f"{entry_id}.toml")


@cache
def aliases() -> dict[str, str]:
    """Return the id of every alias of the catalogue's devices; ids stand for themselves."""
    table = {entry_id: entry_id for entry_id in builtin_ids()}
    for entry_id in builtin_ids():
        for alias in builtin(entry_id).aliases:
            if table.setdefault(alias, entry_id) != entry_id:
                raise MachineError(f"the alias {alias!r} must name one device, but both {table[alias]!r} and {entry_id!r} claim it")
    return table


def calibrated_path() -> Path:
    """Return the file of the fitted constants."""
    return FOLDER / "calibrated.toml"


@cache
def residuals() -> dict[str, dict[str, float]]:
    """Return how far the fitted model was off on devices left out of its fit: ``row`` and ``total`` by class of rows."""
    found: dict[str, dict[str, float]] = parsed(calibrated_path()).get("residuals", {})
    return found


@cache
def left_out() -> dict[str, dict[str, float]]:
    """Return what devices left out of the fit showed, by 'device/op': ``median`` error and ``bias`` of the summed time."""
    found: dict[str, dict[str, float]] = parsed(calibrated_path()).get("left_out", {})
    return found
