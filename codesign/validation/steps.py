"""Replays of the recorded traces, each made once."""

from dataclasses import dataclass
from functools import cache, cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from codesign.validation.published import published

if TYPE_CHECKING:
    from arch.work import Prices
    from traces.trace import Trace

BAND = ("elementwise", "slice_concat")
"""XLA fuses elementwise work into its concatenations; the survey's regular expressions cannot tell them apart. Compared as one."""
SAMPLING = "sampling"


@dataclass(frozen=True, eq=False)
class Step:
    """One recorded trace priced on a device, by default the one it was captured for: seconds of each kernel entry over all executions."""

    trace: "Trace"
    prices: "Prices"

    @cached_property
    def seconds(self) -> NDArray[np.float64]:
        """Kernel time of each entry, launches of its loops included; float64[kernels]."""
        return np.asarray(self.prices.duration_s * self.trace.executions)

    @cached_property
    def kernel_time_s(self) -> float:
        return float(self.seconds.sum())

    def share(self, families: tuple[str, ...] = (), *, sampling: bool | None = None) -> float:
        """Return the fraction of the kernel time in some families (all by default), in sampling, outside it, or in both (None)."""
        chosen = np.ones(len(self.seconds), dtype=np.bool_)
        if families:
            chosen &= np.isin(self.trace.kernels["family"], families)
        if sampling is not None:
            chosen &= (self.trace.kernels["phase"] == SAMPLING) == sampling
        return float(self.seconds[chosen].sum() / self.kernel_time_s)


@cache
def step(name: str, board: str = "") -> Step | None:
    """Return the recorded trace of that name on its own target, or on another ``board`` of it; None if none is recorded."""
    from arch.building import machine
    from arch.work import Work
    from traces.recordings import load_recorded, recorded_traces

    if name not in recorded_traces():
        return None
    trace = load_recorded(name)
    return Step(trace, machine(board or trace.target).devices[0].price(Work.of(trace)))


def survey_step(ansatz: str, molecule: str, gpu: str | None = None, variant: str | None = None, board: str = "") -> Step | None:
    """Return the recorded step of the survey's configuration, or of a ``variant``: how the trace's name ends."""
    return step(survey_name(ansatz, molecule, gpu, variant), board)


def survey_name(ansatz: str, molecule: str, gpu: str | None = None, variant: str | None = None) -> str:
    """Return the name of the trace that `survey_step` prices."""
    survey = published()["survey"]
    ending = survey["recorded"].get(ansatz, "") if variant is None else variant
    return f"{ansatz}-{molecule}-{gpu or survey['gpu']}{ending}".lower()
