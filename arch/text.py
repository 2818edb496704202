"""Text columns as codes: what depends on a value is worked out once for each distinct one."""

from collections.abc import Callable, Collection
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from traces.table import Table


@dataclass(frozen=True, eq=False)
class Text:
    """A text column: ``values[code[i]]`` is row i."""

    code: NDArray[np.int32]
    values: tuple[str, ...]

    @classmethod
    def of(cls, table: Table, column: str) -> "Text":
        """Return a text column of a table."""
        return cls(table.codes(column), tuple(table.categories(column)))

    def at(self, rows: NDArray[np.int32]) -> "Text":
        """Return the column of some rows, in the order given."""
        return Text(self.code[rows], self.values)

    def is_(self, *chosen: str) -> NDArray[np.bool_]:
        """Return which rows hold one of the values."""
        return self.where(lambda value: value in chosen)

    def isin(self, chosen: Collection[str]) -> NDArray[np.bool_]:
        """Return which rows hold one of a collection."""
        return self.where(lambda value: value in chosen)

    def where(self, test: Callable[[str], bool]) -> NDArray[np.bool_]:
        """Return which rows pass a test of their value."""
        return np.array([test(value) for value in self.values] or [False], dtype=np.bool_)[self.code]

    def number(self, of: Callable[[str], float]) -> NDArray[np.float64]:
        """Return a number for each row that depends on its value."""
        return np.array([of(value) for value in self.values] or [0.0], dtype=np.float64)[self.code]

    def pairs(self, other: "Text") -> "tuple[NDArray[np.int64], list[tuple[str, str]]]":
        """Return the distinct pairs with another column of equal length, and the pair of each row as an index into them."""
        both = self.code.astype(np.int64) * max(len(other.values), 1) + other.code
        found, row = np.unique(both, return_inverse=True)
        return row.astype(np.int64), [(self.values[c // len(other.values)], other.values[c % len(other.values)]) for c in found]
