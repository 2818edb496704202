"""A GPU as a part of a machine, and what may be changed about it."""

from functools import lru_cache

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
    capacity and bandwidth. Static power, power cap and energy a FLOP stay; the area is unknown where the die changes.
    """
    die = {
        "sm_count": draft.parameter("sm_count", _whole(entry["sm_count"], 4, "streaming multiprocessors")),
        "l2": draft.parameter("l2_bytes", _around(entry["l2"], "B", "capacity of L2", 16)),
        "l2_bandwidth": draft.parameter("l2_bandwidth_bytes_per_s", _around(entry["l2_bandwidth"], "B/s", "of L2, at the clock as sold")),
    }
    sms = die["sm_count"] / entry["sm_count"]
    for unit in ("matrix", "vector"):
        scale = draft.parameter(f"{unit}_scale", _around(1.0, "1", f"peak of an SM's {unit} units, over the chip's as sold"))
        die |= _times(entry, f"{unit}_flops", scale * sms)
    die = {key: value for key, value in die.items() if value != entry[key]}
    new = _at_clock(draft, entry.changed(die) if die else entry) | _of_stacks(draft, entry)
    if die:
        return entry.changed(die | new).without("die_area", "price")
    return entry.changed(new).without("price") if new else entry


def _at_clock(draft: Assembly, entry: Entry) -> dict[str, float]:
    """Declare the clock; return what changes with it."""
    clock = draft.parameter("clock_hz", _around(entry["clock"], "Hz", "boost clock"))
    faster = clock / entry["clock"]
    if faster == 1.0:
        return {}
    carried = [_times(entry, group, faster) for group in ("base_clock", "l2_bandwidth", "matrix_flops", "vector_flops")]
    return {key: value for group in carried for key, value in group.items()} | {"clock": clock, "l2_latency": entry["l2_latency"] / faster}


def _of_stacks(draft: Assembly, entry: Entry) -> dict[str, float]:
    """Declare the stacks or packages of the memory; return what changes with them."""
    count = draft.parameter(_stacks_name(entry), _whole(entry["memory_stacks"], 4, "stacks or packages of its memory"))
    one = entry["memory_bandwidth"] / entry["memory_stacks"]
    bandwidth = draft.parameter("stack_bandwidth_bytes_per_s", _around(one, "B/s", "of a stack or package of its memory"))
    if count == entry["memory_stacks"] and bandwidth == one:
        return {}
    return {"memory_stacks": count, "memory": entry["memory"] / entry["memory_stacks"] * count, "memory_bandwidth": bandwidth * count}


def _times(entry: Entry, group: str, factor: float) -> dict[str, float]:
    """Return the numbers of a group (or one number) times a factor."""
    return {key: entry[key] * factor for key in entry.numbers if key.split(".")[0] == group}


def _stacks_name(entry: Entry) -> str:
    return "hbm_stacks" if entry.text["memory_family"].startswith("HBM") else "memory_packages"


def _whole(value: float, factor: float, doc: str) -> Parameter:
    return Parameter(value, "1", 1, value * factor, doc, integer=True, design=False)


def _around(value: float, unit: str, doc: str, factor: float = 4) -> Parameter:
    return Parameter(value, unit, value / factor, value * factor, doc, design=False)
