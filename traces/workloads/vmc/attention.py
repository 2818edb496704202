"""Attention among the electrons of one walker: plain, or fused into one kernel with a bias of the pairs (folx's Pallas kernels)."""

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

from traces.workloads.vmc.layers import softmax

SHORTEST = 16
"""The fused kernel multiplies tiles of at least 16 rows; sequences are padded to a power of two from here on."""


def heads(x: Any, count: int) -> Any:
    """[n, count * width] as [n, count, width]."""
    return x.reshape(x.shape[0], count, -1)


def attend(q: Any, k: Any, v: Any, bias: Any = None) -> Any:
    """Return softmax(q k + bias) v; q, k, v [n, heads, width], bias [n, heads, n], result [n, heads, width]. q carries the scale."""
    import jax.numpy as jnp

    logits = jnp.einsum("ihd,jhd->ihj", q, k)
    weights = softmax(logits if bias is None else logits + bias)
    return jnp.einsum("ihj,jhd->ihd", weights, v)


def attend_fused(q: Any, k: Any, v: Any, bias: Any, *, interpret: bool) -> Any:
    """Like ``attend``, in one kernel (mhsea) that has a VJP and a forward Laplacian, but no JVP."""
    import jax.numpy as jnp
    from folx.experimental.pallas.attention import multi_head_self_attention

    n = q.shape[0]
    length = padded(n)
    rows = ((0, length - n), (0, 0), (0, 0))
    q, k, v = (jnp.pad(x, rows)[None] for x in (q, k, v))
    bias = jnp.pad(bias, (*rows[:2], (0, length - n)))[None]
    real = jnp.asarray(np.arange(length)[None] < n)
    coordinates = jnp.ones((3 * n, 1), bool)
    call = _interpreted() if interpret else multi_head_self_attention
    return call(q, k, v, real, coordinates, bias)[0, :n]


@cache
def _interpreted() -> Callable[..., Any]:
    """Return folx's fused attention for a CPU. folx's forward Laplacian knows a function by its name and forgets arguments: so one more."""
    import jax
    from folx import register_function
    from folx.experimental.pallas.attention import mhsea_forward_laplacian, multi_head_self_attention

    def interpreted_attention(q: Any, k: Any, v: Any, mask: Any, coordinates: Any, bias: Any) -> Any:
        return multi_head_self_attention(q, k, v, mask, coordinates, bias, interpret=True)

    def forward(arguments: Any, options: Any, sparsity_threshold: int) -> Any:
        q, k, v, mask, coordinates, bias = arguments
        return mhsea_forward_laplacian((q, k, bias, v, mask, coordinates), {"interpret": True}, sparsity_threshold)

    register_function(interpreted_attention.__name__, forward)
    return jax.jit(interpreted_attention)


def padded(n: int) -> int:
    """Return the next power of two from ``n`` on, at least 16."""
    return int(max(SHORTEST, 2 ** int(np.ceil(np.log2(n)))))
