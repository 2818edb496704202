"""``codesign predict``: the times of a table of kernels, as the models say."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from codesign import files
from codesign.cli.options import Json, deliver
from codesign.cli.terminal import note, quiet_output, table

if TYPE_CHECKING:
    from codesign.predicting import Cell


def predict(
    ctx: typer.Context,
    source: Annotated[Path, typer.Argument(metavar="FILE", help="A table of kernels, Parquet or CSV; its columns choose the model.")],
    output: Annotated[Path, typer.Option("-o", "--output", metavar="FILE", help="Where the table goes: .parquet or .csv.")],
    sustained_clocks: Annotated[
        Path | None,
        typer.Option(
            "--sustained-clocks",
            metavar="FILE",
            help="A file with the MHz that devices sustain under a steady load of large products, in place of the model's own estimate: "
            "lines such as t4 = 900 (TOML), a JSON object, or CSV with a line of column names and then a device and its MHz a line.",
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Predict every row of a table of kernels; times in it are only compared with."""
    from codesign.predicting import notes, summarise, tables
    from codesign.predicting import predict as run

    tables.check_ending(output)
    files.check_writable(output, source)
    with quiet_output():
        found = run(source, sustained_clocks=sustained_clocks)
        cells = summarise(found)
    tables.write(output, found)
    note(f"wrote {output}")
    said = notes(found)
    for sentence in said:
        note(sentence)
    payload = {"rows": len(found), "output": str(output), "notes": said, "cells": [cell.to_dict() for cell in cells]}
    deliver(ctx, "prediction", payload, lambda: _shown(payload, cells), as_json=as_json)


def _shown(payload: dict[str, Any], cells: "list[Cell]") -> Any:
    from codesign.predicting.summary import rows

    if cells:
        return table(*rows(cells))
    return table(f"{payload['rows']:,} rows predicted; none has a measured time to compare with", ("",), [])
