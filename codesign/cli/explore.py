"""``codesign explore``: search the mapping and the machine."""

from typing import Annotated

import typer

from codesign import files
from codesign.cli.inputs import build_machine, load_trace
from codesign.cli.options import Json, MachineName, Output, Seed, Settings, TraceFile, deliver, parse_settings
from codesign.cli.terminal import progress_bar, quiet_output, tables
from traces.errors import CodesignError


def explore(
    ctx: typer.Context,
    trace: TraceFile,
    machine: MachineName,
    trials: Annotated[int, typer.Option("--trials", min=1, help="Designs to try.")] = 100,
    objectives: Annotated[
        str, typer.Option("--objectives", metavar="LIST", help="One or more of time, energy, power, area, price, joined by ','.")
    ] = "time",
    vary: Annotated[
        list[str] | None,
        typer.Option(
            "--vary",
            metavar="NAME[=LOW..HIGH]",
            help="Vary this parameter, such as sm_count=80..200 or clock_hz='1 GHz..2 GHz', and no others but those of further --vary.",
        ),
    ] = None,
    budget: Annotated[
        list[str] | None,
        typer.Option(
            "--budget",
            metavar="NAME=VALUE",
            help="A limit such as time_s='150 ms', energy_j=20, power_watts=500, area_mm2=700 or price_usd=9000.",
        ),
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
    from codesign.search import Space
    from codesign.search import explore as search
    from codesign.search.rows import result_tables

    if output:
        files.check_writable(output, trace)
    with quiet_output(), progress_bar(trials, objectives.partition(",")[0].strip()) as progress:
        result = search(
            load_trace(trace),
            build_machine(machine, settings),
            space=Space(machine=_ranges(vary)) if vary else None,
            objectives=tuple(name.strip() for name in objectives.split(",")),
            trials=trials,
            seed=seed,
            storage=storage,
            budget=_limits(budget),
            progress=progress,
        )
    payload = result.to_dict()
    deliver(ctx, "result", payload, lambda: tables(result_tables(payload)), as_json=as_json, output=output, seed=seed)


def _ranges(given: list[str]) -> dict[str, tuple[float | str, float | str] | None]:
    """Return {'sm_count': (80.0, 200.0)} for ['sm_count=80..200'], None for a name alone. Raises CodesignError for anything else."""
    alone = [item for item in given if "=" not in item]
    ranges: dict[str, tuple[float | str, float | str] | None] = dict.fromkeys(alone)
    for name, text in parse_settings([item for item in given if "=" in item], "--vary").items():
        low, dots, high = text.partition("..")
        if not (low and dots and high):
            raise CodesignError(f"--vary takes NAME or NAME=LOW..HIGH, such as sm_count=80..200, but got {name}={text}")
        ranges[name] = (_number(low.strip()), _number(high.strip()))
    return ranges


def _limits(given: list[str] | None) -> dict[str, float | str]:
    """Return the limits: numbers in the unit that the name says, texts with a unit of their own."""
    return {name: _number(value) for name, value in parse_settings(given, "--budget").items()}


def _number(value: str) -> float | str:
    try:
        return float(value)
    except ValueError:
        return value
