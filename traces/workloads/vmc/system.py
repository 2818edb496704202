"""Electrons and nuclei as arrays, and the interface that every ansatz has."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from traces.workloads.molecules import Molecule

BOHR = 0.529177210903
"""Angstrom (CODATA 2018)."""


class Psi(NamedTuple):
    """A wave function's value: its sign, log|psi|, and log|D_k| of its determinants [n_determinants] (weights included)."""

    sign: Any
    log: Any
    determinants: Any


@dataclass(frozen=True)
class System:
    """A molecule's sizes, positions in bohr [n_nuclei, 3] and charges [n_nuclei]; electrons with spin up come first."""

    nuclei: np.ndarray
    charges: np.ndarray
    up: int
    down: int

    @property
    def electrons(self) -> int:
        return self.up + self.down

    @property
    def spins(self) -> np.ndarray:
        """+1 for up, -1 for down, float32 [n_electrons]."""
        return np.repeat(np.array([1.0, -1.0], np.float32), [self.up, self.down])


@dataclass(frozen=True)
class Ansatz:
    """Three pure functions.

    ``init(key)`` gives parameters. ``molecule(params, nuclei, charges)`` gives what depends on no electron. ``psi(params, context,
    nuclei, r)`` gives ``Psi`` of one walker r [n_electrons, 3] in bohr, with the context that ``molecule`` gave.
    """

    init: Callable[[Any], Any]
    molecule: Callable[[Any, Any, Any], Any]
    psi: Callable[[Any, Any, Any, Any], Psi]


def system_of(molecule: Molecule) -> System:
    """Return the system of a neutral molecule."""
    scale = 1 / BOHR if molecule.unit == "angstrom" else 1.0
    up = (molecule.electrons + molecule.spin) // 2
    positions = np.asarray(molecule.coordinates, np.float64) * scale
    return System(positions.astype(np.float32), np.asarray(molecule.charges, np.int32), up, molecule.electrons - up)


def initial_walkers(key: Any, system: System, walkers: int) -> Any:
    """Return positions [walkers, n_electrons, 3]: normal (variance 1) around nuclei, as many at each as its charge, spins alternating."""
    import jax

    owner = np.repeat(np.arange(len(system.charges)), system.charges)
    order = np.concatenate([owner[::2], owner[1::2]])
    return system.nuclei[order] + jax.random.normal(key, (walkers, system.electrons, 3))
