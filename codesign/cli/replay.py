"""``codesign replay``: run a trace on a machine under a scheduler."""

from enum import StrEnum
from typing import Annotated

import typer

from codesign import files
from codesign.cli.inputs import build_machine, load_trace, target_of
from codesign.cli.options import Json, Output, Scheduler, Settings, TraceFile, deliver
from codesign.cli.terminal import quiet_output, tables


class Engine(StrEnum):
    """The two engines, which agree."""

    FAST = "fast"
    REFERENCE = "reference"


def replay(
    ctx: typer.Context,
    trace: TraceFile,
    machine: Annotated[
        list[str] | None,
        typer.Option(
            "--machine",
            "-m",
            metavar="NAME",
            help="A machine: parts joined by '+', see `codesign machines`; by default the trace's target. Several: a comparison.",
        ),
    ] = None,
    scheduler: Scheduler = "single-device",
    engine: Annotated[Engine, typer.Option("--engine", help="Which engine; both give the same numbers.")] = Engine.FAST,
    assume: Annotated[
        str | None, typer.Option("--assume", metavar="WHAT", help="memory-bound: price imported kernels of unknown work by bandwidth.")
    ] = None,
    settings: Settings = None,
    as_json: Json = False,
    output: Output = None,
) -> None:
    """Run a trace on a machine under a scheduler: times, shares, energy, memory, what could not move."""
    from codesign.engine import replay as run
    from codesign.engine.rows import comparison_tables, timeline_tables

    if output:
        files.check_writable(output, trace)
    with quiet_output():
        program = load_trace(trace)
        machines = [build_machine(name, settings) for name in machine or [target_of(program)]]
        found = [run(program, each, scheduler, engine=engine.value, assume=assume).to_dict() for each in machines]
    several = len(found) > 1
    payload = {"timelines": found} if several else found[0]
    shown = comparison_tables if several else timeline_tables
    kind = "comparison" if several else "timeline"
    deliver(ctx, kind, payload, lambda: tables(shown(payload)), as_json=as_json, output=output)
