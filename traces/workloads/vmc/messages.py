"""Message passing between nuclei, and the features of vectors that it and the electrons start from."""

from collections.abc import Callable, Sequence
from typing import Any

from traces.workloads.vmc.layers import Tree, dense, layer_norm, linear, norm

EPSILON = 1.0
"""Added to the variance where features are normalised: small ones are not scaled up."""

Spread = Callable[[Any], Any] | None


def vector_features(xyz: Any, shifts: Sequence[float], scales: Sequence[float], projection: Any = None) -> Any:
    """Return smooth radial functions of vectors [..., 3], each alone and times the vector (and its projections by [..., k, 3]).

    The radial functions are s exp(-s r) for each scale and sigmoid(a - r) / a for each shift; with k projections there are
    (scales + shifts) * (4 + k) features.
    """
    import jax
    import jax.numpy as jnp

    r = norm(xyz)[..., None]
    radial = jnp.concatenate([*(s * jnp.exp(-s * r) for s in scales), *(jax.nn.sigmoid(a - r) / a for a in shifts)], -1)
    parts = [jnp.ones_like(r), xyz]
    if projection is not None:
        parts.append(jnp.sum(projection * xyz[..., None, :], -1))
    angular = jnp.concatenate(parts, -1)
    return (radial[..., None] * angular[..., None, :]).reshape(*r.shape[:-1], -1)


def block_parameters(width: int, edges: int, node: int = 0) -> Tree:
    """Return the parameters of ``block``; ``node`` is the width of the nodes' own features, 0 for none."""
    leaves: Tree = {"edge": dense(edges, width, bias=False)}
    leaves |= {name: dense(width, width, bias=False) for name in ("sender", "receiver", "mlp")}
    if node:
        leaves |= {name: dense(node, width, bias=False) for name in ("sender_node", "receiver_node")}
    return leaves


def block(params: Tree, x: Any, edges: Any, heads: int, node: Any = None, spread: Spread = None) -> Any:
    """Return x [..., n, width] after a message and a layer; edges [n (receiver), n (sender), k], node [n, m]."""
    import jax.numpy as jnp

    x = x + _message(params, layer_norm(x, EPSILON, spread), edges, heads, node, spread)
    return x + jnp.tanh(linear(params["mlp"], layer_norm(x, EPSILON, spread)))


def _message(params: Tree, x: Any, edges: Any, heads: int, node: Any, spread: Spread) -> Any:
    import jax
    import jax.numpy as jnp

    half = 2**-0.5
    sender, receiver = linear(params["sender"], x) * half, linear(params["receiver"], x) * half
    sent = jnp.tanh(receiver[..., :, None, :] + sender[..., None, :, :])
    if node is not None:
        gate = linear(params["receiver_node"], node)[:, None] + linear(params["sender_node"], node)[None]
        sent = sent * jax.nn.sigmoid(gate * half)
    total = jnp.sum(sent * linear(params["edge"], edges), -2)
    by_head = total.reshape(*total.shape[:-1], heads, -1)
    return layer_norm(by_head, EPSILON, _per_head(spread)).reshape(total.shape)


def _per_head(spread: Spread) -> Spread:
    """Let a function of variances [..., n, 1] act on [..., n, heads, 1]."""
    if spread is None:
        return None
    chosen = spread

    def by_head(variance: Any) -> Any:
        import jax.numpy as jnp

        return jnp.swapaxes(chosen(jnp.swapaxes(variance, -2, -3)), -2, -3)

    return by_head
