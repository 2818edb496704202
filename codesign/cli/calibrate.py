"""``codesign calibrate``: fits the GPU model's constants again and writes them where the catalogue has them."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from codesign import files
from codesign.cli.options import Json, deliver
from codesign.cli.terminal import note, quiet_output, table

if TYPE_CHECKING:
    from codesign.calibrating import Calibration


def calibrate(
    ctx: typer.Context,
    source: Annotated[
        Path | None, typer.Argument(metavar="[FILE]", help="A table of measured kernels; by default the project's own.")
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", metavar="FILE", help="Where the constants go; by default the catalogue's calibrated.toml."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Fit the GPU model's constants to measured kernels; takes minutes. The same table gives the same file, byte for byte."""
    from arch import catalog
    from codesign.calibrating import calibrate as run
    from codesign.predicting import tables

    if source is not None and output is None:
        raise typer.BadParameter("a table of your own needs -o: the catalogue's constants come from the project's own table")
    target = output or catalog.calibrated_path()
    files.check_writable(target, *([source] if source else []))
    with quiet_output():
        found = run(tables.read(source) if source else None, progress=lambda what: note(f"fitting: {what}"))
    files.write(target, found.to_toml())
    note(f"wrote {target}")
    payload = {
        "output": str(target),
        "constants": found.constants,
        "residuals": found.residuals,
        "rows": found.rows,
        "sha256": found.sha256,
    }
    deliver(ctx, "calibration", payload, lambda: _shown(found), as_json=as_json)


def _shown(found: "Calibration") -> Any:
    rows = [
        (key, ", ".join(f"{v:.4g}" for v in (value if isinstance(value, tuple) else (value,)))) for key, value in found.constants.items()
    ]
    return table(f"{found!r}", ("constant", "value (SI)"), rows)
