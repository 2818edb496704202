"""A table as text: what a terminal, a notebook and a page show of a result."""

from collections.abc import Sequence
from typing import NamedTuple


class Rows(NamedTuple):
    """A caption, column heads, rows of cells."""

    caption: str
    columns: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]


def is_number(cell: str) -> bool:
    """Return whether a cell shows a number, with its unit or unknown: columns of numbers are aligned to the right."""
    return cell[:1] in set("0123456789+-—") or cell == ""
