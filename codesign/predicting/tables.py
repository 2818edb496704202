"""Reads and writes tables of measurements: Parquet or CSV, told apart by what a file holds; written by the name's ending."""

import gzip
import zlib
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

from codesign import files
from traces.errors import CodesignError

if TYPE_CHECKING:
    import pandas as pd

_PARQUET, _GZIP = b"PAR1", b"\x1f\x8b"
ENDINGS = (".parquet", ".csv")


def read(path: Path) -> "pd.DataFrame":
    """Return the table in a file. Raises CodesignError if it cannot be read or is no table."""
    import pandas as pd
    from pyarrow import ArrowException

    files.check_readable(path)
    content = path.read_bytes()
    try:
        content = gzip.decompress(content) if content.startswith(_GZIP) else content
        if content.startswith(_PARQUET):
            return pd.read_parquet(BytesIO(content))
        return _csv(path, content)
    except (ValueError, ArrowException, OSError, EOFError, zlib.error) as error:
        raise CodesignError(f"{path} must be a table, Parquet or CSV with a line of column names, but {_first_line(error)}") from error


def _csv(path: Path, content: bytes) -> "pd.DataFrame":
    """Return a CSV file's table; columns of whole numbers stay so where cells are empty. Raises CodesignError for two of one name."""
    import pandas as pd

    names = pd.read_csv(BytesIO(content), header=None, nrows=1, dtype=str).iloc[0]
    twice = sorted(set(names[names.duplicated() & names.notna()]))
    if twice:
        raise CodesignError(f"{path} must have each column once, but it has several named {', '.join(twice)}; rename or drop them")
    table, exact = pd.read_csv(BytesIO(content)), pd.read_csv(BytesIO(content), dtype_backend="numpy_nullable")
    whole = [
        name for name in table.columns if pd.api.types.is_integer_dtype(exact[name]) and not pd.api.types.is_integer_dtype(table[name])
    ]
    return table.assign(**{name: exact[name] for name in whole})


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def check_ending(path: Path) -> None:
    """Raise CodesignError unless a table can be written under this name."""
    if path.suffix.lower() not in ENDINGS:
        raise CodesignError(f"the output must end in {' or '.join(ENDINGS)}, which says how it is written, but got {path.name!r}")


def write(path: Path, table: "pd.DataFrame") -> None:
    """Write a table as its name's ending says, whole or not at all. Raises CodesignError."""
    check_ending(path)
    content = BytesIO()
    if path.suffix.lower() == ".parquet":
        table.to_parquet(content, index=False)
    else:
        table.to_csv(content, index=False)
    files.write(path, content.getvalue())
