"""How full each memory is over time, and what it holds at most."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from codesign.figures import style
from traces.si import prefix_of, show

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Filling:
    """One memory: ``used`` bytes from each of ``at`` (seconds, or launches) on; ``capacity`` in bytes, None if not known."""

    name: str
    at: NDArray[np.float64]
    used: NDArray[np.float64]
    capacity: float | None = None


@style.styled
def memory(fillings: Sequence[Filling], *, launches: bool = False, title: str = "") -> "Figure":
    """Draw a panel a memory: bytes in use over time (or over launches in order), the peak marked, the capacity named."""
    figure, panels = style.canvas(0.9 + 1.9 * len(fillings), len(fillings))
    for axes, filling in zip(panels, fillings, strict=True):
        _draw(axes, filling, launches)
    panels[0].set_title(title or "Memory in use", pad=18 if len(fillings) > 1 else 8)
    panels[-1].set_xlabel("launch" if launches else "time")
    return figure


def _draw(axes: "Axes", filling: Filling, launches: bool) -> None:
    peak = int(np.argmax(filling.used))
    axes.fill_between(filling.at, filling.used, step="post", color=style.COLOURS["gemm"], alpha=0.3, linewidth=0)
    axes.step(filling.at, filling.used, where="post", color=style.COLOURS["gemm"], linewidth=1.0)
    top = float(filling.used[peak]) or 1.0
    axes.axhline(top, color=style.MUTED, linewidth=0.8, linestyle=":")
    text = f"{filling.name}: peak {show(top, 'B')}"
    if filling.capacity:
        text += f" of {show(filling.capacity, 'B')}, {100 * top / filling.capacity:.1f} %"
    axes.annotate(
        text, (1.0, top), xycoords=("axes fraction", "data"), xytext=(0, 3), textcoords="offset points", ha="right", va="bottom", fontsize=9
    )
    axes.set_ylim(0, top * 1.18)
    scale, prefix = prefix_of(top)
    axes.yaxis.set_major_formatter(lambda value, _: f"{value / scale:g} {prefix}B")
    if launches:
        axes.set_xlim(0, float(filling.at[-1]))
    else:
        style.time_axis(axes, 0.0, float(filling.at[-1]))
