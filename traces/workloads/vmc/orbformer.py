"""Orbformer (single electronic state): orbitals are generated from the molecule, electrons attend to each other.

Nuclei exchange messages (3 blocks), then every orbital has features at every nucleus (3 blocks more), from which envelopes and the
readout's weights are made. Electrons gather features of the nuclei, pass 4 attention layers with a bias of the pairs, and are read out by
those weights: 3,029,650 parameters on CH4. Sizes and order of operations follow a written description; where 192 of the parameters sit
it does not say: here the nuclei's species table has rows for the charges 1 to 9, the orbitals' for 1 to 6 (more for heavier nuclei).
"""

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from traces.workloads.vmc.attention import attend, attend_fused, heads
from traces.workloads.vmc.determinants import sum_of_determinants
from traces.workloads.vmc.jastrow import exponential, jastrow
from traces.workloads.vmc.layers import Leaf, Tree, dense, initialise, layer_norm, linear, pair_distances
from traces.workloads.vmc.messages import EPSILON, block, block_parameters, vector_features
from traces.workloads.vmc.system import Ansatz, Psi, System

SPINS = ("up", "down")
HALF = 2**-0.5
FEATURE_EPSILON = 1e-2
"""Added to the variance where electrons' features are normalised."""

NUCLEUS_SHIFTS, NUCLEUS_SCALES = (2.0, 4.0, 6.0), (1.0,)
ELECTRON_SHIFTS, ELECTRON_SCALES = (2.0, 4.0), (1.0, 3.0)
CUTOFF = 8.0
"""Distance in bohr from which attention between electrons fades."""


@dataclass(frozen=True)
class Shape:
    """Sizes of the network; ``charge`` and ``species`` are the largest charges that orbitals and nuclei have rows for."""

    layers: int = 4
    heads: int = 8
    head_width: int = 32
    blocks: int = 3
    nucleus: int = 64
    nucleus_heads: int = 2
    orbital: int = 128
    orbital_heads: int = 4
    determinants: int = 16
    envelopes: int = 8
    projections: int = 6
    gather_heads: int = 16
    charge: int = 6
    species: int = 9
    attention: str = "plain"
    """plain; fused (one kernel); interpreted (the same kernel, on a CPU)."""

    @property
    def width(self) -> int:
        return self.heads * self.head_width


def orbformer(system: System, shape: Shape) -> Ansatz:
    """Return the Orbformer of a molecule; its tables grow with the largest charge."""
    largest = int(system.charges.max())
    shape = Shape(**{**vars(shape), "charge": max(shape.charge, largest), "species": max(shape.species, largest)})
    leaves = parameters(shape)
    molecule, psi = partial(_molecule, system, shape), partial(_psi, system, shape)
    return Ansatz(lambda key: initialise(key, leaves), molecule, psi)


