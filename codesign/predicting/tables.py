"""Reads and writes tables of measurements: Parquet or CSV, told apart by what a file holds; written by the name's ending."""

from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

from codesign import files
from traces.errors import CodesignError

if TYPE_CHECKING:
    import pandas as pd

_PARQUET = b"PAR1"
ENDINGS = (".parquet", ".csv")


def read(path: Path) -> "pd.DataFrame":
    """Return the table in a file. Raises CodesignError if it cannot be read or is no table."""
    import pandas as pd
    from pyarrow import ArrowException

    files.check_readable(path)
    content = path.read_bytes()
    try:
        if content.startswith(_PARQUET):
            return pd.read_parquet(BytesIO(content))
        return pd.read_csv(BytesIO(content))
    except (ValueError, ArrowException, OSError) as error:
        raise CodesignError(f"{path} must be a table, Parquet or CSV with a line of column names, but {_first_line(error)}") from error


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
