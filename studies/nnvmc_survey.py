"""What the survey of neural-network Monte Carlo (arXiv 2603.18126) published, beside what a replay gives.

    python -m studies.nnvmc_survey [FIGURE]        # the recorded traces on the survey's GPU; FIGURE is the README's

The published numbers are the rows of ``codesign.validate(["survey"])``; here a replay of any trace is put beside them.
"""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import codesign as cd
from studies.printing import console, table

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


MOLECULE, GPU, SAMPLER = "CH4", "a5000", "langevin"
"""deepqmc's default sampler: the configuration of `codesign validate`."""
LABELS = {"default": "PauliNet", "ferminet": "FermiNet", "psiformer": "Psiformer", "orbformer": "Orbformer"}


@cache
def published(workload: str) -> dict[str, float]:
    """Return the survey's shares of a workload: 'sampling', 'outside/gemm', 'within/gemm' (of sampling), as fractions."""
    head = f"survey/share/{workload}"
    return {row.id.removeprefix(f"{head}/"): row.published for row in cd.validate(["survey"]).of(head) if isinstance(row.published, float)}


def compare(workload: str, shares: Shares) -> list[Comparison]:
    """Return the survey's shares of a workload beside ours: the sampling phase, and each family outside (and within) it."""
    said = published(workload)
    sampling = sum(value for (phase, _), value in shares.items() if phase == SAMPLING)
    found = [Comparison("sampling", said["sampling"], sampling)]
    for family, value in _of_place(said, "outside").items():
        found.append(Comparison(f"{_band_name(family)} outside sampling", value, _share(shares, family, sampling=False)))
    for family, value in _of_place(said, "within").items():
        found.append(Comparison(f"{_band_name(family)} in sampling", value * said["sampling"], _share(shares, family, sampling=True)))
    return found


def _of_place(said: Mapping[str, float], place: str) -> dict[str, float]:
    return {what.removeprefix(f"{place}/"): value for what, value in said.items() if what.startswith(f"{place}/")}


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
    families = BAND if family == BAND[0] else tuple(family.split("+"))
    return sum(value for (phase, f), value in shares.items() if f in families and (phase == SAMPLING) == sampling)


def _band_name(family: str) -> str:
    return "elementwise + slice/concat" if family == BAND[0] else family.replace("_", " ").replace("+", " and ")


def published_shares(workload: str) -> dict[tuple[str, str], float]:
    """Return the survey's fractions of the kernel time by (phase, family): the band joined by '+', the rest under ''."""
    said = published(workload)
    within = {family: value * said["sampling"] for family, value in _of_place(said, "within").items()}
    return _filled(SAMPLING, within, said["sampling"]) | _filled(REST, _of_place(said, "outside"), 1.0 - said["sampling"])


def _filled(phase: str, families: Mapping[str, float], total: float) -> dict[tuple[str, str], float]:
    known = {(phase, "+".join(BAND) if family == BAND[0] else family): value for family, value in families.items()}
    return known | {(phase, ""): max(total - sum(families.values()), 0.0)}


def kernel_time(workload: str, molecule: str) -> tuple[str, str]:
    """Return the published kernel time of a step on A5000, a range in seconds as text, and where the survey says so."""
    (row,) = cd.validate(["survey"]).of(f"survey/kernel-time/{workload}/{molecule}")
    return f"{row.published} s", row.source


def recorded(workload: str) -> cd.Timeline:
    """Return the replay of a recorded workload on the survey's molecule and GPU."""
    name = f"{workload}-{MOLECULE.lower()}-{GPU}-{SAMPLER}"
    return cd.replay(cd.load(name), cd.machine(GPU))


def figure(timelines: Mapping[str, cd.Timeline]) -> "Figure":
    """Return the bars of the workloads (by name), each above the survey's."""
    labelled = {LABELS[name]: timeline for name, timeline in timelines.items()}
    bars = [("survey", published_shares(name)) for name in timelines]
    title = "CH4 on an RTX A5000, 1,024 walkers: modelled, above the survey's measurement"
    return cd.plot(labelled, "breakdown", published=bars, title=title)


def main(arguments: Sequence[str] = ()) -> None:
    """Print published numbers beside ours; write the figure if its name is given."""
    timelines = {name: recorded(name) for name in ("ferminet", "default")}
    for name, timeline in timelines.items():
        console().print(table(COLUMNS, rows(name, timeline), f"{name}: kernel time {1e3 * timeline.kernel_time_s:.0f} ms"))
    if arguments:
        figure(timelines).savefig(arguments[0])


if __name__ == "__main__":
    main(sys.argv[1:])
