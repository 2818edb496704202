"""Deciding while it runs: what a policy that watches its own steps saves when others load the link to PIM.

    python -m studies.disturbed_link [FIGURE.png]

FermiNet's steps on CH4, one after the other, on an A5000 and 32 packages of hypothetical FP32 PIM behind NVLink 5. The mapping that is
decided before the run is the best of a dozen that a search tries, and knows of no others. From a quarter of its run on, for half of it,
others take nine tenths of both directions of the link. The online policy is asked at the border of every step and sees only how long
steps took: one that took longer than the GPU alone would sends the next ones there, and every few steps it tries PIM again.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

import codesign as cd
from studies.printing import console, table

TRACE = "ferminet-ch4-a5000-langevin"
MACHINE = "a5000+aim-fp32@nvlink5"
DESIGN = {"pim_stacks": 32, "pim_unit_clock_hz": 2e9}
TRIALS = 12
STEPS = 24
CLOSED = 0.9
"""Share of the link that others take."""
PATIENCE = 4
"""Steps on the GPU before PIM is tried again."""
SLACK = 1.02
"""A step may take so much longer than on the GPU before it counts as slower."""


@dataclass
class Watching:
    """The online policy, and what it saw: ``began`` is when the host came to each step after the first."""

    mappings: dict[str, cd.Mapping]
    gpu_step_s: float
    where: str = "pim"
    since: int = 0
    began: list[float] = field(default_factory=list)
    chose: list[str] = field(default_factory=list)

    def __call__(self, seen: Any, mapping: cd.Mapping) -> cd.Mapping | None:
        """Leave PIM after a step that took longer than on the GPU; try again after ``PATIENCE`` steps there."""
        last = seen.time_s - (self.began[-1] if self.began else 0.0)
        self.began.append(seen.time_s)
        self.chose.append(self.where)
        self.since += 1
        slow = self.where == "pim" and last > SLACK * self.gpu_step_s
        again = self.where == "gpu" and self.since >= PATIENCE
        if not (slow or again):
            return None
        self.where, self.since = ("gpu" if slow else "pim"), 0
        return spliced(mapping, self.mappings[self.where], seen.kernel)


def spliced(before: cd.Mapping, after: cd.Mapping, kernel: int) -> cd.Mapping:
    """Return the mapping that is ``before`` up to a kernel and ``after`` from there on."""
    return cd.Mapping(np.where(np.arange(len(before)) < kernel, before.device, after.device), "online")


@dataclass(frozen=True)
class Runs:
    """Seconds in all by policy, when each step of it began on the host's side, what the online policy chose, and the disturbance."""

    time_s: dict[str, float]
    began: dict[str, list[float]]
    chose: list[str]
    disturbed_s: tuple[float, float]


def setting(steps: int = STEPS) -> tuple[cd.Trace, cd.Machine, dict[str, cd.Mapping]]:
    """Return the steps as one trace, the machine, and the mappings with PIM and without."""
    trace = cd.merge([cd.load(TRACE)] * steps, names=[f"step {i}" for i in range(steps)])
    machine = cd.machine(MACHINE).with_(**DESIGN)
    one = cd.explore(cd.load(TRACE), machine, space=cd.Space(machine={}), trials=TRIALS).best.mapping
    offline = cd.Mapping(np.tile(one.device, steps), "decided before")
    return trace, machine, {"pim": offline, "gpu": cd.Mapping(0 * offline.device, "gpu")}


def loaded(machine: cd.Machine, start_s: float, duration_s: float) -> list[cd.Disturbance]:
    """Return the disturbances of both directions of the link to PIM."""
    link = machine.links[-1]
    ends = (link.source, link.target)
    return [cd.Disturbance(f"{link.id}: {a} to {b}", start_s, duration_s, closed=CLOSED) for a, b in (ends, ends[::-1])]


def runs(steps: int = STEPS) -> Runs:
    """Replay every policy under the same disturbance."""
    trace, machine, mappings = setting(steps)
    quiet = {name: cd.replay(trace, machine, mapping, record=False).time_s for name, mapping in mappings.items()}
    span = 0.25 * quiet["pim"], 0.5 * quiet["pim"]
    others = loaded(machine, *span)
    time_s, began = {"decided before, undisturbed": quiet["pim"], "GPU alone": quiet["gpu"]}, {}
    online = Watching(mappings, quiet["gpu"] / steps)
    for name, mapping, decide in (
        ("decided before", mappings["pim"], Recorder()),
        ("decided while it runs", mappings["pim"], online),
    ):
        time_s[name] = cd.replay(trace, machine, mapping, decide=decide, disturbances=others).time_s
        began[name] = [*decide.began, time_s[name]]
    return Runs(time_s, began, [*online.chose, online.where], (span[0], sum(span)))


@dataclass
class Recorder:
    """Decides nothing, and keeps when the host came to each step."""

    began: list[float] = field(default_factory=list)

    def __call__(self, seen: Any, mapping: cd.Mapping) -> None:
        """Go on as before."""
        self.began.append(seen.time_s)


def figure(found: Runs, path: Path) -> None:
    """Draw how long each step took by when it ended, and when the link was disturbed."""
    from matplotlib.figure import Figure

    drawn = Figure(figsize=(8, 3.4), layout="constrained")
    axes = drawn.add_subplot()
    axes.axvspan(*found.disturbed_s, color="0.9", label=f"others take {CLOSED:.0%} of the link")
    colours = {"decided before": "#D55E00", "decided while it runs": "#0072B2"}
    for name, ends in found.began.items():
        axes.step(ends, 1e3 * np.diff([0.0, *ends]), where="pre", color=colours[name], label=f"{name}: {found.time_s[name]:.2f} s")
    step_s = found.time_s["GPU alone"] / len(found.chose)
    axes.axhline(1e3 * step_s, color="0.4", linestyle="--", label=f"GPU alone: {found.time_s['GPU alone']:.2f} s")
    axes.set_xlabel("time, s")
    axes.set_ylabel("host, from step to step, ms")
    axes.set_ylim(0, None)
    axes.legend(frameon=False, fontsize="small")
    axes.spines[["top", "right"]].set_visible(False)
    drawn.savefig(path, dpi=150)


def main(arguments: Sequence[str] = ()) -> None:
    """Print the table; draw the figure if a path is given."""
    found = runs()
    quiet = found.time_s["decided before, undisturbed"]
    rows = [(name, f"{seconds:.3f}", f"{seconds / quiet:.2f}") for name, seconds in found.time_s.items()]
    console().print(table(("policy", "s", "over undisturbed"), rows))
    console().print("steps on: " + " ".join(found.chose))
    if arguments:
        figure(found, Path(arguments[0]))


if __name__ == "__main__":
    main(sys.argv[1:])
