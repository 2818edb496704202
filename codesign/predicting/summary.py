"""How far predictions are from what was measured, by group, beside two simple predictions."""

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from codesign.predicting import registry
from codesign.predicting.columns import Bool, sizes
from traces.rows import Rows

if TYPE_CHECKING:
    import pandas as pd

Float = NDArray[np.float64]


def times_of(measured: Float) -> Bool:
    """Return which values are times that a prediction can be compared with: numbers above zero."""
    known: Bool = np.isfinite(measured) & (measured > 0)
    return known


@dataclass(frozen=True)
class Error:
    """Mean, median and worst of |predicted over measured - 1|, and the bias of the sums: sum predicted over sum measured - 1."""

    mean: float
    median: float
    worst: float
    bias: float

    @classmethod
    def of(cls, predicted: Float, measured: Float) -> "Error":
        """Return the errors of some rows."""
        relative = np.abs(predicted / measured - 1)
        return cls(float(relative.mean()), float(np.median(relative)), float(relative.max()), float(predicted.sum() / measured.sum() - 1))


@dataclass(frozen=True)
class Cell:
    """One group of rows: its values, how many, and the errors of the model, a plain roofline (None: no such) and a constant."""

    group: dict[str, str]
    rows: int
    model: Error
    roofline: Error | None
    constant: Error

    def to_dict(self) -> dict[str, Any]:
        """Return it for JSON."""
        return asdict(self)


def summarise(predicted: "pd.DataFrame") -> list[Cell]:
    """Return the errors by group of a table that ``predict`` returned; empty if it has no measured times.

    Rows without a prediction are left out.

    The constant is the median measured time of the group: what somebody would say who knows nothing of the rows.
    """
    model = registry.find(predicted.columns)
    if model.measured not in predicted.columns:
        return []
    measured = sizes(predicted, model.measured)
    known = times_of(measured) & predicted[model.predicted].notna().to_numpy()
    table = predicted[known]
    baseline = np.asarray(model.baseline(table), dtype=np.float64) if model.baseline else None
    keys = [name for name in model.groups if name in table.columns]
    groups = table.groupby([table[name].astype(str) for name in keys], sort=True).indices if len(table) else {}
    found = []
    for name, where in groups.items():
        values = name if isinstance(name, tuple) else (name,)
        times = measured[known][where]
        found.append(
            Cell(
                dict(zip(keys, map(str, values), strict=True)),
                len(where),
                Error.of(table[model.predicted].to_numpy(np.float64)[where], times),
                None if baseline is None else Error.of(baseline[where], times),
                Error.of(np.full(len(where), float(np.median(times))), times),
            )
        )
    return found


def rows(cells: list[Cell]) -> Rows:
    """Return the summary as a table of text."""
    keys = tuple(cells[0].group) if cells else ()
    columns = (*keys, "rows", "mean", "median", "worst", "bias", "roofline median", "bias", "constant median", "bias")
    lines = [(*cell.group.values(), f"{cell.rows:,}", *_cells(cell)) for cell in cells]
    return Rows("Error of the predictions: mean, median and worst of |predicted / measured - 1|, bias of the summed times", columns, lines)


def _cells(cell: Cell) -> tuple[str, ...]:
    line = cell.roofline
    return (
        _percent(cell.model.mean),
        _percent(cell.model.median),
        _percent(cell.model.worst),
        _signed(cell.model.bias),
        "—" if line is None else _percent(line.median),
        "—" if line is None else _signed(line.bias),
        _percent(cell.constant.median),
        _signed(cell.constant.bias),
    )


def _percent(value: float) -> str:
    return f"{100 * value:.1f} %"


def _signed(value: float) -> str:
    return f"{100 * value:+.1f} %"
