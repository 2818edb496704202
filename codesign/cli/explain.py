"""``codesign explain``: why a replay takes as long as it does, and what would shorten it."""

from typing import Annotated

import typer

from codesign import files
from codesign.cli.inputs import build_machine, load_trace, target_of
from codesign.cli.options import Json, Output, Scheduler, Settings, TraceFile, deliver
from codesign.cli.terminal import note, quiet_output, tables


def explain(
    ctx: typer.Context,
    trace: TraceFile,
    machine: Annotated[
        str | None, typer.Option("--machine", "-m", metavar="NAME", help="A machine: parts joined by '+'; by default the trace's target.")
    ] = None,
    scheduler: Scheduler = "single-device",
    settings: Settings = None,
    as_json: Json = False,
    output: Output = None,
) -> None:
    """Say what the time is made of, what to make twice as fast, and what that buys."""
    from codesign.explaining import explain as run
    from codesign.explaining.rows import explanation_tables

    if output:
        files.check_writable(output, trace)
    with quiet_output():
        program = load_trace(trace)
        on = build_machine(machine or target_of(program), settings)
        found = run(program, on, scheduler, progress=lambda what: note(f"explaining: {what}"))
    payload = found.to_dict()
    deliver(ctx, "explanation", payload, lambda: tables(explanation_tables(payload)), as_json=as_json, output=output)
