"""A machine as a dictionary and as HTML."""

from html import escape
from typing import TYPE_CHECKING, Any

from arch.extension import Extension
from arch.fused import ChainedGPU
from arch.pim import PIM
from traces import html as tables

if TYPE_CHECKING:
    from arch.device import Device
    from arch.machine import Machine


def device_dict(device: "Device") -> dict[str, Any]:
    """Return what a device is, with the quantities that follow from its parameters (SI units)."""
    shown: dict[str, Any] = {
        "id": device.id,
        "kind": device.kind,
        "memory": device.memory,
        "hypothetical": device.hypothetical,
        "static_watts": device.static_watts,
        "area_mm2": device.area_mm2,
    }
    if isinstance(device, PIM):
        shown |= {
            "stacks": device.stacks,
            "banks_per_unit": device.banks_per_unit,
            "units": device.units,
            "unit_clock_hz": device.unit_clock_hz,
            "internal_bandwidth_bytes_per_s": device.internal_bandwidth,
            "peak_flops": device.peak_flops,
            "organisation": "in_memory" if device.shared else "attached",
        }
    if isinstance(device, Extension):
        shown |= {"units": device.units, "port_bandwidth_bytes_per_s": device.port_bandwidth, "built_into": device.gpu.id}
    if isinstance(device, ChainedGPU) and device.chains is not None:
        shown["extensions"] = [device.chains.id]
    return shown


def html(machine: "Machine") -> str:
    """Return the machine as HTML: a table each for devices, memories, what joins them, and parameters."""
    mark, numbers = ", hypothetical" if machine.hypothetical else "", sum(len(e.numbers) for e in machine.entries)
    devices = [(d.id, d.kind, d.memory, _or_dash(d.area_mm2), _or_dash(d.static_watts)) for d in machine.devices]
    memories = [(m.id, m.capacity_bytes / 2**30, m.bandwidth / 1e9) for m in machine.memories]
    joins = [(link.id, f"{link.source} to {link.target}", link.bandwidth / 1e9, link.latency_s * 1e6) for link in machine.links]
    joins += [
        (f"hand-over to {h.device}", h.memory, h.layout_bandwidth / 1e9, (h.mode_switch_s + h.flush_s) * 1e6) for h in machine.hand_overs
    ]
    parameters = [(name, p.value, p.unit, p.low, p.high, p.doc) for name, p in machine.parameters.items()]
    return (
        f"<b>{escape(machine.id)}</b>: {machine.assumptions} of its {numbers} numbers are assumptions{mark}"
        + tables.table(["device", "kind", "memory", "area (mm²)", "static (W)"], devices)
        + tables.table(["memory", "capacity (GiB)", "bandwidth (GB/s)"], memories)
        + (tables.table(["link or hand-over", "between", "GB/s", "latency (µs)"], joins) if joins else "")
        + (tables.table(["parameter", "value", "unit", "low", "high", "meaning"], parameters) if parameters else "")
    )


def _or_dash(value: float | None) -> float | str:
    return "—" if value is None else value
