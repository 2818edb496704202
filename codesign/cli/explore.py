"""``codesign explore``: search the mapping and the machine."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from codesign import files
from codesign.cli.inputs import build_machine, load_trace
from codesign.cli.options import Json, MachineName, Output, Seed, Settings, TraceFile, deliver, parse_settings
from codesign.cli.terminal import progress_bar, quiet_output, table
from codesign.units import percent, show
from traces.errors import CodesignError

if TYPE_CHECKING:
    from rich.console import Group


def explore(
    ctx: typer.Context,
    trace: TraceFile,
    machine: MachineName,
    trials: Annotated[int, typer.Option("--trials", min=1, help="Designs to try.")] = 100,
    objectives: Annotated[
        str, typer.Option("--objectives", metavar="LIST", help="One or more of time, energy, area, joined by ','.")
    ] = "time",
    budget: Annotated[
        list[str] | None,
        typer.Option("--budget", metavar="NAME=VALUE", help="A limit to keep: time_s, energy_j or area_mm2; may be repeated."),
    ] = None,
    storage: Annotated[
        str | None,
        typer.Option("--storage", metavar="URL", help="Keep the trials in a file or a database (sqlite:///FILE), and go on from it."),
    ] = None,
    seed: Seed = 0,
    settings: Settings = None,
    as_json: Json = False,
    output: Output = None,
) -> None:
    """Search for the machine and the mapping that run a trace best, beside what no design can beat."""
    from codesign.search import explore as search

    if output:
        files.check_writable(output, trace)
    with quiet_output(), progress_bar(trials) as progress:
        result = search(
            load_trace(trace),
            build_machine(machine, settings),
            objectives=tuple(name.strip() for name in objectives.split(",")),
            trials=trials,
            seed=seed,
            storage=storage,
            budget=_limits(budget),
            progress=progress,
        )
    payload = result.to_dict()
    deliver(ctx, "result", payload, lambda: _tables(payload), as_json=as_json, output=output, seed=seed)


def _limits(given: list[str] | None) -> dict[str, float] | None:
    try:
        return {name: float(value) for name, value in parse_settings(given, "--budget").items()} or None
    except ValueError as error:
        raise CodesignError(f"--budget takes NAME=NUMBER, but got {given}: {error}") from error


def _tables(result: dict[str, Any]) -> "Group":
    from rich.console import Group

    best = result["best"]
    title = f"{result['program']} on {result['machine']}{' (hypothetical)' if result['hypothetical'] else ''}: {result['trials']} trials"
    facts = [
        ("best time", show(best["time_s"], "s"), _policy(best)),
        ("best on a single device", show(result["best_single_device_s"], "s"), result["best_single_device"]),
        ("lower bound", show(result["lower_bound_s"], "s"), result["lower_bound_method"]),
        ("gap to the bound, %", percent(result["bound_gap"]), ""),
        ("exact partition", show(result["exact_partition_s"], "s"), result["semantics"]),
        ("gap to it, %", percent(result["partition_gap"]), "of the best mapping, under the same model"),
        ("on a border of the space", ", ".join(f"{b['parameter']} ({b['side']})" for b in result["on_border"]) or "none", ""),
    ]
    return Group(table(title, ("", "", ""), facts), _front(result))


def _front(result: dict[str, Any]) -> Any:
    rows = [
        (
            str(d["trial"]),
            show(d["time_s"], "s"),
            show(d["energy_j"], "J"),
            "—" if d["area_mm2"] is None else f"{d['area_mm2']:.0f}",
            _policy(d),
        )
        for d in result["pareto"]
    ]
    return table("Designs that no other beats", ("trial", "time", "energy", "area, mm²", "how"), rows)


def _policy(design: dict[str, Any]) -> str:
    parts = {**design["policy"], **design["machine"]}
    name = parts.pop("name", "")
    return ", ".join([str(name), *(f"{k} {v:.4g}" if isinstance(v, float) else f"{k} {v}" for k, v in parts.items())])
