"""deepqmc's own parts, put together as deepqmc 1.2.0 does it for one molecule: ansatz, Hamiltonian, sampler.

Values come from the configuration files inside the package (``deepqmc/conf``), instantiated with hydra as
``deepqmc.app`` does; what a user may choose here (molecule, sampler, steps, Laplacian) replaces their entries.
"""

import os
import warnings
from copy import copy
from dataclasses import dataclass
from functools import partial
from importlib import import_module, resources
from typing import Any

from traces.errors import MissingExtra
from traces.workloads.molecules import Molecule
from traces.workloads.numerics import contained
from traces.workloads.stages import DEEPQMC_STAGES
from traces.workloads.vmc import energy
from traces.workloads.vmc.staged_forward import laplacian_and_gradient

SAMPLERS = {
    "metropolis": "decorr_metropolis_ferminet",
    "metropolis-psiformer": "decorr_metropolis_psiformer",
    "langevin": "decorr_langevin",
}
"""deepqmc's configuration of each sampler (conf/task/sampler_factory): of ten steps by default, thirty for its Psiformer."""

_MODULES = (
    *("deepqmc", "deepqmc.app", "deepqmc.hamil", "deepqmc.molecule", "deepqmc.sampling", "deepqmc.gnn", "deepqmc.hkext"),
    *("deepqmc.wf.cusp", "deepqmc.wf.env", "deepqmc.wf.nn_wave_function", "deepqmc.wf.omni", "folx", "kfac_jax"),
)
"""What the configuration files name, imported before they are read, where an import's side effects are undone."""


@dataclass(frozen=True)
class System:
    """One molecule's wave function, energy and Markov chain, in deepqmc's interfaces.

    ``ansatz.init(key, configuration)`` gives parameters, ``ansatz.apply(parameters, configuration)`` sign and log|psi| of
    one walker; ``hamiltonian.local_energy`` and ``sampler.sample`` are what deepqmc's training loop calls.
    ``nuclei`` are positions in bohr, float32 [n_nuclei, 3].
    """

    ansatz: Any
    hamiltonian: Any
    sampler: Any
    nuclei: Any


def system(ansatz: str, molecule: Molecule, sampler: str, steps: int, laplacian: str) -> System:
    """Return deepqmc's ``ansatz`` ('ferminet', 'default', ...) on ``molecule``. Raises MissingExtra without deepqmc."""
    import_deepqmc()
    hamiltonian = hamiltonian_of(molecule, laplacian)
    wave_function = _ansatz(ansatz, hamiltonian)
    own = f"{sampler}-{ansatz}"
    chain = sampler_of(own if own in SAMPLERS else sampler, steps, hamiltonian, wave_function.apply)
    return System(wave_function, hamiltonian, chain, hamiltonian.mol.coords)


def import_deepqmc() -> None:
    """Import deepqmc and what it needs, leaving JAX's configuration and the environment as they are."""
    with contained():
        warnings.simplefilter("ignore", DeprecationWarning)  # kfac_jax uses jax.core.Effects, which JAX 0.10 deprecates
        os.environ.setdefault("NVIDIA_TF32_OVERRIDE", "0")  # set before the import, it spares the user a warning
        try:
            for name in _MODULES:
                import_module(name)
        except ModuleNotFoundError as error:
            raise MissingExtra("nnvmc", f"deepqmc's wave functions ({error})") from error


def hamiltonian_of(molecule: Molecule, laplacian: str) -> Any:
    """Return deepqmc's molecular Hamiltonian (all electrons, fixed nuclei) with the Laplacian 'loop', 'forward' or 'naive'.

    For 'hutchinson' it has that of 'loop': ``with_probe`` gives it a probe.
    """
    from deepqmc.hamil import MolecularHamiltonian

    return MolecularHamiltonian(mol=_deepqmc_molecule(molecule), laplacian_factory=_laplacian(laplacian))


def _deepqmc_molecule(molecule: Molecule) -> Any:
    from deepqmc.molecule import Molecule as DeepqmcMolecule

    return DeepqmcMolecule(coords=molecule.coordinates, charges=molecule.charges, charge=0, spin=molecule.spin, unit=molecule.unit)


def _laplacian(name: str) -> Any:
    """'loop' is deepqmc's hamil/qc.yaml, 'forward' its hamil/qc_forward_laplacian.yaml, evaluated stage by stage."""
    if name == "forward":
        return lambda function: partial(laplacian_and_gradient, function, rules=DEEPQMC_STAGES)
    if name == "naive":
        return lambda function: partial(energy.naive, function)
    from deepqmc.physics import laplacian

    return laplacian


def with_probe(hamiltonian: Any, key: Any) -> Any:
    """Return the Hamiltonian with Hutchinson's estimate of the Laplacian, its probe drawn with the key."""
    probed = copy(hamiltonian)
    probed.laplacian = lambda function: partial(energy.hutchinson, function, key=key)
    return probed


def sampler_of(name: str, steps: int, hamiltonian: Any, apply: Any) -> Any:
    """Return deepqmc's chain of ``steps`` transitions of a sampler (one of SAMPLERS) for any wave function."""
    factory = _configured(f"task/sampler_factory/{SAMPLERS[name]}.yaml", {"elec_sampler.samplers.0.length": steps})
    return factory.keywords["elec_sampler"](hamil=hamiltonian, wf=apply)


def _ansatz(name: str, hamiltonian: Any) -> Any:
    from deepqmc.app import instantiate_ansatz

    return instantiate_ansatz(hamiltonian, _configured(f"ansatz/{name}.yaml"))


def _configured(path: str, changes: dict[str, Any] | None = None) -> Any:
    """Instantiate one of deepqmc's configuration files, with entries replaced (``changes``: dotted path to value)."""
    from hydra.utils import instantiate
    from omegaconf import OmegaConf

    text = resources.files("deepqmc").joinpath("conf", path).read_text(encoding="utf-8")
    config = OmegaConf.create(text)
    for key, value in (changes or {}).items():
        OmegaConf.update(config, key, value)
    return instantiate(config, _convert_="all")
