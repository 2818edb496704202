"""Fits the constants of kernels that stream tensors: hosts' floors, the DRAM rate, then caches between passes and issue.

Every device and op counts the same, however many rows it has. A host's floor is known for each device of the table while fitting
and thrown away afterwards: only the typical one is kept.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from arch import operators
from arch.catalog import Entry
from arch.operators import Operators
from arch.work import Float
from codesign.predicting import floors
from codesign.predicting.gpu_kernels import groups
from codesign.predicting.registry import Options

if TYPE_CHECKING:
    import pandas as pd

STARTS: Mapping[str, float] = {
    "unaligned_cost": 1.1,
    "reuse_full": 0.6,
    "reuse_none": 1.4,
    "reuse_l1_share": 0.7,
    "overlap_turns": 15.0,
    "block_softmax_instructions": 500.0,
    "layernorm_row_instructions": 430.0,
    "layernorm_step_instructions": 43.0,
}
"""Where the simplex search starts, in SI units."""

_FLOOR_QUANTILE = 0.03
"""The floor of a device and class of operators: below it lie outliers only."""
_LONG = 3.0
"""Rows count from so many times their floor: below, a time is the host's."""
_VERY_LONG = 10.0
_SHORT = 1.3
_EVALUATIONS = 600
_SUM_WEIGHT = 0.5
"""How much the error of a group's summed time counts beside its rows'."""


@dataclass(frozen=True, eq=False)
class Group:
    """Rows of one device and operator: what they are, measured seconds, and the floor of their host for them."""

    device: str
    entry: Entry
    work: Operators
    measured: Float
    floor: float

    def long(self, times: float) -> Float:
        """Return which rows take more than so many times their floor, as weights 1 and 0."""
        return (self.measured > times * self.floor).astype(np.float64)

    def only(self, rows: Float) -> "Group":
        """Return some of the rows, given as weights."""
        keep = rows > 0
        shape = {name: sizes[keep] for name, sizes in self.work.shape.items()}
        work = Operators(self.work.op, self.work.name, self.work.dtype, shape)
        return Group(self.device, self.entry, work, self.measured[keep], self.floor)


def fit_streams(table: "pd.DataFrame") -> dict[str, float | tuple[float, ...]]:
    """Return the fitted constants by key, in SI, from the rows that time eager operators other than products."""
    eager = [group for group in _groups(table) if group.work.op != "gemm"]
    elementwise = [group for group in eager if group.work.op == "elementwise"]
    reductions = [group for group in eager if group.work.op != "elementwise"]
    gain, overlap = _rate_and_overlap(elementwise)
    constants = {"streaming_gain": gain, "eager_overlap": overlap}
    return {"eager_floors": _typical_floors(table), **constants, **_reductions(reductions, constants)}


def _groups(table: "pd.DataFrame") -> Iterator[Group]:
    times = table["latency_us"].to_numpy(np.float64) * 1e-6
    for rows, entry, work, source in groups(table.reset_index(drop=True), Options()):
        if source in floors.EAGER:
            plain = entry.refitted(STARTS)  # what is fitted must not depend on what was fitted before
            yield Group(str(table["device"].iloc[rows[0]]), plain, work, times[rows], float(np.quantile(times[rows], _FLOOR_QUANTILE)))


def _typical_floors(table: "pd.DataFrame") -> tuple[float, ...]:
    """The median over devices of each class's floor: of the operators of a class, the median again."""
    found: dict[int, dict[str, list[float]]] = {}
    for group in _groups(table):
        found.setdefault(floors.host_class(group.work), {}).setdefault(group.device, []).append(group.floor)
    return tuple(float(np.median([np.median(values) for values in found[kind].values()])) for kind in sorted(found))


def _rate_and_overlap(elementwise: list[Group]) -> tuple[float, float]:
    """Return the streaming gain from long rows and the overlap from short ones, each with the other's value."""
    gain, overlap = 1.0, 0.5
    for _ in range(4):
        gain *= _by_device(elementwise, partial(_gain, gain=gain, overlap=overlap))
        overlap = _by_device(elementwise, partial(_overlap, gain=gain))
    return gain, overlap


def _by_device(found: list[Group], value: Callable[[Group], float]) -> float:
    """Return the mean over devices of the median over their operators; operators without such rows give NaN."""
    values: dict[str, list[float]] = {}
    for group in found:
        values.setdefault(group.device, []).append(value(group))
    return float(np.mean([np.nanmedian(of_device) for of_device in values.values()]))


def _gain(group: Group, gain: float, overlap: float) -> float:
    long = group.only(group.long(_VERY_LONG))
    kernel = operators.kernel_s(group.entry.refitted({"streaming_gain": gain}), long.work)
    return float(np.median(kernel / (long.measured - overlap * group.floor))) if len(kernel) else np.nan


def _overlap(group: Group, gain: float) -> float:
    some = group.only(group.long(_SHORT) - group.long(_LONG))
    kernel = operators.kernel_s(group.entry.refitted({"streaming_gain": gain}), some.work)
    return float(np.median((some.measured - kernel) / group.floor)) if len(kernel) else np.nan


def _reductions(found: list[Group], fixed: Mapping[str, float]) -> dict[str, float]:
    """Fit what is left by a simplex search."""
    long = [group.only(group.long(_LONG)) for group in found]
    keys, start = list(STARTS), np.array(list(STARTS.values()))

    def loss(logs: Float) -> float:
        values = dict(zip(keys, (start * np.exp(logs)).tolist(), strict=True)) | dict(fixed)
        return _error(long, values) if values["reuse_none"] > 1.01 * values["reuse_full"] else 1e3

    import scipy.optimize

    minimize: Any = scipy.optimize.minimize
    options = {"maxfev": _EVALUATIONS, "adaptive": True, "initial_simplex": _simplex(len(keys))}
    best = minimize(loss, np.zeros(len(keys)), method="Nelder-Mead", options=options).x
    return dict(zip(keys, (start * np.exp(best)).tolist(), strict=True))


def _simplex(size: int) -> Float:
    return np.vstack([np.zeros(size), 0.2 * np.eye(size)])


def _error(found: list[Group], values: Mapping[str, float]) -> float:
    """Mean over groups of the rows' mean absolute logarithm (none counts for more than a factor of two) and of half the sum's."""
    return float(np.mean([_group_error(group, values) for group in found if len(group.measured)]))


def _group_error(group: Group, values: Mapping[str, float]) -> float:
    predicted = operators.kernel_s(group.entry.refitted(values), group.work) + values["eager_overlap"] * group.floor
    rows = np.minimum(np.abs(np.log(predicted / group.measured)), np.log(2)).mean()
    return float(rows + _SUM_WEIGHT * abs(np.log(predicted.sum() / group.measured.sum())))
