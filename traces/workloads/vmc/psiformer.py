"""Psiformer: self-attention among electrons, linear orbitals with exponential envelopes, a Jastrow factor.

The network of von Glehn, Spencer and Pfau (2022), in the shape that the survey's runs had: 4 layers, 4 heads of 64, no layer norm, one
tanh layer after attention, 16 determinants over both spins (1,363,778 parameters on CH4).
"""

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from traces.workloads.vmc.attention import attend, heads
from traces.workloads.vmc.determinants import sum_of_determinants
from traces.workloads.vmc.jastrow import jastrow, pade
from traces.workloads.vmc.layers import Leaf, Tree, dense, initialise, linear, norm, pair_distances
from traces.workloads.vmc.system import Ansatz, Psi, System


@dataclass(frozen=True)
class Shape:
    """Sizes of the network."""

    layers: int = 4
    heads: int = 4
    head_width: int = 64
    determinants: int = 16

    @property
    def width(self) -> int:
        return self.heads * self.head_width


def psiformer(system: System, shape: Shape | None = None) -> Ansatz:
    """Return the Psiformer of a molecule."""
    shape = shape or Shape()
    leaves = parameters(system, shape)
    return Ansatz(lambda key: initialise(key, leaves), lambda params, nuclei, charges: (), partial(_psi, system, shape))


def parameters(system: System, shape: Shape) -> Tree:
    """Return the tree of parameters."""
    width, electrons, nuclei = shape.width, system.electrons, len(system.charges)
    layer = {name: dense(width, width) for name in ("query", "key", "value", "out", "mlp")}
    return {
        "features": dense(4 * nuclei + 1, width, bias=False),
        "layers": [layer] * shape.layers,
        "orbitals": dense(width, shape.determinants * electrons, bias=False),
        "pi": Leaf((shape.determinants, electrons, 1, nuclei), value=1.0),
        "sigma": Leaf((shape.determinants, electrons, 1, nuclei), value=1.0),
        "jastrow": Leaf((2,), value=1.0),
    }


def _psi(system: System, shape: Shape, params: Tree, context: Any, nuclei: Any, r: Any) -> Psi:
    import jax

    with jax.named_scope("features"):
        to_nuclei = r[:, None] - nuclei
        distance = norm(to_nuclei)
        h = linear(params["features"], _features(system, to_nuclei, distance))
    for number, layer in enumerate(params["layers"]):
        with jax.named_scope(f"interaction_{number}"):
            h = _layer(shape, layer, h)
    with jax.named_scope("orbitals"):
        orbitals = _orbitals(system, shape, params, h, distance)
    with jax.named_scope("jastrow"):
        factor = jastrow(pade, pair_distances(r), system.spins, params["jastrow"])
    with jax.named_scope("determinants"):
        return sum_of_determinants(orbitals, factor)


def _features(system: System, to_nuclei: Any, distance: Any) -> Any:
    """Return [n_electrons, 4 n_nuclei + 1]: of each nucleus the vector and the distance, both shrunk to a logarithm; the spin."""
    import jax.numpy as jnp

    log = jnp.log1p(distance)[..., None]
    parts = jnp.concatenate([to_nuclei * (log / distance[..., None]), log], -1)
    return jnp.concatenate([parts.reshape(system.electrons, -1), system.spins[:, None]], -1)


def _layer(shape: Shape, params: Tree, h: Any) -> Any:
    import jax
    import jax.numpy as jnp

    with jax.named_scope("attention"):
        q, k, v = (heads(linear(params[name], h), shape.heads) for name in ("query", "key", "value"))
        mixed = attend(q / np.sqrt(shape.head_width).astype(np.float32), k, v)
        h = h + linear(params["out"], mixed.reshape(h.shape))
    with jax.named_scope("mlp"):
        return h + jnp.tanh(linear(params["mlp"], h))


def _orbitals(system: System, shape: Shape, params: Tree, h: Any, distance: Any) -> Any:
    """Return [n_determinants, n_electrons, n_orbitals]."""
    import jax.numpy as jnp

    n, count = system.electrons, shape.determinants
    values = jnp.transpose(linear(params["orbitals"], h).reshape(n, count, n), (1, 2, 0))
    envelopes = jnp.sum(params["pi"] * jnp.exp(-jnp.abs(params["sigma"] * distance)), -1)
    return jnp.transpose(values * envelopes, (0, 2, 1))
