"""The whole way once: capture, replay, compare with the survey, explore, draw. ``make demo`` runs it.

Everything it makes is in build/demo/: two traces, the results as JSON, figures, and index.html, which shows them all.
"""

import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

import codesign as cd
from studies import demo_page
from studies import nnvmc_survey as survey
from studies.demo_page import GPU, LABELS, MACHINES, MOLECULE, Outcome
from studies.printing import console, table

FOLDER = Path("build/demo")
TRIALS, SEED = 150, 1


def main() -> None:
    """Run the demo."""
    began = time.monotonic()
    FOLDER.mkdir(parents=True, exist_ok=True)
    outcome = run(capture(LABELS))
    demo_page.write(outcome, FOLDER)
    console().print(f"\n{FOLDER / 'index.html'} shows all of it ({time.monotonic() - began:.0f} s).")


def run(traces: dict[str, cd.Trace]) -> Outcome:
    """Replay, compare and explore; print what comes out."""
    replays = {name: cd.replay(trace, cd.machine(GPU)) for name, trace in traces.items()}
    for name, timeline in replays.items():
        timeline.save(FOLDER / f"{name}-on-{GPU}.json")
        show_replay(name, timeline)
    trace = traces["ferminet"]
    results = [explore(trace, name) for name in MACHINES]
    show_results(results)
    offloaded = cd.replay(trace, cd.machine(MACHINES[-1]), "intensity-threshold")
    outcome = Outcome(traces, replays, results, best_replay(trace, results[-1]), offloaded)
    show_mappings([replays["ferminet"], outcome.best, offloaded])
    return outcome


def best_replay(trace: cd.Trace, result: cd.Result) -> cd.Timeline:
    """Replay the best design of a result."""
    return cd.replay(trace, cd.machine(result.machine).with_(**result.best.machine), result.best.mapping)


def capture(names: Iterable[str]) -> dict[str, cd.Trace]:
    """Capture the workloads, each by the command a user would give, at the same time."""
    running = {}
    for name in names:
        path = FOLDER / f"{name}-{MOLECULE.lower()}-{GPU}.trace"
        command = ["codesign", "capture", name, "--molecule", MOLECULE, "--target", GPU, "-o", str(path)]
        console().print("$", " ".join(command))
        quiet = subprocess.Popen([sys.executable, "-m", *command], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        running[name] = path, quiet
    compile_engine()
    return {name: finished(path, process) for name, (path, process) in running.items()}


def compile_engine() -> None:
    """Replay a small recorded trace: the engine is compiled on its first use, here while the captures run."""
    trace = cd.load(f"ferminet-lih-{GPU}")
    for name, scheduler in ((GPU, "single-device"), (MACHINES[-1], "intensity-threshold")):
        cd.replay(trace, cd.machine(name), scheduler)


def finished(path: Path, process: "subprocess.Popen[str]") -> cd.Trace:
    """Wait for a capture and return its trace; end the demo with the command's message if it failed."""
    _, messages = process.communicate()
    if process.returncode:
        raise SystemExit(messages)
    return cd.load(path)


def show_replay(name: str, timeline: cd.Timeline) -> None:
    """Print a replay's totals, and its shares by phase and family beside the survey's."""
    said, _ = survey.kernel_time(name, MOLECULE)
    console().print(f"\n[bold]{LABELS[name]} on {MOLECULE}, {GPU}[/bold]: kernel time {1e3 * timeline.kernel_time_s:.0f} ms", end="")
    console().print(f" (survey: {said}), a step {1e3 * timeline.time_s:.0f} ms, {timeline.launches:,} launches")
    console().print(table(survey.COLUMNS, survey.rows(name, timeline)))
    console().print(table(("phase", "family", "ours, %"), broken_down(timeline)))


def broken_down(timeline: cd.Timeline) -> list[tuple[str, ...]]:
    """Return rows: phase, family, our share, the largest first within a phase; small ones together."""
    rows: list[tuple[str, ...]] = []
    found = survey.shares(timeline)
    for phase in dict.fromkeys(phase for phase, _ in found):
        mine = sorted(((share, family) for (p, family), share in found.items() if p == phase), reverse=True)
        rows += [(phase, family, f"{100 * share:.1f}") for share, family in mine if share >= 0.005]
        rows.append((phase, "all", f"{100 * sum(share for share, _ in mine):.1f}"))
    return rows


def explore(trace: cd.Trace, name: str) -> cd.Result:
    """Search the mapping and the machine for time and energy, and keep the result."""
    console().print(f"\nexploring {name}: {TRIALS} designs")
    result = cd.explore(trace, cd.machine(name), objectives=("time", "energy"), trials=TRIALS, seed=SEED)
    result.save(FOLDER / f"{name}-result.json")
    return result


def show_results(results: Sequence[cd.Result]) -> None:
    """Print what was found on each machine beside what bounds it."""
    console().print(table(("machine", "best time", "on one device", "lower bound", "gap, %"), map(found, results)))
    for result in results:
        console().print(f"best design on {marked(result)}: {how(result)}")


def show_mappings(timelines: Sequence[cd.Timeline]) -> None:
    """Print what each mapping takes, and how much of it hands data over."""
    rows = [
        (t.machine, t.scheduler, *(f"{1e3 * seconds:.1f} ms" for seconds in (t.time_s, t.kernel_time_s, t.hand_over_s)), energy(t))
        for t in timelines
    ]
    console().print(table(("machine", "mapping", "time", "kernels", "hand-over", "energy"), rows))


def energy(timeline: cd.Timeline) -> str:
    """Return the energy of a step as text."""
    return "unknown" if timeline.energy_j is None else f"{timeline.energy_j:.1f} J"


def found(result: cd.Result) -> tuple[str, ...]:
    """Return the row of a result."""
    times = (result.best.time_s, result.best_single_device_s, result.lower_bound_s)
    shown = ("unknown" if seconds is None else f"{1e3 * seconds:.1f} ms" for seconds in times)
    gap = "unknown" if result.bound_gap is None else f"{100 * result.bound_gap:.1f}"
    return (marked(result), *shown, gap)


def how(result: cd.Result) -> str:
    """Return the policy and the parameters of the best design."""
    policy, machine = result.best.policy, result.best.machine
    name, *parts = {**policy, **machine}.items()
    return ", ".join([str(name[1]), *(f"{key} {value:.4g}" if isinstance(value, float) else f"{key} {value}" for key, value in parts)])


def marked(result: cd.Result) -> str:
    """Return the machine's name, marked if it does not exist."""
    return f"{result.machine} (hypothetical)" if result.hypothetical else result.machine


if __name__ == "__main__":
    main()
