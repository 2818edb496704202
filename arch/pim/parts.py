"""What a kernel on PIM is made of: seconds by cause, and the bytes that the units move."""

from dataclasses import dataclass, replace

import numpy as np

from arch.work import Bool, Float

CAUSES = ("column_s", "turn_s", "operation_s", "program_s", "readout_s")
"""Column accesses; rows and bus turning; operations beyond one a column; what a kernel costs at all; results to the host."""


@dataclass(frozen=True, eq=False)
class Parts:
    """Seconds by cause and bytes at the banks, each of shape [kernels]."""

    terms: dict[str, Float]
    moved: Float

    @classmethod
    def of(cls, moved: Float, **seconds: Float) -> "Parts":
        """Return parts with some causes; the others are zero."""
        return cls({name: seconds.get(name, np.zeros(len(moved))) for name in CAUSES}, moved)

    @classmethod
    def choose(cls, where: Bool, one: "Parts", other: "Parts") -> "Parts":
        """Return ``one`` where true and ``other`` elsewhere."""
        terms = {name: np.where(where, one.terms[name], other.terms[name]) for name in one.terms}
        return cls(terms, np.where(where, one.moved, other.moved))

    def with_term(self, name: str, seconds: Float) -> "Parts":
        """Return the parts with one more cause."""
        return replace(self, terms={**self.terms, name: seconds})
