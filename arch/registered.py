"""Finds devices by name: the catalogue's and a user's alike are entry points ``codesign.devices``.

What an entry point leads to is a catalogue ``Entry``, or the path of a TOML file as text. Ours lead here:
``arch.registered:a5000`` is the entry of arch/catalog/a5000.toml ('_' stands for '-').
"""

import os

from arch import catalog
from arch.entry import Entry
from arch.entry_file import load_entry
from traces import registry
from traces.errors import MachineError, nearest


def __getattr__(name: str) -> Entry:
    if name.startswith("__"):
        raise AttributeError(name)
    return catalog.builtin(name.replace("_", "-"))


def names() -> list[str]:
    """Return the ids of all registered devices, hosts and links, sorted."""
    return registry.names("devices")


def find(name: str) -> Entry:
    """Return the entry of a device by id, alias or path of a TOML file; spaces and '_' stand for '-', as in 'NVIDIA A30' or 'h100_sxm'.

    Raises MachineError with the nearest names if there is none.
    """
    if name.endswith(".toml"):
        return load_entry(name)
    known_as, lower = catalog.aliases(), name.strip().lower()
    plain = lower.replace("_", "-").replace(" ", "-")
    wanted = next((known_as.get(text, text) for text in (lower, plain) if known_as.get(text, text) in names()), None)
    if wanted is None:
        known = nearest(name, {*names(), *catalog.aliases()})
        raise MachineError(f"there is no device {name!r}; {known} (`codesign machines` lists all; a file such as my-gpu.toml adds one)")
    return _entry(registry.get("devices", wanted), wanted)


def _entry(found: object, name: str) -> Entry:
    if isinstance(found, Entry):
        return found
    if isinstance(found, str | os.PathLike):
        return load_entry(found)
    raise MachineError(f"the entry point {name!r} of codesign.devices must lead to an arch.entry.Entry or a path, but leads to {found!r}")
