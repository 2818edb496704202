"""A list of launches as CSV: its cells by column, as numbers in SI where a column has a unit."""

import re

import numpy as np

from traces.errors import TraceError
from traces.formats.csv_rows import Rows, has_decimal_comma, number
from traces.formats.profile import Ints
from traces.formats.source import Source

_NUMBERED = re.compile(r"\s*\((\d+)\)$")
"""Profilers list a device as its name and its number."""


class CsvTable:
    """The cells of a table by the names of its columns.

    Parameters
    ----------
    source
        The file, for messages.
    rows
        Its table.
    names
        The column's name for each title of the header.
    units
        The unit of each column that has one, '' for the others.
    """

    def __init__(self, source: Source, rows: Rows, names: list[str], units: list[str]) -> None:
        self.source, self.rows, self.line = source, rows.rows, rows.line
        self.place = {name: place for place, name in enumerate(names)}
        self.unit = dict(zip(names, units, strict=True))
        # a comma between cells is none within a number
        self._decimal_comma = rows.delimiter != "," and has_decimal_comma([cell for row in rows.rows for cell in row])

    def __contains__(self, name: str) -> bool:
        return name in self.place

    def __len__(self) -> int:
        return len(self.rows)

    def text(self, name: str) -> list[str]:
        """Return a column's cells, '' where there is no such column."""
        if name not in self.place:
            return [""] * len(self.rows)
        return [row[self.place[name]].strip() for row in self.rows]

    def numbers(self, name: str) -> list[float | None]:
        """Return a column's numbers, None where empty; integers of any length keep their digits.

        Raises TraceError naming line and column for what is no number.
        """
        return [int(c) if c.isascii() and c.isdecimal() else self._number(i, name, c) for i, c in enumerate(self.text(name))]

    def _number(self, row: int, name: str, cell: str) -> float | None:
        return number(self.source, self.line + row, name, cell, decimal_comma=self._decimal_comma)

    def counts(self, name: str) -> Ints:
        """Return a column's whole numbers, -1 where empty."""
        return np.array([-1 if v is None else round(v) for v in self.numbers(name)], np.int64)

    def scaled(self, name: str, units: dict[str, float], default: str, to: float) -> Ints:
        """Return a quantity in SI units times ``to``, whole; -1 where empty."""
        unit = self.unit.get(name) or default
        if unit.lower() not in units:
            raise TraceError(f"{self.source}: the unit of {name!r} must be one of {', '.join(units)}, but is {unit!r}")
        factor = units[unit.lower()] * to
        if abs(factor - round(factor)) < 1e-9 * factor:
            factor = round(factor)  # so that whole numbers stay exact
        return np.array([-1 if v is None else round(v * factor) for v in self.numbers(name)], np.int64)

    def shared_bytes(self, static: str, dynamic: str, units: dict[str, float], default: str) -> Ints:
        """Return a block's shared memory: that of two columns together, -1 where the first is empty."""
        fixed, more = (self.scaled(name, units, default, 1.0) for name in (static, dynamic))
        return np.where(fixed < 0, -1, fixed + np.maximum(more, 0))

    def numbers_behind(self, name: str) -> Ints:
        """Return the number in parentheses behind each name of a column, 0 for 'NVIDIA A100 (0)'; -1 where there is none."""
        found = [_NUMBERED.search(text) for text in self.text(name)]
        return np.array([int(behind[1]) if behind else -1 for behind in found], np.int64)

    def first_name(self, name: str) -> str:
        """Return a column's first text that is not empty, without the number behind it."""
        return _NUMBERED.sub("", next((text for text in self.text(name) if text), ""))
