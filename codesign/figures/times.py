"""What replays take beside each other: a bar a timeline, kernel time by family, then what the time is beside kernels."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from codesign.figures import style
from traces.si import prefix_of, show

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Taken:
    """A replay: ``seconds`` of kernels by family, its makespan ``time_s``, one standard deviation ``doubt_s`` of the kernels' time.

    What kernels take together is more than the makespan where devices work at a time.
    """

    label: str
    seconds: Mapping[str, float]
    time_s: float
    doubt_s: float


@style.styled
def times(replays: Sequence[Taken], title: str = "") -> "Figure":
    """Draw the replays from top to bottom on one axis of seconds, each with its makespan and the speedup over the first."""
    figure, (axes,) = style.canvas(1.6 + 0.5 * len(replays))
    longest = max(max(sum(r.seconds.values()) + r.doubt_s, r.time_s) for r in replays) or 1.0
    scale, prefix = prefix_of(longest)
    for place, replay in enumerate(replays):
        _bar(axes, place, replay, scale)
        _say(axes, place, replay, replays[0], scale)
    axes.set_yticks(range(len(replays)), [r.label for r in replays])
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(len(replays) - 0.5, -0.5)
    axes.set_xlim(0, 1.28 * longest / scale)
    axes.set_xlabel(f"time, {prefix}s")
    axes.set_title(title or "Time of a step", pad=8)
    legend = style.family_legend(figure, {family for replay in replays for family in replay.seconds})
    style.note(legend, "bar: kernel time by family; whisker: its standard deviation; line: the whole time")
    return figure


def _bar(axes: "Axes", place: int, replay: Taken, scale: float) -> None:
    left = 0.0
    for family in style.in_stack_order(replay.seconds):
        width = replay.seconds[family] / scale
        axes.barh(place, width, 0.56, left, color=style.colour(family), edgecolor="white", linewidth=0.6)
        left += width
    axes.errorbar(left, place, xerr=replay.doubt_s / scale, color=style.INK, capsize=3, linewidth=1.2)
    axes.plot([replay.time_s / scale] * 2, [place - 0.36, place + 0.36], color=style.INK, linewidth=1.4)


def _say(axes: "Axes", place: int, replay: Taken, first: Taken, scale: float) -> None:
    text = show(replay.time_s, "s")
    if replay is not first and replay.time_s:
        text += f", {first.time_s / replay.time_s:.2f}×"
    end = max(sum(replay.seconds.values()) + replay.doubt_s, replay.time_s) / scale
    axes.annotate(text, (end, place), xytext=(6, 0), textcoords="offset points", va="center", fontsize=9, color=style.INK)
