"""A reconfigurable accelerator as a part of a machine."""

from arch.building.assembly import Assembly, Part, pico
from arch.building.link import add_link
from arch.entry import Entry
from arch.link import Link
from arch.memory import Memory
from arch.parameter import Parameter
from arch.reconfigurable import Reconfigurable

_SCALED = ("engines", "vector_lanes", "transcendental_lanes", "buffer")


def add_reconfigurable(draft: Assembly, part: Part, link: Entry | None = None) -> None:
    """Add the accelerator with its memories: as the first device, or behind ``link`` to the first device's memory."""
    entry = _changed(draft, part.entry)
    device = Reconfigurable.of(entry)
    draft.devices.append(device)
    watts = entry.get("memory_energy_per_byte")
    draft.memories.append(Memory(device.memory, round(entry["memory"]), entry["memory_bandwidth"], pico(watts)))
    if "tier_memory" in entry.numbers:
        _add_tier(draft, entry, device.memory)
    draft.entries.append(entry)
    if link is not None:
        add_link(draft, link, draft.home, device.memory)


def _changed(draft: Assembly, entry: Entry) -> Entry:
    """Scale the array (arrays, lanes, buffers, area, static power together), its clock and its memory's bandwidth."""
    doc = "size of the array: engines, lanes, buffers, area and static power together"
    scale = draft.parameter("array_scale", Parameter(1.0, "1", 0.05, 8.0, doc))
    own = entry["clock"]
    clock = draft.parameter("array_clock_hz", Parameter(own, "Hz", own / 4, own * 2, "clock of the array", design=False))
    as_sold = entry["memory_bandwidth"]
    width = Parameter(as_sold, "B/s", as_sold / 16, as_sold * 16, "of the array's memory", design=False)
    bandwidth = draft.parameter("array_memory_bandwidth_bytes_per_s", width)
    new = {key: value for key, value in (("clock", clock), ("memory_bandwidth", bandwidth)) if value != entry[key]}
    if scale != 1.0:
        new |= {key: max(entry[key] * scale, 1.0) for key in entry.numbers if key.split(".")[0] in _SCALED}
        new |= {key: entry[key] * scale for key in ("die_area", "static_power") if key in entry.numbers}
    return entry.changed(new).without("price") if new else entry


def _add_tier(draft: Assembly, entry: Entry, memory: str) -> None:
    """Add the further memory behind the first: DDR, say, from which models are loaded."""
    bandwidth = entry["tier_bandwidth"]
    joules = pico(entry.get("tier_energy_per_byte"))
    draft.memories.append(Memory(f"{entry.id}-tier", round(entry["tier_memory"]), bandwidth, joules, role="dram"))
    draft.links.append(Link(f"{entry.id}-tier-link", memory, f"{entry.id}-tier", bandwidth, bandwidth, entry["tier_latency"], joules))
