"""The one call that fits everything, and the file it makes."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from arch.keys import KINDS
from codesign.predicting import tables
from traces.errors import CodesignError

if TYPE_CHECKING:
    import pandas as pd

Constants = dict[str, float | tuple[float, ...]]
COLUMNS = ("device", "op", "name", "dtype", "batch", "m", "n", "k", "rows", "cols", "latency_us", "source")
_UNITS = {"1": ("1", 1.0), "s": ("us", 1e-6), "J": ("pJ", 1e-12), "J/FLOP": ("pJ/FLOP", 1e-12), "J/B": ("pJ/B", 1e-12), "Hz": ("MHz", 1e6)}
_DIGITS = 4
"""Constants are rounded to so many digits, so that the last bits of a library's arithmetic do not show."""

HEADER = """\
# Constants of the GPU model that no source gives: fitted to measurements, shared by all GPUs, frozen when predicting.
# `codesign calibrate` writes this file; do not edit it.
"""
SPLIT = (
    "constants: rows above three times their floor, every device and operator counting the same; "
    "residuals: each device in turn left out of the fit and predicted"
)


@dataclass(frozen=True, eq=False)
class Calibration:
    """Fitted constants in SI by key, statistics of the residuals of left-out devices, and the data that they come from."""

    constants: Constants
    residuals: Mapping[str, Mapping[str, float]]
    left_out: Mapping[str, Mapping[str, float]]
    rows: Mapping[str, int]
    sha256: str

    def to_toml(self) -> str:
        """Return the text of arch/catalog/calibrated.toml."""
        sources = ", ".join(f"{name} {count:,}" for name, count in self.rows.items())
        lines = [
            'id = "calibrated"',
            'kind = "gpu"',
            "abstract = true",
            'description = "Fitted constants of the GPU model"',
            "",
            "[sources]",
            'calibration = "fit to measured kernels of NeuSight, AIConfigurator and Vidur, see [calibration]"',
            "",
            "[calibration]",
            'data = "arch/calibration/gpu_kernels.parquet"',
            f'sha256 = "{self.sha256}"',
            f'rows = "{sources}"',
            'date = "measured 2023 to 2025, collected 2026"',
            f'split = "{SPLIT}"',
            'command = "codesign calibrate"',
            "",
            "[numbers]",
            *(_number(key, value) for key, value in self.constants.items()),
            "",
            "[residuals]",
            *(f"{kind} = {{ row = {numbers['row']:.3f}, total = {numbers['total']:.3f} }}" for kind, numbers in self.residuals.items()),
            "",
            "[left_out]",
            *(f'"{cell}" = {{ median = {seen["median"]:.3f}, bias = {seen["bias"]:.3f} }}' for cell, seen in self.left_out.items()),
        ]
        return HEADER + "\n".join(lines) + "\n"

    def __repr__(self) -> str:
        count = sum(len(value) if isinstance(value, tuple) else 1 for value in self.constants.values())
        return f"<Calibration: {count} constants from {sum(self.rows.values()):,} kernels>"


def calibrate(table: "pd.DataFrame | None" = None, *, progress: Callable[[str], None] | None = None) -> Calibration:
    """Fit the constants, and how far they are off on devices that the fit has not seen.

    Parameters
    ----------
    table
        Measured kernels with the columns `COLUMNS`; None: the project's own, arch/calibration/gpu_kernels.parquet.
    progress
        Called with what begins.

    Raises
    ------
    CodesignError
        If the table lacks a column or a row cannot be priced.
    """
    from codesign.calibrating import residuals

    say = progress or (lambda what: None)
    digest = hashlib.sha256(_own_path().read_bytes()).hexdigest() if table is None else "a table of the user's"
    found = tables.read(_own_path()) if table is None else table
    missing = [name for name in COLUMNS if name not in found.columns]
    if missing:
        raise CodesignError(f"a table to calibrate with must have the columns {', '.join(COLUMNS)}, but it lacks {', '.join(missing)}")
    say("all devices")
    constants = fit(found)
    parts = []
    for device in sorted(found["device"].unique()):
        say(f"without {device}")
        here = found["device"] == device
        parts.append(residuals.predicted_with(found[here], fit(found[~here])))
    unseen = _joined(parts)
    return Calibration(constants, residuals.statistics(unseen), residuals.left_out(unseen), _rows(found), digest)


def fit(table: "pd.DataFrame") -> Constants:
    """Return all fitted constants by key, rounded as they are written."""
    from codesign.calibrating.streams import fit_streams

    streams: Constants = {key: _rounded(value) for key, value in fit_streams(table).items()}
    return streams | {key: _rounded(value) for key, value in _fit_products(table, streams).items()}


def _fit_products(table: "pd.DataFrame", streams: Constants) -> dict[str, float]:
    """Fit what products need on top of the constants of the sources that they were measured by; nothing if there are none."""
    from arch import catalog, gemm_fit, registered

    products = table[table["op"] == "gemm"]
    names = catalog.aliases()
    entries = {str(name): registered.find(names[str(name).lower()]).recalibrated(streams) for name in products["device"].unique()}
    return gemm_fit.fit_gemm(products, entries) if len(products) else {}


def _joined(parts: "list[pd.DataFrame]") -> "pd.DataFrame":
    import pandas as pd

    return pd.concat(parts)


def _rows(table: "pd.DataFrame") -> dict[str, int]:
    counts = table["source"].value_counts()
    return {str(name): int(counts[name]) for name in sorted(counts.index)}


def _own_path() -> Path:
    return Path(str(resources.files("arch") / "calibration" / "gpu_kernels.parquet"))


def _rounded(value: float | tuple[float, ...]) -> float | tuple[float, ...]:
    if isinstance(value, tuple):
        return tuple(float(f"{one:.{_DIGITS}g}") for one in value)
    return float(f"{value:.{_DIGITS}g}")


def _number(key: str, value: float | tuple[float, ...]) -> str:
    unit, scale = _UNITS[KINDS["gpu"][key].dimension]
    shown = f"[{', '.join(_text(one / scale) for one in value)}]" if isinstance(value, tuple) else _text(value / scale)
    return f'{key} = {{ value = {shown}, unit = "{unit}", source = "calibration", source_kind = "fitted" }}'


def _text(value: float) -> str:
    return f"{float(f'{value:.{_DIGITS}g}'):.12g}"
