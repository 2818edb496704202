"""How much faster a step is by molecule, a panel a direction."""

from typing import TYPE_CHECKING

from studies.directions.answers import FAST_LINK, IN_MEMORY, MODES, answer
from studies.directions.programs import ANSATZE, MOLECULES, TOO_LARGE, formula
from studies.directions.sweeps import LINKS, link_gb_per_s, over_a_link

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = {"default": "#D55E00", "ferminet": "#0072B2", "psiformer": "#009E73", "orbformer": "#CC79A7"}
PANELS = {IN_MEMORY: "PIM in the memory packages", FAST_LINK: "PIM behind 32 times PCIe 4", MODES: "array on the GPU's silicon"}


def figure() -> "Figure":
    """Return three panels by molecule, and one by the bandwidth of the link to PIM."""
    from matplotlib.figure import Figure

    drawn = Figure(figsize=(11.0, 4.2), layout="constrained", dpi=150)
    panels = drawn.subplots(1, 4, width_ratios=(1, 1, 1, 1.1), sharey=True)
    for axes, (direction, title) in zip(panels, PANELS.items(), strict=False):
        _by_molecule(axes, direction, title)
    _by_link(panels[-1])
    for axes in panels:
        axes.axhline(1, color="#222222", linewidth=0.8)
        axes.spines[["top", "right"]].set_visible(False)
    panels[0].set_ylabel("a step faster than on an A5000 by")
    drawn.legend(*panels[0].get_legend_handles_labels(), frameon=False, ncols=4, loc="outside lower center")
    return drawn


def _by_molecule(axes: "Axes", direction: str, title: str) -> None:
    for ansatz, label in ANSATZE.items():
        fits = [molecule for molecule in MOLECULES if (ansatz, molecule) not in TOO_LARGE]
        axes.plot(fits, [answer(direction, ansatz, m).speedup for m in fits], color=COLOURS[ansatz], marker="o", label=label)
    axes.set_title(title, fontsize=10, loc="left")
    axes.set_xticks(range(len(MOLECULES)), [formula(m) for m in MOLECULES])


def _by_link(axes: "Axes") -> None:
    for ansatz in ANSATZE:
        axes.plot([link_gb_per_s(times) for times in LINKS], [over_a_link(ansatz, t) for t in LINKS], color=COLOURS[ansatz], marker="o")
    axes.set_xscale("log", base=2)
    axes.set_xticks([link_gb_per_s(times) for times in LINKS], [f"{link_gb_per_s(times):.0f}" for times in LINKS])
    axes.set_xlabel("GB/s of the link to PIM, CH₄")
    axes.set_title("PIM behind a link", fontsize=10, loc="left")
