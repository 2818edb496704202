"""Does the update of a training step do what it says: clip, follow the energy's gradient, and lower the energy?"""

from typing import Any

import numpy as np
import pytest

pytest.importorskip("kfac_jax", reason="needs the extra nnvmc")

import jax
import jax.numpy as jnp

from traces import registry
from traces.workloads.numerics import numerics
from traces.workloads.vmc.training import clipped, energy_and_gradient, optimizer

QUICK = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}


def gaussian(params: Any, configuration: Any) -> Any:
    """log|psi| = -(a x^2 + b y^2 + c z^2) / 2, a linear layer: the ground state of the harmonic oscillator at a = b = c = 1."""
    return -((configuration["r"][:, 0] ** 2) @ params["w"])[:, 0] / 2


def oscillator(params: Any, r: Any) -> Any:
    """Local energies of H = -lap / 2 + r^2 / 2 in closed form: the sum of a / 2 + (1 - a^2) x^2 / 2."""
    a = params["w"][:, 0]
    return jnp.sum(a / 2 + (1 - a * a) * r[:, 0] ** 2 / 2, -1)


def drawn(params: Any, count: int, key: Any) -> Any:
    return jax.random.normal(key, (count, 1, 3)) / jnp.sqrt(2 * params["w"][:, 0])


def start(*values: float) -> Any:
    return {"w": jnp.array(values, jnp.float32)[:, None]}


def test_energies_far_from_the_median_are_clipped_and_the_rest_kept() -> None:
    energies = np.array([-1.0, 0.0, 1.0, 2.0, 500.0], np.float32)
    found = np.asarray(clipped(energies))
    np.testing.assert_array_equal(found[:4], energies[:4])
    assert found[4] == 500.0, "of five values no one is five mean deviations away"
    many = np.concatenate([np.linspace(-1, 1, 101), [500.0]]).astype(np.float32)
    width = 5 * np.abs(many - np.median(many)).mean()
    assert np.asarray(clipped(many))[-1] == pytest.approx(np.median(many) + width)


def test_the_gradient_is_the_covariance_of_clipped_energies_and_log_psi() -> None:
    """d log|psi| / da = -x^2 / 2. Near the energy's own derivative, (1 - 1 / a^2) / 4, too: clipping a chi square's tail takes a tenth."""
    params = start(0.6, 1.0, 1.5)
    r = drawn(params, 40_000, jax.random.PRNGKey(0))
    energies = oscillator(params, r)
    mean, gradient = energy_and_gradient(gaussian, params, {"r": r}, energies)
    kept, derivative = np.asarray(clipped(energies), np.float64), -(np.asarray(r, np.float64)[:, 0] ** 2) / 2
    expected = 2 * ((kept - kept.mean())[:, None] * derivative).mean(0)
    np.testing.assert_allclose(np.asarray(gradient["w"])[:, 0], expected, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(expected, [(1 - 1 / a**2) / 4 for a in (0.6, 1.0, 1.5)], rtol=0.15, atol=0.02)
    assert float(mean) == pytest.approx(float(np.mean(energies)), rel=1e-5)


@pytest.mark.parametrize(("name", "steps"), [("adam", 400), ("kfac", 120)])
def test_training_finds_the_ground_state_of_the_oscillator(name: str, steps: int) -> None:
    params = start(0.8, 1.0, 1.2)
    chosen = optimizer(name, gaussian)
    state = chosen.init(params, {"r": drawn(params, 512, jax.random.PRNGKey(0))}, jnp.zeros(512), jax.random.PRNGKey(0))

    def one(params: Any, state: Any, key: Any) -> Any:
        r = drawn(params, 512, key)
        return chosen.step(params, state, {"r": r}, oscillator(params, r), key)

    step = jax.jit(one, compiler_options=QUICK)
    for key in jax.random.split(jax.random.PRNGKey(1), steps):
        params, state, told = step(params, state, key)
    np.testing.assert_allclose(params["w"], 1.0, atol=0.05)
    assert float(told["energy"]) == pytest.approx(1.5, abs=0.01)


@pytest.mark.parametrize("name", ["ferminet", "default", "psiformer", "orbformer", "deepqmc-psiformer"])
@pytest.mark.parametrize("optimizer_", ["adam", "kfac"])
def test_a_training_step_is_sampling_local_energy_update_and_psi_anew(name: str, optimizer_: str) -> None:
    workload = registry.get("workloads", name)
    settings = {"molecule": "H2", "batch": 4, "task": "training", "optimizer": optimizer_}
    programs = workload.programs(**settings, **({"attention": "plain"} if name == "orbformer" else {}))
    expected = [("sampling", "sampling"), ("local_energy", "laplacian"), ("update", "optimizer"), ("refresh", "sampling")]
    assert [(p.name, p.phase) for p in programs] == expected
    assert programs[2].feeds["energies"] == "output"


@pytest.mark.parametrize("optimizer_", [pytest.param("adam"), pytest.param("kfac", marks=pytest.mark.slow)])
def test_an_update_of_the_psiformer_keeps_shapes_and_changes_every_matrix(optimizer_: str) -> None:
    update = registry.get("workloads", "psiformer").programs(molecule="H2", batch=4, task="training", optimizer=optimizer_)[2]
    params, state, r, _, *molecule = update.arguments(0)
    energies = jnp.array([-1.0, 0.5, 1.0, -2.0])
    with numerics(update.precision, update.x64):
        after, _, told = jax.jit(update.function, compiler_options=QUICK)(params, state, r, energies, *molecule)
    assert jax.tree.map(jnp.shape, after) == jax.tree.map(jnp.shape, params)
    assert float(told["energy"]) == pytest.approx(float(energies.mean()))
    changed = [not np.array_equal(a, b) for a, b in zip(jax.tree.leaves(after), jax.tree.leaves(params), strict=True)]
    assert np.mean(changed) > 0.9
