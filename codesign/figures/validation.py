"""The figure of a validation: ours over the published number, a dot a row, a lane a part."""

from typing import TYPE_CHECKING

import numpy as np

from codesign.figures.style import INK, MUTED, canvas, styled

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from codesign.validation.row import Row
    from codesign.validation.validating import Validation

MET, MISSED = "#0072B2", "#D55E00"
TICKS = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
SPREAD = 0.3
"""Dots of a lane are spread over this much of it, so that they can be told apart."""


@styled
def draw(found: "Validation") -> "Figure":
    """Return the figure; rows whose published number is a range are compared with its nearest end."""
    from codesign.validation.validating import PARTS

    lanes = {part: [(row, value) for row in found.rows if row.part == part and (value := ratio(row)) is not None] for part in PARTS}
    lanes = {part: rows for part, rows in lanes.items() if rows}
    figure, (axes,) = canvas(1.2 + 0.7 * max(len(lanes), 1))
    for lane, rows in enumerate(lanes.values()):
        places = lane + np.linspace(-SPREAD, SPREAD, len(rows)) if len(rows) > 1 else np.array([float(lane)])
        colours = [MUTED if row.met is None else MET if row.met else MISSED for row, _ in rows]
        axes.scatter([value for _, value in rows], places, c=colours, s=14, zorder=3)
    axes.axvline(1.0, color=INK, linewidth=0.8)
    axes.set_xscale("log")
    axes.set_xticks(TICKS, [f"{tick:g}" for tick in TICKS])
    axes.minorticks_off()
    axes.set_yticks(range(len(lanes)), [part.replace("_", " ") for part in lanes])
    axes.invert_yaxis()
    axes.set_xlabel("ours over the published number (blue: within its tolerance, orange: not, grey: no bar)")
    axes.set_title(f"{found.met} of {len(found.judged)} bars met")
    axes.grid(axis="x")
    return figure


def ratio(row: "Row") -> float | None:
    """Return ours over the published number, or over the nearest end of a published range; None if there are not two numbers."""
    ends = _ends(row.published)
    if ends is None or not isinstance(row.ours, int | float) or not row.ours > 0 or not ends[0] > 0:
        return None
    return float(row.ours / float(np.clip(row.ours, *ends)))


def _ends(published: float | str | None) -> tuple[float, float] | None:
    if isinstance(published, int | float):
        return float(published), float(published)
    low, to, high = (published or "").partition(" to ")
    try:
        return (float(low), float(high.split()[0])) if to else None
    except ValueError:
        return None
