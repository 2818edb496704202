"""Do the tools that run wave functions for real measure what they say: TF32, autocorrelation, and a ground state?"""

import numpy as np
import pytest

pytest.importorskip("folx", reason="needs the extra nnvmc")

import jax
import jax.numpy as jnp

from traces import registry
from traces.recorded_statistics import read_statistics
from traces.workloads.rounding import tf32
from traces.workloads.running import Run


def truncated(x: np.ndarray) -> np.ndarray:
    """Round FP32 to 10 bits of mantissa, to nearest even, by integer arithmetic."""
    bits = np.asarray(x, np.float32).view(np.uint32).astype(np.uint64)
    bits += 0xFFF + ((bits >> 13) & 1)
    return (bits & ~np.uint64(0x1FFF)).astype(np.uint32).view(np.float32)


def test_products_round_their_operands_and_nothing_else_does() -> None:
    rng = np.random.default_rng(0)
    a, b, c = (rng.normal(size=(8, 8)).astype(np.float32) for _ in range(3))
    found = jax.jit(tf32(lambda a, b, c: a @ b + c))(a, b, c)
    np.testing.assert_allclose(found, truncated(a) @ truncated(b) + c, rtol=1e-6, atol=1e-6)
    assert np.abs(np.asarray(found) - (a @ b + c)).max() > 1e-4


def test_products_inside_loops_branches_and_derivatives_are_rounded_too() -> None:
    a = np.random.default_rng(1).normal(size=(4, 4)).astype(np.float32)

    def looped(x: jax.Array) -> jax.Array:
        scanned = jax.lax.fori_loop(0, 2, lambda _, y: jnp.tanh(y @ a), x)
        counted = jax.lax.while_loop(lambda s: s[0] < 2, lambda s: (s[0] + 1, jnp.tanh(s[1] @ a)), (0, x))[1]
        return scanned + counted + jax.lax.cond(x[0, 0] > 0, lambda y: y @ a, lambda y: -(y @ a), x)

    x = np.random.default_rng(2).normal(size=(4, 4)).astype(np.float32)
    step = lambda y: np.tanh(truncated(y) @ truncated(a))  # noqa: E731
    last = (truncated(x) @ truncated(a)) * np.sign(x[0, 0])
    np.testing.assert_allclose(jax.jit(tf32(looped))(x), 2 * step(step(x)) + last, rtol=1e-5, atol=1e-5)
    gradient = jax.jit(tf32(jax.grad(lambda x: jnp.sum(x @ a))))(x)
    np.testing.assert_allclose(gradient, np.ones((4, 4), np.float32) @ truncated(a).T, rtol=1e-6)


def test_the_shipped_statistics_are_whole_rows() -> None:
    rows = read_statistics()
    assert rows, "python -m traces.measure"
    keys = {"workload", "molecule", "sampler", "precision", "laplacian", "energy", "energy_error", "variance", "variance_error"}
    keys |= {
        "tau_transitions",
        "tau_error",
        "walkers",
        "training",
        "burn_in",
        "samples",
        "stride",
        "acceptance",
        "seed",
        "date",
        "versions",
    }
    for row in rows:
        assert keys <= set(row)
        assert row["variance"] > 0
        assert row["tau_transitions"] >= row["stride"] / 2
        assert len(row["spacing"]) == len(row["inefficiency"])
        assert min(row["inefficiency"]) >= 1
        assert 0.2 < row["acceptance"] < 0.9


@pytest.mark.slow  # minutes: two compilations, 150 steps of training
def test_the_psiformer_finds_the_ground_state_of_helium() -> None:
    """-2.903724 hartree (Pekeris 1959). 150 steps of KFAC on 128 walkers; the mean of the last 40 steps within two percent."""
    settings = {"molecule": "He", "batch": 128, "steps": 10, "task": "training", "optimizer": "kfac"}
    energies = Run(registry.get("workloads", "psiformer"), settings).train(150)
    assert energies[:10].mean() > -2.5, "it starts from random parameters"
    assert np.mean(energies[-40:]) == pytest.approx(-2.903724, rel=0.02)
