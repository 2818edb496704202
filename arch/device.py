"""What a device is: it prices kernels and says which ones it cannot run."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from arch.uncertainty import Trust, unvalidated
from arch.work import Bool, Float, Prices, Refusals, Work

if TYPE_CHECKING:
    from traces.trace import Trace

_Value = TypeVar("_Value")


def derived(function: Callable[[Any], _Value]) -> _Value:
    """Return a property for an attribute of a ``Device`` that follows from others, of the type of its value.

    A property would be refused by type checkers: they take the attributes that a base class declares for writable.
    """
    return property(function)  # type: ignore[return-value]


class Device(ABC):
    """Executes kernels. Subclass it, set the attributes, and write ``price``; ``refuse`` if it cannot run everything.

    Attributes
    ----------
    id
        Lower-case name, unique in a machine.
    kind
        'gpu', 'pim', or a word of your own.
    memory
        The id of the memory it works in.
    assume
        What ``price`` assumes where it does not know, as the user asked; '' for nothing.
    hypothetical
        True for hardware that nobody sells: figures mark it.
    cache
        The name of a cache that it shares with devices of the same name: what these wrote last is as warm as what it wrote itself.
        '' for a cache of its own.
    static_watts, area_mm2, price_usd
        Power, silicon and money that it adds to the machine; None if unknown.
    not_modelled
        What the real thing does and ``price`` leaves out, a text each.
    """

    id: str
    kind: str
    memory: str
    cache: str = ""
    hypothetical: bool = False
    assume: str = ""
    static_watts: float | None = None
    area_mm2: float | None = None
    price_usd: float | None = None
    not_modelled: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.id}: {self.kind} in {self.memory}{'; hypothetical' if self.hypothetical else ''}>"

    @abstractmethod
    def price(self, work: Work) -> Prices:
        """Return the cost of every kernel. Pure and vectorised: row k depends on kernel k and its operands only.

        Raises MachineError naming a kernel whose work is unknown.
        """

    def assumed(self, work: Work) -> Bool:
        """Return for which kernels ``price`` rests on an assumption that the user asked for; shape [kernels], by default none."""
        return np.zeros(len(work), dtype=np.bool_)

    def refuse(self, work: Work) -> Refusals:
        """Return which kernels the device cannot run, and why; by default it runs all."""
        return Refusals(np.zeros(len(work), dtype=np.int8))

    def arrange(self, trace: "Trace", work: Work, mine: Bool) -> Prices:
        """Return the cost of every kernel where the device runs ``mine`` [kernels], in the order of the program.

        Override it if the cost depends on what comes before: fusion, changes of mode. By default it is that of ``price``.
        """
        return self.price(work)

    def least(self, work: Work) -> Float:
        """Return seconds that no arrangement goes below, shape [kernels]; override it together with ``arrange``."""
        return self.price(work).duration_s

    def launch_free(self, trace: "Trace", work: Work) -> Bool:
        """Return which kernels some arrangement may start without a launch, shape [kernels]; override it together with ``arrange``."""
        return np.zeros(len(work), dtype=np.bool_)

    def trust(self, work: Work) -> Trust:
        """Return how far each price can be off; by default nothing was measured, and the stated prior of such devices holds."""
        return unvalidated(len(work))
