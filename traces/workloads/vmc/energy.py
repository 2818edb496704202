"""The local energy: kinetic energy by one of four Laplacians, and Coulomb's law."""

from collections.abc import Callable
from typing import Any

from traces.workloads.vmc.staged_forward import laplacian_and_gradient
from traces.workloads.workload import StageRules

SOFT = 1e-12
"""Added to squared distances in bohr^2, so that none divides by zero."""

LogPsi = Callable[[Any], Any]
"""log|psi| of one walker [n_electrons, 3]."""


def kinetic(name: str, log_psi: LogPsi, r: Any, key: Any, rules: StageRules) -> Any:
    """Return -(lap log|psi| + |grad log|psi||^2) / 2 in hartree; ``key`` is the Hutchinson probe's."""
    import jax.numpy as jnp

    def flat(x: Any) -> Any:
        return log_psi(x.reshape(r.shape))

    laplacian, gradient = _laplacian(name, flat, r.reshape(-1), key, rules)
    return -0.5 * (laplacian + jnp.sum(gradient * gradient))


def _laplacian(name: str, function: LogPsi, x: Any, key: Any, rules: StageRules) -> tuple[Any, Any]:
    if name == "forward":
        return laplacian_and_gradient(function, x, rules)
    if name == "hutchinson":
        return hutchinson(function, x, key)
    return {"loop": loop, "naive": naive}[name](function, x)


def loop(function: LogPsi, x: Any) -> tuple[Any, Any]:
    """Linearise the gradient once, then apply the linear map to one unit vector an iteration."""
    import jax
    import jax.numpy as jnp

    linearize: Callable[..., Any] = jax.linearize
    gradient, tangent = linearize(jax.grad(function), x)
    unit = jnp.eye(x.size, dtype=x.dtype)
    total = jax.lax.fori_loop(0, x.size, lambda i, sum_: sum_ + tangent(unit[i])[i], jnp.zeros((), x.dtype))
    return total, gradient


def naive(function: LogPsi, x: Any) -> tuple[Any, Any]:
    """Evaluate the function, its gradient and one tangent of it anew for each coordinate.

    A barrier ties the position to the iteration, or the compiler would move what does not change out of the loop.
    """
    import jax
    import jax.numpy as jnp

    unit = jnp.eye(x.size, dtype=x.dtype)
    barrier: Callable[..., Any] = jax.lax.optimization_barrier

    def replay(i: Any, carry: Any) -> Any:
        here, _ = barrier((x, i))
        gradient, tangent = jax.jvp(jax.grad(function), (here,), (unit[i],))
        return carry[0] + tangent[i], gradient

    total, gradient = jax.lax.fori_loop(0, x.size, replay, (jnp.zeros((), x.dtype), jnp.zeros_like(x)))
    return total, gradient


def hutchinson(function: LogPsi, x: Any, key: Any) -> tuple[Any, Any]:
    """Estimate the Laplacian as v^T H v with one random vector of signs v; its mean over v is exact (Hutchinson 1989)."""
    import jax
    import jax.numpy as jnp

    probe = jax.random.rademacher(key, x.shape, x.dtype)
    gradient, tangent = jax.jvp(jax.grad(function), (x,), (probe,))
    return jnp.sum(probe * tangent), gradient


def coulomb(r: Any, nuclei: Any, charges: Any) -> Any:
    """Return the potential energy in hartree of one walker r [n, 3], nuclei [m, 3] and charges [m], in bohr."""
    import jax.numpy as jnp

    z = charges.astype(r.dtype)
    attraction = jnp.sum(z * _inverse(r[:, None] - nuclei))
    return _repulsion(r, jnp.ones(r.shape[0], r.dtype)) + _repulsion(nuclei, z) - attraction


def _repulsion(at: Any, charge: Any) -> Any:
    import jax.numpy as jnp

    pairs = jnp.triu(charge[:, None] * charge, 1)
    return jnp.sum(pairs * _inverse(at[:, None] - at))


def _inverse(apart: Any) -> Any:
    import jax
    import jax.numpy as jnp

    return jax.lax.rsqrt(jnp.sum(apart * apart, -1) + SOFT)
