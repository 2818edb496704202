"""A figure as a part of an HTML page."""

import base64
import io
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure

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
