"""What is built into the first device of a machine, a GPU: engines beside its L2, and the sequencer of fused chains."""

from dataclasses import replace
from functools import lru_cache

from arch.area import at_node
from arch.building.assembly import Assembly, Part
from arch.entry import Entry
from arch.extension import ELEMENTWISE, LAYOUT, Extension
from arch.fused import ChainedGPU
from arch.gpu import GPU
from arch.parameter import Parameter
from traces.errors import MachineError

_PREFIX = {LAYOUT: "layout", ELEMENTWISE: "near_l2"}


def add_chains(draft: Assembly, part: Part) -> None:
    """Give the GPU what fuses chains of its kernels."""
    gpu, own = _gpu_of(draft, part), part.entry["buffer"]
    doc = "memory of an SM for tiles that kernels of a chain hand on: it limits how many are in one"
    buffer = draft.parameter("chain_buffer_bytes", Parameter(own, "B", 2 * part.entry["tile"], 4 * own, doc))
    entry = part.entry if buffer == own else part.entry.changed({"buffer": buffer})
    draft.devices[0] = _with_chains(gpu, entry)
    draft.entries.append(entry)


def add_units(draft: Assembly, part: Part) -> None:
    """Add units beside the GPU's L2: as many as it has slices, unless a parameter says otherwise."""
    gpu, entry, prefix = _gpu_of(draft, part), part.entry, _PREFIX[part.entry.kind]
    slices = max(round(gpu.entry["l2_bandwidth"] / gpu.entry["clock"] / entry["slice_bytes_per_clock"]), 1)
    doc = "units beside slices of the GPU's L2: area, power and bandwidth of their ports"
    units = draft.parameter(f"{prefix}_units", Parameter(float(slices), "1", 1, 4 * slices, doc, integer=True))
    area, lanes = _unit_area(entry, gpu), 0.0
    if entry.kind == ELEMENTWISE:
        sold = entry["lanes_per_unit"]
        doc = "FP32 lanes of a unit: they carry its area, power and rate"
        lanes = draft.parameter(f"{prefix}_lanes", Parameter(sold, "1", 1, 8 * sold, doc, integer=True))
        area = None if area is None else area * lanes / sold
        watts = entry.get("static_power_per_unit")
        if watts is not None and lanes != sold:
            entry = entry.changed({"static_power_per_unit": watts * lanes / sold})
    draft.devices.append(Extension(entry, gpu, round(units), area, lanes))
    draft.devices[0] = _unpriced(gpu)
    draft.entries.append(entry)


def _gpu_of(draft: Assembly, part: Part) -> GPU:
    gpu = draft.devices[0]
    if not isinstance(gpu, GPU):
        raise MachineError(f"{part.entry.id!r} must be built into a GPU of the catalogue, but {gpu.id!r} is of kind {gpu.kind!r}")
    return gpu


@lru_cache(maxsize=64)
def _with_chains(gpu: GPU, entry: Entry) -> GPU:
    """One GPU object a GPU and entry: area and static power of a sequencer in each SM are the GPU's."""
    sms, area, watts = gpu.entry["sm_count"], _unit_area(entry, gpu), entry.get("static_power_per_unit")
    return ChainedGPU.with_(
        gpu,
        entry,
        area_mm2=None if area is None or gpu.area_mm2 is None else gpu.area_mm2 + sms * area,
        static_watts=None if watts is None or gpu.static_watts is None else gpu.static_watts + sms * watts,
        hypothetical=gpu.hypothetical or entry.hypothetical,
        not_modelled=(*gpu.not_modelled, *entry.not_modelled),
        price_usd=None,
    )


@lru_cache(maxsize=64)
def _unpriced(gpu: GPU) -> GPU:
    """The same GPU: what a larger die costs is not known."""
    return gpu if gpu.price_usd is None else replace(gpu, price_usd=None)


def _unit_area(entry: Entry, gpu: GPU) -> float | None:
    """A unit's area in the GPU's process, mm2; None if either is unknown."""
    area, own, target = entry.get("unit_area"), entry.text.get("node"), gpu.entry.text.get("node")
    return None if area is None or own is None or target is None else at_node(area, own, target).mm2
