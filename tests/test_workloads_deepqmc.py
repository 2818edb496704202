"""Do deepqmc's FermiNet and default ansatz run for real, and is what comes out quantum mechanics? On LiH, on the CPU."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("deepqmc", reason="needs the extra nnvmc")

import jax
import jax.numpy as jnp

from traces.workloads import Program, Workload
from traces.workloads.molecules import molecules
from traces.workloads.nnvmc import DEFAULT, FERMINET
from traces.workloads.systems import System, system

BATCH, STEPS = 8, 10
QUICK = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}  # compiling is what these tests wait for
PARAMETERS = {"ferminet": 744_800, "default": 230_799}  # on CH4


@dataclass
class Run:
    """What one step gave: arguments before, walkers and statistics after the Markov chain, local energies [BATCH]."""

    workload: Workload
    sampling: Program
    params: Any
    before: dict[str, Any]
    after: dict[str, Any]
    configuration: Any
    statistics: dict[str, Any]
    energies: np.ndarray

    @cached_property
    def psi(self) -> Callable[[Any], Any]:
        """The wave function of walkers at r [BATCH, electrons, 3], compiled once."""
        model = parts(self.workload)
        apply = jax.jit(jax.vmap(model.ansatz.apply, (None, 0)), compiler_options=QUICK)

        def evaluate(r: Any) -> Any:
            with self.sampling.numerics():
                return apply(self.params, model.sampler.phys_conf(model.nuclei, jnp.asarray(r)))

        return evaluate


def compute(program: Program, function: Callable[..., Any], *arguments: Any) -> Any:
    """Compile quickly and run, under the precision that the program declares."""
    with program.numerics():
        return jax.jit(function, compiler_options=QUICK)(*arguments)


ANSATZE = [pytest.param(FERMINET, id="ferminet"), pytest.param(DEFAULT, id="default")]
COMPILES_LONG = [ANSATZE[0], pytest.param(DEFAULT, id="default", marks=pytest.mark.slow)]
"""For tests that compile one more program: the larger ansatz takes 10 to 15 s."""


@pytest.fixture(params=ANSATZE)
def run(request: pytest.FixtureRequest) -> Run:
    return run_of(request.param.name)


@cache  # a fixture of the module would be set up again for every test that has parameters of its own
def run_of(name: str) -> Run:
    workload = {FERMINET.name: FERMINET, DEFAULT.name: DEFAULT}[name]
    sampling, energy = workload.programs(molecule="LiH", batch=BATCH, steps=STEPS)
    params, before, nuclei, key = compute(sampling, sampling.initial, 0)
    after, configuration, statistics = compute(sampling, sampling.function, params, before, nuclei, key)
    energies = np.asarray(compute(energy, energy.function, params, configuration))
    return Run(workload, sampling, params, before, after, configuration, statistics, energies)


def parts(workload: Workload, x64: bool = False) -> System:
    with jax.enable_x64(x64):
        return system(workload.name, molecules()["LiH"], "metropolis", STEPS, "loop")


def test_local_energies_are_finite_and_of_the_size_of_lithium_hydride(run: Run) -> None:
    assert run.energies.shape == (BATCH,)
    assert run.energies.dtype == np.float32
    assert np.all(np.isfinite(run.energies))
    assert -50 < run.energies.mean() < 10  # hartree; the exact ground state is at -8.07, the network is untrained


@pytest.mark.parametrize(
    ("run", "laplacian"),
    [
        pytest.param(FERMINET, "forward", id="ferminet-forward"),
        pytest.param(FERMINET, "naive", id="ferminet-naive", marks=pytest.mark.slow),
        pytest.param(DEFAULT, "forward", id="default-forward", marks=pytest.mark.slow),
        pytest.param(DEFAULT, "naive", id="default-naive", marks=pytest.mark.slow),
    ],
    indirect=["run"],
)
def test_every_exact_laplacian_gives_the_energies_of_the_loop(run: Run, laplacian: str) -> None:
    """All compute in FP32: measured differences are 1e-5 hartree on LiH, up to 1e-3 on CH4."""
    energy = run.workload.programs(molecule="LiH", batch=BATCH, laplacian=laplacian)[1]
    energies = compute(energy, energy.function, run.params, run.configuration)
    np.testing.assert_allclose(energies, run.energies, rtol=1e-4, atol=1e-3)


def test_the_markov_chain_keeps_shapes_and_moves_electrons(run: Run) -> None:
    assert jax.tree.map(lambda x: (x.shape, x.dtype), run.after) == jax.tree.map(lambda x: (x.shape, x.dtype), run.before)
    assert run.after["r"].shape == (BATCH, 4, 3)
    moved = np.any(np.asarray(run.after["r"]) != np.asarray(run.before["r"]), axis=(1, 2))
    assert moved.all(), "in ten steps every walker has accepted at least one"
    assert len({walker.tobytes() for walker in np.asarray(run.after["r"])}) == BATCH
    np.testing.assert_array_equal(run.configuration["r"], run.after["r"])


def test_acceptance_is_a_share_and_the_step_size_follows_it(run: Run) -> None:
    assert 0 < float(run.statistics["sampling/acceptance"]) < 1
    assert float(run.before["tau"]) == pytest.approx(0.02)  # decorr_metropolis_ferminet.yaml
    assert float(run.after["tau"]) > float(run.before["tau"]), "tiny steps are nearly always accepted: the step size must have grown"


def test_the_chain_carries_the_wave_function_of_its_walkers(run: Run) -> None:
    psi = run.psi(run.configuration["r"])
    np.testing.assert_allclose(run.after["psi"].log, psi.log, rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(run.after["psi"].sign, psi.sign)


def test_exchanging_two_electrons_of_one_spin_flips_the_sign_only(run: Run) -> None:
    swapped = np.asarray(run.configuration["r"])[:, [1, 0, 2, 3]]  # electrons 0 and 1 are up, 2 and 3 down
    psi = run.psi(swapped)
    np.testing.assert_array_equal(psi.sign, -np.asarray(run.after["psi"].sign))
    np.testing.assert_allclose(psi.log, run.after["psi"].log, atol=1e-5)


def test_exchanging_electrons_of_different_spin_changes_the_wave_function(run: Run) -> None:
    psi = run.psi(np.asarray(run.configuration["r"])[:, [2, 1, 0, 3]])
    assert np.abs(np.asarray(psi.log) - np.asarray(run.after["psi"].log)).max() > 1e-2


@pytest.mark.slow  # another program to compile
def test_hutchinsons_estimates_have_the_local_energies_as_their_mean() -> None:
    """Two walkers, 400 probes each: the mean lies within five standard errors."""
    walkers, probes = 2, 400
    _, exact = FERMINET.programs(molecule="H2", batch=walkers)
    _, estimate = FERMINET.programs(molecule="H2", batch=walkers, laplacian="hutchinson")
    params, configuration, key = estimate.arguments(0)
    expected = np.asarray(compute(exact, exact.function, params, configuration))
    many = jax.vmap(estimate.function, (None, None, 0))
    found = np.asarray(compute(estimate, many, params, configuration, jax.random.split(key, probes)), np.float64)
    assert np.all(np.abs(found.mean(0) - expected) < 5 * found.std(0, ddof=1) / np.sqrt(probes))
    assert found.std(0).min() > 0


@pytest.mark.parametrize("run", COMPILES_LONG, indirect=True)
def test_the_local_energy_is_that_of_a_hessian_in_double_precision(run: Run) -> None:
    """An independent way to the number: the trace of the Hessian of log|psi| at one walker, in FP64, and Coulomb's law."""
    walker = 0
    with jax.enable_x64(True), jax.default_matmul_precision("highest"):
        model = parts(run.workload, x64=True)
        params = jax.tree.map(lambda x: x.astype(jnp.float64), run.params)
        r = jnp.asarray(np.asarray(run.configuration["r"])[walker], jnp.float64)

        def log_psi(flat: Any) -> Any:
            return model.ansatz.apply(params, model.sampler.phys_conf(model.nuclei, flat.reshape(-1, 3))).log

        derivatives = jax.jit(lambda x: (jax.grad(log_psi)(x), jax.hessian(log_psi)(x)), compiler_options=QUICK)
        gradient, hessian = derivatives(r.flatten())
        kinetic = -(np.trace(hessian) + (np.asarray(gradient) ** 2).sum()) / 2
        expected = kinetic + coulomb(np.asarray(r), np.asarray(model.nuclei), np.array([3.0, 1.0]))
    assert run.energies[walker] == pytest.approx(expected, rel=1e-4, abs=1e-3)


