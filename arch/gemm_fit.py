"""Fits the constants of the model of matrix products that no source gives, to kernels that others measured.

The mean of the absolute logarithm of predicted over measured is made small, every device and operator counting alike, over a
fixed sample, by a simplex search from fixed starts: the same table gives the same constants.
"""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import numpy as np

from arch import measuring
from arch.entry import Entry
from arch.facts import itemsize
from arch.fitting import far, search
from arch.gemm import kernel_s
from arch.gemm_choices import Products
from arch.work import Float

if TYPE_CHECKING:
    import pandas as pd

STARTS: Mapping[str, float] = {
    "gemm_simt_rate": 1.1,
    "gemm_tensor_rate": 1.0,
    "gemm_tile_loss": 0.25,
    "gemm_simt_threads": 80.0,
    "gemm_tensor_threads": 30.0,
    "gemm_simt_tile_cycles": 500.0,
    "gemm_tensor_tile_cycles": 7000.0,
    "gemm_turn_cycles": 1700.0,
    "gemm_dram_share": 0.95,
    "gemm_tlb_loss": 0.3,
    "gemm_sharpness": 2.0,
    "capped_energy_12nm": 20e-12,
    "capped_energy_7nm": 15e-12,
    "capped_energy_tensor": 1.6e-12,
    "profiled_energy_ratio": 1.1,
    "eager_rest": 100e-6,
}
"""The constants and where the search starts, in SI units."""

FIXED: Mapping[str, float] = {"gemm_batched_tile": 128.0, "partial_fill": 0.16}
"""Read off the table: on the A100 a batched FP32 product's time goes with ceil(m / 128) ceil(n / 128), whatever m and n; on the V100
and T4 a result whose rows do not begin on sectors takes 1.5 to 1.8 times as long to write."""

_DTYPES = {"float32": "f32", "bfloat16": "bf16", "float16": "f16"}
_ROWS, _EVALUATIONS, _SEED = 300, 200, 0
_OTHER = 1.2
"""By how much a constant is changed to see whether the table tells anything of it."""
_FLOORS = 3.0
"""Rows of an eager source count from this many times their source's shortest time: below, the host's time is all there is."""


def fit_gemm(table: "pd.DataFrame", entries: Mapping[str, Entry]) -> dict[str, float]:
    """Return the fitted constants by key, in SI. ``entries`` gives the device of each name in the table's column."""
    groups = _groups(table, entries)
    keys = _told(groups)
    start = np.array([STARTS[key] for key in keys])

    def loss(logs: Float) -> float:
        return _error(groups, {**STARTS, **dict(zip(keys, map(float, start * np.exp(logs)), strict=True)), **FIXED}) + far(logs)

    at = search(loss, len(keys), _EVALUATIONS)
    return {**STARTS, **{key: float(f"{value:.4g}") for key, value in zip(keys, start * np.exp(at), strict=True)}, **FIXED}


def _told(groups: "list[_Group]") -> list[str]:
    """Return the constants of which the table tells something: the others stay where the search starts, or it would let them drift."""
    plain = _error(groups, {**STARTS, **FIXED})
    return [key for key, value in STARTS.items() if _error(groups, {**STARTS, key: _OTHER * value, **FIXED}) != plain]


class _Group:
    """The sampled rows of one device, source and dtype; every operator counts alike."""

    def __init__(self, entry: Entry, source: str, dtype: str, rows: "pd.DataFrame") -> None:
        self.entry, self.source, self.dtype = entry, source, dtype
        self.names = rows["name"].to_numpy()
        size = np.full(len(rows), float(itemsize(dtype)))
        batch, m, n, k = (rows[column].to_numpy(dtype=np.float64) for column in ("batch", "m", "n", "k"))
        self.work = Products(batch, m, n, k, size)
        self.measured_s = rows["latency_us"].to_numpy(dtype=np.float64) * 1e-6

    def error(self, values: Mapping[str, float]) -> float:
        """Return the mean absolute logarithm of predicted over measured; a row counts at most 1."""
        own = self.entry.recalibrated(values)
        host, idle = self._by_name(measuring.host_s, own), self._by_name(measuring.idle_s, own)
        under, work = measuring.conditions(own, self.source, self.dtype, self.work, idle), self.work
        kernel = kernel_s(own, self.dtype, work.batch, work.m, work.n, work.k, under)
        seen = measuring.measured_s(own, self.source, host, kernel)
        return float(np.mean(np.minimum(np.abs(np.log(seen / self.measured_s)), 1.0)))

    def _by_name(self, of: Callable[[Entry, str, str], float], entry: Entry) -> Float:
        known = {name: of(entry, self.source, name) for name in np.unique(self.names)}
        return np.array([known[name] for name in self.names])


def _groups(table: "pd.DataFrame", entries: Mapping[str, Entry]) -> list[_Group]:
    import pandas as pd

    found = []
    for labels, rows in table.groupby(["device", "source", "dtype"], sort=True):
        device, source, dtype = (str(label) for label in labels)
        floor = _FLOORS * rows["latency_us"].quantile(0.02) if source in measuring.EAGER else 0.0
        names = [kept[kept["latency_us"] > floor] for _, kept in rows.groupby("name", sort=True)]
        samples = [kept.sample(min(_ROWS // len(names), len(kept)), random_state=_SEED) for kept in names]
        found.append(_Group(entries[device], source, _DTYPES[dtype], pd.concat(samples)))
    return found


def _error(groups: list[_Group], values: Mapping[str, float]) -> float:
    """The mean over groups."""
    return float(np.mean([group.error(values) for group in groups]))
