"""A figure as a part of an HTML page."""

import base64
import io
from collections.abc import Iterator
from contextlib import contextmanager
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LARGE_BYTES = 400_000
"""What is drawn in the axes of a figure above this as SVG is drawn in pixels; words, ticks and frames stay lines."""
PIXELS = 200
"""Dots an inch of what is drawn in pixels."""


def figure_html(figure: "Figure") -> str:
    """Return a figure as an SVG image inside the page; the text that stands for it is its title.

    Figures of ours follow a dark screen by themselves ('themed'); what others drew is left to the page.
    """
    from codesign.figures.notebook import NotebookFigure

    data = _svg(figure)
    if len(data) > LARGE_BYTES:
        with _in_pixels(figure):
            data = _svg(figure)
    themed = isinstance(figure, NotebookFigure)
    if themed:
        data = data.replace(b"</svg>", f"<style>{_dark()}</style></svg>".encode())
    words = figure.get_suptitle() or next((axes.get_title(loc="left") or axes.get_title() for axes in figure.axes), "")
    kind, encoded = ' class="themed"' if themed else "", base64.b64encode(data).decode()
    return f'<figure><img{kind} src="data:image/svg+xml;base64,{encoded}" alt="{escape(words)}"></figure>'


def _svg(figure: "Figure") -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="svg", dpi=PIXELS, metadata={"Date": None})
    return buffer.getvalue()


@contextmanager
def _in_pixels(figure: "Figure") -> Iterator[None]:
    """Draw what stands in the axes of a figure in pixels, for as long as the context lasts."""
    drawn = [artist for axes in figure.axes for artist in (*axes.collections, *axes.lines, *axes.patches)]
    before = [artist.get_rasterized() for artist in drawn]
    for artist in drawn:
        artist.set_rasterized(True)
    try:
        yield
    finally:
        for artist, was in zip(drawn, before, strict=True):
            artist.set_rasterized(was)


def _dark() -> str:
    """Return the rules by which an SVG follows a dark screen: those of its colours that a dark page would hide are exchanged.

    White text stays white: it stands on a family's colour, and is a group, where white faces are paths.
    """
    from codesign.figures.style import DARK, PAPER

    rules = [
        f'{"path" if light == PAPER else ""}[style*="fill: {light.lower()}"] {{ fill: {dark} !important }} '
        f'[style*="stroke: {light.lower()}"] {{ stroke: {dark} !important }}'
        for light, dark in DARK.items()
    ]
    return f"@media (prefers-color-scheme: dark) {{ {' '.join(rules)} }}"
