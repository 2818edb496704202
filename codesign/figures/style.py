"""How every figure looks: one colour and one marker a family, readable by colour-blind eyes, sized for a README's width."""

from collections.abc import Callable, Iterable
from functools import wraps
from typing import TYPE_CHECKING, Any, ParamSpec

from traces.schema import FAMILIES
from traces.si import prefix_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.legend import Legend
    from matplotlib.patches import Patch

P = ParamSpec("P")

# Okabe and Ito's palette (https://jfly.uni-koeln.de/color/) for the seven families that carry the time, Paul Tol's muted scheme
# (https://sronpersonalpages.nl/~pault/) for the rest. Neighbours in a stack are in FAMILIES' order; a test measures their distance
# as the three kinds of colour-blind eyes see it.
COLOURS = {
    "gemm": "#0072B2",
    "elementwise": "#E69F00",
    "transpose": "#009E73",
    "reduce": "#CC79A7",
    "slice_concat": "#F0E442",
    "triangular_solve": "#D55E00",
    "lu": "#56B4E9",
    "attention": "#882255",
    "gather_scatter": "#999933",
    "sort": "#332288",
    "copy": "#707070",
    "collective": "#661100",
    "other": "#C8C8C8",
}
MARKERS = dict(zip(FAMILIES, ("s", "o", "^", "v", "D", "P", "X", "*", "h", "<", ">", "d", "."), strict=True))
STACK = (
    "gemm",
    "elementwise",
    "slice_concat",
    "transpose",
    "reduce",
    "triangular_solve",
    "lu",
    "attention",
    "gather_scatter",
    "sort",
    "copy",
    "collective",
    "other",
)
"""Families in the order of a stack: elementwise and slice_concat touch, because the survey's families do not tell them apart."""

PAPER = "#FFFFFF"
INK = "#222222"
MUTED = "#6E6E6E"
MOVING = "#4D4D4D"
"""Transfers and hand-overs: no family, one dark grey."""
GRID = "#DDDDDD"
PANEL = "#EDEDED"
"""The face of what is no family: a memory of a machine."""
OTHER_WORK = "#E4E4E4"
"""What a publication does not break down."""

DARK = {
    PAPER: "#1b1b1b",
    INK: "#e2e2e2",
    MUTED: "#a3a3a3",
    MOVING: "#9a9a9a",
    GRID: "#3a3c40",
    PANEL: "#303236",
    COLOURS["sort"]: "#8f83e0",
    COLOURS["attention"]: "#c75c93",
    COLOURS["collective"]: "#c4533d",
}
"""What a dark page draws instead: paper and ink change places, dark families become lighter; the others are read on both."""

WIDTH = 8.0
"""Inches; at 150 dots an inch a figure is 1200 pixels wide and its text as large as a README's."""

RC: Any = {
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "text.color": INK,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelsize": 10,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.labelsize": 9,
    "ytick.labelsize": 9,
    "legend.fontsize": 9,
    "legend.frameon": False,
    "hatch.linewidth": 0.6,
    "svg.hashsalt": "codesign",
}


def styled(draw: Callable[P, "Figure"]) -> Callable[P, "Figure"]:
    """Give a figure function the style, and leave the user's matplotlib settings as they were."""

    @wraps(draw)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> "Figure":
        import matplotlib

        with matplotlib.rc_context(RC):
            return draw(*args, **kwargs)

    return wrapped


def canvas(height: float, rows: int = 1, ratios: tuple[float, ...] = ()) -> tuple["Figure", list["Axes"]]:
    """Return a figure of the common width, without pyplot's global state, and its axes from top to bottom."""
    from codesign.figures.notebook import NotebookFigure

    figure = NotebookFigure(figsize=(WIDTH, height), layout="constrained", dpi=150)
    axes = figure.subplots(rows, 1, squeeze=False, height_ratios=ratios or None)
    return figure, list(axes[:, 0])


def wide_title(figure: "Figure", title: str) -> None:
    """Set a title over the whole figure, as axes have theirs."""
    size, weight = (RC[f"axes.title{what}"] for what in ("size", "weight"))
    figure.suptitle(title, x=0.01, ha="left", fontsize=size, fontweight=weight)


def colour(family: str) -> str:
    """Return a family's colour; what is no family of the schema (a transfer, a hand-over) is dark grey."""
    return COLOURS.get(family, MOVING)


def family_name(family: str) -> str:
    """Return a family's name as people write it."""
    return {"gemm": "GEMM", "lu": "LU", "slice_concat": "slice/concat", "gather_scatter": "gather/scatter"}.get(
        family, family.replace("_", " ")
    )


def in_stack_order(families: Iterable[str]) -> list[str]:
    """Return the given families in the order of a stack; others follow by name."""
    present = set(families)
    return [f for f in STACK if f in present] + sorted(present - set(STACK))


def family_legend(figure: "Figure", families: Iterable[str], *more: "Patch") -> "Legend":
    """Write which colour each family has below a figure, and what ``more`` stand for: six in one row, more in rows of five."""
    from matplotlib.patches import Patch

    handles = [*(Patch(color=colour(f), label=family_name(f)) for f in in_stack_order(families)), *more]
    columns = len(handles) if len(handles) <= 6 else 5
    return figure.legend(handles=handles, loc="outside lower center", ncols=columns, handlelength=1.2, columnspacing=1.4)


def note(legend: "Legend", text: str) -> None:
    """Write a line, or several, above a legend."""
    legend.set_title(text)
    legend.get_title().set(color=MUTED, fontsize=8.5, multialignment="center")


def ink_on(background: str) -> str:
    """Return black or white, whichever reads better on a colour (relative luminance of WCAG 2.2)."""
    from matplotlib.colors import to_rgb

    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(background)]
    return "white" if 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2] < 0.179 else "black"


def time_axis(axes: "Axes", left: float, right: float) -> None:
    """Let the horizontal axis go from ``left`` to ``right`` seconds, ticks in one SI prefix."""
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    scale, prefix = prefix_of(right or 1.0)
    axes.set_xlim(left, right or 1.0)
    axes.xaxis.set_major_locator(MaxNLocator(7))
    digits = 0 if right - left > 20 * scale else 2 if right - left > 0.5 * scale else 3
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value / scale:.{digits}f} {prefix}s"))
