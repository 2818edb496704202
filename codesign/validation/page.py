"""The validation as a page of the documentation: ``python -m codesign.validation.page docs/validation.md``."""

import sys
from collections.abc import Iterable, Iterator, Sequence
from importlib import resources
from pathlib import Path

from codesign.files import write
from codesign.validation.missed import missed
from codesign.validation.row import Row, Value
from codesign.validation.validating import PARTS, Validation, cell, validate, verdict

FIGURE = "figures/validation.png"
HEAD = """# What the model knows of its own accuracy

Made by `python -m codesign.validation.page`; `codesign validate` prints the same rows. *Accepted* is the interval of our number that counts
as met; the bars and the published numbers stand in `codesign/validation/published.toml`. A row that cannot be computed has no number
and counts as not met; rows without a bar are shown for comparison.
"""


COLUMNS = ("quantity", "published", "ours", "accepted", "met", "note")


def sections(found: Validation) -> Iterator[tuple[str, list[tuple[str, ...]]]]:
    """Yield the title and the rows (``COLUMNS``) of each part that has any."""
    for part, title in PARTS.items():
        rows = [_cells(row) for row in found.rows if row.part == part]
        if rows:
            yield title, rows


def _cells(row: Row) -> tuple[str, ...]:
    return (row.quantity, cell(row.published), cell(row.ours), str(row.tolerance or ""), verdict(row), row.note)


MISSED = ("bars missed", "rows", "ours", "accepted", "why, as far as it is known", "what was tried")


def missed_rows(found: Validation) -> list[tuple[str, ...]]:
    """Return ``MISSED`` of every reason for which bars are missed."""
    return [
        (group.what, str(len(group.rows)), _span([row.ours for row in group.rows]), _bars(group.rows), group.why, group.tried)
        for group in missed(found.rows)
    ]


def _span(values: Iterable[Value]) -> str:
    numbers = sorted(value for value in values if isinstance(value, int | float))
    names = dict.fromkeys(value for value in values if isinstance(value, str))
    spans = [cell(numbers[0]) if numbers[0] == numbers[-1] else f"{cell(numbers[0])} to {cell(numbers[-1])}"] if numbers else []
    return ", ".join([*spans, *names]) or cell(None)


def _bars(rows: Iterable[Row]) -> str:
    return ", ".join(dict.fromkeys(str(row.tolerance) for row in rows))


def markdown(found: Validation, account: str = "") -> str:
    """Return the page: what is met by part, then every row with its configuration and source."""
    lines = [HEAD, f"![Ours over the published number, by part]({FIGURE})", "", account, "## Bars met", ""]
    lines += ["| part | met | judged |", "| --- | --- | --- |"]
    for part, title in PARTS.items():
        judged = [row for row in found.judged if row.part == part]
        if judged:
            lines.append(f"| {title} | {sum(bool(row.met) for row in judged)} | {len(judged)} |")
    lines.append(f"| all | {found.met} | {len(found.judged)} |")
    lines += ["", "## Bars missed", "", *table(MISSED, missed_rows(found))]
    for title, rows in sections(found):
        lines += ["", f"## {title}", "", *table(COLUMNS, rows)]
    return "\n".join(line for line in lines if line is not None) + "\n"


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """Yield the lines of a table."""
    for line in (columns, ["---"] * len(columns), *rows):
        yield "| " + " | ".join(part.replace("|", "\\|") for part in line) + " |"


def main() -> None:
    """Write the page and its figure beside it."""
    from codesign.figures import save
    from codesign.figures.validation import draw

    page = Path(sys.argv[1] if len(sys.argv) > 1 else "docs/validation.md")
    found = validate()
    account = resources.files("codesign.validation").joinpath("account.md").read_text(encoding="utf-8")
    write(page, markdown(found, account))
    (page.parent / FIGURE).parent.mkdir(parents=True, exist_ok=True)
    save(draw(found), page.parent / FIGURE)


if __name__ == "__main__":
    main()
