"""Layers as functions of parameters, and how parameters are made.

Parameters are nested dictionaries of arrays. A model states its own as a tree of ``Leaf`` (a shape and how to draw it).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

Tree = dict[str, Any]


@dataclass(frozen=True)
class Leaf:
    """An array of parameters: normal with mean 0 and this scale, or, where ``value`` is given, that value everywhere."""

    shape: tuple[int, ...]
    scale: float = 1.0
    value: Any = None


def dense(inputs: int, outputs: int, bias: bool = True) -> Tree:
    """Return the parameters of ``linear``: weights of variance 1 / inputs, a bias of zero."""
    weights = {"w": Leaf((inputs, outputs), 1 / math.sqrt(inputs))}
    return weights | ({"b": Leaf((outputs,), value=0.0)} if bias else {})


def initialise(key: Any, leaves: Tree) -> Tree:
    """Draw all parameters, float (JAX's default width)."""
    import jax

    flat, tree = jax.tree.flatten(leaves, is_leaf=lambda x: isinstance(x, Leaf))
    keys = jax.random.split(key, len(flat))
    made: Tree = jax.tree.unflatten(tree, [_draw(k, leaf) for k, leaf in zip(keys, flat, strict=True)])
    return made


def _draw(key: Any, leaf: Leaf) -> Any:
    import jax
    import jax.numpy as jnp

    if leaf.value is None:
        return leaf.scale * jax.random.normal(key, leaf.shape)
    return jnp.broadcast_to(jnp.asarray(leaf.value, float), leaf.shape)


def linear(params: Tree, x: Any) -> Any:
    """x @ w, plus b where there is one; x is [..., inputs]."""
    y = x @ params["w"]
    return y + params["b"] if "b" in params else y


def layer_norm(x: Any, epsilon: float, spread: Callable[[Any], Any] | None = None) -> Any:
    """Centre the last axis and divide by sqrt(variance + epsilon); no parameters. ``spread`` changes the variance [..., 1] first."""
    import jax
    import jax.numpy as jnp

    centred = x - jnp.mean(x, -1, keepdims=True)
    variance = jnp.mean(centred * centred, -1, keepdims=True)
    return centred * jax.lax.rsqrt((spread(variance) if spread else variance) + epsilon)


def softmax(x: Any) -> Any:
    """Softmax over the last axis in operations that a forward Laplacian knows one by one."""
    import jax
    import jax.numpy as jnp

    weights = jnp.exp(x - jax.lax.stop_gradient(jnp.max(x, -1, keepdims=True)))
    return weights / jnp.sum(weights, -1, keepdims=True)


def norm(x: Any) -> Any:
    """Euclidean length of the last axis."""
    import jax.numpy as jnp

    return jnp.sqrt(jnp.sum(x * x, -1))


def pair_distances(r: Any) -> Any:
    """Return distances of all electrons [n, n], zero on the diagonal with derivative zero."""
    import jax.numpy as jnp

    same = np.eye(r.shape[0], dtype=np.float32)
    apart = r[:, None] - r[None]
    return jnp.sqrt(jnp.sum(apart * apart, -1) + same) * (1 - same)
