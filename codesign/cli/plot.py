"""``codesign plot``: the figure of a trace, or of the file that replay or explore wrote."""

from pathlib import Path
from typing import Annotated

import typer

from codesign import files
from codesign.cli.options import Json, deliver
from codesign.cli.terminal import note, quiet_output
from codesign.reading import read


def plot(
    ctx: typer.Context,
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE", help="A trace (a file or a recorded name), or what `codesign replay -o` or `codesign explore -o` wrote."
        ),
    ],
    figure: Annotated[
        str | None,
        typer.Option("--figure", "-f", metavar="KIND", help="Which: roofline, breakdown, timeline, times, memory, pareto, progress."),
    ] = None,
    machine: Annotated[
        str | None, typer.Option("--machine", "-m", metavar="NAME", help="For a trace: whose roofs and prices; its target by default.")
    ] = None,
    window: Annotated[
        tuple[float, float] | None, typer.Option("--window", metavar="FROM TO", help="For a timeline: the part to zoom into, in seconds.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="FILE", help="The picture: .png, .svg or .pdf; by default FILE-KIND.png here.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Draw the figure of a trace, a timeline or a result."""
    from codesign.figures import default_kind, image_format
    from codesign.figures import plot as draw

    with quiet_output():
        subject = read(file)
        kind = figure or default_kind(subject)
        path = output or Path(f"{file.stem}-{kind}.png")
        files.check_writable(path, file)
        drawn = draw(subject, kind, path, machine=machine, window=window)
    note(f"wrote {path}")
    width, height = (round(side * drawn.dpi) for side in drawn.get_size_inches())
    payload = {"source": str(file), "figure": kind, "file": str(path), "format": image_format(path), "width": width, "height": height}
    deliver(ctx, "figure", payload, lambda: str(path), as_json=as_json)
