"""What is built into a GPU beside its L2: a layout engine, or elementwise units. Both work in the GPU's memory and share its L2.

There is a unit beside each slice of L2 by default. Alone, a kernel takes

    start + latency + max(dram, l2, engine)                          on the layout engine
    start + latency + max(dram, l2, crossbar, vector)                on elementwise units

- ``dram``: bytes that L2 does not hold (``arch.traffic``'s residency; the SMs' results are warm), over what streaming reaches;
- ``l2``: bytes of all operands in whole requests. From the layout engine all cross to another slice, at the share of L2's peak that
  SMs reach; elementwise units read their own slice at its peak, and what lies in other slices comes over the ``crossbar`` at that share;
- ``engine``: bytes over the units' ports. A tile of half the buffer is transposed at a time: what it reads across rows comes in runs of
  the tile's side (longer, if the result's rows are shorter than a tile), and runs shorter than a request waste the rest of it;
- ``vector``: lane operations of the opcode table; narrower types fill a lane with several elements.

A strided operand costs a whole request an element on both levels, at most the tensor.
"""

from dataclasses import dataclass

import numpy as np

from arch import streaming
from arch.device import Device, derived
from arch.entry import Entry
from arch.facts import Facts, facts, itemsize, once, total
from arch.gpu import GPU
from arch.opcodes import demand
from arch.pim.abilities import abilities
from arch.pipes import pipe_of
from arch.refusing import Reasons
from arch.text import Text
from arch.traffic import Caches, still_held
from arch.work import Bool, Float, Prices, Refusals, Work

LAYOUT, ELEMENTWISE = "layout", "elementwise"
_FAMILIES = {LAYOUT: ("transpose", "copy", "slice_concat", "elementwise"), ELEMENTWISE: ("elementwise", "slice_concat", "copy")}
_LANE_BYTES = 4.0
"""A lane computes on 32 bits."""
_SCALAR_BYTES = 8
"""An operand of one element travels with the descriptor."""


@dataclass(frozen=True, eq=False, repr=False)
class Extension(Device):
    """``units`` of a kind beside the L2 of ``gpu``; ``kind`` is 'layout' or 'elementwise', ``unit_area_mm2`` in the GPU's process."""

    entry: Entry
    gpu: GPU
    units: int
    unit_area_mm2: float | None = None
    lanes: float = 0.0

    @derived
    def id(self) -> str:
        """The catalogue's name of it."""
        return self.entry.id

    @derived
    def kind(self) -> str:
        """'layout' or 'elementwise'."""
        return self.entry.kind

    @derived
    def memory(self) -> str:
        """The GPU's memory."""
        return self.gpu.memory

    @derived
    def cache(self) -> str:
        """The GPU's L2."""
        return self.gpu.cache

    @derived
    def hypothetical(self) -> bool:
        """Whether nobody sells it."""
        return self.entry.hypothetical

    @derived
    def static_watts(self) -> float | None:
        """Power of all units that does not depend on what runs."""
        watts = self.entry.get("static_power_per_unit")
        return None if watts is None else watts * self.units

    @derived
    def area_mm2(self) -> float | None:
        """Silicon of all units in the GPU's process."""
        return None if self.unit_area_mm2 is None else self.unit_area_mm2 * self.units

    @derived
    def price_usd(self) -> float | None:
        """A part of the GPU's die costs nothing of its own, and makes the GPU's price unknown (``arch.building.extension``)."""
        return 0.0

    @derived
    def not_modelled(self) -> tuple[str, ...]:
        """What the catalogue says that the price leaves out."""
        return self.entry.not_modelled

    @property
    def clock_hz(self) -> float:
        """The GPU's clock."""
        return self.gpu.entry["clock"]

    @property
    def port_bandwidth(self) -> float:
        """Bytes a second that the units of a layout engine read and write together; of elementwise units, what their slices deliver."""
        width = self.entry["bytes_per_clock" if self.kind == LAYOUT else "slice_bytes_per_clock"]
        return self.units * width * self.clock_hz

    def price(self, work: Work) -> Prices:
        """Return the cost of every kernel; refused ones cost infinitely much."""
        return once(work, (self, work.cold.tobytes()), lambda: _price(self, work))

    def refuse(self, work: Work) -> Refusals:
        """Refuse kernels of other families, and operands and opcodes that the units do not have; the reason names the first."""
        return once(work, (self.entry, "refuse"), lambda: _refuse(self, work))


def _refuse(device: Extension, work: Work) -> Refusals:
    known, own = facts(work), abilities(device.entry, work).refusals if device.kind == ELEMENTWISE else None
    reasons = Reasons(len(work))
    for family in sorted(set(known.family.values) - set(_FAMILIES[device.kind])):
        reasons.add(known.family.is_(family), f"family {family}")
    if own is None:
        _refuse_arithmetic(reasons, device.entry, work, known)
    else:
        for number, reason in enumerate(own.reasons[1:], start=1):
            reasons.add(own.code == number, reason)
        reasons.add(_with_operand(known, "transposed"), "transposed operand")
    return reasons.done()


