"""What ``Machine.with_`` may change."""

from dataclasses import dataclass

from arch import units
from traces.errors import MachineError
from traces.si import show


@dataclass(frozen=True)
class Parameter:
    """A number of a machine that ``with_`` can override: now, its unit, the ends of its range (both included), its meaning.

    ``choices`` are the only values if not empty; ``integer`` ones are whole. ``design`` is False for what a search leaves alone
    unless its space names it: what a designer cannot choose (the host's times), and the device that others are put beside.
    """

    value: float
    unit: str
    low: float
    high: float
    doc: str
    integer: bool = False
    choices: tuple[float, ...] = ()
    design: bool = True

    def __repr__(self) -> str:
        now, low, high = (show(value, self.unit) for value in (self.value, self.low, self.high))
        return f"<Parameter {now}, {low} to {high}: {self.doc}>"

    def check(self, name: str, given: float | int | str) -> float:
        """Return a new value in SI. Raises MachineError if it is outside the range, not whole, or in a wrong unit."""
        number = units.parse(given, self.unit, name)
        if not self.low <= number <= self.high:
            shown = f"{number:g}" if self.unit == "1" else f"{number:g} {self.unit}"
            bare = self.unit != "1" and not isinstance(given, str)
            remedy = f"; a number without a unit is in {self.unit}" if bare else ""
            raise MachineError(f"`{self.low:g} <= {name} <= {self.high:g}` must hold, but got {shown}{remedy}")
        if self.choices and number not in self.choices:
            raise MachineError(f"{name} must be one of {', '.join(f'{c:g}' for c in self.choices)}, but got {number:g}")
        if self.integer and number != round(number):
            raise MachineError(f"{name} must be a whole number, but got {number:g}")
        return number
