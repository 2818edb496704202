"""What ran when: the queues of devices, links and hand-overs over time, the whole run above a window of it."""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from codesign.figures import style
from traces.errors import CodesignError
from traces.si import show

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BINS = 400
WINDOW_OPERATIONS = 60
"""Operations in the window that is shown if none is asked for."""


@dataclass(frozen=True)
class Operations:
    """Operations on queues: ``start`` and ``end`` in seconds, ``queue`` an index into ``names``, ``family`` what each does.

    ``family`` is a kernel family, 'transfer' or 'hand-over'. Arrays of one length, loops expanded, sorted by start.
    """

    names: tuple[str, ...]
    queue: NDArray[np.int64]
    start: NDArray[np.float64]
    end: NDArray[np.float64]
    family: NDArray[np.object_]


@style.styled
def timeline(operations: Operations, window: tuple[float, float] | None = None, title: str = "") -> "Figure":
    """Draw how busy each queue is over the whole run, and below each operation of ``window`` (seconds: from, to).

    Raises CodesignError unless ``0 <= from < to``.
    """
    rows = len(operations.names)
    figure, (whole, zoomed) = style.canvas(2.2 + 0.85 * rows, 2, (1.0, 1.0))
    end = float(operations.end.max(initial=0.0))
    if window is None:
        window = default_window(operations)
    elif not 0 <= window[0] < window[1] < math.inf:
        raise CodesignError(f"`0 <= from < to` must hold for a window in seconds, but got from={window[0]:g} and to={window[1]:g}")
    _draw_whole(whole, operations, end)
    whole.axvspan(*window, facecolor=style.INK, alpha=0.18, edgecolor=style.INK, linewidth=0.8, zorder=0)
    style.wide_title(figure, title or "Queues over time")  # the axes are narrow where names of queues are long
    _draw_window(zoomed, operations, window)
    for axes, (left, right) in ((whole, (0.0, end)), (zoomed, window)):
        style.time_axis(axes, left, right)
        _queue_axis(axes, operations.names)
    whole.set_ylabel("whole run", color=style.MUTED)
    zoomed.set_ylabel("window", color=style.MUTED)
    zoomed.set_xlabel(f"time, window of {show(window[1] - window[0], 's')} marked above")
    style.family_legend(figure, operations.family)
    return figure


def default_window(operations: Operations) -> tuple[float, float]:
    """Return a window of some 60 operations around the middle operation of the queue that is used least, in seconds."""
    counts = np.bincount(operations.queue, minlength=len(operations.names))
    used = np.flatnonzero(counts)
    if not len(used):
        return 0.0, 1e-6
    rare = np.flatnonzero(operations.queue == used[np.argmin(counts[used])])
    middle = int(rare[len(rare) // 2])
    low = max(0, middle - WINDOW_OPERATIONS // 2)
    high = min(len(operations.start) - 1, low + WINDOW_OPERATIONS)
    return float(operations.start[low]), float(operations.end[low : high + 1].max())


def _draw_whole(axes: "Axes", operations: Operations, end: float) -> None:
    """Draw each queue as a band: in each of BINS slices of time the height is the busy fraction, by family."""
    edges = np.linspace(0, end or 1.0, BINS + 1)
    families = style.in_stack_order(operations.family)
    for row in range(len(operations.names)):
        base = np.full(BINS, row + 0.4)
        for family in families:
            mine = (operations.queue == row) & (operations.family == family)
            busy = busy_fraction(operations.start[mine], operations.end[mine], edges)
            top = base - 0.8 * busy
            if busy.any():
                axes.stairs(top, edges, baseline=base, fill=True, color=style.colour(family), linewidth=0)
            base = top


def busy_fraction(start: NDArray[np.float64], end: NDArray[np.float64], edges: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the fraction of each slice of time that the operations cover; they must not overlap."""
    moments = np.concatenate([start, end])
    order = np.argsort(moments, kind="stable")
    running = np.cumsum(np.concatenate([np.ones_like(start), -np.ones_like(end)])[order])
    times = np.concatenate([[0.0], moments[order]])
    covered = np.concatenate([[0.0], np.cumsum(np.concatenate([[0.0], running[:-1]]) * np.diff(times))]) if len(start) else np.zeros(1)
    result: NDArray[np.float64] = np.diff(np.interp(edges, times, covered)) / np.diff(edges)
    return result


def _draw_window(axes: "Axes", operations: Operations, window: tuple[float, float]) -> None:
    inside = (operations.end > window[0]) & (operations.start < window[1])
    for row in range(len(operations.names)):
        for family in style.in_stack_order(operations.family[inside]):
            mine = inside & (operations.queue == row) & (operations.family == family)
            spans = np.column_stack([operations.start[mine], operations.end[mine] - operations.start[mine]])
            axes.broken_barh(spans.tolist(), (row - 0.4, 0.8), facecolors=style.colour(family), edgecolor="white", linewidth=0.3)


def _queue_axis(axes: "Axes", names: tuple[str, ...]) -> None:
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.45, -0.55)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
