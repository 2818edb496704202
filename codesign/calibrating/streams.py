"""Fits the constants of kernels that stream tensors: hosts' floors, then caches between passes and issue.

Every device and op counts the same, however many rows it has. A host's floor is known for each device of the table while fitting
and thrown away afterwards: only the typical one is kept.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from arch import operators
from arch.entry import Entry
from arch.fitting import far, search
from arch.measuring import EAGER
from arch.operators import Operators
from arch.work import Float
from codesign.predicting import floors
from codesign.predicting.gpu_kernels import groups
from codesign.predicting.registry import Options

if TYPE_CHECKING:
    import pandas as pd

STARTS: Mapping[str, float] = {
    "reuse_l1_share": 0.7,
    "overlap_turns": 15.0,
    "block_softmax_instructions": 500.0,
    "layernorm_row_instructions": 430.0,
    "layernorm_step_instructions": 43.0,
}
"""Where the search starts and what a table that does not tell leaves it at, in SI units."""

_FLOOR_QUANTILE = 0.03
"""The floor of a device and class of operators: below it lie outliers only."""
_LONG = 3.0
"""Rows count from so many times their floor: below, a time is the host's."""
_SHORT = 1.3
_EVALUATIONS = 400
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
    constants = {"eager_overlap": _by_device(elementwise, _overlap)}
    return {"eager_floors": _typical_floors(table), **constants, **_reductions(reductions, constants)}


def _groups(table: "pd.DataFrame") -> Iterator[Group]:
    times = table["latency_us"].to_numpy(np.float64) * 1e-6
    for rows, entry, work, source in groups(table.reset_index(drop=True), Options()):
        if source in EAGER:
            plain = entry.refitted(STARTS)  # what is fitted must not depend on what was fitted before
            yield Group(str(table["device"].iloc[rows[0]]), plain, work, times[rows], float(np.quantile(times[rows], _FLOOR_QUANTILE)))


def _typical_floors(table: "pd.DataFrame") -> tuple[float, ...]:
    """The median over devices of each class's floor: of the operators of a class, the median again."""
    found: dict[int, dict[str, list[float]]] = {}
    for group in _groups(table):
        found.setdefault(floors.host_class(group.work), {}).setdefault(group.device, []).append(group.floor)
    return tuple(float(np.median([np.median(values) for values in found[kind].values()])) for kind in sorted(found))


def _by_device(found: list[Group], value: Callable[[Group], float]) -> float:
    """Return the mean over devices of the median over their operators; operators without such rows give NaN."""
    values: dict[str, list[float]] = {}
    for group in found:
        values.setdefault(group.device, []).append(value(group))
    return float(np.mean([np.nanmedian(of_device) for of_device in values.values()]))


def _overlap(group: Group) -> float:
    """The share of the host's time that is left of rows a little above it, after their kernel."""
    some = group.only(group.long(_SHORT) - group.long(_LONG))
    kernel = operators.kernel_s(group.entry, some.work)
    return float(np.median((some.measured - kernel) / group.floor)) if len(kernel) else np.nan


def _reductions(found: list[Group], fixed: Mapping[str, float]) -> dict[str, float]:
    """Fit what is left by simplex searches."""
    long = [group.only(group.long(_LONG)) for group in found]
    keys, start = list(STARTS), np.array(list(STARTS.values()))

    def loss(logs: Float) -> float:
        values = dict(zip(keys, (start * np.exp(logs)).tolist(), strict=True)) | dict(fixed)
        return _error(long, values) + far(logs)

    best = search(loss, len(keys), _EVALUATIONS)
    return dict(zip(keys, (start * np.exp(best)).tolist(), strict=True))


def _error(found: list[Group], values: Mapping[str, float]) -> float:
    """Mean over groups of the rows' mean absolute logarithm (none counts for more than a factor of two) and of half the sum's."""
    return float(np.mean([_group_error(group, values) for group in found if len(group.measured)]))


def _group_error(group: Group, values: Mapping[str, float]) -> float:
    predicted = operators.kernel_s(group.entry.refitted(values), group.work) + values["eager_overlap"] * group.floor
    rows = np.minimum(np.abs(np.log(predicted / group.measured)), np.log(2)).mean()
    return float(rows + _SUM_WEIGHT * abs(np.log(predicted.sum() / group.measured.sum())))
