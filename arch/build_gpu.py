"""A GPU as a part of a machine, and what may be changed about it."""

from functools import lru_cache

from arch.assembly import Assembly, Part, pico
from arch.catalog import Entry
from arch.gpu import GPU, with_bandwidth
from arch.memory import Memory
from arch.parameter import Parameter

_PEAKS = ("vector_flops", "matrix_flops")


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
    return with_bandwidth(gpu, bandwidth)


def memory_of(gpu: GPU, capacity: float, bandwidth: float) -> Memory:
    """The GPU's memory; its static power is part of the board's."""
    return Memory(gpu.memory, round(capacity), bandwidth, pico(gpu.entry.get("dram_energy_per_byte")))


def changed(draft: Assembly, entry: Entry) -> Entry:
    """Declare a GPU's parameters and return its entry with their values: what follows from them by proportion follows.

    SMs carry their share of both peaks; the clock carries the peaks, L2's bandwidth and L2's latency in cycles; stacks carry
    capacity and bandwidth. Static power, power cap and energy a FLOP stay; the area is unknown where the die changes.
    """
    stacks = _stacks_name(entry)
    sms = draft.parameter("sm_count", _whole(entry["sm_count"], 4, "streaming multiprocessors"))
    clock = draft.parameter("clock_hz", _around(entry["clock"], "Hz", "boost clock"))
    l2 = draft.parameter("l2_bytes", _around(entry["l2"], "B", "capacity of L2", 16))
    count = draft.parameter(stacks, _whole(entry["memory_stacks"], 4, "stacks or packages of its memory"))
    new: dict[str, float] = {}
    if sms != entry["sm_count"]:
        new["sm_count"] = sms
    if clock != entry["clock"]:
        new |= {"clock": clock, "l2_bandwidth": entry["l2_bandwidth"] * clock / entry["clock"]}
        new["l2_latency"] = entry["l2_latency"] * entry["clock"] / clock
        new |= {"base_clock": entry["base_clock"] * clock / entry["clock"]} if "base_clock" in entry.numbers else {}
    peak = sms / entry["sm_count"] * clock / entry["clock"]
    if peak != 1.0:
        new |= {key: entry[key] * peak for key in entry.numbers if key.split(".")[0] in _PEAKS}
    if l2 != entry["l2"]:
        new["l2"] = l2
    if count != entry["memory_stacks"]:
        of_stack = {key: entry[key] / entry["memory_stacks"] for key in ("memory", "memory_bandwidth")}
        new |= {"memory_stacks": count, **{key: value * count for key, value in of_stack.items()}}
    die = sms != entry["sm_count"] or l2 != entry["l2"]
    return entry.changed(new).without("die_area", "price") if die else entry.changed(new).without("price") if new else entry


def _stacks_name(entry: Entry) -> str:
    return "hbm_stacks" if entry.text["memory_family"].startswith("HBM") else "memory_packages"


def _whole(value: float, factor: float, doc: str) -> Parameter:
    return Parameter(value, "1", 1, value * factor, doc, integer=True, design=False)


def _around(value: float, unit: str, doc: str, factor: float = 4) -> Parameter:
    return Parameter(value, unit, value / factor, value * factor, doc, design=False)