def parameters(shape: Shape) -> Tree:
    """Return the tree of parameters; it depends on no molecule."""
    edges = (len(NUCLEUS_SHIFTS) + len(NUCLEUS_SCALES)) * 4
    features = (len(ELECTRON_SHIFTS) + len(ELECTRON_SCALES)) * (4 + shape.projections)
    return {
        "species": dense(shape.species, shape.nucleus, bias=False),
        "nuclei": [block_parameters(shape.nucleus, edges)] * shape.blocks,
        "orbital": dense(shape.charge * (shape.charge + 1) // 2, shape.orbital, bias=False),
        "generator": [block_parameters(shape.orbital, edges, shape.nucleus)] * shape.blocks,
        "exponents": Leaf((shape.charge, shape.envelopes)),
        "spin": {spin: _spin_parameters(shape) for spin in SPINS},
        "projection": dense(shape.nucleus, shape.projections * 3, bias=False),
        "features": dense(features, shape.width, bias=False),
        "gate": dense(shape.nucleus, shape.width),
        "embed": dense(shape.width, shape.width),
        "layers": [_layer_parameters(shape)] * shape.layers,
        "jastrow": Leaf((2,), value=float(np.log(np.expm1(1.0)))),
    }


def _spin_parameters(shape: Shape) -> Tree:
    """Of each spin: its embedding, its view of the orbitals, their envelopes, and what makes the readout's weights."""
    readout = shape.width * shape.determinants
    return {
        "embedding": Leaf((shape.width,)),
        "gate": dense(shape.orbital, shape.orbital),
        "coefficients": dense(shape.orbital, shape.envelopes * shape.determinants, bias=False),
        "readout": {"w": Leaf((shape.orbital, readout), (shape.orbital * shape.width) ** -0.5)},
    }


def _layer_parameters(shape: Shape) -> Tree:
    width = shape.width
    slopes = tuple(float(2.0**e) for e in np.linspace(-2, 3, shape.heads))
    layer = {name: dense(width, width, bias=False) for name in ("query", "key", "value", "out")}
    return layer | {"gate": dense(width, width), "mlp": dense(width, width), "slopes": Leaf((shape.heads,), value=slopes)}


def _molecule(system: System, shape: Shape, params: Tree, nuclei: Any, charges: Any) -> Tree:
    """Return what the nuclei alone decide: gates, projections, envelopes and readout weights."""
    import jax
    import jax.numpy as jnp

    with jax.named_scope("nuclei"):
        edges = vector_features(nuclei[:, None] - nuclei[None], NUCLEUS_SHIFTS, NUCLEUS_SCALES)
        x = linear(params["species"], jax.nn.one_hot(charges - 1, shape.species))
        for one in params["nuclei"]:
            x = block(one, x, edges, shape.nucleus_heads)
        x = layer_norm(x, EPSILON)
        projection = linear(params["projection"], x).reshape(-1, shape.projections, 3)
        gate = linear(params["gate"], x) * HALF
    with jax.named_scope("orbital_generator"):
        orbitals = linear(params["orbital"], owners(charges, system.electrons, shape.charge))
        for one in params["generator"]:
            orbitals = block(one, orbitals, edges, shape.orbital_heads, x, _largest_over_nuclei)
        zeta = 0.1 + jax.nn.softplus(jax.nn.one_hot(charges - 1, shape.charge) @ params["exponents"])
        made = {spin: _generated(shape, params["spin"][spin], orbitals) for spin in SPINS}
    gates = {spin: jax.nn.sigmoid(params["spin"][spin]["embedding"] * HALF + gate) for spin in SPINS}
    both = jnp.concatenate([jnp.broadcast_to(gates[s][None], (n, *gate.shape)) for s, n in _counts(system)])
    return {"projection": projection, "gate": both, "zeta": zeta, "spin": made}


def _counts(system: System) -> list[tuple[str, int]]:
    return list(zip(SPINS, (system.up, system.down), strict=True))


def _largest_over_nuclei(variance: Any) -> Any:
    """Variances [..., n_nuclei, 1] replaced by the largest over the nuclei."""
    import jax.numpy as jnp

    return jnp.max(variance, -2, keepdims=True)


def owners(charges: Any, orbitals: int, largest: int) -> Any:
    """Return a one-hot [n_orbitals, n_nuclei, largest (largest + 1) / 2]: a nucleus of charge Z owns Z orbitals, with a row a pair (Z, k).

    Written one orbital an iteration, so that the loop's trip count is known though charges are data.
    """
    import jax
    import jax.numpy as jnp

    ends = jnp.cumsum(charges)
    empty = jnp.zeros((orbitals, charges.shape[0], largest * (largest + 1) // 2))

    def place(orbital: Any, table: Any) -> Any:
        nucleus = jnp.sum(ends <= orbital)
        charge = charges[nucleus]
        return table.at[orbital, nucleus, charge * (charge - 1) // 2 + orbital - (ends[nucleus] - charge)].set(1.0)

    return jax.lax.fori_loop(0, orbitals, place, empty)


def _generated(shape: Shape, params: Tree, orbitals: Any) -> Tree:
    """Return one spin's envelope coefficients [n_orbitals, n_nuclei, envelopes, dets] and readout weights [width, n_orbitals, dets]."""
    import jax
    import jax.numpy as jnp

    gated = orbitals * jax.nn.sigmoid(linear(params["gate"], orbitals))
    coefficients = linear(params["coefficients"], gated) / np.float32(np.sqrt(shape.envelopes))
    readout = linear(params["readout"], jnp.sum(gated, -2)).reshape(-1, shape.width, shape.determinants)
    return {
        "coefficients": coefficients.reshape(*coefficients.shape[:-1], shape.envelopes, shape.determinants),
        "readout": jnp.swapaxes(readout, 0, 1),
    }


def _psi(system: System, shape: Shape, params: Tree, context: Tree, nuclei: Any, r: Any) -> Psi:
    import jax

    with jax.named_scope("features"):
        to_nuclei = r[:, None] - nuclei
        h = _gather(shape, params, context, to_nuclei)
        distances = pair_distances(r)
    for number, layer in enumerate(params["layers"]):
        with jax.named_scope(f"interaction_{number}"):
            h = _layer(shape, layer, h, distances)
    with jax.named_scope("orbitals"):
        orbitals = _orbitals(system, context, h, to_nuclei)
    with jax.named_scope("jastrow"):
        factor = jastrow(exponential, distances, system.spins, jax.nn.softplus(params["jastrow"]))
    with jax.named_scope("determinants"):
        return sum_of_determinants(orbitals, factor)


def _gather(shape: Shape, params: Tree, context: Tree, to_nuclei: Any) -> Any:
    """Return electrons' first features [n_electrons, width], gathered from the nuclei."""
    import jax.numpy as jnp

    features = vector_features(to_nuclei, ELECTRON_SHIFTS, ELECTRON_SCALES, context["projection"])
    gated = linear(params["features"], features) * context["gate"]
    total = jnp.sum(gated.reshape(*gated.shape[:2], shape.gather_heads, -1), 1)
    h = layer_norm(total, EPSILON).reshape(total.shape[0], -1)
    return linear(params["embed"], layer_norm(h, FEATURE_EPSILON))


def _layer(shape: Shape, params: Tree, h: Any, distances: Any) -> Any:
    import jax
    import jax.numpy as jnp

    with jax.named_scope("attention"):
        h = h + _attention(shape, params, layer_norm(h, FEATURE_EPSILON), distances)
    with jax.named_scope("mlp"):
        return h + jnp.tanh(linear(params["mlp"], layer_norm(h, FEATURE_EPSILON)))


def _attention(shape: Shape, params: Tree, x: Any, distances: Any) -> Any:
    import jax

    q, k, v = (heads(linear(params[name], x), shape.heads) for name in ("query", "key", "value"))
    q = q / np.float32(np.sqrt(shape.head_width))
    gate = heads(linear(params["gate"], x), shape.heads)
    bias = _bias(params["slopes"], distances)
    mix = attend if shape.attention == "plain" else partial(attend_fused, interpret=shape.attention == "interpreted")
    mixed = mix(q, k, v, bias)
    return linear(params["out"], (mixed * jax.nn.sigmoid(gate)).reshape(x.shape))


def _bias(slopes: Any, distances: Any) -> Any:
    """Return [n, heads, n]: less attention to what is far away, with a slope of each head's own."""
    import jax
    import jax.numpy as jnp

    fade = -jax.nn.softplus(distances - CUTOFF)  # log_sigmoid(cutoff - d)
    return fade[:, None] - jnp.abs(slopes[None, :, None] * distances[:, None])


def _orbitals(system: System, context: Tree, h: Any, to_nuclei: Any) -> Any:
    """Return [n_determinants, n_electrons, n_orbitals]: up electrons read with the up weights, down with the down ones."""
    import jax.numpy as jnp

    decays = jnp.exp(-context["zeta"] * jnp.sqrt(jnp.sum(to_nuclei * to_nuclei, -1))[..., None])
    parts, start = [], 0
    for spin, count in _counts(system):
        made, rows = context["spin"][spin], slice(start, start + count)
        envelopes = jnp.einsum("ojkd,ijk->dio", made["coefficients"], decays[rows])
        parts.append(jnp.einsum("if,fod->dio", h[rows], made["readout"]) * envelopes)
        start += count
    return jnp.concatenate(parts, 1)