def _refuse_arithmetic(reasons: Reasons, entry: Entry, work: Work, known: Facts) -> None:
    """Refuse all that does more than move data."""
    reasons.add(known.unknown, "work unknown")
    reasons.add(known.library, "library call")
    reasons.add(known.triton, "triton kernel")
    reasons.add(_with_operand(known, "gather"), "gather operand")
    opcodes, moves = Text.of(work.kernels, "opcodes"), Text.of(work.kernels, "launch_kind").is_("copy", "memset")
    missing = [demand(text, entry.opcodes, "").missing for text in opcodes.values]
    for opcode in sorted(set(missing) - {""}):
        reasons.add(~moves & np.array([m == opcode for m in missing], dtype=np.bool_)[opcodes.code], f"opcode {opcode}")
    reasons.add(~moves & opcodes.is_(""), "opcodes unknown")


def _with_operand(known: Facts, stride: str) -> Bool:
    found = known.stride.is_(stride) & (known.unique > _SCALAR_BYTES)
    return np.bincount(known.owner, weights=found, minlength=len(known.launches)) > 0


def _price(device: Extension, work: Work) -> Prices:
    known, gpu, entry = facts(work), device.gpu, device.entry
    refused, kernels = device.refuse(work).code != 0, len(work)
    moved = _moved(device, known)
    missed = np.where(work.cold, 1.0, 1.0 - still_held(known, Caches.of_gpu(gpu.entry)))
    rest = np.where(known.has_accesses, 0.0, known.bytes_unique)
    dram = total(known.owner, moved * missed, kernels) + rest
    bytes_ = total(known.owner, moved, kernels) + rest
    terms = {"dram_s": dram / streaming.dram_rate(gpu.entry, gpu.dram_bandwidth)}
    crossing = gpu.entry["l2_bandwidth"] * gpu.entry["l2_efficiency"]
    if device.kind == LAYOUT:
        terms |= {"l2_s": bytes_ / crossing, "engine_s": bytes_ / device.port_bandwidth}
        energy = _layout_energy(device, bytes_, dram)
    else:
        across = (1 - entry["aligned_share"]) * (total(known.owner, np.where(known.writes, 0.0, moved), kernels) + rest / 2)
        ops = _lane_operations(device, work, known)
        terms |= {"l2_s": bytes_ / min(gpu.entry["l2_bandwidth"], device.port_bandwidth), "crossbar_s": across / crossing}
        terms["vector_s"] = ops / (device.units * device.lanes * device.clock_hz)
        energy = _elementwise_energy(device, known, bytes_, across, dram)
    duration = np.maximum.reduce(list(terms.values()))
    latency = np.where(dram > 0, max(gpu.entry["dram_latency"], gpu.entry["l2_latency"]), gpu.entry["l2_latency"])
    terms |= {"latency_s": latency, "floor_s": known.launches * entry["start"]}
    duration = duration + latency + terms["floor_s"]
    never = np.where(refused, np.inf, 0.0)
    return Prices(
        duration + never,
        np.where(refused, np.inf, dram),
        np.where(refused, np.inf, np.sum(list(energy.values()), axis=0)),
        {name: np.where(refused, np.inf, values) for name, values in terms.items()},
        energy_terms={name: np.where(refused, np.inf, values) for name, values in energy.items()},
    )


def _moved(device: Extension, known: Facts) -> Float:
    """Bytes of each access in whole requests; shape [accesses]."""
    request = device.entry["request_bytes"]
    whole = np.maximum(request / known.itemsize, 1.0)
    strided = np.maximum(np.minimum(known.unique * whole, known.tensor_bytes), known.unique)
    moved = np.where(known.stride.is_("strided", "gather"), strided, known.unique)
    if device.kind != LAYOUT:
        return moved
    tile = np.maximum(device.entry["buffer"] / 2 / known.itemsize, 1.0)
    side = np.maximum(np.floor(np.sqrt(tile)), 1.0)
    run = np.maximum(side, np.floor(tile / np.maximum(known.row, 1.0))) * known.itemsize
    return np.where(known.stride.is_("transposed"), known.unique * np.ceil(run / request) * request / run, moved)


def _lane_operations(device: Extension, work: Work, known: Facts) -> Float:
    able = abilities(device.entry, work)
    width = known.dtype.number(lambda dtype: itemsize(dtype) / _LANE_BYTES)
    return (known.flops_vector * able.per_vector + known.flops_transcendental * able.per_transcendental) * width


def _layout_energy(device: Extension, bytes_: Float, dram: Float) -> dict[str, Float]:
    return {
        "engine_j": bytes_ * device.entry.or_nan("energy_per_byte"),
        "l2_j": bytes_ * device.entry["l2_energy_share"] * device.gpu.entry.or_nan("l2_energy_per_byte"),
        "dram_j": dram * device.gpu.entry.or_nan("dram_energy_per_byte"),
    }


def _elementwise_energy(device: Extension, known: Facts, bytes_: Float, across: Float, dram: Float) -> dict[str, Float]:
    per_flop, l2 = device.entry.group("energy_per_flop"), device.gpu.entry.or_nan("l2_energy_per_byte")
    of_dtype = 2 * known.dtype.number(lambda dtype: per_flop.get(pipe_of(dtype), np.nan))
    special = device.gpu.entry.or_nan("transcendental_energy_flops")
    return {
        "compute_vector_j": known.flops_vector * of_dtype,
        "transcendental_j": known.flops_transcendental * special * of_dtype,
        "l2_j": (bytes_ * device.entry["l2_energy_share"] + across * (1 - device.entry["l2_energy_share"])) * l2,
        "dram_j": dram * device.gpu.entry.or_nan("dram_energy_per_byte"),
    }
