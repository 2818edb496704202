"""Kernels under the roofs of a machine: work a byte against work a second."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from codesign.figures import style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

Floats = NDArray[np.float64]

LEAST_INTENSITY = 1e-3
"""FLOP a byte below which a kernel only moves data: the few FLOP are its index arithmetic."""


@dataclass(frozen=True)
class Roof:
    """A device's roof: ``peak`` in FLOP/s and ``bandwidth`` in byte/s; a dashed one is hypothetical, or no main roof."""

    name: str
    peak: float
    bandwidth: float
    dashed: bool = False


@dataclass(frozen=True)
class Points:
    """One point a kernel, arrays of one length: ``intensity`` FLOP/byte, ``rate`` FLOP/s, ``share`` of the whole time, ``family``."""

    intensity: Floats
    rate: Floats
    share: Floats
    family: NDArray[np.object_]

    def known(self) -> "Points":
        """Return the points that have a place on logarithmic axes: kernels that only move data, or all but, have none."""
        keep = (self.intensity >= LEAST_INTENSITY) & (self.rate > 0) & np.isfinite(self.intensity) & np.isfinite(self.rate)
        return self._at(keep)

    def important(self) -> "Points":
        """Return the points with the most time, together all but 1 %: the others would only widen the axes."""
        order = np.argsort(-self.share, kind="stable")
        before = np.cumsum(self.share[order]) - self.share[order]
        return self._at(np.sort(order[before < 0.99 * self.share.sum()]))

    def _at(self, rows: NDArray[np.int64] | NDArray[np.bool_]) -> "Points":
        return Points(self.intensity[rows], self.rate[rows], self.share[rows], self.family[rows])


@style.styled
def roofline(points: Points, roofs: Sequence[Roof], title: str = "") -> "Figure":
    """Draw kernels by family, the area of a point proportional to its share of the time, under the given roofs."""
    figure, (axes,) = style.canvas(5.3)
    known = points.known()
    shown = known.important()
    axes.set_xscale("log")
    axes.set_yscale("log")
    _limits(axes, shown, roofs)
    for roof in roofs:
        _draw_roof(axes, roof, highest=roof.peak == max(r.peak for r in roofs))
    _draw_points(axes, shown)
    axes.grid(True)
    axes.set_xlabel("arithmetic intensity, FLOP per byte of DRAM traffic")
    axes.set_ylabel("FLOP/s")
    axes.yaxis.set_major_formatter(_si_flops)
    axes.set_title(title or "Roofline", pad=8)
    _legend(figure, shown, _note(points, known, shown))
    return figure


def _si_flops(value: float, _: float) -> str:
    from traces.si import prefix_of

    scale, prefix = prefix_of(value)
    return f"{value / scale:g} {prefix}"


def _limits(axes: "Axes", points: Points, roofs: Sequence[Roof]) -> None:
    ridges = [r.peak / r.bandwidth for r in roofs]
    x = np.concatenate([points.intensity, ridges]) if len(points.intensity) or ridges else np.array([1.0])
    y = np.concatenate([points.rate, [r.peak for r in roofs]]) if len(points.rate) or roofs else np.array([1.0])
    axes.set_xlim(x.min() / 2, x.max() * 4)
    axes.set_ylim(y.min() / 2, y.max() * 2.2)


def _draw_roof(axes: "Axes", roof: Roof, *, highest: bool) -> None:
    low, high = axes.get_xlim()
    ridge = roof.peak / roof.bandwidth
    colour, linestyle = (style.MUTED, "--") if roof.dashed else (style.INK, "-")
    heights = [low * roof.bandwidth, roof.peak, roof.peak]
    axes.plot([low, ridge, high], heights, color=colour, linestyle=linestyle, linewidth=1.4, zorder=1.9 if roof.dashed else 2)
    _name_roof(axes, roof, (high, roof.peak), colour, above=highest)


def _name_roof(axes: "Axes", roof: Roof, at: tuple[float, float], colour: str, *, above: bool) -> None:
    """Write a roof's name at its right end, with a white rim where points lie."""
    from matplotlib.patheffects import withStroke

    axes.annotate(
        roof.name,
        at,
        xytext=(-4, 3 if above else -4),
        textcoords="offset points",
        ha="right",
        va="bottom" if above else "top",
        fontsize=8.5,
        color=colour,
        zorder=4,
        path_effects=[withStroke(linewidth=2.5, foreground="white")],
    )


def _draw_points(axes: "Axes", points: Points) -> None:
    """Draw the families with the most time first, so that small points stay visible on large ones."""
    area = 12 + 1400 * points.share
    for family in style.in_stack_order(points.family):
        mine = points.family == family
        axes.scatter(
            points.intensity[mine],
            points.rate[mine],
            s=area[mine],
            c=style.colour(family),
            marker=style.MARKERS.get(family, "o"),
            alpha=0.75,
            edgecolors=style.INK,
            linewidths=0.5,
            zorder=3,
        )


def _legend(figure: "Figure", points: Points, note: str) -> None:
    handles = [_handle(family, float(points.share[points.family == family].sum())) for family in style.in_stack_order(points.family)]
    made = figure.legend(handles=handles, loc="outside lower center", ncols=5, columnspacing=1.4, handletextpad=0.3)
    style.note(made, note)


def _handle(family: str, share: float) -> "Line2D":
    from matplotlib.lines import Line2D

    return Line2D(
        [],
        [],
        linestyle="",
        marker=style.MARKERS.get(family, "o"),
        markersize=8,
        markerfacecolor=style.colour(family),
        markeredgecolor=style.INK,
        markeredgewidth=0.5,
        label=f"{style.family_name(family)} {_percent(share)}",
    )


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %" if share >= 0.005 else "< 1 %"


def _note(points: Points, known: Points, shown: Points) -> str:
    """Say what is not in the figure: kernels without work or traffic, and those whose time is too short to matter."""
    parts = []
    placeless = float(points.share.sum() - known.share.sum())
    if placeless > 0.005:
        parts.append(f"{_percent(placeless)} of the time in kernels without DRAM traffic or with less than {LEAST_INTENSITY} FLOP a byte")
    if len(known.share) > len(shown.share):
        parts.append(f"{len(known.share) - len(shown.share)} kernels with together 1 % of the time")
    hidden = "\nnot shown: " + ",\nand ".join(parts) if parts else ""
    return f"area of a point: share of kernel time; FLOP counted from the program's operations{hidden}"
