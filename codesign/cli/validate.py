"""``codesign validate``: published numbers beside ours."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from codesign.cli.options import Json, Output, deliver
from codesign.cli.terminal import note, quiet_output, tables
from traces.rows import Rows

if TYPE_CHECKING:
    from codesign.validation import Validation


def validate(
    ctx: typer.Context,
    only: Annotated[list[str] | None, typer.Option("--only", metavar="PART", help="One part of it; may be repeated.")] = None,
    as_json: Json = False,
    output: Output = None,
) -> None:
    """Put every published number that the project knows beside ours, and say which bars are met."""
    from codesign.validation import validate as run

    with quiet_output():
        found = run(only, progress=lambda part: note(f"validating: {part}"))
    deliver(ctx, "validation", found.to_dict(), lambda: tables(list(_tables(found))), as_json=as_json, output=output)


def _tables(found: "Validation") -> Iterator[Rows]:
    from codesign.validation.page import COLUMNS, MISSED, missed_rows, sections

    for title, rows in sections(found):
        yield Rows(title, COLUMNS, rows)
    if missed := missed_rows(found):
        yield Rows("Bars missed", MISSED, missed)
    yield Rows(f"{found.met} of {len(found.judged)} bars met", ("",), [])
