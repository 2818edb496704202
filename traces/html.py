"""Tables as HTML: what results show of themselves in a notebook, and what a report page is made of."""

import math
from collections.abc import Iterable, Sequence
from html import escape

from traces.errors import CodesignError
from traces.rows import Rows, is_number

_LEFT, _RIGHT = ' style="text-align:left"', ' class="number" style="text-align:right; white-space:nowrap"'
"""Notebooks have a style of their own for cells, which only one that stands in the cell overrides."""


def table(headers: Sequence[str], rows: Iterable[Sequence[object]], caption: str = "") -> str:
    """Return a table; columns of numbers are aligned to the right, every cell is escaped, a number has four digits at most.

    Raises CodesignError if a row has not as many cells as there are columns.
    """
    cells = [tuple(map(_text, row)) for row in rows]
    for row in cells:
        if len(row) != len(headers):
            raise CodesignError(f"every row of the table {caption!r} must have {len(headers)} cells, one a column, but got {row}")
    align = [_RIGHT if cells and all(is_number(row[i]) for row in cells) else _LEFT for i in range(len(headers))]
    head = "".join(f"<th{a}>{escape(h)}</th>" for a, h in zip(align, headers, strict=True))
    body = "".join("<tr>" + "".join(f"<td{a}>{escape(c)}</td>" for a, c in zip(align, row, strict=True)) + "</tr>" for row in cells)
    above = f"<caption>{escape(caption)}</caption>" if caption else ""
    start = f"<table>{above}<thead><tr>{head}</tr></thead>" if any(headers) else f'<table class="facts">{above}'
    return f'<div class="scroll">{start}<tbody>{body}</tbody></table></div>'


def _text(cell: object) -> str:
    if isinstance(cell, float):
        return f"{cell:,.4g}" if math.isfinite(cell) else "—"
    return f"{cell:,}" if isinstance(cell, int) and not isinstance(cell, bool) else str(cell)


def tables(parts: Iterable[Rows]) -> str:
    """Return several tables below each other."""
    return "".join(table(part.columns, part.rows, part.caption) for part in parts)


def beside(parts: Iterable[Rows]) -> str:
    """Return several tables beside each other as far as the page is wide; it says so itself, for notebooks have no style of ours."""
    return f'<div style="display: flex; flex-wrap: wrap; gap: 0 2.5rem; align-items: flex-start">{tables(parts)}</div>'
