"""PIM devices: units in or below the banks that price kernels and say which ones they cannot run."""

from dataclasses import dataclass

from arch.device import Device, derived
from arch.facts import once
from arch.pim.abilities import abilities
from arch.pim.pricing import price
from arch.pim.units import Units
from arch.work import Prices, Refusals, Work


@dataclass(frozen=True, eq=False, repr=False)
class PIM(Units, Device):
    """Units that execute kernels beside a GPU, or in a machine of their own."""

    kind: str = "pim"

    @derived
    def not_modelled(self) -> tuple[str, ...]:
        """What the catalogue says that the price leaves out."""
        return self.entry.not_modelled

    def price(self, work: Work) -> Prices:
        """Return the cost of every kernel; refused ones cost infinitely much."""
        return once(work, self, lambda: price(self, work))

    def refuse(self, work: Work) -> Refusals:
        """Refuse what the units cannot execute: the reason names the library call, dtype, opcode or operand."""
        return abilities(self.entry, work).refusals
