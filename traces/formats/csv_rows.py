"""Tables of NVIDIA's command-line tools: CSV, with lines of the tool's own before the header."""

import csv
import io
import re
from collections.abc import Sequence
from typing import NamedTuple

from traces.errors import TraceError
from traces.formats.source import Source

BYTES = {
    "b": 1,
    "byte": 1,
    "bytes": 1,
    "kb": 1e3,
    "kbyte": 1e3,
    "mb": 1e6,
    "mbyte": 1e6,
    "gb": 1e9,
    "gbyte": 1e9,
    "kib": 1024,
    "mib": 2**20,
}
DELIMITERS = (",", ";", "\t")
"""What may stand between cells: spreadsheets of languages with a decimal comma write semicolons."""
_PREFIXES = {"": 1.0, "m": 1e-3, "u": 1e-6, "µ": 1e-6, "μ": 1e-6, "n": 1e-9}
SECONDS = {prefix + unit: factor for prefix, factor in _PREFIXES.items() for unit in ("s", "sec", "second")}


class Rows(NamedTuple):
    """A table's cells: the names of its columns, its rows, the number of the line of the first, what stands between cells."""

    header: list[str]
    rows: list[list[str]]
    line: int
    delimiter: str


def header_line(text: str, needed: Sequence[str]) -> int:
    """Return the number of the line that holds all needed column names, -1 if none does; units may stand behind a bracket or colon."""
    for number, line in enumerate(text.splitlines()):
        if needed[0] in line and delimiter_of(line, needed):
            return number
    return -1


def delimiter_of(line: str, needed: Sequence[str]) -> str:
    """Return what a line that holds all needed column names has between them, '' if it does not hold them."""
    for delimiter in DELIMITERS:
        if {re.split(r"[(:]", cell.strip(' "'))[0].strip() for cell in line.split(delimiter)}.issuperset(needed):
            return delimiter
    return ""


def read_rows(source: Source, needed: Sequence[str], *, interrupted: bool = False) -> Rows:
    """Return header and rows. Raises TraceError for rows of another length: a truncated file.

    ``interrupted``: the tool prints the table while the program runs, so that lines of both stand between rows.
    """
    lines = source.text().splitlines()
    at = header_line("\n".join(lines), needed)
    if at < 0:
        raise TraceError(f"{source} must have a header line with the columns {', '.join(needed)}, but has none")
    delimiter = delimiter_of(lines[at], needed)
    kept = _rows_between(lines, at) if interrupted else range(at, _end(lines, at))
    reader = csv.reader(io.StringIO("\n".join(lines[n] for n in kept)), strict=True, delimiter=delimiter)
    try:
        header, *rows = [row for row in reader if row]
    except csv.Error as error:
        near = kept[min(reader.line_num, len(kept)) - 1] + 1
        raise TraceError(f"{source} must be whole CSV, but is truncated or damaged near line {near}: {error}") from error
    for number, row in enumerate(rows):
        if len(row) != len(header):
            raise TraceError(
                f"{source} must have {len(header)} values a line, but line {kept[number + 1] + 1} has {len(row)}: was the file truncated?"
            )
    return Rows([name.strip() for name in header], rows, at + 2, delimiter)


def _end(lines: Sequence[str], header: int) -> int:
    """Return where the table ends: at an empty line, behind which another report may begin, or at a line of the tool's own."""
    ends = (n for n in range(header + 1, len(lines)) if not lines[n].strip(" ,;") or lines[n].startswith(("==", "Processing [", " ** ")))
    return next(ends, len(lines))


def _rows_between(lines: Sequence[str], header: int) -> list[int]:
    """Return the lines of a table between which the tool and the program print theirs: those that begin with a quote as the header does.

    The header may come again, for another process.
    """
    begin = lines[header].strip()[:1]
    rows = (n for n in range(header + 1, len(lines)) if lines[n].strip() and not lines[n].startswith("==") and lines[n] != lines[header])
    return [header, *(n for n in rows if begin != '"' or lines[n].strip().startswith('"'))]


_DECIMAL_COMMA = re.compile(r"\d{1,3}(\.\d{3})+,\d+|\d{1,3}(\.\d{3}){2,}|0,\d+|\d+,(\d{1,2}|\d{4,})|\d{4,},\d+")
"""A number that can only be of a language that writes its decimals behind a comma."""


def has_decimal_comma(cells: Sequence[str]) -> bool:
    """Say whether numbers are written with a comma for the decimal point, as the tools do by the system's language."""
    return any(_DECIMAL_COMMA.fullmatch(_without_spaces(cell)) for cell in cells)


def _without_spaces(cell: str) -> str:
    """Leave out what some languages write between thousands."""
    return re.sub(r"[\s'’]", "", cell)


def number(source: Source, line: int, column: str, text: str, *, decimal_comma: bool = False) -> float | None:
    """Return a cell as number, None for an empty one. Raises TraceError naming line and column."""
    plain = _without_spaces(text)
    plain = plain.replace(".", "").replace(",", ".") if decimal_comma else plain.replace(",", "")
    if plain in ("", "-", "n/a", "N/A", "nan"):
        return None
    try:
        return float(plain)
    except ValueError as error:
        raise TraceError(f"{source}: column {column!r} must hold a number, but line {line} has {text!r}") from error
