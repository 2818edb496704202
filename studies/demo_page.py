"""The page and the figures that the demo writes."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import codesign as cd
from studies import nnvmc_survey as survey

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOLECULE, GPU = "CH4", "a5000"
LABELS = {"ferminet": "FermiNet", "default": "PauliNet"}
"""deepqmc's `default` ansatz is what the survey calls PauliNet."""
MACHINES = ("a5000+aim", "a5000+aim-fp32")
"""AiM as sold computes in BF16; the hypothetical one in FP32, as these programs do."""
INTRODUCTION = (
    "Two neural wave functions, captured from deepqmc 1.2.0 as XLA compiles them for an RTX A5000 that need not be there, replayed on a "
    "model of that GPU and of GDDR6-AiM, processing in memory, as sold and in a hypothetical FP32 version. Kernel times are modelled, not "
    "measured; the survey's shares are measured and read from its text (arXiv 2603.18126)."
)
OFFLOADED = (
    "The same machine with every eligible kernel below 1 FLOP per byte on the PIM. What the PIM saves in traffic it spends on hand-overs: "
    "each cut moves its data between the GPU's layout and the PIM's, and closes the PIM's share of the channels to the GPU meanwhile."
)
AIM = (
    "AiM as sold executes BF16 only, so every FP32 kernel stays on the GPU. The hypothetical aim-fp32 scales lanes, area and energy by the "
    "rules in docs/machines.md. Hollow points are hypothetical designs."
)


@dataclass(frozen=True)
class Outcome:
    """What the demo computes: traces and replays on the GPU alone by workload, a result a machine with PIM, and two replays there."""

    traces: dict[str, cd.Trace]
    replays: dict[str, cd.Timeline]
    results: Sequence[cd.Result]
    best: cd.Timeline
    """The best design that was found, of the last machine."""
    offloaded: cd.Timeline
    """Every kernel of low arithmetic intensity on the PIM of the last machine."""


def write(outcome: Outcome, folder: Path) -> None:
    """Write the figures as PNG and the page as index.html."""
    figures = draw(outcome)
    for name, figure in figures.items():
        figure.savefig(folder / f"{name}.png")
    cd.report(page(outcome, figures), folder / "index.html", title=f"{' and '.join(LABELS.values())} on {MOLECULE}: {GPU} and AiM")


def draw(outcome: Outcome) -> "dict[str, Figure]":
    """Return the figures by name."""
    return {
        "breakdown": survey.figure(outcome.replays),
        "roofline": cd.plot(outcome.traces["ferminet"], "roofline", machine=MACHINES[-1]),
        "pareto": cd.plot(outcome.results, "pareto"),
        "timeline": cd.plot(outcome.best, "timeline"),
        "timeline-offloaded": cd.plot(outcome.offloaded, "timeline"),
        "memory": cd.plot(outcome.best, "memory"),
    }


def page(outcome: Outcome, figures: "dict[str, Figure]") -> list[object]:
    """Return what the page shows, from top to bottom."""
    items: list[object] = [INTRODUCTION, "# Where the time goes, beside the survey", figures["breakdown"]]
    for name, timeline in outcome.replays.items():
        caption = f"{LABELS[name]}: kernel time {1e3 * timeline.kernel_time_s:.0f} ms"
        items.append((caption, survey.COLUMNS, survey.rows(name, timeline)))
    items.append(f"The survey says of the kernel time: {survey.kernel_time('ferminet', 'CH4')[1]}.")
    items += ["# What bounds the kernels", figures["roofline"]]
    items += ["# What processing in memory could do", AIM, figures["pareto"], *outcome.results]
    items += ["# The best design that was found", figures["timeline"], figures["memory"]]
    items += ["# All kernels of low intensity on the PIM", OFFLOADED, outcome.offloaded]
    items += ["# The replays on the GPU", *outcome.replays.values(), "# The traces", *outcome.traces.values()]
    return [*items, "# The machines and where their numbers come from", *(cd.machine(name) for name in (GPU, *MACHINES))]
