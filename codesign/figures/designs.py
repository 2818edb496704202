"""What a search found: every design tried, the ones no other beats, and the bound no design can pass."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from arch.labels import hypothetical_label
from codesign.figures import style
from traces.si import prefix_of, show

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

OURS, BOUND, BASE = style.COLOURS["gemm"], style.COLOURS["triangular_solve"], style.INK
CLOUDS = tuple(style.COLOURS[family] for family in ("gemm", "triangular_solve", "transpose", "reduce"))


@dataclass(frozen=True)
class Objective:
    """One axis: what it measures and in which unit; ``prefixed`` ones are SI units with prefixes, mm² and USD are not."""

    name: str
    unit: str
    prefixed: bool = True

    def scale(self, largest: float) -> tuple[float, str]:
        """Return by what an axis up to ``largest`` divides its values, and its label."""
        scale, prefix = prefix_of(largest) if largest and self.prefixed else (1.0, "")
        return scale, f"{self.name}, {prefix}{self.unit}" if self.unit else self.name

    def shown(self, value: float) -> str:
        """Return a value with its unit."""
        return show(value, self.unit) if self.prefixed else f"{value:,.0f} {self.unit}"


@dataclass(frozen=True)
class Cloud:
    """Designs of one machine: ``values[i]`` are design i's objectives, ``front[i]`` says that no other design beats it.

    ``bound`` is what the first objective cannot go below, None if nothing is proven.
    """

    label: str
    values: NDArray[np.float64]
    front: NDArray[np.bool_]
    hypothetical: bool = False
    bound: float | None = None


@dataclass(frozen=True)
class Mark:
    """A single design to compare with, such as everything on the GPU; only its first objective may be known."""

    label: str
    values: tuple[float, ...]


@style.styled
def pareto(
    clouds: Sequence[Cloud],
    objectives: tuple[Objective, Objective],
    *,
    marks: Sequence[Mark] = (),
    title: str = "",
    more: Sequence[str] = (),
) -> "Figure":
    """Draw designs in two objectives, fronts as staircases, and lower bounds of the first objective as lines.

    ``more`` are names of further objectives of the front, which are not drawn.
    """
    figure, (axes,) = style.canvas(4.6)
    for index, cloud in enumerate(clouds):
        _draw_cloud(axes, cloud, CLOUDS[index % len(CLOUDS)], objectives[0])
    for mark in marks:
        _draw_mark(axes, mark, objectives[0])
    limits = (_limit(clouds, marks, 0), _limit(clouds, marks, 1))
    values = [_all_values(clouds, marks, which) for which in (0, 1)]
    _axis(axes, "x", objectives[0], np.append(_up_to(values[0], limits[0]), [c.bound for c in clouds if c.bound is not None]))
    _axis(axes, "y", objectives[1], _up_to(values[1], limits[1]))
    axes.grid(True)
    axes.set_title(title or "Designs", pad=8)
    hidden = sum(int(np.sum(np.any(cloud.values > limits, axis=1))) for cloud in clouds)
    made = figure.legend(loc="outside lower center", ncols=3, columnspacing=1.4)
    notes = [f"rings without a line are on the front by their {' and '.join(more)}"] if more else []
    notes += [f"{hidden} of {sum(len(cloud.values) for cloud in clouds)} designs lie beyond the axes"] if hidden else []
    style.note(made, "\n".join(notes))
    return figure


def _limit(clouds: Sequence[Cloud], marks: Sequence[Mark], which: int) -> float:
    """Return the value up to which an axis reaches: half as much again as the worst design of a front, or that is marked."""
    worst = [float(cloud.values[cloud.front, which].max(initial=0.0)) for cloud in clouds]
    return 1.5 * max([*worst, *(value for mark in marks for value in mark.values[which : which + 1])])


def _up_to(values: NDArray[np.float64], limit: float) -> NDArray[np.float64]:
    return values[values <= limit]


def _draw_mark(axes: "Axes", mark: Mark, objective: Objective) -> None:
    if len(mark.values) > 1:
        axes.scatter(mark.values[0], mark.values[1], marker="X", s=110, color=BASE, edgecolor="white", zorder=5, label=mark.label)
    else:
        axes.axvline(mark.values[0], color=BASE, linewidth=1.2, linestyle="-.", label=f"{mark.label} {objective.shown(mark.values[0])}")


def _draw_cloud(axes: "Axes", cloud: Cloud, colour: str, objective: Objective) -> None:
    face = "none" if cloud.hypothetical else colour
    rest, front = cloud.values[~cloud.front], cloud.values[cloud.front]
    front = front[np.argsort(front[:, 0])]
    axes.scatter(rest[:, 0], rest[:, 1], s=14, alpha=0.45, linewidths=0.8, zorder=2, facecolors=face, edgecolors=colour)
    stairs = front[front[:, 1] <= np.minimum.accumulate(front[:, 1])]  # of a front in more objectives what is one in these two
    axes.step(stairs[:, 0], stairs[:, 1], where="post", color=colour, linewidth=1.2, zorder=3)
    name = hypothetical_label(cloud.label, cloud.hypothetical)
    axes.scatter(front[:, 0], front[:, 1], s=55, linewidths=1.6, zorder=4, label=name, facecolors=face, edgecolors=colour)
    if cloud.bound is not None:
        axes.axvline(cloud.bound, color=colour, linewidth=1.4, linestyle="--", label=f"lower bound {objective.shown(cloud.bound)}")


def _all_values(clouds: Sequence[Cloud], marks: Sequence[Mark], which: int) -> NDArray[np.float64]:
    found = [c.values[:, which] for c in clouds] + [np.array(m.values[which : which + 1]) for m in marks]
    every: NDArray[np.float64] = np.concatenate(found)
    return every[np.isfinite(every)]


def _axis(axes: "Axes", which: str, objective: Objective, values: NDArray[np.float64]) -> None:
    """Scale an axis to its values with some room, ticks in one SI prefix, and no offset or power of ten to decode."""
    low, high = float(values.min()), float(values.max())
    room = 0.06 * (high - low) or 0.05 * abs(high) or 1.0
    scale, label = objective.scale(high)
    getattr(axes, f"set_{which}lim")(low - room, high + room)
    getattr(axes, f"set_{which}label")(label)
    getattr(axes, f"{which}axis").set_major_formatter(lambda value, _: f"{value / scale:.4g}" if objective.prefixed else f"{value:,.0f}")


@style.styled
def progress(
    values: NDArray[np.float64], objective: Objective, *, bound: float | None = None, marks: Sequence[Mark] = (), title: str = ""
) -> "Figure":
    """Draw a search with one objective: each trial in order, the best so far, the bound and the designs to compare with."""
    figure, (axes,) = style.canvas(4.2)
    trials = np.arange(1, len(values) + 1)
    axes.scatter(trials, values, s=16, color=OURS, alpha=0.5, linewidths=0, label="trial")
    axes.step(
        trials,
        np.fmin.accumulate(values),
        where="post",
        color=OURS,
        linewidth=1.6,
        label=f"best so far {objective.shown(float(np.nanmin(values)))}",
    )
    for mark in marks:
        axes.axhline(mark.values[0], color=BASE, linewidth=1.2, linestyle="-.", label=f"{mark.label} {objective.shown(mark.values[0])}")
    if bound is not None:
        axes.axhline(bound, color=BOUND, linewidth=1.4, linestyle="--", label=f"lower bound {objective.shown(bound)}")
    reference = [float(np.nanmin(values)), *(mark.values[0] for mark in marks)]
    near = _up_to(values[np.isfinite(values)], 3 * max(reference))
    _axis(axes, "y", objective, np.concatenate([near, reference, [] if bound is None else [bound]]))
    axes.set_xlim(0, len(values) + 1)
    axes.set_xlabel("trial")
    axes.grid(True, axis="y")
    axes.set_title(title or "Search", pad=8)
    made = figure.legend(loc="outside lower center", ncols=4, columnspacing=1.4)
    style.note(made, _not_drawn(values, float(axes.get_ylim()[1])))
    return figure


def _not_drawn(values: NDArray[np.float64], top: float) -> str:
    """Say which trials have no point in the figure, and why."""
    failed, above = int(np.isnan(values).sum()), int((values > top).sum())
    parts = [(failed, "cannot run or break the budget"), (above, "lie above the axes")]
    said = ", ".join(f"{count} {why}" for count, why in parts if count)
    return f"of {len(values)} designs {said}" if said else ""
