"""Columns of a table as arrays: labels as codes, sizes as floats; a faulty value is an error that names its row."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from traces.errors import CodesignError, nearest

if TYPE_CHECKING:
    import pandas as pd

Bool = NDArray[np.bool_]
Float = NDArray[np.float64]
Rows = NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class Labels:
    """A column of names: ``names[codes[row]]``; a missing value is ''."""

    names: tuple[str, ...]
    codes: NDArray[np.intp]

    @classmethod
    def of(cls, table: "pd.DataFrame", column: str) -> "Labels":
        """Return a column's labels, all of them '' if the table has no such column."""
        import pandas as pd

        if column not in table.columns:
            return cls(("",), np.zeros(len(table), dtype=np.intp))
        codes, names = pd.factorize(table[column])
        labels = (*(str(name) for name in names), "")
        return cls(labels, np.where(codes < 0, len(names), codes))

    def isin(self, known: Sequence[str]) -> Bool:
        """Return which rows hold one of these names."""
        return np.isin(self.names, list(known))[self.codes]

    @cached_property
    def present(self) -> tuple[str, ...]:
        """The names that occur."""
        return tuple(self.names[code] for code in np.unique(self.codes).tolist())


def sizes(table: "pd.DataFrame", column: str) -> Float:
    """Return a column of sizes as floats, NaN where it is missing, absent or no number; true and false are none."""
    import pandas as pd

    if column not in table.columns or pd.api.types.is_bool_dtype(table[column]):
        return np.full(len(table), np.nan)
    return pd.to_numeric(table[column], errors="coerce").to_numpy(np.float64, na_value=np.nan)


def refuse(table: "pd.DataFrame", faulty: Bool, column: str, must: str, known: Sequence[str] = ()) -> None:
    """Raise CodesignError if any row is faulty: the first, by its number from 0, with what it holds and how many more are."""
    if not faulty.any():
        return
    row = int(np.argmax(faulty))
    value = table[column].iloc[row] if column in table.columns else "nothing (the table has no such column)"
    value = value.item() if isinstance(value, np.generic) else value
    more = int(faulty.sum()) - 1
    near = f"; {nearest(str(value), known)}" if known else ""
    others = f" (and {more:,} more rows)" if more else ""
    raise CodesignError(f"row {row}: {column} must be {must}, but is {value!r}{near}{others}")


def split(parts: Sequence[Labels]) -> Iterator[tuple[Rows, tuple[str, ...]]]:
    """Yield the rows, ascending, of each combination of names that occurs, with the names."""
    combined = np.zeros(len(parts[0].codes), dtype=np.intp)
    for part in parts:
        combined = combined * len(part.names) + part.codes
    order = np.argsort(combined, kind="stable")
    starts = np.flatnonzero(np.diff(combined[order], prepend=-1))
    for rows in np.split(order, starts[1:]) if len(order) else ():
        yield rows, tuple(part.names[part.codes[rows[0]]] for part in parts)


def renamed(labels: Labels, change: Callable[[str], str]) -> Labels:
    """Return the labels with other names."""
    return Labels(tuple(map(change, labels.names)), labels.codes)
