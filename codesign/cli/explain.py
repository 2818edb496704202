"""``codesign explain``: why a replay takes as long as it does, and what would shorten it."""

import typer

from codesign import files
from codesign.cli.inputs import build_machine, load_trace
from codesign.cli.options import Json, MachineName, Output, Scheduler, Settings, TraceFile, deliver
from codesign.cli.terminal import note, quiet_output, tables


def explain(
    ctx: typer.Context,
    trace: TraceFile,
    machine: MachineName,
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
        found = run(load_trace(trace), build_machine(machine, settings), scheduler, progress=lambda what: note(f"explaining: {what}"))
    payload = found.to_dict()
    deliver(ctx, "explanation", payload, lambda: tables(explanation_tables(payload)), as_json=as_json, output=output)
