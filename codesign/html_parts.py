"""Figures and tables as parts of an HTML page."""

import base64
import io
from collections.abc import Iterable
from html import escape
from typing import TYPE_CHECKING

from traces import html

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
    return "".join(html.table(part.columns, part.rows, part.caption) for part in parts)


def beside_html(parts: "Iterable[Rows]") -> str:
    """Return several tables beside each other as far as the page is wide; it says so itself, for notebooks have no style of ours."""
    return f'<div style="display: flex; flex-wrap: wrap; gap: 0 2.5rem; align-items: flex-start">{tables_html(parts)}</div>'
