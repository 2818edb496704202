"""Why a device does not price kernels: it cannot run them, or nobody knows their work."""

import numpy as np

from arch.work import Bool, Refusals, Work
from traces.errors import MachineError

_MOST_REASONS = np.iinfo(np.int8).max - 1
"""Codes of reasons, 0 (none) among them; one is left for 'other'."""


class Reasons:
    """Collects why kernels are refused; of several reasons the first counts."""

    def __init__(self, kernels: int) -> None:
        self.code = np.zeros(kernels, dtype=np.int8)
        self.reasons = [""]

    def add(self, where: Bool, reason: str) -> None:
        """Refuse the kernels ``where`` [kernels] that are not refused yet."""
        new = where & (self.code == 0)
        if not new.any():
            return
        if reason not in self.reasons:
            if len(self.reasons) == _MOST_REASONS:
                reason = "other"
            self.reasons.append(reason)
        self.code[new] = self.reasons.index(reason)

    def done(self) -> Refusals:
        """Return what was collected."""
        return Refusals(self.code, tuple(self.reasons))


def unknown_work(device: str, work: Work, unknown: Bool, hint: str = "") -> MachineError:
    """Return an error that says how many kernels lack what, and how much of the time they are where that was measured.

    ``unknown`` [kernels] says which; ``hint`` what else could be done.
    """
    kernel = int(np.flatnonzero(unknown)[0])
    name, family = work.kernels["name"][kernel], work.kernels["family"][kernel]
    measured = np.nan_to_num(work.kernels["measured_s"])
    share = f", {measured[unknown].sum() / measured.sum():.1%} of the measured time".replace("%", " %") if measured.any() else ""
    return MachineError(
        f"the work of a kernel must be known to price it on {device!r}, but {int(unknown.sum()):,} of {len(work):,} kernels{share} lack "
        f"their bytes, FLOP or size, first kernel {kernel} ({name[:80]!r}, {family}); fill bytes_unique, flops_vector, flops_matrix or "
        f"batch and m{hint}"
    )
