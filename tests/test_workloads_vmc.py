"""Do our Psiformer and Orbformer run for real, and is what comes out quantum mechanics? On small molecules, on the CPU."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import numpy as np
import pytest

pytest.importorskip("folx", reason="needs the extra nnvmc")

import jax
import jax.numpy as jnp

from traces.workloads import Program, Workload
from traces.workloads.molecules import molecules
from traces.workloads.numerics import numerics
from traces.workloads.orbformer import ORBFORMER
from traces.workloads.psiformer import PSIFORMER
from traces.workloads.vmc import energy, sampler
from traces.workloads.vmc.attention import attend, attend_fused
from traces.workloads.vmc.orbformer import Shape, orbformer, owners
from traces.workloads.vmc.programs import STAGES
from traces.workloads.vmc.psiformer import Shape as PsiformerShape
from traces.workloads.vmc.psiformer import psiformer
from traces.workloads.vmc.staged_forward import laplacian_and_gradient
from traces.workloads.vmc.system import Ansatz, System, initial_walkers, system_of

pytestmark = pytest.mark.filterwarnings("ignore:jax.experimental.pallas.dot:DeprecationWarning")  # folx 0.2.30 uses it

QUICK = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}  # compiling is what these tests wait for
BATCH, STEPS = 4, 3
PARAMETERS = {"psiformer": 1_363_778, "orbformer": 3_029_650}  # on CH4
OURS = [pytest.param(PSIFORMER, id="psiformer"), pytest.param(ORBFORMER, id="orbformer")]
SHALLOW: dict[str, Callable[[System], Ansatz]] = {
    "psiformer": lambda system: psiformer(system, PsiformerShape(layers=1)),
    "orbformer": lambda system: orbformer(system, Shape(layers=1, blocks=1)),
}
"""Fewer layers of the same kind: compiling is what these tests wait for."""


def compute(program: Program, *arguments: Any) -> Any:
    """Compile quickly and run, under the precision that the program declares."""
    with program.numerics():
        return jax.jit(program.function, compiler_options=QUICK)(*arguments)


@dataclass
class Precise:
    """An ansatz in FP64 on a molecule, with its parameters."""

    system: System
    ansatz: Ansatz
    params: Any

    @cached_property
    def psi(self) -> Callable[[Any], Any]:
        """Psi of walkers at r [BATCH, electrons, 3], compiled once."""

        @partial(jax.jit, compiler_options=QUICK)
        def evaluate(r: Any) -> Any:
            context = self.ansatz.molecule(self.params, jnp.asarray(self.system.nuclei), jnp.asarray(self.system.charges))
            return jax.vmap(partial(self.ansatz.psi, self.params, context, jnp.asarray(self.system.nuclei)))(r)

        def precisely(r: Any) -> Any:
            with numerics("highest", x64=True):
                return evaluate(jnp.asarray(r, jnp.float64))

        return precisely


@pytest.fixture(scope="module", params=["psiformer", "orbformer"])
def precise(request: pytest.FixtureRequest) -> Precise:
    with numerics("highest", x64=True):
        system = system_of(molecules()["LiH"])
        ansatz = SHALLOW[request.param](system)
        return Precise(system, ansatz, ansatz.init(jax.random.PRNGKey(0)))


@pytest.fixture(scope="module")
def walkers() -> np.ndarray:
    return np.asarray(initial_walkers(jax.random.PRNGKey(7), system_of(molecules()["LiH"]), BATCH))


@pytest.mark.parametrize("workload", OURS)
def test_methane_has_as_many_parameters_as_described(workload: Workload) -> None:
    for program in workload.programs():
        assert sum(leaf.size for leaf in jax.tree.leaves(program.shapes()[0])) == PARAMETERS[workload.name]


@pytest.mark.parametrize("swap", [[1, 0, 2, 3], [0, 1, 3, 2]])
def test_exchanging_two_electrons_of_one_spin_flips_the_sign_only(precise: Precise, walkers: np.ndarray, swap: list[int]) -> None:
    psi, swapped = precise.psi(walkers), precise.psi(walkers[:, swap])
    np.testing.assert_array_equal(swapped.sign, -np.asarray(psi.sign))
    np.testing.assert_allclose(swapped.log, psi.log, atol=1e-5)


def test_exchanging_electrons_of_different_spin_changes_the_wave_function(precise: Precise, walkers: np.ndarray) -> None:
    psi, swapped = precise.psi(walkers), precise.psi(walkers[:, [2, 1, 0, 3]])
    assert np.abs(np.asarray(psi.log) - np.asarray(swapped.log)).max() > 1e-2


def test_forward_loop_naive_and_a_hessian_give_one_laplacian_and_hutchinson_has_it_as_its_mean(
    precise: Precise, walkers: np.ndarray
) -> None:
    """In FP64, at one walker. For a probe v of signs the estimate is v^T H v; its mean over all 2^12 probes is the trace."""

    def log_psi(x: Any) -> Any:
        system, nuclei = precise.system, jnp.asarray(precise.system.nuclei)
        context = precise.ansatz.molecule(precise.params, nuclei, jnp.asarray(system.charges))
        return precise.ansatz.psi(precise.params, context, nuclei, x.reshape(-1, 3)).log

    def all_of_them(x: Any, keys: Any) -> Any:
        estimates = jax.vmap(lambda key: energy.hutchinson(log_psi, x, key)[0])(keys)
        probes = jax.vmap(lambda key: jax.random.rademacher(key, x.shape, x.dtype))(keys)
        exact = laplacian_and_gradient(log_psi, x, STAGES), energy.loop(log_psi, x), energy.naive(log_psi, x)
        return exact, estimates, probes, jax.hessian(log_psi)(x), jax.grad(log_psi)(x)

    with numerics("highest", x64=True):
        x = jnp.asarray(walkers[0], jnp.float64).reshape(-1)
        keys = jax.random.split(jax.random.PRNGKey(1), 8)
        exact, estimates, probes, hessian, gradient = jax.jit(all_of_them, compiler_options=QUICK)(x, keys)
    for laplacian, first in exact:
        np.testing.assert_allclose(laplacian, np.trace(hessian), rtol=1e-9)
        np.testing.assert_allclose(first, gradient, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(estimates, np.einsum("bi,ij,bj->b", probes, hessian, probes), rtol=1e-9)
    assert set(np.unique(probes)) == {-1.0, 1.0}, "so the estimate's mean over all probes is the sum of the diagonal"


@pytest.mark.parametrize("workload", [OURS[0], pytest.param(ORBFORMER, id="orbformer", marks=pytest.mark.slow)])
def test_the_programs_of_one_step_run_for_real(workload: Workload) -> None:
    """With flash attention interpreted, in the Orbformer's case: Metropolis, pruning, and the forward Laplacian."""
    sampling, estimate = workload.programs(molecule="H2", batch=BATCH, steps=STEPS)
    params, before, nuclei, charges, key = sampling.arguments(0)
    after, statistics = compute(sampling, params, before, nuclei, charges, key)
    assert jax.tree.map(lambda x: (x.shape, x.dtype), after) == jax.tree.map(lambda x: (x.shape, x.dtype), before)
    assert {value.shape for value in statistics.values()} == {(STEPS,)}
    assert np.all((statistics["acceptance"] >= 0) & (statistics["acceptance"] <= 1))
    assert not np.array_equal(after["r"], before["r"])
    energies = np.asarray(compute(estimate, params, after["r"], nuclei, charges))
    assert energies.shape == (BATCH,)
    assert np.all(np.isfinite(energies))


