"""How studies print: tables on standard output, as wide as the terminal, or wide enough for a file."""

import sys
from collections.abc import Iterable, Sequence

from rich import box
from rich.console import Console
from rich.table import Table

WIDTH = 140
"""Columns of what is no terminal."""
NUMBER = frozenset("0123456789+-—")


def console() -> Console:
    """Return the console on standard output."""
    return Console(highlight=False, width=None if sys.stdout.isatty() else WIDTH)


def table(columns: Sequence[str], rows: Iterable[Sequence[str]], title: str | None = None) -> Table:
    """Return a table; columns of numbers are aligned to the right."""
    cells = [tuple(row) for row in rows]
    made = Table(title=title, box=box.SIMPLE_HEAD, pad_edge=False)
    for place, head in enumerate(columns):
        numbers = bool(cells) and all(row[place][:1] in NUMBER for row in cells)
        made.add_column(head, justify="right" if numbers else "left")
    for row in cells:
        made.add_row(*row)
    return made
