"""PIM as a part of a machine: in the GPU's own memory (``in_memory``), or with memory of its own behind a link (``attached``)."""

from arch.building.assembly import Assembly, Part, pico
from arch.building.gpu import changed, gpu_at, gpu_of, memory_of
from arch.building.link import add_link
from arch.entry import Entry
from arch.gpu import GPU
from arch.link import HandOver
from arch.memory import Memory
from arch.parameter import Parameter
from arch.pim import PIM
from arch.registered import find

_MOST_ATTACHED = 32


def add_gpu_with_pim(draft: Assembly, part: Part, pim: Part) -> None:
    """Add a GPU of whose stacks some are PIM stacks: capacity and bandwidth are the sums of what is left and what is new."""
    gpu = gpu_of(changed(draft, part.entry))
    entry, total = gpu.entry, gpu.entry["memory_stacks"]
    standard = float(-(-total * pim.entry["in_memory_share"] // 1))
    device = _device(draft, pim.entry, gpu.memory, standard, total, shared=True)
    share = draft.parameter(
        "pim_layout_share",
        Parameter(pim.entry["layout_share"], "1", 0.01, 1.0, "share of handed-over data laid out anew", design=False),
    )
    plain, own = total - device.stacks, entry["memory_bandwidth"] / total
    of_pim = min(own, device.entry["stack_bandwidth"])
    bandwidth = entry["memory_bandwidth"] if of_pim == own else plain * own + device.stacks * of_pim
    capacity = plain * entry["memory"] / total + device.stacks * device.stack_bytes
    slower = gpu_at(gpu, bandwidth)
    draft.devices += [slower, device]
    draft.memories.append(memory_of(slower, capacity, bandwidth))
    draft.hand_overs.append(_hand_over(slower, device, of_pim, share))
    draft.entries += [entry, pim.entry, *_timing(pim.entry)]


def _hand_over(gpu: GPU, pim: PIM, stack_bandwidth: float, layout_share: float) -> HandOver:
    """What passing data between the GPU and PIM in its memory costs.

    The GPU spreads tensors over all stacks: what lies in plain ones is written to PIM stacks. ``layout_share`` of all is laid out
    anew (read and written): operands that are broadcast or reduced; others keep the GPU's interleaving.
    """
    entry, efficiency = gpu.entry, gpu.entry["dram_efficiency"]
    fraction = pim.stacks / entry["memory_stacks"]
    passes = (1 - fraction) + 2 * layout_share
    io = pim.entry.get("io_energy_per_byte")
    return HandOver(
        device=pim.id,
        memory=gpu.memory,
        mode_switch_s=pim.entry["mode_switch"],
        flush_s=pim.entry["flush_share"] * entry["l2"] / (gpu.dram_bandwidth * efficiency),
        layout_bandwidth=pim.stacks * stack_bandwidth * efficiency / passes,
        closed_fraction=fraction * pim.closed_share,
        pj_per_byte=None if io is None else 2e12 * io,
    )


def add_attached_pim(draft: Assembly, part: Part, link: Entry) -> None:
    """Add PIM with memory of its own, behind a link to the first device's memory."""
    entry = part.entry
    pim = _device(draft, entry, f"{entry.id}-memory", entry["attached_stacks"], _MOST_ATTACHED, shared=False)
    draft.devices.append(pim)
    draft.memories.append(
        Memory(pim.memory, pim.stacks * pim.stack_bytes, pim.stacks * entry["stack_bandwidth"], pico(entry.get("io_energy_per_byte")))
    )
    draft.entries += [entry, *_timing(entry)]
    add_link(draft, link, draft.home, pim.memory)


def _timing(entry: Entry) -> list[Entry]:
    """The timing of its DRAM, unless its price counts no commands."""
    return [] if entry.text["timing"] == "none" else [find(entry.text["timing"])]


def pim_alone(entry: Entry) -> PIM:
    """Return attached PIM outside of any machine."""
    return _device(Assembly((), {}), entry, f"{entry.id}-memory", entry["attached_stacks"], _MOST_ATTACHED, shared=False)


def _device(draft: Assembly, entry: Entry, memory: str, standard: float, most: float, *, shared: bool) -> PIM:
    where = "stacks of the GPU's memory that are PIM stacks" if shared else "packages or stacks of the attached PIM"
    sold = entry["banks_per_unit"]
    free = entry.text["style"] in ("registers", "global-buffer")  # the others are what they are at one place
    banks = tuple(float(2**i) for i in range(round(entry["banks_per_channel"]).bit_length())) if free else (sold,)
    doc, clock = "banks that share a unit: more units cost area and capacity", entry["unit_clock"]
    speed = Parameter(clock, "Hz", clock / 4, clock * 2, "clock of the units; above the column rate it buys nothing")
    return PIM(
        entry=entry,
        id=entry.id,
        memory=memory,
        stacks=round(draft.parameter("pim_stacks", Parameter(standard, "1", 1, most, where, integer=True))),
        banks_per_unit=round(
            draft.parameter("pim_banks_per_unit", Parameter(sold, "1", banks[0], banks[-1], doc, integer=True, choices=banks, design=free))
        ),
        unit_clock_hz=draft.parameter("pim_unit_clock_hz", speed),
        shared=shared,
    )