def test_fused_attention_is_plain_attention_with_its_gradient_and_laplacian() -> None:
    """Three electrons in a sequence of 16, interpreted; every operand depends on the coordinates."""

    def scalar(attention: Callable[..., Any], x: Any) -> Any:
        q, k, v = (jnp.sin((i + 1) * x.reshape(3, 1, 3) @ weights) for i in range(3))
        bias = jnp.cos(x.reshape(3, 3) @ x.reshape(3, 3).T)[:, None]
        return jnp.sum(attention(q, k, v, bias) ** 2)

    def both(x: Any) -> list[Any]:
        functions = [partial(scalar, attention) for attention in (attend, partial(attend_fused, interpret=True))]
        return [(f(x), jax.grad(f)(x), *laplacian_and_gradient(f, x, STAGES)) for f in functions]

    weights = np.random.default_rng(3).normal(size=(3, 16)).astype(np.float32)
    x = jnp.asarray(np.random.default_rng(4).normal(size=9), jnp.float32)
    plain, fused = jax.jit(both, compiler_options=QUICK)(x)
    for expected, found in zip(plain, fused, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.slow
def test_flash_attention_gives_what_plain_attention_gives() -> None:
    _, flash = ORBFORMER.programs(molecule="LiH", batch=2)
    _, plain = ORBFORMER.programs(molecule="LiH", batch=2, attention="plain")
    arguments = plain.arguments(0)
    np.testing.assert_allclose(compute(flash, *arguments), compute(plain, *arguments), rtol=1e-4, atol=1e-3)


def test_orbitals_belong_to_nuclei_in_order_with_a_row_for_each_of_a_charge() -> None:
    table = np.asarray(owners(jnp.array([3, 1, 2]), 6, 3))
    assert np.argwhere(table).tolist() == [[0, 0, 3], [1, 0, 4], [2, 0, 5], [3, 1, 0], [4, 2, 1], [5, 2, 2]]


def gaussian(a: float) -> Callable[[Any], Any]:
    """psi = exp(-a sum r^2 / 2): each coordinate of |psi|^2 is normal with variance 1 / (2 a)."""
    from traces.workloads.vmc.system import Psi

    return lambda r: Psi(jnp.ones(r.shape[0]), -a * jnp.sum(r * r, (1, 2)) / 2, jnp.zeros((r.shape[0], 1)))


@pytest.mark.parametrize("name", ["metropolis", "langevin"])
def test_walkers_are_distributed_as_the_square_of_the_wave_function(name: str) -> None:
    count, a, nuclei = 512, 0.7, jnp.zeros((1, 3))
    psi = gaussian(a)

    def force(r: Any) -> Any:
        return psi(r), sampler.clipped(-a * r)

    step = sampler.metropolis(psi) if name == "metropolis" else sampler.langevin(psi, force)
    run = jax.jit(lambda state, key: sampler.run(step, state, key, 30, nuclei, False))
    state = sampler.initial(name, jax.random.normal(jax.random.PRNGKey(0), (count, 4, 3)), psi, None if name == "metropolis" else force)
    squares, shares = [], []
    for key in jax.random.split(jax.random.PRNGKey(1), 30):
        state, statistics = run(state, key)
        squares.append(np.asarray(state["r"]) ** 2)
        shares.append(np.asarray(statistics["acceptance"]))
    each = np.array(squares[5:]).mean(axis=(0, 2, 3))
    error = each.std(ddof=1) / np.sqrt(count)
    assert error < 0.01
    assert abs(each.mean() - 1 / (2 * a)) < 4 * error
    assert np.mean(shares[5:]) == pytest.approx(sampler.ACCEPTANCE, abs=0.03), "the step size is adapted until this share is accepted"


def test_pruning_replaces_walkers_whose_psi_vanishes_and_keeps_the_rest() -> None:
    log = np.linspace(-3.0, 0.0, 64, dtype=np.float32)
    log[[5, 9]] = [-1e4, np.nan]
    state = {"r": jnp.arange(64 * 3.0).reshape(64, 1, 3), "log": jnp.asarray(log), "tau": jnp.asarray(0.3)}
    after = sampler.pruned(state, jax.random.PRNGKey(0))
    kept = np.delete(np.arange(64), [5, 9])
    np.testing.assert_array_equal(np.asarray(after["r"])[kept], np.asarray(state["r"])[kept])
    assert np.all(np.asarray(after["log"]) >= -3.0)
    assert {tuple(row) for row in np.asarray(after["r"])[[5, 9], 0]} <= {tuple(row) for row in np.asarray(state["r"])[kept, 0]}
    assert float(after["tau"]) == pytest.approx(0.3)


def test_coulombs_law_and_the_kinetic_energy_of_a_gaussian_are_their_closed_forms() -> None:
    system, a = system_of(molecules()["LiH"]), 0.7
    r = np.random.default_rng(0).normal(size=(4, 3))
    with numerics("highest", x64=True):
        found = energy.coulomb(jnp.asarray(r), jnp.asarray(system.nuclei), jnp.asarray(system.charges))
        kinetic = energy.kinetic("forward", lambda x: -a * jnp.sum(x * x) / 2, jnp.asarray(r), None, STAGES)
    at, charge = np.concatenate([r, system.nuclei]), np.concatenate([np.full(4, -1.0), system.charges])
    i, j = np.triu_indices(len(at), 1)
    assert float(found) == pytest.approx((charge[i] * charge[j] / np.linalg.norm(at[i] - at[j], axis=-1)).sum(), rel=1e-6)
    assert float(kinetic) == pytest.approx((12 * a - a * a * (r**2).sum()) / 2)
