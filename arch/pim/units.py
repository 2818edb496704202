"""What the units and stacks of a PIM device are, and what follows from their parameters."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from arch.device import derived
from arch.entry import Entry, Opcodes
from arch.facts import itemsize
from arch.pim.timing import dram, paced
from traces.errors import MachineError, nearest

STYLES = ("registers", "global-buffer", "attention", "state-update", "streaming")
"""How units are driven; each has a module of closed forms, but 'streaming', which is bound by bandwidth or by operations."""


@dataclass(frozen=True, eq=False, repr=False)
class Units:
    """Units in or below the banks of ``stacks`` packages or stacks. ``shared`` says that they are the GPU's own memory."""

    entry: Entry
    id: str
    memory: str
    stacks: int
    banks_per_unit: int
    unit_clock_hz: float
    shared: bool
    refresh: bool = True

    def __post_init__(self) -> None:
        if self.style not in STYLES:
            raise MachineError(f"{self.entry.id}: style must be one of {', '.join(STYLES)}; {nearest(self.style, STYLES)}")

    @derived
    def hypothetical(self) -> bool:
        """Whether nobody sells it: the catalogue says so, or a parameter differs from the device as sold."""
        entry = self.entry
        as_sold = self.banks_per_unit == entry["banks_per_unit"] and self.unit_clock_hz == entry["unit_clock"]
        return entry.hypothetical or not as_sold

    @property
    def style(self) -> str:
        """How its units are driven, one of ``STYLES``."""
        return self.entry.text["style"]

    @property
    def channels(self) -> float:
        """Channels in all; each takes commands of its own."""
        return self.stacks * self.entry["channels_per_stack"]

    @property
    def units_per_channel(self) -> float:
        """Units that one command drives."""
        return self.entry["banks_per_channel"] / self.banks_per_unit

    @property
    def units(self) -> float:
        """Compute units in all."""
        return self.channels * self.units_per_channel

    @property
    def element_bytes(self) -> float:
        """Bytes of the narrowest element that the units compute on."""
        return min(_widths(self.entry.opcodes))

    @property
    def interval_s(self) -> float:
        """Seconds between commands: the DRAM's column interval, or what a unit needs for a column if that is longer."""
        entry = self.entry
        cycles = np.ceil(entry["access_bytes"] / self.element_bytes / entry["lanes_per_unit"])
        return float(max(entry["column_interval"], cycles / self.unit_clock_hz))

    @property
    def internal_bandwidth(self) -> float:
        """Bytes a second from the banks to the units."""
        return self.units * self.entry["access_bytes"] / self.interval_s

    @property
    def peak_flops(self) -> float:
        """Multiply-adds counted twice, a second."""
        return 2 * self.units * self.entry["lanes_per_unit"] * self.unit_clock_hz

    @property
    def stack_bytes(self) -> int:
        """Capacity of a stack: what the units take grows with their number."""
        entry = self.entry
        return round(entry["stack_bytes_plain"] - entry["stack_bytes_lost"] * entry["banks_per_unit"] / self.banks_per_unit)

    @property
    def closed_share(self) -> float:
        """Share of its stacks' channels that are closed to others while it computes: none with dual row buffers."""
        return 1 - (self.entry.get("host_share") or 0.0)

    @derived
    def static_watts(self) -> float | None:
        """Power that does not depend on what runs: of the units, and of the stacks if they are the device's own."""
        per_stack = self.entry.get("static_power_per_stack" if self.shared else "attached_power_per_stack")
        return None if per_stack is None else per_stack * self.stacks

    @derived
    def area_mm2(self) -> float | None:
        """Silicon of the units."""
        area = self.entry.get("unit_area")
        return None if area is None else area * self.units

    @cached_property
    def clock_s(self) -> float:
        """Seconds of a clock of its DRAM."""
        return dram(self.entry.text["timing"])["clock_period"]

    @cached_property
    def timing(self) -> Mapping[str, float]:
        """Clocks between commands by name, of its DRAM at its own column interval."""
        return paced(dram(self.entry.text["timing"]), self.style, self.entry.text["level"], self.interval_s)


def _widths(table: Opcodes) -> list[float]:
    return [itemsize(dtype) for dtype in table.commands] or [4.0]
