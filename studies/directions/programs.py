"""The steps that are compared: recorded traces of four wave functions on four molecules, and the GPU alone running them."""

from functools import cache

import codesign as cd

GPU = "a5000"
ANSATZE = {"default": "PauliNet", "ferminet": "FermiNet", "psiformer": "Psiformer", "orbformer": "Orbformer"}
MOLECULES = {"LiH": 4, "CH4": 10, "C2H6": 18, "C4H4": 28}
"""Electrons of each."""
SAMPLER = {"default": "-langevin", "ferminet": "-langevin"}
"""deepqmc's default sampler: the configuration of `codesign validate`."""
TOO_LARGE = {("orbformer", "C4H4")}
"""Steps that do not fit the GPU's memory."""


@cache
def step(ansatz: str, molecule: str, task: str = "inference", gpu: str = GPU) -> cd.Trace:
    """Return a recorded step; for other GPUs deepqmc's are recorded with Gaussian proposals."""
    trained = "-training" if task == "training" else ""
    sampler = SAMPLER.get(ansatz, "") if gpu == GPU else ""
    return cd.load(f"{ansatz}-{molecule.lower()}-{gpu}{sampler}{trained}")


@cache
def alone(ansatz: str, molecule: str, task: str = "inference") -> cd.Timeline:
    """Return the step on the GPU alone."""
    return cd.replay(step(ansatz, molecule, task), GPU, record=False)


def formula(molecule: str) -> str:
    """Return a molecule with its numbers as subscripts."""
    return molecule.translate(str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉"))


def fitting() -> list[tuple[str, str]]:
    """Return the pairs of ansatz and molecule whose step fits the GPU, the ansatz varying slowest."""
    return [(ansatz, molecule) for ansatz in ANSATZE for molecule in MOLECULES if (ansatz, molecule) not in TOO_LARGE]
