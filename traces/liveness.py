"""How much memory a trace's tensors take at each launch."""

import numpy as np
from numpy.typing import NDArray

from traces.trace import Trace


def live_bytes(trace: Trace) -> NDArray[np.int64]:
    """Return the bytes that are allocated while each kernel runs, shape [kernels].

    Tensors of one alias set are one allocation, as large as the largest of them, from the first launch that needs it to
    the last; one that no launch touches counts throughout if it is a parameter, a constant or an output.
    """
    count, sets = len(trace.kernels), len(trace.alias_bytes)
    size = trace.alias_bytes
    first, last = np.full(sets, count, dtype=np.int64), np.full(sets, -1, dtype=np.int64)
    np.minimum.at(first, trace.alias_index, np.maximum(trace.tensors["first_kernel"], 0))
    ends = np.where(trace.tensors["last_kernel"] < 0, count - 1, trace.tensors["last_kernel"])
    np.maximum.at(last, trace.alias_index, ends)
    change = np.zeros(count + 1, dtype=np.int64)
    np.add.at(change, first, size)
    np.subtract.at(change, last + 1, size)
    return np.cumsum(change)[:count]
