"""``codesign import`` and ``codesign export``: profiles of other tools as traces, traces and timelines for other tools."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from codesign import files
from codesign.cli.inputs import build_machine, load_trace
from codesign.cli.options import Json, deliver, note_command
from codesign.cli.terminal import note, quiet_output, table
from codesign.reading import read
from traces.errors import CodesignError
from traces.si import show as in_units

if TYPE_CHECKING:
    from rich.console import Group

    from codesign.engine.timeline import Timeline
    from traces.trace import Trace


def import_(
    ctx: typer.Context,
    profile: Annotated[Path, typer.Argument(metavar="FILE", help="A profile; its format is told by its content.")],
    output: Annotated[Path, typer.Option("-o", "--output", metavar="TRACE", help="The trace to write (any name).")],
    target: Annotated[str | None, typer.Option("--target", "-t", metavar="GPU", help="The device that it was measured on.")] = None,
    format: Annotated[str | None, typer.Option("--format", metavar="NAME", help="Its format, where the content leaves doubt.")] = None,
    copies: Annotated[bool, typer.Option("--copies", help="Keep copies and memory sets as rows, too.")] = False,
    device: Annotated[int | None, typer.Option("--device", min=0, metavar="N", help="Only the launches of one device.")] = None,
    member: Annotated[
        str | None, typer.Option("--member", metavar="NAME", help="Of an archive of several profiles, the one that is meant.")
    ] = None,
    join: Annotated[
        Path | None, typer.Option("--join", metavar="TRACE", help="Add its measured times to this captured trace, by kernel name.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Import a profile of a real run as a trace: kernels, streams and measured times."""
    files.check_readable(profile)
    files.check_writable(output, profile)
    with quiet_output(), warnings_noted() as noted:
        made, payload = import_or_join(profile, join=join, target=target, format=format, copies=copies, device=device, member=member)
        note_command(ctx, made)
        made.save(output)
    payload = {"file": str(output), **payload, "warnings": noted}
    note(f"wrote {output}")
    deliver(ctx, "import", payload, lambda: show_import(profile, payload), as_json=as_json)


def import_or_join(profile: Path, *, join: Path | None, **options: Any) -> "tuple[Trace, dict[str, Any]]":
    """Return the trace of a profile, or a captured one with its times, and what to tell about it; options as in `import_profile`."""
    from codesign.importing import import_profile, report

    if join is not None:
        return _joined(profile, join, options.get("format"), options.get("member"))
    trace = import_profile(profile, **options)
    return trace, report(trace)


def _joined(profile: Path, join: Path, format: str | None, member: str | None) -> "tuple[Trace, dict[str, Any]]":
    from traces.formats.joining import add_measured
    from traces.formats.reading import read_profile

    captured = load_trace(join)
    joined = add_measured(captured, read_profile(profile, format, member))
    return joined.trace, {
        "kernels": len(captured.kernels),
        "measured": joined.kernels,
        "share_of_profile": joined.share_of_time,
        "target": captured.target,
    }


@contextmanager
def warnings_noted() -> Iterator[list[str]]:
    """Say warnings on standard error in one line each, and collect them for the document."""
    noted: list[str] = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield noted
    for warning in caught:
        noted.append(str(warning.message))
        note(f"codesign: warning: {warning.message}")


_SAID = {
    "measured": "with a measured time",
    "total_us": "kernel time",
    "span_us": "from the first to the last",
    "idle_us": "without a kernel",
    "longest_gap_us": "longest gap",
    "share_other": "share of unknown family",
}
"""What people read in place of the document's keys."""


def show_import(profile: Path, payload: dict[str, Any]) -> "Group":
    apart = ("file", "warnings", "shares", "programs")
    rows = [(_SAID.get(name, name.replace("_", " ")), _text(name, value)) for name, value in payload.items() if name not in apart]
    for program, told in payload.get("programs", {}).items():
        kept = ("measured", "share_of_profile", "total_us")
        rows += [(f"{program}: {name.replace('_', ' ')}", _text(name, told[name])) for name in kept if name in told]
    ordered = sorted(payload.get("shares", {}).items(), key=lambda item: -item[1])
    shares = [(f"share in {family}", _text("share", share)) for family, share in ordered]
    return table(f"{profile} as {payload['file']}", ("", ""), rows + shares)


def _text(name: str, value: Any) -> str:
    if value is None or value == "":
        return "unknown"
    if name.startswith("share"):
        return f"{value:.1%}"
    if name.endswith("_us"):
        return in_units(1e-6 * value, "s")
    if isinstance(value, dict):
        return ", ".join(in_units(1e-6 * v, "s") if k.endswith("_us") else f"{v:,} {k}" for k, v in value.items()) or "none"
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    return f"{value:,}" if isinstance(value, int | float) else str(value)


def export(
    ctx: typer.Context,
    subject: Annotated[Path, typer.Argument(metavar="FILE", help="A trace, or a timeline that `codesign replay -o` wrote.")],
    format: Annotated[str, typer.Option("--format", metavar="NAME", help="perfetto, chakra, or html: a page to zoom and search in.")],
    output: Annotated[Path, typer.Option("-o", "--output", metavar="OUT", help="The file to write (any name).")],
    machine: Annotated[
        str | None, typer.Option("--machine", "-m", metavar="NAME", help="Replay the trace on this machine first, and export the timeline.")
    ] = None,
    scheduler: Annotated[str, typer.Option("--scheduler", "-s", metavar="NAME", help="With --machine: who maps.")] = "single-device",
    repeats: Annotated[
        int | None, typer.Option("--repeats", min=1, metavar="N", help="Of a timeline: write each stretch that repeats at most N times.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Export a trace or a replay's timeline for another tool."""
    from codesign.exporting import export as write

    files.check_writable(output, subject)
    with quiet_output(), warnings_noted():
        remarks = write(_subject(subject, machine, scheduler), output, format, repeats=repeats)
    for remark in remarks:
        note(remark)
    note(f"wrote {output}")
    payload = {"file": str(output), "format": format, "bytes": output.stat().st_size, "remarks": remarks}
    rows = [("bytes", f"{payload['bytes']:,}")]
    deliver(ctx, "export", payload, lambda: table(f"{subject} as {format}", ("", ""), rows), as_json=as_json)


def _subject(path: Path, machine: str | None, scheduler: str) -> "Trace | Timeline":
    from codesign.search import Result
    from traces.trace import Trace

    found = read(path)
    if isinstance(found, Result):
        raise CodesignError(f"a trace or a timeline can be exported, but {path} is the result of a search; replay its best design first")
    if isinstance(found, list):
        raise CodesignError(f"a trace or one timeline can be exported, but {path} compares {len(found)}; replay on one machine")
    if machine is None:
        return found
    if not isinstance(found, Trace):
        raise CodesignError(f"--machine replays a trace, but {path} is a timeline already; leave the option out")
    from codesign.engine import replay

    return replay(found, build_machine(machine, None), scheduler)