def coulomb(r: np.ndarray, nuclei: np.ndarray, charges: np.ndarray) -> float:
    """Return the potential energy in hartree of electrons at ``r`` and nuclei, both in bohr, by its definition."""
    charge = np.concatenate([np.full(len(r), -1.0), charges])
    at = np.concatenate([r, nuclei])
    i, j = np.triu_indices(len(at), 1)
    return float((charge[i] * charge[j] / np.linalg.norm(at[i] - at[j], axis=-1)).sum())


@pytest.mark.parametrize("workload", ANSATZE)
def test_methane_has_as_many_parameters_as_published(workload: Workload) -> None:
    for program in workload.programs():
        params = program.shapes()[0]
        assert sum(leaf.size for leaf in jax.tree.leaves(params)) == PARAMETERS[workload.name]


@pytest.mark.parametrize("molecule", ["LiH", "CH4", "cyclobutadiene_square"])
def test_molecules_have_the_coordinates_of_deepqmcs_files(molecule: str) -> None:
    from importlib import resources

    import yaml

    theirs = yaml.safe_load(resources.files("deepqmc").joinpath(f"conf/hamil/mol/{molecule}.yaml").read_text())
    ours = molecules()["C4H4" if molecule == "cyclobutadiene_square" else molecule]
    assert list(ours.charges) == theirs["charges"]
    np.testing.assert_array_equal(ours.coordinates, theirs["coords"])
    assert (ours.unit == theirs["unit"]) == (molecule != "cyclobutadiene_square"), "deepqmc's square is in bohr, whatever it says"


@pytest.mark.slow  # compiles both programs with all of XLA's passes, 20 s
def test_the_documentations_example_runs(capsys: pytest.CaptureFixture[str]) -> None:
    text = (Path(__file__).parents[1] / "docs" / "workloads.md").read_text()
    (example,) = (
        block
        for block in re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
        if "ferminet" in block and "sampling.run" in block
    )
    exec(example, {})
    energies = np.fromstring(capsys.readouterr().out.strip("[]\n"), sep=" ")
    assert energies.shape == (8,)
    assert np.all(np.isfinite(energies))
