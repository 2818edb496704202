"""Markov chains of walkers: Metropolis, and Langevin with Metropolis' correction. All electrons of a walker move together."""

from collections.abc import Callable
from typing import Any

from traces.workloads.vmc.layers import norm, pair_distances

ACCEPTANCE = 0.57
"""The share of moves that the step size is adapted to."""

LEAST = 0.05
"""Acceptance below this counts as this much, so that the step size shrinks by no more than a factor 11 a step."""

FORCE = 5.0
"""Longest drift of an electron, in inverse bohr."""

START = {"metropolis": 1.0, "langevin": 0.1}
"""First step size: the standard deviation of a move in bohr (Metropolis), its variance in bohr^2 (Langevin)."""

WIDTH = 4.0
"""Pruning: a walker whose log|psi| is this many mean deviations below the median is lost."""

Value = Callable[[Any], Any]
"""Psi of all walkers: sign, log and determinants, each [walkers, ...]."""

Step = Callable[[Any, Any], tuple[Any, Any]]


def initial(name: str, r: Any, psi: Value, force: Value | None) -> dict[str, Any]:
    """Return the chain's state: positions, their psi, the softmax of the determinants, the step size; for Langevin the force."""
    import jax.numpy as jnp

    return {**_evaluated(r, psi, force), "tau": jnp.asarray(START[name], r.dtype)}


def _evaluated(r: Any, psi: Value, force: Value | None) -> dict[str, Any]:
    import jax

    value, drift = force(r) if force else (psi(r), None)
    state = {"r": r, "sign": value.sign, "log": value.log, "determinants": jax.nn.log_softmax(value.determinants)}
    return state | ({"force": drift} if force else {})


def clipped(force: Any) -> Any:
    """Shorten each electron's force [..., 3] to at most ``FORCE``."""
    import jax.numpy as jnp

    length = norm(force)[..., None]
    return force * jnp.minimum(1.0, FORCE / jnp.maximum(length, 1e-6))


def metropolis(psi: Value) -> Callable[[Any, Any], tuple[Any, Any]]:
    """Return a transition (state, key) -> (state, acceptance): a Gaussian move of standard deviation tau."""
    import jax

    def step(state: Any, key: Any) -> tuple[Any, Any]:
        move, accept = jax.random.split(key)
        r = state["r"] + state["tau"] * jax.random.normal(move, state["r"].shape, state["r"].dtype)
        new = _evaluated(r, psi, None)
        return _accepted(state, new, 2 * (new["log"] - state["log"]), accept)

    return step


def langevin(psi: Value, force: Value) -> Callable[[Any, Any], tuple[Any, Any]]:
    """Return a transition with drift: a move of mean tau * force and variance tau."""
    import jax
    import jax.numpy as jnp

    def step(state: Any, key: Any) -> tuple[Any, Any]:
        move, accept = jax.random.split(key)
        tau, noise = state["tau"], jax.random.normal(move, state["r"].shape, state["r"].dtype)
        new = _evaluated(state["r"] + tau * state["force"] + jnp.sqrt(tau) * noise, psi, force)
        back = state["r"] - new["r"] - tau * new["force"]
        reverse = (jnp.sum(noise * noise, (1, 2)) - jnp.sum(back * back, (1, 2)) / tau) / 2
        return _accepted(state, new, 2 * (new["log"] - state["log"]) + reverse, accept)

    return step


def _accepted(state: Any, new: Any, log_ratio: Any, key: Any) -> tuple[Any, Any]:
    """Accept each walker's move with probability min(1, exp(log_ratio)), then adapt the step size."""
    import jax
    import jax.numpy as jnp

    accept = jnp.log(jax.random.uniform(key, log_ratio.shape, log_ratio.dtype)) < log_ratio
    chosen = {k: jnp.where(accept.reshape(-1, *[1] * (v.ndim - 1)), v, state[k]) for k, v in new.items()}
    share = jnp.mean(accept.astype(log_ratio.dtype))
    return chosen | {"tau": state["tau"] * jnp.maximum(share, LEAST) / ACCEPTANCE}, share


def observe(state: Any, share: Any, nuclei: Any) -> dict[str, Any]:
    """Return a step's statistics: acceptance, step size, mean distances in bohr, entropy of the determinants' weights."""
    import jax
    import jax.numpy as jnp

    r, log = state["r"], state["determinants"]
    n = r.shape[1]
    return {
        "acceptance": share,
        "tau": state["tau"],
        "electron_electron": jnp.mean(jnp.sum(jax.vmap(pair_distances)(r), (1, 2))) / max(1, n * (n - 1)),
        "electron_nucleus": jnp.mean(norm(r[:, :, None] - nuclei)),
        "entropy": -jnp.mean(jnp.sum(jnp.exp(log) * jnp.maximum(log, -100.0), -1)),
    }


def pruned(state: Any, key: Any) -> Any:
    """Replace walkers that are lost (a vanishing psi) by copies of others, drawn with equal weights."""
    import jax
    import jax.numpy as jnp

    log = state["log"]
    deviation = log - jnp.nanmedian(log)
    good = deviation > -WIDTH * jnp.nanmean(jnp.abs(deviation))  # false for nan
    count = log.shape[0]
    drawn = jax.random.categorical(key, jnp.where(good, 0.0, -jnp.inf), shape=(count,))
    chosen = jnp.where(good, jnp.arange(count), drawn)
    return {name: value if name == "tau" else value[chosen] for name, value in state.items()}


def run(step: Step, state: Any, key: Any, steps: int, nuclei: Any, prune: bool) -> tuple[Any, Any]:
    """Run the chain; returns the state and each step's statistics, stacked."""
    import jax

    keys = jax.random.split(key, steps + 1)

    def one(state: Any, key: Any) -> tuple[Any, Any]:
        state, share = step(state, key)
        return state, observe(state, share, nuclei)

    state, statistics = jax.lax.scan(one, state, keys[1:])
    return pruned(state, keys[0]) if prune else state, statistics
