"""For every device of the catalogue a machine that has it: what lists and tests show it in."""

from collections.abc import Callable

from arch.building import FIRST
from arch.entry import Entry
from arch.keys import EXTENSIONS
from arch.registered import find, names

_GPUS = ("a5000", "a100-sxm-40gb")
"""GPUs of the examples: one of GDDR, one of HBM."""
_HOSTS = {"host": "a5000", "rdu-host": "plasticine", "tpu-host": "tpu-v4"}


def example_of(entry: Entry) -> str | None:
    """Return the name of a machine that has the device, link or timing of a catalogue entry; None if nothing in a machine uses it."""
    if entry.kind in FIRST:
        return entry.id
    if entry.kind in EXTENSIONS:
        return f"{_GPUS[0]}+{entry.id}"
    make: dict[str, Callable[[Entry], str | None]] = {
        "pim": _with_pim,
        "memory": _with_memory,
        "link": _with_link,
        "dram": _with_timing,
        "host": _with_host,
    }
    return make[entry.kind](entry)


def _with_pim(entry: Entry) -> str:
    """In the memory of a GPU whose kind of memory it is, else behind a link."""
    for gpu in _GPUS:
        if find(gpu).text["memory_family"] == entry.text["memory_family"]:
            return f"{gpu}+{entry.id}"
    return f"{_GPUS[0]}+{entry.id}@link"


def _with_memory(entry: Entry) -> str:
    """DRAM on the GPU's host link; all else behind the DRAM."""
    return f"{_GPUS[0]}+{entry.id}" if entry.text["joined_by"] == "host" else f"{_GPUS[0]}+dram+{entry.id}"


def _with_link(entry: Entry) -> str:
    return f"{_GPUS[0]}+dram@{entry.id}"


def _with_timing(entry: Entry) -> str | None:
    """The first PIM that counts in it; that of a simulator's other presets is used by ``codesign predict`` alone."""
    users = (find(name) for name in names() if find(name).kind == "pim")
    return next((_with_pim(pim) for pim in users if pim.text["timing"] == entry.id), None)


def _with_host(entry: Entry) -> str:
    return _HOSTS.get(entry.id, _GPUS[0])
