"""A GPU as a part of a machine, and what may be changed about it."""

from functools import lru_cache

from arch import following
from arch.building.assembly import Assembly, Part, pico
from arch.entry import Entry
from arch.gpu import GPU
from arch.memory import Memory
from arch.parameter import Parameter


def add_gpu(draft: Assembly, part: Part) -> GPU:
    """Add a GPU alone with its memory."""
    gpu = gpu_of(changed(draft, part.entry))
    draft.devices.append(gpu)
    draft.memories.append(memory_of(gpu, gpu.entry["memory"], gpu.dram_bandwidth))
    draft.entries.append(gpu.entry)
    return gpu


@lru_cache(maxsize=64)
def gpu_of(entry: Entry) -> GPU:
    """One GPU object an entry: what it prepares for a trace is then shared by all machines."""
    return GPU.of(entry)


@lru_cache(maxsize=64)
def gpu_at(gpu: GPU, bandwidth: float) -> GPU:
    """One GPU object an entry and bandwidth."""
    return gpu.with_bandwidth(bandwidth)


def memory_of(gpu: GPU, capacity: float, bandwidth: float) -> Memory:
    """The GPU's memory; its static power is part of the board's."""
    return Memory(gpu.memory, round(capacity), bandwidth, pico(gpu.entry.get("dram_energy_per_byte")))


def changed(draft: Assembly, entry: Entry) -> Entry:
    """Declare a GPU's parameters and return its entry with their values: what follows from them by proportion follows.

    SMs carry their share of all peaks; the clock carries the peaks, L2's bandwidth and L2's latency in cycles; stacks carry
    capacity and bandwidth. The die's area follows from its parts and static power from its area; where units of an SM or L2's bandwidth
    change the area is unknown and static power stays, as energy a FLOP always does.
    """
    die = {
        "sm_count": draft.parameter("sm_count", _whole(entry["sm_count"], 4, "streaming multiprocessors")),
        "l2": draft.parameter("l2_bytes", _around(entry["l2"], "B", "capacity of L2", 16)),
        "l2_bandwidth": draft.parameter("l2_bandwidth_bytes_per_s", _around(entry["l2_bandwidth"], "B/s", "of L2, at the clock as sold")),
    }
    sms, as_sold = die["sm_count"] / entry["sm_count"], die["l2_bandwidth"] == entry["l2_bandwidth"]
    for unit in ("matrix", "vector"):
        scale = draft.parameter(f"{unit}_scale", _around(1.0, "1", f"peak of an SM's {unit} units, over the chip's as sold"))
        die |= following.times(entry, f"{unit}_flops", scale * sms)
        as_sold &= scale == 1.0
    die = {key: value for key, value in die.items() if value != entry[key]}
    clock = draft.parameter("clock_hz", _around(entry["clock"], "Hz", "boost clock"))
    new = die | following.at_clock(entry.changed(die), clock) | _of_stacks(draft, entry) | _power_cap(draft, entry)
    if not new:
        return entry
    made = entry.changed(new).without("price", *(["sustained_clock"] if "board_power" in new else []))
    return following.with_die(entry, made) if as_sold else made.without("die_area")


def _power_cap(draft: Assembly, entry: Entry) -> dict[str, float]:
    """Declare the power cap, where there is one; return it if it changes.

    It slows products; other kernels take as long at any cap, so that it cannot be lowered far.
    """
    sold = entry.get("board_power")
    if sold is None:
        return {}
    doc = "board power above which products run at a lower clock"
    cap = draft.parameter("power_cap_watts", Parameter(sold, "W", sold / 2, sold * 4, doc, design=False))
    return {} if cap == sold else {"board_power": cap}


def _of_stacks(draft: Assembly, entry: Entry) -> dict[str, float]:
    """Declare the stacks or packages of the memory; return what changes with them."""
    count = draft.parameter(_stacks_name(entry), _whole(entry["memory_stacks"], 4, "stacks or packages of its memory"))
    sold, wide = (entry[key] / entry["memory_stacks"] for key in ("memory", "memory_bandwidth"))
    size = draft.parameter("stack_bytes", _around(sold, "B", "capacity of a stack or package of its memory"))
    bandwidth = draft.parameter("stack_bandwidth_bytes_per_s", _around(wide, "B/s", "of a stack or package of its memory"))
    if (count, size, bandwidth) == (entry["memory_stacks"], sold, wide):
        return {}
    return {"memory_stacks": count, "memory": size * count, "memory_bandwidth": bandwidth * count}


def _stacks_name(entry: Entry) -> str:
    return "hbm_stacks" if entry.text["memory_family"].startswith("HBM") else "memory_packages"


def _whole(value: float, factor: float, doc: str) -> Parameter:
    return Parameter(value, "1", 1, value * factor, doc, integer=True, design=False)


def _around(value: float, unit: str, doc: str, factor: float = 4) -> Parameter:
    return Parameter(value, unit, value / factor, value * factor, doc, design=False)
