"""How much longer or shorter an instance of a kernel lasts than its price: drawn from a seed and the instance's number."""

import numpy as np

from traces.compiled import compiled

GOLDEN = 0x9E3779B97F4A7C15
STEPS = 2.0**53
"""Numbers from 0 to 1 that 53 bits, those of a float, tell apart."""
FIRST, SECOND = 0xBF58476D1CE4E5B9, 0x94D049BB133111EB


@compiled
def varied(duration: int, number: int, spread: float, seed: int) -> int:
    """Return the duration times a factor from 1 - ``spread`` to 1 + ``spread``, uniform, rounded to whole picoseconds.

    ``number`` counts all instances in launch order. The factor is a hash of both (SplitMix64), so that it does not depend on
    what ran before.
    """
    mixed = np.uint64(seed) * np.uint64(GOLDEN) + np.uint64(number) * np.uint64(GOLDEN) + np.uint64(GOLDEN)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(FIRST)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(SECOND)
    mixed = mixed ^ (mixed >> np.uint64(31))
    share = np.float64(mixed >> np.uint64(11)) / STEPS
    return int(np.rint(duration * (1.0 + spread * (2.0 * share - 1.0))))
