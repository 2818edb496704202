"""How far prices can be off, and what that means for totals and for the difference of two designs.

Errors are taken to be fully correlated within a family on a device (one model, one mistake) and independent between families and
between devices. A total's standard deviation is then the root of the sum, over families, of the squares of each family's own.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from arch.device import Bool, Float, Work

if TYPE_CHECKING:
    from arch.machine import Machine
    from traces.trace import Trace

Groups = dict[str, float]
"""Seconds of standard deviation by 'device/family'."""


@dataclass(frozen=True, eq=False)
class Trust:
    """How far the price of each kernel can be off; arrays of shape [kernels].

    ``relative`` is a standard deviation over the price; ``validated`` says that measurements stand behind it.
    """

    relative: Float
    validated: Bool


def prior(what: str) -> float:
    """Return a stated prior: 'family' or 'device'."""
    return float(_stated()["prior"][what]["value"])


def rule(what: str) -> float:
    """Return a stated rule: 'long_kernel_s', 'later_generation' or 'newest_measured'."""
    return float(_stated()["rule"][what]["value"])


@cache
def _stated() -> dict[str, Any]:
    return tomllib.loads(resources.files("arch").joinpath("uncertainty.toml").read_text(encoding="utf-8"))


def unvalidated(kernels: int, what: str = "device") -> Trust:
    """Return the trust in prices of which nothing was measured."""
    return Trust(np.full(kernels, prior(what)), np.zeros(kernels, dtype=np.bool_))


def by_group(trace: "Trace", machine: "Machine", device: NDArray[np.intp], seconds: Float) -> tuple[Groups, float]:
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
