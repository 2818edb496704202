"""What a measurement adds to a kernel: the floor of its source.

NeuSight timed eager PyTorch operators with CUDA events. The first event is stamped when the device reaches it, then the host
still works on the operator's launch: what it takes from there to the launch is added to the kernel, and no operator is shorter
than the host needs in all. How long that is depends on the operator and on a host that nobody knows: the calibration hosts'
typical times stand for it. AIConfigurator replayed CUDA graphs and Vidur read kernel times from a profiler: both add nothing.
"""

import numpy as np
from numpy.typing import NDArray

from arch.entry import Entry
from arch.operators import ELEMENTWISE, Operators

Float = NDArray[np.float64]

EAGER = frozenset({"neusight"})
KERNEL_TIMES = frozenset({"aiconfigurator", "vidur"})

_CLASSES = {"gemm": 2, "softmax": 2, "layernorm": 3}


def known(source: str) -> bool:
    """Return whether it is known what a source adds."""
    return source in EAGER or source in KERNEL_TIMES


def measured_s(entry: Entry, source: str, work: Operators, kernel_s: Float) -> Float:
    """Return what the source would have measured, in seconds; an unknown source is taken to add nothing."""
    if source not in EAGER:
        return kernel_s
    host = entry.list("eager_floors")[host_class(work)]
    return np.maximum(host, entry["eager_overlap"] * host + kernel_s)


def host_class(work: Operators) -> int:
    """Which of the host times: tensors only; a scalar or a module around it; softmax and products; layer norm; linear."""
    if work.op == "elementwise":
        return 0 if ELEMENTWISE[work.name] == 2 or work.name == "tanh" else 1
    return 4 if work.name == "linear" else _CLASSES[work.op]
