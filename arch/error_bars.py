"""What the error bars of single prices mean for totals and for the difference of two designs.

Errors are taken to be fully correlated within a family on a device (one model, one mistake) and independent between families and
between devices. A total's standard deviation is then the root of the sum, over families, of the squares of each family's own.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from arch.machine import Machine
from arch.work import Float, Work

if TYPE_CHECKING:
    from traces.trace import Trace

Groups = dict[str, float]
"""Seconds of standard deviation by 'device/family'."""


def by_group(trace: "Trace", machine: Machine, device: NDArray[np.intp], seconds: Float) -> tuple[Groups, float]:
    """Return the standard deviations of a step by 'device/family', and the share of its time behind which no measurement stands.

    Parameters
    ----------
    device
        Index into ``machine.devices`` of each kernel entry, shape [kernels].
    seconds
        Kernel time of each entry over all its executions, shape [kernels].
    """
    names, codes = trace.kernels.categories("family"), trace.kernels.codes("family")
    work, unvalidated_s = Work.of(trace), 0.0
    groups: Groups = {}
    for number in np.unique(device).tolist():
        here = np.where(device == number, seconds, 0.0)
        trust = machine.devices[number].trust(work)
        sums = np.bincount(codes, here * trust.relative, minlength=len(names))
        groups |= {f"{machine.devices[number].id}/{names[i]}": float(sums[i]) for i in np.flatnonzero(sums > 0)}
        unvalidated_s += float(here[~trust.validated].sum())
    return groups, unvalidated_s / (float(seconds.sum()) or 1.0)


def total(groups: Mapping[str, float]) -> float:
    """Return the standard deviation of the sum of all groups, in seconds."""
    return float(np.sqrt(sum(value**2 for value in groups.values())))


def of_difference(one: Mapping[str, float], other: Mapping[str, float]) -> float:
    """Return the standard deviation of the difference of two totals: what both share cancels as far as it is equal."""
    return total({name: one.get(name, 0.0) - other.get(name, 0.0) for name in {*one, *other}})
