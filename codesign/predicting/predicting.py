"""The one call that predicts a table, and what it accepts as sustained clocks."""

import json
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from codesign import files
from codesign.predicting import columns, registry, tables
from codesign.predicting.summary import times_of
from traces.errors import CodesignError

if TYPE_CHECKING:
    import pandas as pd


def predict(
    table: "pd.DataFrame | str | Path",
    *,
    sustained_clocks: Mapping[str, float] | str | Path | None = None,
    constants: Mapping[str, float | tuple[float, ...]] | None = None,
) -> "pd.DataFrame":
    """Return the table with the predictions of its model as columns at its end; rows and other columns stay as they are.

    Parameters
    ----------
    table
        A table of kernels, or a Parquet or CSV file with one. Its columns choose the model; see docs/predict.md.
    sustained_clocks
        MHz by device where somebody measured what the device sustains, or a TOML, JSON or CSV file of it; None: the model's
        own estimate.
    constants
        Other values of the catalogue's fitted constants, in SI by key; None: those of the catalogue.

    Raises
    ------
    CodesignError
        If there is no model for these columns, or a row cannot be priced; the message names the first such row.
    """
    found = tables.read(Path(table)) if isinstance(table, str | Path) else table
    model = registry.find(found.columns)
    clash = [name for name in model.added if name in found.columns]
    if clash:
        raise CodesignError(
            f"the table must not have the columns that a prediction adds, but it has {', '.join(clash)}; rename or drop them"
        )
    options = registry.Options({device: mhz * 1e6 for device, mhz in _clocks(sustained_clocks).items()}, dict(constants or {}))
    added = model.price(found.drop(columns=model.measured, errors="ignore"), options)
    return found.assign(**{name: added[name].to_numpy() for name in added.columns})


def notes(predicted: "pd.DataFrame") -> list[str]:
    """Return what a user should know of a predicted table."""
    model = registry.find(predicted.columns)
    said = model.notes(predicted) if model.notes else []
    if model.measured in predicted.columns:
        given = predicted[model.measured].notna().to_numpy()
        faulty = int((given & ~times_of(columns.sizes(predicted, model.measured))).sum())
        said += [f"{faulty:,} rows have no number above zero as {model.measured}: they are not compared"] if faulty else []
    return said


def _clocks(given: Mapping[str, float] | str | Path | None) -> dict[str, float]:
    """Return MHz by device. Raises CodesignError for what is no clock."""
    where = "sustained_clocks" if given is None or isinstance(given, Mapping) else str(given)
    table = {} if given is None else _clock_file(Path(given)) if isinstance(given, str | Path) else given
    for device, mhz in table.items():
        if isinstance(mhz, bool) or not isinstance(mhz, int | float) or not 1 <= mhz <= 100_000:
            raise CodesignError(f"{where}: a sustained clock must be a number of MHz, such as t4 = 900, but {device} has {mhz!r}")
    return {str(device): float(mhz) for device, mhz in table.items()}


def _clock_file(path: Path) -> dict[str, Any]:
    """Read 'device = MHz' lines (TOML), a JSON object, or a CSV file with a device and its MHz a line after one of names."""
    files.check_readable(path)
    text = path.read_text(encoding="utf-8", errors="replace")
    if text.lstrip().startswith("{"):
        return _parsed(path, json.loads, text)
    if "=" in text or not text.strip():
        return _parsed(path, tomllib.loads, text)
    table = tables.read(path)
    if len(table.columns) < 2:
        raise CodesignError(
            f"{path} must have a column of devices and one of MHz, but its columns are {', '.join(map(str, table.columns))}"
        )
    return dict(zip(table.iloc[:, 0].astype(str), table.iloc[:, 1].tolist(), strict=True))


def _parsed(path: Path, parse: Any, text: str) -> dict[str, Any]:
    try:
        found = parse(text)
    except ValueError as error:
        raise CodesignError(f"{path} must hold MHz by device as TOML, JSON or CSV: {error}") from error
    return dict(found)
