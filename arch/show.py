"""A device as a dictionary."""

from typing import TYPE_CHECKING, Any

from arch.entry import Entry
from arch.extension import Extension
from arch.fused import ChainedGPU
from arch.pim import PIM

if TYPE_CHECKING:
    from arch.device import Device


def device_dict(device: "Device") -> dict[str, Any]:
    """Return what a device is, with the quantities that follow from its parameters (SI units)."""
    shown: dict[str, Any] = {
        "id": device.id,
        "kind": device.kind,
        "memory": device.memory,
        "hypothetical": device.hypothetical,
        "static_watts": device.static_watts,
        "area_mm2": device.area_mm2,
        "price_usd": device.price_usd,
        **_of_entry(getattr(device, "entry", None)),
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


def _of_entry(entry: Entry | None) -> dict[str, Any]:
    """Return the peaks by dtype of a device that the catalogue describes, without sparsity, and its power cap."""
    peaks = {unit: entry.group(f"{unit}_flops") for unit in ("vector", "matrix")} if entry else {}
    return {"power_cap_watts": entry.get("board_power") if entry else None, "peak_flops_per_s": {u: p for u, p in peaks.items() if p}}
