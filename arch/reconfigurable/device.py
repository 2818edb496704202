"""A reconfigurable accelerator of the catalogue as a device."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from arch.device import Device, derived
from arch.entry import Entry
from arch.facts import facts, once
from arch.reconfigurable.arranging import Arrangement, arranged, arrangement
from arch.reconfigurable.in_mode import Mode, bits_of, compute_s, energy, in_mode, mode_of
from arch.refusing import Reasons
from arch.work import Bool, Float, Int, Prices, Refusals, Work
from traces.errors import MachineError, nearest

if TYPE_CHECKING:
    from traces.trace import Trace


@dataclass(frozen=True, eq=False, repr=False)
class Reconfigurable(Device):
    """A reconfigurable accelerator of the catalogue. ``forced`` is the mode of all runs, '' for the cheapest choice."""

    entry: Entry
    id: str
    memory: str
    memory_bandwidth: float
    forced: str = ""
    fuses: bool = True
    kind: str = "reconfigurable"

    @classmethod
    def of(cls, entry: Entry, memory_bandwidth: float | None = None) -> "Reconfigurable":
        """Return the accelerator that a catalogue entry describes."""
        return cls(entry, entry.id, f"{entry.id}-memory", memory_bandwidth or entry["memory_bandwidth"])

    @derived
    def hypothetical(self) -> bool:
        """Whether nobody sells it."""
        return self.entry.hypothetical

    @derived
    def static_watts(self) -> float | None:
        """Power that does not depend on what runs."""
        return self.entry.get("static_power")

    @derived
    def area_mm2(self) -> float | None:
        """Silicon of its dies."""
        return self.entry.get("die_area")

    @derived
    def price_usd(self) -> float | None:
        """What it costs."""
        return self.entry.get("price")

    @derived
    def not_modelled(self) -> tuple[str, ...]:
        """What the catalogue says that the price leaves out."""
        return self.entry.not_modelled

    @property
    def modes(self) -> tuple[Mode, ...]:
        """Its modes, in the order of the catalogue."""
        return tuple(mode_of(self.entry, name, self.memory_bandwidth) for name in self.entry.group("engines"))

    def peak_flops(self, mode: str) -> float:
        """Return multiply-adds a second, counted twice, of a mode's arrays. Raises MachineError with the nearest mode."""
        return 2 * self._named(mode).array.macs * self.entry["clock"]

    def _named(self, name: str) -> Mode:
        found = {mode.name: mode for mode in self.modes}
        if name not in found:
            raise MachineError(f"{self.id!r} has no mode {name!r}; {nearest(name, found)}")
        return found[name]

    @property
    def switch_s(self) -> float:
        """Seconds of a change of mode without what is spilled: drain and load of a configuration."""
        entry = self.entry
        return entry["drain_cycles"] / entry["clock"] + entry["configuration"] / entry["configuration_bandwidth"]

    def price(self, work: Work) -> Prices:
        """Return the cost of every kernel alone, in the mode that is best for it."""
        return once(work, (self, work.cold.tobytes()), lambda: _alone(self, work))

    def refuse(self, work: Work) -> Refusals:
        """Refuse types wider than every mode's operands and what no array computes: sorts and library calls of unknown work."""
        return once(work, (self.entry, "refuse"), lambda: _refuse(self, work))

    def arrange(self, trace: "Trace", work: Work, mine: Bool) -> Prices:
        """Return the cost of every kernel where the device runs ``mine`` [kernels] in the order of the program."""
        if not mine.any():
            return self.price(work)
        found = arranged(self, trace, work, self.arrangement(trace, work, mine))
        return _prices(self, work, found.seconds, found.moved, found.joules, found.terms)

    def arrangement(self, trace: "Trace", work: Work, mine: Bool) -> Arrangement:
        """Return modes, switches and chains for the kernels ``mine``."""
        return arrangement(self, trace, work, mine)

    def least(self, work: Work) -> Float:
        """Return seconds that no arrangement goes below: compute alone in the best mode."""
        known, refused = facts(work), self.refuse(work).code != 0
        compute = [np.maximum.reduce(list(compute_s(self.entry, mode, known).values())) for mode in self._usable()]
        return np.where(refused, np.inf, np.minimum.reduce([np.where(np.isnan(c), np.inf, c) for c in compute]))

    def _usable(self) -> tuple[Mode, ...]:
        return (self._named(self.forced),) if self.forced else self.modes


def _refuse(device: Reconfigurable, work: Work) -> Refusals:
    known, widest = facts(work), max(mode.bits for mode in device._usable())
    reasons = Reasons(len(work))
    for dtype in sorted(set(known.dtype.values)):
        if bits_of(dtype) > widest:
            reasons.add(known.dtype.is_(dtype), f"dtype {dtype}")
    reasons.add(known.family.is_("sort"), "family sort")
    return reasons.done()


def _alone(device: Reconfigurable, work: Work) -> Prices:
    known, usable = facts(work), device._usable()
    options = [in_mode(device.entry, mode, work, work.cold) for mode in usable]
    memory = [option.memory(known) for option in options]
    seconds = [np.maximum(o.compute, bytes_ / m.memory_bandwidth) for o, bytes_, m in zip(options, memory, usable, strict=True)]
    best = np.argmin([np.where(np.isnan(s), np.inf, s) for s in seconds], axis=0)
    floor = np.full(len(work), device.entry["kernel_floor"])
    parts = {
        **{name: _pick([o.terms[name] for o in options], best) for name in options[0].terms},
        "memory_s": _pick([bytes_ / m.memory_bandwidth for bytes_, m in zip(memory, usable, strict=True)], best),
        "floor_s": floor,
    }
    moved = _pick(memory, best)
    return _prices(device, work, floor + _pick(seconds, best), moved, energy(device.entry, known, moved), parts)


def _pick(values: Sequence[Float], which: Int) -> Float:
    return np.asarray(np.choose(which, values) if len(values) > 1 else values[0], dtype=np.float64)


def _prices(device: Reconfigurable, work: Work, seconds: Float, moved: Float, joules: dict[str, Float], terms: dict[str, Float]) -> Prices:
    """Put infinities where a kernel is refused."""
    refused = device.refuse(work).code != 0
    all_terms = {name: np.where(refused, np.inf, value) for name, value in terms.items()}
    joules = {name: np.where(refused, np.inf, value) for name, value in joules.items()}
    energy = np.sum(list(joules.values()), axis=0)
    seconds, moved = (np.where(refused, np.inf, values) for values in (seconds, moved))
    return Prices(seconds, moved, energy, all_terms, energy_terms=joules)


def with_mode(device: Reconfigurable, mode: str) -> Reconfigurable:
    """Return the device with one mode for everything, '' for the cheapest choice. Raises MachineError with the nearest mode."""
    if mode:
        device._named(mode)
    return replace(device, forced=mode)
