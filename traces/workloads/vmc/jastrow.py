"""Jastrow factors: the electrons' cusps. Both fall off with the distance; their slope at zero is 1/4 (same spin) and 1/2."""

from collections.abc import Callable
from typing import Any

import numpy as np


def _pairs(spins: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Weights [n, n] of pairs of the same and of opposite spin: 1/4 and 1/2 a pair, half of it on each side of the diagonal."""
    same = np.equal.outer(spins, spins).astype(np.float32)
    return (same - np.eye(len(spins), dtype=np.float32)) / 8, (1 - same) / 4


def jastrow(shape: Callable[[Any, Any], Any], distances: Any, spins: np.ndarray, alpha: Any) -> Any:
    """Return -1/4 sum f(a_same, r_ij) - 1/2 sum f(a_opposite, r_ij) over pairs; distances [n, n], alpha [2]."""
    import jax.numpy as jnp

    same, opposite = _pairs(spins)
    return -jnp.sum(same * shape(alpha[0], distances)) - jnp.sum(opposite * shape(alpha[1], distances))


def pade(a: Any, r: Any) -> Any:
    """a^2 / (a + r)."""
    return a * a / (a + r)


def exponential(a: Any, r: Any) -> Any:
    """a exp(-r / a)."""
    import jax.numpy as jnp

    return a * jnp.exp(-r / a)
