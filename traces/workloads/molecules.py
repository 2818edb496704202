"""Molecules by formula: nuclear charges and positions, from molecules.toml, each with its source."""

import tomllib
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

from traces.errors import CaptureError

UNITS = ("angstrom", "bohr")


@dataclass(frozen=True)
class Molecule:
    """Nuclei at ``coordinates`` [n_nuclei, 3] in ``unit``; ``spin`` is the number of up minus down electrons; neutral."""

    formula: str
    charges: tuple[int, ...]
    coordinates: tuple[tuple[float, float, float], ...]
    unit: str
    spin: int
    source: str

    def __post_init__(self) -> None:
        if len(self.charges) != len(self.coordinates) or any(len(position) != 3 for position in self.coordinates):
            raise CaptureError(f"{self.formula}: each nuclear charge must have three coordinates, but got {self.coordinates}")
        if self.unit not in UNITS:
            raise CaptureError(f"{self.formula}: the unit must be one of {', '.join(UNITS)}, but got {self.unit!r}")

    @property
    def electrons(self) -> int:
        return sum(self.charges)


@cache
def molecules() -> dict[str, Molecule]:
    """Return all molecules by formula, in the order of the file."""
    text = resources.files("traces.workloads").joinpath("molecules.toml").read_text(encoding="utf-8")
    return {name: _molecule(entry) for name, entry in tomllib.loads(text).items()}


def _molecule(entry: dict[str, Any]) -> Molecule:
    coordinates = tuple(map(tuple, entry["coordinates"]))
    return Molecule(**{**entry, "charges": tuple(entry["charges"]), "coordinates": coordinates})
