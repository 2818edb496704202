"""A GPU of the catalogue as a device: the model's prices, or what was measured in their place."""

from dataclasses import dataclass, replace

import numpy as np

from arch import trust
from arch.device import Device, derived
from arch.energy import of_the_cap
from arch.entry import Entry
from arch.facts import Facts, facts, once
from arch.gpu.geometry import FromDram
from arch.gpu.given import Given, given, measured_here
from arch.gpu.kinds import units
from arch.gpu.model import Model, model, modelled
from arch.pipes import pipe_of
from arch.refusing import Reasons, unknown_work
from arch.uncertainty import Trust
from arch.work import Bool, Float, Prices, Refusals, Work


@dataclass(frozen=True, eq=False, repr=False)
class GPU(Device):
    """A GPU of the catalogue. ``dram_bandwidth`` (B/s) may differ from the data sheet's where stacks were replaced.

    With ``use_measured`` a kernel that was measured on this very device costs what was measured, and one that was measured on
    another GPU of the catalogue what the model says times measured over predicted there.
    """

    entry: Entry
    id: str
    memory: str
    dram_bandwidth: float
    static_watts: float | None = None
    area_mm2: float | None = None
    hypothetical: bool = False
    use_measured: bool = True
    kind: str = "gpu"
    price_usd: float | None = None
    not_modelled: tuple[str, ...] = ()
    assume: str = ""
    """'memory-bound': what was measured on another GPU of the catalogue, and whose work is not known, moves as many bytes here as it
    could there in its time. '' refuses such kernels."""

    @classmethod
    def of(cls, entry: Entry, memory: str = "") -> "GPU":
        """Return the GPU that a catalogue entry describes."""
        return cls(
            entry,
            entry.id,
            memory or f"{entry.id}-memory",
            entry["memory_bandwidth"],
            entry.get("static_power"),
            entry.get("die_area"),
            entry.hypothetical,
            price_usd=entry.get("price"),
            not_modelled=entry.not_modelled,
        )

    @derived
    def cache(self) -> str:
        """Its L2, which what is built into the GPU shares."""
        return f"{self.id}-l2"

    def price(self, work: Work) -> Prices:
        """Return the cost of every kernel. Raises MachineError naming a kernel whose work is unknown."""
        known = self.given(work)
        if known.unknown.any():
            raise unknown_work(self.id, work, known.unknown, self._hint(work, known.unknown))
        found = self.model(work)
        if work.cold.any():
            return _prices(self, found, known, found.from_dram(work))
        return once(work, self, lambda: _prices(self, found, known, found.warm))

    def model(self, work: Work) -> Model:
        """Return all that the model says of a trace and that does not depend on which operands are cold."""
        return model(self.entry, work)

    def given(self, work: Work) -> Given:
        """Return what was measured, or is assumed, in the place of the model."""
        return given(work, self.id, use_measured=self.use_measured, assume=self.assume)

    def _hint(self, work: Work, unknown: Bool) -> str:
        """What else can be done about kernels of unknown work: of those measured elsewhere something can be assumed."""
        elsewhere = np.nan_to_num(work.kernels["measured_s"])[unknown].all() and not self.assume
        assume = "; or assume that they are bound by memory (--assume memory-bound)" if elsewhere else ""
        return f", or give measured_s on this device{assume}"

    def assumed(self, work: Work) -> Bool:
        """Return which kernels are taken to be bound by memory."""
        return self.given(work).assumed

    def trust(self, work: Work) -> Trust:
        """Return how far each price can be off: the calibration's residuals, or the stated prior of what was not measured.

        What was measured on this very GPU is no prediction: it is not off.
        """
        predicted = trust.of_kernels(self.entry, facts(work), units(self.entry, work).tensor, self.price(work).duration_s)
        measured = ~np.isnan(measured_here(work, self.id, use_measured=self.use_measured))
        return Trust(np.where(measured, 0.0, predicted.relative), predicted.validated | measured)

    def refuse(self, work: Work) -> Refusals:
        """Refuse only kernels of a dtype for which the GPU has no peak."""
        peaks, matrix = self.entry.group("vector_flops"), self.entry.group("matrix_flops")
        missing = sorted(d for d in facts(work).dtype.values if pipe_of(d) not in peaks and d not in matrix)
        return once(work, ("gpu refusals", *missing), lambda: _refuse(facts(work), missing))

    def with_bandwidth(self, dram_bandwidth: float) -> "GPU":
        """Return the GPU with another DRAM bandwidth (B/s); what is prepared for a trace is shared with this one."""
        return self if dram_bandwidth == self.dram_bandwidth else replace(self, dram_bandwidth=dram_bandwidth)


def _refuse(known: Facts, missing: list[str]) -> Refusals:
    reasons = Reasons(len(known.launches))
    for dtype in missing:
        reasons.add(known.dtype.is_(dtype), f"dtype {dtype}")
    return reasons.done()


def _prices(gpu: GPU, found: Model, known: Given, operands: FromDram) -> Prices:
    """Put the DRAM terms to the rest, and what is given in its place."""
    extra = found.extra_dram if known.nothing else np.where(known.assumed, known.bytes, found.extra_dram)
    dram = (operands.moved if known.nothing else np.where(known.assumed, 0.0, operands.moved)) + extra
    taken = modelled(gpu.entry, gpu.dram_bandwidth, found, dram)
    duration = taken.duration_s if known.nothing else _instead(known, taken.duration_s, taken.dram_s)
    of_dram = dram * gpu.entry.or_nan("dram_energy_per_byte")
    saved = of_the_cap(gpu.entry, gpu.static_watts, found.joules + of_dram, duration)
    return Prices(
        duration_s=duration,
        dram_bytes=dram,
        energy_j=found.joules + of_dram + saved,
        terms={**found.terms, "dram_s": taken.dram_s, "latency_s": taken.latency_s},
        l2_bytes=found.l2_bytes,
        dram_read_bytes=np.minimum(operands.read + extra / 2, dram),
        energy_terms={**found.energy, "dram_j": of_dram, "cap_j": saved},
    )


def _instead(known: Given, duration: Float, dram_s: Float) -> Float:
    """Seconds of kernels with what is given of them in the place of the model's."""
    measured = np.where(np.isnan(known.seconds), duration * known.scale, known.seconds)
    return np.where(known.assumed, dram_s, measured)
