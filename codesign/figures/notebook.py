"""A matplotlib figure that a notebook draws by itself: IPython draws others only once pyplot was imported."""

import io
from typing import Any

from matplotlib.figure import Figure

CSS_DOTS = 96
"""Dots an inch of a browser: what has more is drawn finer, not larger."""


class NotebookFigure(Figure):
    """A figure as ``plot`` returns it: all that matplotlib's ``Figure`` is, and a picture where a notebook shows it."""

    def _repr_png_(self) -> tuple[bytes, dict[str, Any]]:
        picture = io.BytesIO()
        self.savefig(picture, format="png")
        width, height = self.get_size_inches()
        return picture.getvalue(), {"width": round(width * CSS_DOTS), "height": round(height * CSS_DOTS)}
