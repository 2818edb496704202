"""Do the programs compute what they say? Checked on wave functions whose samples and energies are known in closed form."""

from typing import Any

import numpy as np
import pytest

pytest.importorskip("deepqmc", reason="needs the extra nnvmc")

import jax
import jax.numpy as jnp

from traces.workloads import Program
from traces.workloads.molecules import molecules
from traces.workloads.nnvmc import local_energy, sampling
from traces.workloads.numerics import numerics
from traces.workloads.systems import System, hamiltonian_of, import_deepqmc, sampler_of

WALKERS, EXPONENT = 256, 0.7
BOHR = 0.529177210903  # angstrom, CODATA 2018
CHARGES, NUCLEI = np.array([3.0, 1.0]), np.array([[0.0, 0.0, 0.0], [1.595, 0.0, 0.0]]) / BOHR


class Gaussian:
    """psi = exp(-a sum r^2 / 2) for all electrons of LiH: each coordinate of |psi|^2 is normal with variance 1 / (2 a)."""

    def apply(self, params: Any, configuration: Any) -> Any:
        from deepqmc.types import Psi

        return Psi(jnp.array(1.0), -params * (configuration.r**2).sum() / 2)


def gaussian(sampler: str = "metropolis", laplacian: str = "loop") -> System:
    import_deepqmc()
    hamiltonian = hamiltonian_of(molecules()["LiH"], laplacian)
    ansatz = Gaussian()
    return System(ansatz, hamiltonian, sampler_of(sampler, 10, hamiltonian, ansatz.apply), hamiltonian.mol.coords)


def electrons(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(WALKERS, 4, 3), scale=1.0).astype(np.float32)


def potential(r: np.ndarray) -> np.ndarray:
    """Return the Coulomb energy of LiH in hartree by its definition; r is [walkers, electrons, 3] in bohr."""
    i, j = np.triu_indices(r.shape[1], 1)
    repulsion = (1 / np.linalg.norm(r[:, i] - r[:, j], axis=-1)).sum(-1)
    attraction = (CHARGES / np.linalg.norm(r[:, :, None] - NUCLEI, axis=-1)).sum((-1, -2))
    return repulsion - attraction + CHARGES.prod() / np.linalg.norm(NUCLEI[0] - NUCLEI[1])


@pytest.mark.parametrize("laplacian", ["loop", "forward"])
def test_the_local_energy_of_a_gaussian_is_its_closed_form(laplacian: str) -> None:
    """-(lap log psi + |grad log psi|^2) / 2 = (3 N a - a^2 r^2) / 2, plus the Coulomb energy."""
    parts, r = gaussian(laplacian=laplacian), electrons(0)
    configuration = vars(parts.sampler.phys_conf(parts.nuclei, jnp.asarray(r)))
    with numerics("highest", x64=False):
        energies = jax.jit(local_energy(parts))(jnp.float32(EXPONENT), configuration)
    r = r.astype(np.float64)
    kinetic = (12 * EXPONENT - EXPONENT**2 * (r**2).sum((1, 2))) / 2
    np.testing.assert_allclose(energies, kinetic + potential(r), rtol=2e-5, atol=2e-4)


def test_a_program_runs_with_arguments_that_a_seed_decides() -> None:
    parts = gaussian()

    def initial(seed: int) -> tuple[Any, ...]:
        r = jax.random.normal(jax.random.PRNGKey(seed), (WALKERS, 4, 3))
        return jnp.float32(EXPONENT), {"R": jnp.tile(parts.nuclei, (WALKERS, 1, 1)), "r": r, "mol_idx": jnp.zeros(WALKERS, int)}

    program = Program("energy", "laplacian", local_energy(parts), initial, "highest", x64=False, stage_rules=())
    one, again, other = (program.arguments(seed) for seed in (0, 0, 1))
    assert jax.tree.map(lambda x: (x.shape, x.dtype), program.shapes()) == jax.tree.map(lambda x: (x.shape, x.dtype), one)
    np.testing.assert_array_equal(one[1]["r"], again[1]["r"])
    assert not np.array_equal(one[1]["r"], other[1]["r"])
    assert program.run(*one).shape == (WALKERS,)


def walk(parts: System, steps: int) -> tuple[np.ndarray, np.ndarray]:
    """Run the sampling program again and again: squared coordinates [steps, walkers, electrons, 3], acceptance [steps]."""
    sample, a, squares, acceptance = jax.jit(sampling(parts)), jnp.float32(EXPONENT), [], []
    state = jax.jit(lambda key: parts.sampler.init(key, a, WALKERS, parts.nuclei))(jax.random.PRNGKey(1))
    for key in jax.random.split(jax.random.PRNGKey(2), steps):
        state, configuration, statistics = sample(a, state, parts.nuclei, key)
        squares.append(np.asarray(configuration["r"]) ** 2)
        acceptance.append(float(statistics["sampling/acceptance"]))
    return np.array(squares), np.array(acceptance)


@pytest.mark.parametrize(("sampler", "target"), [("metropolis", 0.525), ("langevin", 0.57)])
def test_walkers_are_distributed_as_the_square_of_the_wave_function(sampler: str, target: float) -> None:
    squares, acceptance = walk(gaussian(sampler), steps=50)
    settled = squares[20:].mean(axis=(0, 2, 3))  # a mean square of each walker: walkers are independent of each other
    error = settled.std(ddof=1) / np.sqrt(WALKERS)
    assert error < 0.01
    assert abs(settled.mean() - 1 / (2 * EXPONENT)) < 4 * error
    assert acceptance[20:].mean() == pytest.approx(target, abs=0.03), "the step size is adapted until this share is accepted"
