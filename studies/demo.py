"""The whole way once: capture, replay, compare with the survey, explore, draw. ``make demo`` runs it.

Everything it makes is in build/demo/: two traces, the results as JSON, figures, and index.html, which shows them all.
"""

import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich import box
from rich.console import Console
from rich.table import Table

import codesign as cd
from studies import nnvmc_survey as survey

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FOLDER = Path("build/demo")
MOLECULE, GPU = "CH4", "a5000"
LABELS = {"ferminet": "FermiNet", "default": "PauliNet"}
"""deepqmc's `default` ansatz is what the survey calls PauliNet."""
MACHINES = ("a5000+aim", "a5000+aim-fp32")
"""AiM as sold computes in BF16; the hypothetical one in FP32, as these programs do."""
TRIALS, SEED = 150, 1

INTRODUCTION = (
    "Two neural wave functions, captured from deepqmc 1.2.0 as XLA compiles them for an RTX A5000 that need not be there, replayed on a "
    "model of that GPU and of GDDR6-AiM, processing in memory, as sold and in a hypothetical FP32 version. Kernel times are modelled, not "
    "measured; the survey's shares are measured and read from its text (arXiv 2603.18126)."
)
AIM = (
    "AiM as sold executes BF16 only, so every FP32 kernel stays on the GPU. The hypothetical aim-fp32 scales lanes, area and energy by the "
    "rules in docs/machines.md. Hollow points are hypothetical designs."
)

Replays = dict[str, cd.Timeline]

console = Console(highlight=False, soft_wrap=True)


def main() -> None:
    """Run the demo."""
    began = time.monotonic()
    FOLDER.mkdir(parents=True, exist_ok=True)
    traces = capture(LABELS)
    replays = {name: cd.replay(trace, cd.machine(GPU)) for name, trace in traces.items()}
    for name, timeline in replays.items():
        timeline.save(FOLDER / f"{name}-on-{GPU}.json")
        show_replay(name, timeline)
    results = [explore(traces["ferminet"], name) for name in MACHINES]
    show_results(results)
    draw(traces, replays, results)
    console.print(f"\n{FOLDER / 'index.html'} shows all of it ({time.monotonic() - began:.0f} s).")


