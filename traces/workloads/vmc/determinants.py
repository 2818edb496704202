"""The sum of full determinants over both spins, as sign and logarithm."""

from typing import Any

from traces.workloads.vmc.system import Psi

NEGLIGIBLE = 15.0
"""A determinant this many e-folds below the largest is left out: its derivatives may be infinite, its weight is under 4e-7."""


def sum_of_determinants(orbitals: Any, log_factor: Any) -> Psi:
    """Return psi = exp(log_factor) * sum of det(orbitals [n_determinants, n, n])."""
    import jax
    import jax.numpy as jnp

    sign, log = jnp.linalg.slogdet(orbitals)
    largest = jax.lax.stop_gradient(jnp.max(log))
    counts = jax.lax.stop_gradient(log) > largest - NEGLIGIBLE
    total = jnp.sum(jnp.where(counts, sign * jnp.exp(log - largest), 0.0))
    return Psi(jnp.sign(total), jnp.log(jnp.abs(total)) + largest + log_factor, log)
