"""Where the time goes: a stacked bar of phase by family, ours above the published one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from codesign.figures import style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SMALLEST_LABEL = 0.03
"""Segments below this fraction carry no number: it would not fit."""
SMALLEST_FAMILY = 0.005
"""Families below this fraction of the whole are drawn as 'other'."""
SMALLEST_PHASE = 0.005
"""Phases below this fraction are not named above the bar."""
UNNAMED = "none"
"""The phase of kernels of none: a program without phases has no names above its bar."""
CHARACTER = 1.05
"""Width of a character of a phase's name, in percent of the axis."""


@dataclass(frozen=True)
class Segment:
    """A part of a bar: ``share`` is a fraction of the whole; ``families`` gives its colours, none means not broken down."""

    phase: str
    families: tuple[str, ...]
    share: float


@dataclass(frozen=True)
class Bar:
    """A labelled bar; ``published`` ones are drawn thinner, below the one they belong to."""

    label: str
    segments: tuple[Segment, ...]
    published: bool = False


def bar_of(label: str, shares: Mapping[tuple[str, str], float], published: bool = False) -> Bar:
    """Return the bar of {(phase, family): fraction}: phases in the order given, families in the order of a stack.

    A family may be two that are not told apart, joined by '+', or '' for what is not broken down. Families that nobody could see in
    the bar are drawn as 'other'.
    """
    seen = shares if published else _merged(shares)
    segments = [
        Segment(phase, tuple(family.split("+")) if family else (), seen[phase, family])
        for phase in dict.fromkeys(phase for phase, _ in seen)
        for family in sorted((f for p, f in seen if p == phase), key=_rank)
        if seen[phase, family] > 0
    ]
    return Bar(label, tuple(segments), published)


def _merged(shares: Mapping[tuple[str, str], float]) -> dict[tuple[str, str], float]:
    """Return the shares with families below ``SMALLEST_FAMILY`` of the whole put together as 'other'."""
    total: dict[str, float] = {}
    for (_, family), share in shares.items():
        total[family] = total.get(family, 0.0) + share
    merged: dict[tuple[str, str], float] = {}
    for (phase, family), share in shares.items():
        key = (phase, family if total[family] >= SMALLEST_FAMILY or not family else "other")
        merged[key] = merged.get(key, 0.0) + share
    return merged


def _rank(family: str) -> int:
    first = family.split("+")[0]
    return style.STACK.index(first) if first in style.STACK else len(style.STACK)


@style.styled
def breakdown(bars: Sequence[Bar], title: str = "") -> "Figure":
    """Draw the bars from top to bottom: shares of kernel time in percent, phases separated by a gap line, families by colour."""
    figure, (axes,) = style.canvas(1.5 + sum(0.42 if b.published else 0.72 for b in bars))
    places = _places(bars)
    for bar, (y, height) in zip(bars, places, strict=True):
        _draw(axes, bar, y, height)
    axes.set_yticks([y for y, _ in places], [b.label for b in bars])
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.set_xlim(0, 100)
    axes.set_ylim(places[-1][0] + places[-1][1] / 2 + 0.1, -0.62)
    axes.set_xlabel("share of kernel time, %")
    axes.set_title(title or "Kernel time by phase and family", pad=6)
    _legend(figure, bars)
    return figure


def _places(bars: Sequence[Bar]) -> list[tuple[float, float]]:
    """Return (centre, height) of each bar: a published one sits close below the bar before it."""
    places: list[tuple[float, float]] = []
    y = 0.0
    for index, bar in enumerate(bars):
        if index:
            y += 0.52 if bar.published else 1.05
        places.append((y, 0.36 if bar.published else 0.56))
    return places


def _draw(axes: "Axes", bar: Bar, y: float, height: float) -> None:
    left = 0.0
    for phase in dict.fromkeys(s.phase for s in bar.segments):
        if left:
            axes.plot([left, left], [y - height * 0.6, y + height * 0.6], color=style.INK, linewidth=1.6, solid_capstyle="butt", zorder=4)
        for segment in (s for s in bar.segments if s.phase == phase):
            _fill(axes, segment, left, y, height)
            left += 100 * segment.share
    if not bar.published and {s.phase for s in bar.segments} != {UNNAMED}:
        _name_phases(axes, bar, y - height / 2 - 0.05)


def _name_phases(axes: "Axes", bar: Bar, top: float) -> None:
    """Write each phase and its share above its part of the bar; a name that finds no room there moves to the right."""
    left = free = 0.0
    for phase in dict.fromkeys(s.phase for s in bar.segments):
        share = sum(s.share for s in bar.segments if s.phase == phase)
        text = f"{phase} {100 * share:.0f} %"
        at = min(max(left, free), 100 - CHARACTER * len(text))
        if share >= SMALLEST_PHASE and at >= free:
            axes.text(at + 0.3, top, text, ha="left", va="bottom", fontsize=9, color=style.INK)
            free = at + CHARACTER * (len(text) + 2)
        left += 100 * share


def _fill(axes: "Axes", segment: Segment, left: float, y: float, height: float) -> None:
    """Draw one segment; a band of two families has both colours, the second as a hatch."""
    width = 100 * segment.share
    face = style.colour(segment.families[0]) if segment.families else style.OTHER_WORK
    second = segment.families[1] if len(segment.families) > 1 else ""
    edge, hatch = (style.colour(second), "////") if second else ("white", None)
    axes.barh(y, width, height, left, color=face, edgecolor=edge, linewidth=0.6, hatch=hatch)
    if segment.share >= SMALLEST_LABEL:
        box = {"facecolor": face, "edgecolor": "none", "pad": 1.0} if second else None
        axes.text(left + width / 2, y, f"{width:.0f}", ha="center", va="center", fontsize=8.5, color=style.ink_on(face), bbox=box)


def _legend(figure: "Figure", bars: Sequence[Bar]) -> None:
    from matplotlib.patches import Patch

    parts = [segment for bar in bars for segment in bar.segments]
    whole = [] if all(part.families for part in parts) else [Patch(color=style.OTHER_WORK, label="not broken down")]
    style.family_legend(figure, {family for part in parts for family in part.families}, *whole)
