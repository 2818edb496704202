"""What binds each kernel: the largest of the terms that its device's price is made of."""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from arch.work import Work

if TYPE_CHECKING:
    from arch.machine import Machine
    from schedulers.scheduler import Mapping
    from traces.trace import Trace

UNTOLD = "not told"
"""A device may price without terms; what was measured has none."""
NAMES = {
    "compute_matrix_s": "matrix units or power cap",
    "compute_vector_s": "vector pipes",
    "transcendental_s": "special functions",
    "issue_s": "instruction issue",
    "solver_s": "steps of solvers",
    "l1_s": "L1",
    "l2_s": "L2",
    "dram_s": "DRAM",
    "latency_s": "latency of loads",
    "floor_s": "start of a kernel",
}
"""How the terms of a GPU are called; those of other devices by their own names."""


def limits(trace: "Trace", machine: "Machine", mapping: "Mapping") -> NDArray[np.object_]:
    """Return for each kernel which term of its price is the longest on the device that it is mapped to; shape [kernels]."""
    found = np.full(len(trace.kernels), UNTOLD, dtype=object)
    work = Work.of(trace)
    for number, device in enumerate(machine.devices):
        mine = np.asarray(mapping.device) == number
        if not mine.any():
            continue
        prices = device.arrange(trace, work, mine)
        if prices.terms:
            names = np.array([NAMES.get(term, term.removesuffix("_s").replace("_", " ")) for term in prices.terms], dtype=object)
            seconds = np.stack([np.nan_to_num(term, posinf=0.0) for term in prices.terms.values()])
            as_measured = prices.duration_s == trace.kernels["measured_s"]
            told = mine & (seconds.max(axis=0) > 0) & ~as_measured
            found[told] = names[seconds.argmax(axis=0)][told]
    return found