def capture(names: Iterable[str]) -> dict[str, cd.Trace]:
    """Capture the workloads, each by the command a user would give, at the same time."""
    running = {}
    for name in names:
        path = FOLDER / f"{name}-{MOLECULE.lower()}-{GPU}.trace"
        command = ["codesign", "capture", name, "--molecule", MOLECULE, "--target", GPU, "-o", str(path)]
        console.print("$", " ".join(command))
        quiet = subprocess.Popen([sys.executable, "-m", *command], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        running[name] = path, quiet
    return {name: finished(path, process) for name, (path, process) in running.items()}


def finished(path: Path, process: "subprocess.Popen[str]") -> cd.Trace:
    """Wait for a capture and return its trace; end the demo with the command's message if it failed."""
    _, messages = process.communicate()
    if process.returncode:
        raise SystemExit(messages)
    return cd.load(path)


def shares(timeline: cd.Timeline) -> dict[tuple[str, str], float]:
    """Return fractions of the kernel time by (phase, family)."""
    spans = timeline.spans()
    found: dict[tuple[str, str], float] = {}
    for kind, phase, family, start, end in zip(spans.kind, spans.phase, spans.family, spans.start_s, spans.end_s, strict=True):
        if kind == "kernel":
            found[phase, family] = found.get((phase, family), 0.0) + (end - start) / timeline.kernel_time_s
    return found


def show_replay(name: str, timeline: cd.Timeline) -> None:
    """Print a replay's totals, and its shares by phase and family beside the survey's."""
    low, high = survey.kernel_time_band(MOLECULE)
    console.print(f"\n[bold]{LABELS[name]} on {MOLECULE}, {GPU}[/bold]: kernel time {1e3 * timeline.kernel_time_s:.0f} ms", end="")
    console.print(
        f" (survey: {1e3 * low:.0f} to {1e3 * high:.0f} ms), a step {1e3 * timeline.time_s:.0f} ms, {timeline.launches:,} launches"
    )
    console.print(table(("share of kernel time", "survey, %", "ours, %", "difference"), compared(name, timeline)))
    console.print(table(("phase", "family", "ours, %"), broken_down(timeline)))


def compared(name: str, timeline: cd.Timeline) -> list[tuple[str, ...]]:
    """Return rows: what the survey published, the number, ours, ours minus theirs in percentage points."""
    rows = survey.compare(name, shares(timeline))
    return [(row.quantity, f"{100 * row.published:.1f}", f"{100 * row.ours:.1f}", f"{100 * row.difference:+.1f}") for row in rows]


def broken_down(timeline: cd.Timeline) -> list[tuple[str, ...]]:
    """Return rows: phase, family, our share, the largest first within a phase; small ones together."""
    rows = []
    found = shares(timeline)
    for phase in dict.fromkeys(phase for phase, _ in found):
        mine = sorted(((share, family) for (p, family), share in found.items() if p == phase), reverse=True)
        rows += [(phase, family, f"{100 * share:.1f}") for share, family in mine if share >= 0.005]
        rows.append((phase, "all", f"{100 * sum(share for share, _ in mine):.1f}"))
    return rows


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> Table:
    """Return a table for the terminal: numbers to the right."""
    made = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        made.add_column(column, justify="right" if "%" in column or column in ("difference", "time", "energy", "bound") else "left")
    for row in rows:
        made.add_row(*row)
    return made


def explore(trace: cd.Trace, name: str) -> cd.Result:
    """Search the mapping and the machine for time and energy, and keep the result."""
    console.print(f"\nexploring {name}: {TRIALS} designs")
    result = cd.explore(trace, cd.machine(name), objectives=("time", "energy"), trials=TRIALS, seed=SEED)
    result.save(FOLDER / f"{name}-result.json")
    return result


def show_results(results: Sequence[cd.Result]) -> None:
    """Print what was found on each machine beside what bounds it."""
    console.print(
        table(("machine", "best time", "all on one device", "lower bound", "best above it, %", "best design"), map(found, results))
    )


def found(result: cd.Result) -> tuple[str, ...]:
    """Return the row of a result."""
    times = (result.best.time_s, result.best_single_device_s, result.lower_bound_s)
    shown = ("unknown" if seconds is None else f"{1e3 * seconds:.1f} ms" for seconds in times)
    gap = "unknown" if result.bound_gap is None else f"{100 * result.bound_gap:.1f}"
    design = {**result.best.policy, **result.best.machine}
    parts = (f"{key} {value:.4g}" if isinstance(value, float) else str(value) for key, value in design.items())
    return (marked(result), *shown, gap, ", ".join(parts))


def marked(result: cd.Result) -> str:
    """Return the machine's name, marked if it does not exist."""
    return f"{result.machine} (hypothetical)" if result.hypothetical else result.machine


def draw(traces: dict[str, cd.Trace], replays: Replays, results: Sequence[cd.Result]) -> None:
    """Write the figures and the page."""
    best = best_replay(traces["ferminet"], results[-1])
    published = [("survey", survey.published_shares(name)) for name in replays]
    figures = {
        "breakdown": cd.plot(list(replays.values()), "breakdown", published=published, title=f"{MOLECULE} on {GPU}: kernel time"),
        "roofline": cd.plot(traces["ferminet"], "roofline", machine=MACHINES[-1]),
        "timeline": cd.plot(best, "timeline"),
        "memory": cd.plot(best, "memory"),
        "pareto": cd.plot(list(results), "pareto"),
    }
    for name, figure in figures.items():
        figure.savefig(FOLDER / f"{name}.png")
    title = f"{' and '.join(LABELS.values())} on {MOLECULE}: {GPU} and AiM"
    cd.report(page(figures, traces, replays, results, best), FOLDER / "index.html", title=title)


def page(
    figures: "dict[str, Figure]", traces: dict[str, cd.Trace], replays: Replays, results: Sequence[cd.Result], best: cd.Timeline
) -> list[object]:
    """Return what the page shows, from top to bottom."""
    items: list[object] = [INTRODUCTION, "# Where the time goes, beside the survey", figures["breakdown"]]
    for name, timeline in replays.items():
        kernels = f"{LABELS[name]}: kernel time {1e3 * timeline.kernel_time_s:.0f} ms"
        items.append((kernels, ("share of kernel time", "survey, %", "ours, %", "difference"), compared(name, timeline)))
    items += [
        f"The survey says of the kernel time: {survey.published()['kernel_time']['where']}.",
        "# What bounds the kernels",
        figures["roofline"],
    ]
    items += ["# What processing in memory could do", AIM, figures["pareto"], *results]
    items += ["# The best design that was found", figures["timeline"], figures["memory"]]
    items += ["# The replays", *replays.values(), "# The traces", *traces.values(), "# The machines and where their numbers come from"]
    return [*items, *(cd.machine(name) for name in (GPU, *MACHINES))]


def best_replay(trace: cd.Trace, result: cd.Result) -> cd.Timeline:
    """Replay the best design of a result."""
    machine = cd.machine(result.machine).with_(**result.best.machine)
    return cd.replay(trace, machine, result.best.mapping)


if __name__ == "__main__":
    main()
