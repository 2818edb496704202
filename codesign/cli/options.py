"""The options that several commands share, and how a command hands in its document."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from codesign import documents, files
from codesign.cli import terminal
from traces.errors import CodesignError

if TYPE_CHECKING:
    from rich.console import RenderableType

    from traces.trace import Trace

COMMAND = "codesign.command"
"""Under this key a command finds the arguments as they were given."""

Json = Annotated[bool, typer.Option("--json", help="Print exactly one JSON document to standard output.")]
Output = Annotated[Path | None, typer.Option("-o", "--output", metavar="FILE", help="Write the JSON document to FILE as well (any name).")]
Seed = Annotated[int, typer.Option("--seed", min=0, help="Seed of whatever is drawn.")]
TraceFile = Annotated[Path, typer.Argument(metavar="TRACE", help="A trace: a file, or the name of a recorded one.")]
MachineName = Annotated[
    str, typer.Option("--machine", "-m", metavar="NAME", help="A machine: parts joined by '+', see `codesign machines`.")
]
Scheduler = Annotated[
    str,
    typer.Option(
        "--scheduler",
        "-s",
        metavar="NAME",
        help="Who maps kernels: single-device, intensity-threshold, cut-points, offload, offload-idle, near-cache, ranks, flexgen.",
    ),
]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="NAME=VALUE", help="Change a parameter, such as clock_hz='2 GHz' (see `codesign machines NAME`)."),
]
WorkloadSettings = Annotated[
    list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="Change an option (see `codesign workloads NAME`); may be repeated.")
]


def parse_settings(given: list[str] | None, option: str = "--set") -> dict[str, str]:
    """Return {'steps': '20'} for ['steps=20']. Raises CodesignError for anything else, or a name given twice."""
    settings: dict[str, str] = {}
    for item in given or []:
        name, equals, value = item.partition("=")
        if not equals or not name or not value:
            raise CodesignError(f"{option} takes NAME=VALUE, but got {item!r}")
        if name in settings:
            raise CodesignError(f"{option} must name a parameter once, but {name!r} is given twice")
        settings[name] = value
    return settings


def given_settings(molecule: str | None, batch: int | None, settings: list[str] | None) -> dict[str, Any]:
    """Return a workload's options as they were given: --molecule, --batch, and those of --set."""
    named = {"molecule": molecule, "batch": batch}
    return {key: value for key, value in named.items() if value is not None} | parse_settings(settings)


def note_command(ctx: typer.Context, trace: "Trace") -> None:
    """Let a trace say by which command it was made."""
    trace.manifest["captured"] = (trace.manifest["captured"] or {}) | {"command": " ".join(ctx.meta[COMMAND])}


def deliver(
    ctx: typer.Context,
    kind: str,
    payload: Mapping[str, Any],
    show: Callable[[], "RenderableType"],
    *,
    as_json: bool,
    output: Path | None = None,
    seed: int | None = None,
) -> None:
    """Write the command's document to ``output`` if given, and to standard output as JSON or as what ``show`` returns."""
    text = documents.text(documents.envelope(kind, payload, command=ctx.meta[COMMAND], seed=seed))
    if output:
        files.write(output, text)
        terminal.note(f"wrote {output}")
    if as_json:
        terminal.write(text)
    else:
        terminal.out().print(show())
