"""``codesign record``: run a JAX program under its profiler, and turn what it measured into a trace."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer

from codesign import files
from codesign.cli.options import Json, deliver
from codesign.cli.profiles import import_or_join, show_import, warnings_noted
from codesign.cli.terminal import note, quiet_output


def record(
    ctx: typer.Context,
    program: Annotated[Path, typer.Argument(metavar="PROGRAM", help="A Python script that uses JAX, or a file of jax.export.")],
    output: Annotated[Path, typer.Option("-o", "--output", metavar="TRACE", help="The trace to write (any name).")],
    arguments: Annotated[list[str] | None, typer.Argument(metavar="[ARGS]...", help="The script's own arguments.")] = None,
    join: Annotated[
        Path | None, typer.Option("--join", metavar="TRACE", help="Add the measured times to this captured trace, by kernel name.")
    ] = None,
    target: Annotated[str | None, typer.Option("--target", "-t", metavar="GPU", help="The device that it runs on.")] = None,
    runs: Annotated[int, typer.Option("--runs", min=1, metavar="N", help="How often an exported program is called.")] = 10,
    keep: Annotated[Path | None, typer.Option("--keep", metavar="FOLDER", help="Keep the profile in this folder.")] = None,
    as_json: Json = False,
) -> None:
    """Run a JAX program under JAX's profiler on the device at hand, and write what it measured as a trace.

    Options stand before PROGRAM; all that follows it is the script's.
    """
    from codesign.recording import record as run
    from traces.files import save

    files.check_readable(program)
    files.check_writable(output, program)
    with quiet_output(), warnings_noted() as noted, TemporaryDirectory(prefix="codesign-record-") as scratch:
        folder = keep or Path(scratch)
        profile = run(program, arguments or [], folder, runs=runs, as_captured=join is not None)
        made, payload = import_or_join(profile, join=join, target=target)
        made.manifest["captured"] |= {"command": " ".join(ctx.meta["codesign.command"])}
        save(made, output)
    payload = {"file": str(output), **payload, "warnings": noted}
    note(f"wrote {output}")
    deliver(ctx, "record", payload, lambda: show_import(program, payload), as_json=as_json)
