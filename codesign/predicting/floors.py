"""What a measurement adds to a kernel: the floor of its source.

NeuSight timed eager PyTorch operators with CUDA events. The first event is stamped when the device reaches it, then the host
still works on the operator's launch: what it takes from there to the launch is added to the kernel, and no operator is shorter
than the host needs in all. How long that is depends on the operator and on a host that nobody knows: the calibration hosts'
typical times stand for it. AIConfigurator replayed CUDA graphs and Vidur read kernel times from a profiler: both add nothing.
"""

from arch import measuring
from arch.entry import Entry
from arch.measuring import EAGER, KERNEL_TIMES, EagerHost
from arch.operators import ELEMENTWISE, Operators
from arch.work import Float

_CLASSES = {"gemm": EagerHost.SOFTMAX_OR_PRODUCT, "softmax": EagerHost.SOFTMAX_OR_PRODUCT, "layernorm": EagerHost.LAYER_NORM}


def known(source: str) -> bool:
    """Return whether it is known what a source adds."""
    return source in EAGER or source in KERNEL_TIMES


def measured_s(entry: Entry, source: str, work: Operators, kernel_s: Float) -> Float:
    """Return what the source would have measured, in seconds; an unknown source is taken to add nothing."""
    return measuring.measured_s(entry, source, entry.list("eager_floors")[host_class(work)], kernel_s)


def host_class(work: Operators) -> EagerHost:
    """Return what operators of one kind ask of the host."""
    if work.op == "elementwise":
        return EagerHost.TENSORS if ELEMENTWISE[work.name] == 2 or work.name == "tanh" else EagerHost.SCALAR_OR_MODULE
    return EagerHost.LINEAR if work.name == "linear" else _CLASSES[work.op]
