"""What the survey of neural-network Monte Carlo (arXiv 2603.18126) published, beside what a replay gives.

    python -m studies.nnvmc_survey [FIGURE]        # the recorded traces on the survey's GPU; FIGURE is the README's

The published numbers, each with the place it stands in, are in ``published/nnvmc_survey.toml``.
"""

import sys
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

import codesign as cd

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BAND = ("elementwise", "slice_concat")
"""XLA fuses elementwise work into its concatenations; the survey's regular expressions cannot tell them apart. Compared as one."""
SAMPLING = "sampling"
REST = "rest of the step"

COLUMNS = ("share of kernel time", "survey, %", "ours, %", "difference")

Shares = Mapping[tuple[str, str], float]
"""Fractions of the kernel time by (phase, family); together one."""


@dataclass(frozen=True)
class Comparison:
    """One published number, as a fraction of the whole kernel time, and ours."""

    quantity: str
    published: float
    ours: float

    @property
    def difference(self) -> float:
        """Ours minus the published number."""
        return self.ours - self.published


@cache
def published() -> dict[str, Any]:
    """Return the published numbers as the TOML file has them."""
    text = resources.files("studies").joinpath("published/nnvmc_survey.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)


def compare(workload: str, shares: Shares) -> list[Comparison]:
    """Return the survey's shares of a workload beside ours: the sampling phase, and each family outside (and within) it."""
    survey = published()["shares"][workload]
    sampling = sum(value for (phase, _), value in shares.items() if phase == SAMPLING)
    found = [Comparison("sampling", survey["sampling"], sampling)]
    for family, value in survey["outside"].items():
        found.append(Comparison(f"{_band_name(family)} outside sampling", value, _share(shares, family, sampling=False)))
    for family, value in survey.get("within", {}).items():
        found.append(Comparison(f"{_band_name(family)} in sampling", value * survey["sampling"], _share(shares, family, sampling=True)))
    return found


def shares(timeline: cd.Timeline) -> dict[tuple[str, str], float]:
    """Return a replay's fractions of the kernel time by (phase, family)."""
    spans = timeline.spans()
    found: dict[tuple[str, str], float] = {}
    for kind, phase, family, start, end in zip(spans.kind, spans.phase, spans.family, spans.start_s, spans.end_s, strict=True):
        if kind == "kernel":
            found[phase, family] = found.get((phase, family), 0.0) + float(end - start) / timeline.kernel_time_s
    return found


def rows(workload: str, timeline: cd.Timeline) -> list[tuple[str, ...]]:
    """Return COLUMNS of each comparison: the quantity, published and ours in percent, the difference in percentage points."""
    return [
        (row.quantity, f"{100 * row.published:.1f}", f"{100 * row.ours:.1f}", f"{100 * row.difference:+.1f}")
        for row in compare(workload, shares(timeline))
    ]


def _share(shares: Shares, family: str, *, sampling: bool) -> float:
    families = BAND if family == BAND[0] else (family,)
    return sum(value for (phase, f), value in shares.items() if f in families and (phase == SAMPLING) == sampling)


def _band_name(family: str) -> str:
    return "elementwise + slice/concat" if family == BAND[0] else family.replace("_", " ")


def published_shares(workload: str) -> dict[tuple[str, str], float]:
    """Return the survey's fractions of the kernel time by (phase, family): the band joined by '+', the rest under ''."""
    survey = published()["shares"][workload]
    sampling = survey["sampling"]
    within = {family: value * sampling for family, value in survey.get("within", {}).items()}
    return _filled(SAMPLING, within, sampling) | _filled(REST, survey["outside"], 1.0 - sampling)


def _filled(phase: str, families: Mapping[str, float], total: float) -> dict[tuple[str, str], float]:
    known = {(phase, "+".join(BAND) if family == BAND[0] else family): value for family, value in families.items()}
    return known | {(phase, ""): max(total - sum(families.values()), 0.0)}


def kernel_time_band(molecule: str) -> tuple[float, float]:
    """Return the published kernel time of a step on A5000 in seconds, as (low, high): the survey says only 'hundreds of ms'."""
    band = published()["kernel_time"][molecule]
    return band["low"], band["high"]


def recorded(workload: str) -> cd.Timeline:
    """Return the replay of a recorded workload on the survey's molecule and GPU."""
    setup = published()["setup"]
    name = f"{workload}-{setup['molecule'].lower()}-{setup['gpu']}.trace"
    return cd.replay(cd.load(Path(cd.__file__).parents[1] / "traces" / "recorded" / name), cd.machine(setup["gpu"]))


def figure(timelines: Mapping[str, cd.Timeline]) -> "Figure":
    """Return the bars of the workloads (by name), each above the survey's."""
    labelled = {published()["shares"][name]["label"]: timeline for name, timeline in timelines.items()}
    bars = [("survey", published_shares(name)) for name in timelines]
    title = "CH4 on an RTX A5000, 1,024 walkers: modelled, above the survey's measurement"
    return cd.plot(labelled, "breakdown", published=bars, title=title)


def main() -> None:
    """Print published numbers beside ours; write the figure if its name is given."""
    timelines = {name: recorded(name) for name in ("ferminet", "default")}
    for name, timeline in timelines.items():
        table = Table(*COLUMNS, title=f"{name}: kernel time {1e3 * timeline.kernel_time_s:.0f} ms")
        for row in rows(name, timeline):
            table.add_row(*row)
        Console().print(table)
    if len(sys.argv) > 1:
        figure(timelines).savefig(sys.argv[1])


if __name__ == "__main__":
    main()
