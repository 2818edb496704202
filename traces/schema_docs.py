"""Writes the documentation's page of the trace format from ``traces.schema``: ``python -m traces.schema_docs > docs/schema.md``."""

import sys

from traces import schema
from traces.schema import Column

INTRODUCTION = """# The trace format

<!-- Written by `python -m traces.schema_docs > docs/schema.md`; a test compares. Edit traces/schema.py, not this page. -->

A trace is one file: an uncompressed zip of four Parquet tables, `kernels`, `tensors`, `accesses` and `regions`, and `manifest.json`.
Format version {version}. A missing value is a null in the file; in memory it is -1 for integers, NaN for floats and '' for text.
Columns that may not be missing have no entry under *null*.
"""

TABLES = {
    "kernels": "One row a launch, in launch order. A launch in a loop has one row, however often the loop runs.",
    "tensors": "One row a value that a launch reads or writes. Tensors with one `alias_set` share one allocation.",
    "accesses": "One row for each tensor that a launch reads or writes, sorted by `kernel`.",
    "regions": "The tree of sequences and loops around the launches; row 0 is the root.",
}

MANIFEST = """## manifest.json

| key | meaning |
| --- | --- |
| `format_version` | version of this format; older files are upgraded on load, newer ones refused |
| `program` | name of the program |
| `versions` | versions of the packages that made it, by package |
| `target` | id of the device that it was compiled for or measured on |
| `precision`, `x64` | matrix-product precision and 64-bit mode under which it was captured |
| `batch` | the program's batch (walkers, sequences, images) |
| `options` | the workload's options |
| `captured` | how, by which command, when, with which Python |
| `content_hash` | BLAKE2b over the four tables |
"""


def page() -> str:
    """Return the page in Markdown."""
    parts = [INTRODUCTION.format(version=schema.FORMAT_VERSION)]
    parts += [f"## {name}\n\n{TABLES[name]}\n\n{_table(columns)}" for name, columns in schema.TABLES.items()]
    return "\n".join([*parts, MANIFEST])


def _table(columns: tuple[Column, ...]) -> str:
    rows = ["| column | type | unit | null | meaning |", "| --- | --- | --- | --- | --- |"]
    rows += [f"| `{c.name}` | {c.dtype} | {c.unit} | {c.null} | {_meaning(c)} |" for c in columns]
    return "\n".join(rows) + "\n"


def _meaning(column: Column) -> str:
    return f"{column.doc}: {', '.join(f'`{value}`' for value in column.values)}" if column.values else column.doc


if __name__ == "__main__":
    sys.stdout.write(page())
