"""Ising spin glasses: Sherrington-Kirkpatrick and Edwards-Anderson in two and three dimensions, with Gaussian couplings.

Spins are +1 or -1, floating point [batch, n_spins]; lattices are flattened in raster order (arXiv 2606.22984, section II.1.3). Energies are
in units of the couplings' standard deviation, temperatures with Boltzmann's constant one.
"""

from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor

from traces.errors import CaptureError

DIMENSIONS = {"sk": 0, "ea2d": 2, "ea3d": 3}
MOST_ENUMERATED = 20
"""Spins of which all configurations are written down: a million rows."""


@dataclass(frozen=True)
class Glass:
    """A spin glass without its couplings: kind 'sk', 'ea2d' or 'ea3d', its sides (one number for sk), and whether borders are joined."""

    kind: str
    sides: tuple[int, ...]
    periodic: bool = False

    @property
    def spins(self) -> int:
        return prod(self.sides)

    @property
    def row(self) -> int:
        """The last spins that a spin's conditional distribution depends on: one row, or layer, of an open lattice; all of sk."""
        return self.spins if self.kind == "sk" else prod(self.sides[1:])

    def couplings(self, seed: int) -> Tensor:
        """Draw couplings: sk [n, n], symmetric, over sqrt(n); lattices [dimensions, *sides], of each spin with the next (0: none)."""
        generator = torch.Generator().manual_seed(seed)
        if self.kind == "sk":
            upper: Tensor = torch.randn(self.spins, self.spins, generator=generator).triu(1) / self.spins**0.5
            return upper + upper.T
        drawn = torch.randn(len(self.sides), *self.sides, generator=generator)
        if not self.periodic:
            for axis in range(len(self.sides)):
                drawn[axis].select(axis, -1).zero_()
        return drawn


def glass(kind: str, size: int, periodic: bool = False) -> Glass:
    """Return the glass of ``size`` spins (sk) or of a lattice with sides of ``size``."""
    return Glass(kind, (size,) * max(DIMENSIONS[kind], 1), periodic)


def energy(glass: Glass, couplings: Tensor, spins: Tensor) -> Tensor:
    """Return the energy of each configuration: [batch]; each pair counts once (equations 6 and 8 of the paper)."""
    if glass.kind == "sk":
        return -0.5 * ((spins @ couplings) * spins).sum(-1)
    lattice = spins.view(-1, *glass.sides)
    bonds = sum(couplings[axis] * lattice * lattice.roll(-1, axis + 1) for axis in range(len(glass.sides)))
    assert isinstance(bonds, Tensor)
    return -bonds.flatten(1).sum(-1)


def fields(glass: Glass, couplings: Tensor, lattice: Tensor) -> Tensor:
    """Return each spin's local field on a lattice [batch, *sides]: what its neighbours add up to."""
    parts = [
        couplings[axis] * lattice.roll(-1, axis + 1) + (couplings[axis] * lattice).roll(1, axis + 1) for axis in range(len(glass.sides))
    ]
    total = parts[0]
    for part in parts[1:]:
        total = total + part
    return total


def checkerboard(glass: Glass, device: torch.device | str = "cpu") -> Tensor:
    """Return which spins are even, bool [*sides]: no two of them are neighbours. Raises CaptureError for odd periodic lattices."""
    if glass.periodic and any(side % 2 for side in glass.sides):
        raise CaptureError(
            f"local Monte Carlo updates even and odd sites in turn, so a periodic lattice needs even sides, but got {glass.sides}: "
            "choose an even size, or boundary=open"
        )
    places = sum(torch.arange(side, device=device).view(-1, *(1,) * (len(glass.sides) - 1 - axis)) for axis, side in enumerate(glass.sides))
    assert isinstance(places, Tensor)
    return places % 2 == 0


def configurations(count: int) -> Tensor:
    """Return all configurations of ``count`` spins: [2 ** count, count] of +1 and -1. Raises CaptureError for too many."""
    if count > MOST_ENUMERATED:
        raise CaptureError(f"`spins <= {MOST_ENUMERATED}` must hold for enumeration, but got {count}")
    bits = torch.arange(2**count)[:, None] >> torch.arange(count)
    return 2.0 * (bits & 1) - 1.0


def free_energy(glass: Glass, couplings: Tensor, beta: float) -> float:
    """Return -ln Z / beta by enumeration, in FP64."""
    energies = energy(glass, couplings.double(), configurations(glass.spins).double())
    return float(-torch.logsumexp(-beta * energies, 0) / beta)


def ground_energy(glass: Glass, couplings: Tensor) -> float:
    """Return the lowest energy by enumeration, in FP64."""
    return float(energy(glass, couplings.double(), configurations(glass.spins).double()).min())
