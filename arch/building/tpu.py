"""A TPU as a machine, and what may be changed about it."""

from functools import lru_cache

from arch.building.assembly import Assembly, Part
from arch.entry import Entry
from arch.memory import Memory
from arch.parameter import Parameter
from arch.tpu import TPU


def add_tpu(draft: Assembly, part: Part) -> None:
    """Add a TPU with its memory. The clock carries the peaks; cycles and bandwidth stay, since the compiler counted with them."""
    entry = part.entry
    clock = draft.parameter("clock_hz", Parameter(entry["clock"], "Hz", entry["clock"] / 4, entry["clock"] * 4, "clock", design=False))
    if clock != entry["clock"]:
        peaks = {key: entry[key] * clock / entry["clock"] for key in entry.numbers if key.split(".")[0] in ("matrix_flops", "vector_flops")}
        entry = entry.changed({"clock": clock, **peaks})
    tpu = _tpu_of(entry)
    draft.devices.append(tpu)
    draft.memories.append(Memory(tpu.memory, round(entry["memory"]), entry["memory_bandwidth"], None))
    draft.entries.append(entry)


@lru_cache(maxsize=64)
def _tpu_of(entry: Entry) -> TPU:
    """One TPU object an entry: what it prices of a trace is then shared by all machines."""
    return TPU.of(entry)
