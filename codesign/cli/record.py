"""``codesign record``: run a JAX program under its profiler, and turn what it measured into a trace."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any

import typer

from codesign import files
from codesign.cli.inputs import load_trace
from codesign.cli.options import Json, WorkloadSettings, deliver, given_settings, note_command
from codesign.cli.profiles import import_or_join, show_import, warnings_noted
from codesign.cli.terminal import note, quiet_output
from traces.errors import CodesignError, nearest

if TYPE_CHECKING:
    from traces.trace import Trace


def record(
    ctx: typer.Context,
    program: Annotated[Path, typer.Argument(metavar="PROGRAM", help="A Python script that uses JAX, a file of jax.export, or a workload.")],
    output: Annotated[Path, typer.Option("-o", "--output", metavar="TRACE", help="The trace to write (any name).")],
    arguments: Annotated[list[str] | None, typer.Argument(metavar="[ARGS]...", help="The script's own arguments.")] = None,
    join: Annotated[
        Path | None, typer.Option("--join", metavar="TRACE", help="Add the measured times to this captured trace, by kernel name.")
    ] = None,
    target: Annotated[str | None, typer.Option("--target", "-t", metavar="GPU", help="The device that it runs on.")] = None,
    runs: Annotated[int, typer.Option("--runs", min=1, metavar="N", help="How often an exported program or a workload is called.")] = 10,
    molecule: Annotated[str | None, typer.Option("--molecule", metavar="NAME", help="Of a workload, as in `codesign capture`.")] = None,
    batch: Annotated[int | None, typer.Option("--batch", min=1, help="Of a workload: walkers.")] = None,
    settings: WorkloadSettings = None,
    keep: Annotated[Path | None, typer.Option("--keep", metavar="FOLDER", help="Keep the profile in this folder.")] = None,
    as_json: Json = False,
) -> None:
    """Run a JAX program under JAX's profiler on the device at hand, and write what it measured as a trace.

    Options stand before PROGRAM; all that follows it is the script's.
    """
    from traces import registry

    given = given_settings(molecule, batch, settings)
    by_name = str(program) in registry.names("workloads") and not files.exists(program)
    _check(program, arguments or [], given, by_name)
    files.check_writable(output, program)
    with quiet_output(), warnings_noted() as noted, TemporaryDirectory(prefix="codesign-record-") as scratch:
        folder = keep or Path(scratch)
        if by_name:
            made, payload = _workload(str(program), given, folder, runs, join, target)
        else:
            made, payload = _program(program, arguments or [], folder, runs, join, target)
        note_command(ctx, made)
        made.save(output)
    payload = {"file": str(output), **payload, "warnings": noted}
    note(f"wrote {output}")
    deliver(ctx, "record", payload, lambda: show_import(program, payload), as_json=as_json)


def _check(program: Path, arguments: list[str], given: dict[str, Any], by_name: bool) -> None:
    """Refuse a script with a workload's options, and a workload with a script's arguments."""
    if by_name and arguments:
        raise CodesignError(f"options stand before the name of a workload, but behind {program} got {' '.join(arguments)!r}")
    if not by_name:
        from traces import registry

        if not files.exists(program) and not program.suffix:
            known = registry.names("workloads")
            raise CodesignError(f"there is no file {program}, and no workload of that name; {nearest(str(program), known)}")
        files.check_readable(program)
        if given:
            raise CodesignError(f"a script or an exported program has no options, but got {', '.join(given)}; options are of workloads")


def _program(
    program: Path, arguments: list[str], folder: Path, runs: int, join: Path | None, target: str | None
) -> "tuple[Trace, dict[str, Any]]":
    from codesign.recording import record as run

    profile = run(program, arguments, folder, runs=runs, as_captured=join is not None)
    return import_or_join(profile, join=join, target=target)


def _workload(
    name: str, given: dict[str, Any], folder: Path, runs: int, join: Path | None, target: str | None
) -> "tuple[Trace, dict[str, Any]]":
    """Record each program of a workload; their traces merged, or the measured times of each in its part of the captured trace."""
    from codesign.recording import record_workload

    captured = load_trace(join) if join else None
    profiles = record_workload(name, given, folder, runs=runs, as_captured=captured is not None)
    return _joined(captured, profiles) if captured else _merged(name, given, profiles, target)


def _joined(trace: "Trace", profiles: dict[str, Path]) -> "tuple[Trace, dict[str, Any]]":
    from traces.formats.joining import add_measured
    from traces.formats.reading import read_profile

    programs: dict[str, dict[str, Any]] = {}
    found = total = 0.0
    for name, profile in profiles.items():
        joined = add_measured(trace, read_profile(profile), region=name)
        trace = joined.trace
        programs[name] = {"measured": joined.kernels, "share_of_profile": joined.share_of_time}
        found, total = found + joined.share_of_time * joined.total_s, total + joined.total_s
    measured = sum(program["measured"] for program in programs.values())
    told = {"kernels": len(trace.kernels), "measured": measured, "share_of_profile": found / (total or 1.0), "target": trace.target}
    return trace, {**told, "programs": programs}


def _merged(name: str, given: dict[str, Any], profiles: dict[str, Path], target: str | None) -> "tuple[Trace, dict[str, Any]]":
    from codesign.importing import import_profile, report
    from traces import registry
    from traces.merging import merge

    traces = {program: import_profile(path, target=target) for program, path in profiles.items()}
    programs = {program: report(trace) for program, trace in traces.items()}
    made = merge(list(traces.values()), names=list(traces))
    first = next(iter(traces.values()))
    settings = registry.get("workloads", name).settings(**given)
    made.manifest |= {"program": name, "options": settings, "batch": settings.get("batch"), "captured": dict(first.manifest["captured"])}
    totals = {key: sum(told[key] or 0 for told in programs.values()) for key in ("kernels", "measured", "total_us")}
    return made, {**totals, "device": first.manifest["captured"]["device"], "target": first.target, "programs": programs}
