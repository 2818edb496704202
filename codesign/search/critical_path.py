"""The longest chain of dependent launches: compiled."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from traces.compiled import compiled

Float = npt.NDArray[np.float64]


@compiled
def longest_chain(
    walk: npt.NDArray[np.int32],
    offsets: npt.NDArray[np.int64],
    alias: npt.NDArray[np.int32],
    writes: npt.NDArray[np.bool_],
    sets: int,
    one_memory: bool,
    duration: Float,
) -> float:
    """Return the seconds of the longest chain of launches each of which needs the one before it.

    ``walk`` lists kernel rows in the order in which they run, ``duration`` is each row's, float64[K]. A launch waits for the last write
    of what it reads; in ``one_memory`` also for the last write and all earlier reads of what it writes.
    """
    written = np.zeros(sets)
    read = np.zeros(sets)
    longest = 0.0
    for row in walk:
        start = 0.0
        for a in range(offsets[row], offsets[row + 1]):
            if one_memory or not writes[a]:
                start = max(start, written[alias[a]])
            if one_memory and writes[a]:
                start = max(start, read[alias[a]])
        end = start + duration[row]
        for a in range(offsets[row], offsets[row + 1]):
            if writes[a]:
                written[alias[a]] = end
            else:
                read[alias[a]] = max(read[alias[a]], end)
        longest = max(longest, end)
    return longest
