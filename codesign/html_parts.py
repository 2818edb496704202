"""Figures and tables as parts of an HTML page."""

import base64
import io
import math
from collections.abc import Iterable, Sequence
from html import escape
from typing import TYPE_CHECKING

from codesign.units import is_number
from traces.errors import CodesignError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from codesign.rows import Rows

LARGE_BYTES = 400_000
"""A figure above this as SVG is drawn in pixels."""
PIXELS = 200
"""Dots an inch of a figure in pixels."""


def figure_html(figure: "Figure") -> str:
    """Return a figure as an image inside the page, as SVG unless that is large; the text that stands for it is its title."""
    form, data = "svg+xml", _drawn(figure, "svg")
    if len(data) > LARGE_BYTES:
        form, data = "png", _drawn(figure, "png")
    words = next((axes.get_title(loc="left") or axes.get_title() for axes in figure.axes), "")
    encoded = base64.b64encode(data).decode()
    return f'<figure><img src="data:image/{form};base64,{encoded}" alt="{escape(words)}"></figure>'


def _drawn(figure: "Figure", form: str) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format=form, dpi=PIXELS, metadata={"Date": None} if form == "svg" else None)
    return buffer.getvalue()


def tables_html(parts: "Iterable[Rows]") -> str:
    """Return several tables below each other."""
    return "".join(table_html(part.columns, part.rows, part.caption) for part in parts)


def table_html(headers: Sequence[str], rows: Iterable[Sequence[object]], caption: str = "") -> str:
    """Return a table; columns of numbers are aligned to the right, every cell is escaped, a number has four digits at most."""
    cells = [tuple(map(_text, row)) for row in rows]
    for row in cells:
        if len(row) != len(headers):
            raise CodesignError(f"every row of the table {caption!r} must have {len(headers)} cells, one a column, but got {row}")
    kind = [' class="number"' if cells and all(is_number(row[i]) for row in cells) else "" for i in range(len(headers))]
    head = "".join(f"<th{k}>{escape(h)}</th>" for k, h in zip(kind, headers, strict=True))
    body = "".join("<tr>" + "".join(f"<td{k}>{escape(c)}</td>" for k, c in zip(kind, row, strict=True)) + "</tr>" for row in cells)
    above = f"<caption>{escape(caption)}</caption>" if caption else ""
    start = f"<table>{above}<thead><tr>{head}</tr></thead>" if any(headers) else f'<table class="facts">{above}'
    return f'<div class="scroll">{start}<tbody>{body}</tbody></table></div>'


def _text(cell: object) -> str:
    if isinstance(cell, float):
        return f"{cell:,.4g}" if math.isfinite(cell) else "—"
    return f"{cell:,}" if isinstance(cell, int) and not isinstance(cell, bool) else str(cell)
