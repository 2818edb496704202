"""A decoder-only transformer for inference, written for its kernels: eager PyTorch, a cache of keys and values, greedy decoding.

The same functions run for real on the CPU (small shapes) and are captured on `meta`: layers and decoding steps are the loops of
``traces.capture.aten``. Scopes name phases (prefill, decode) and stages (embedding, attention, feed_forward, head).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from traces.capture.aten.loops import SEGMENTS, scan, scope, steps
from traces.workloads.llm_linear import linear
from traces.workloads.llm_parallel import Part, Routing, all_gather, all_reduce, all_to_all
from traces.workloads.llm_shapes import ModelShape

ROPE_BASE = 500000.0
"""Of Llama 3; it does not change what is computed, only the angles."""
EPSILON = 1e-5
HOST_STAGE = "cache"
"""Stage of what a CPU beside the cache of keys and values may do."""

Choice = Sequence[Tensor] | Routing | None
"""For each expert the tokens it gets, int64; where experts are on several ranks, who sends whom what; None: what the router says."""


@dataclass(frozen=True)
class Place:
    """Where the tokens of a call are, and how they are treated: position of the first, angles [tokens, head_dim] or None, tokens of
    each expert, whether attention is fused, and whether that of one token is computed as FlexGen does on a CPU."""

    position: int
    angles: tuple[Tensor, Tensor] | None
    choice: Choice
    fused: bool = True
    on_host: bool = False


def angles(shape: ModelShape, length: int, dtype: torch.dtype = torch.float16) -> tuple[Tensor, Tensor]:
    """Return cosines and sines of rotary positions, each [length, head_dim]."""
    rates = ROPE_BASE ** (-torch.arange(0, shape.head_dim, 2) / shape.head_dim)
    turned = torch.outer(torch.arange(length).float(), rates)
    turned = torch.cat((turned, turned), dim=-1)
    return turned.cos().to(dtype), turned.sin().to(dtype)


def generate(
    weights: dict[str, Any],
    cache: dict[str, Tensor],
    prompt: Tensor,
    rope: tuple[Tensor, Tensor] | None,
    prefill_choice: Choice,
    decode_choice: Choice,
    *,
    shape: ModelShape,
    prompt_length: int,
    tokens: int,
    prefill: bool = True,
    fused: bool = True,
    on_host: bool = False,
    segments: int = SEGMENTS,
) -> Tensor:
    """Return the last token of each sequence, int64 [batch, 1], after ``tokens`` decoding steps.

    Parameters
    ----------
    weights
        Of ``llm_weights.weights``.
    cache
        'keys' and 'values', each [layers / period, period, batch, kv_heads, length, head_dim]; written in place.
    prompt
        int64 [batch, prompt_length]; [batch, 1] without ``prefill``, when the cache holds the prompt already.
    rope
        ``angles`` for all positions; None for learned positions.
    prefill_choice, decode_choice
        Tokens of each expert in a layer of the prefill, and in a layer of a decoding step.
    fused
        Whether attention is one kernel, or two products and a softmax.
    on_host
        Whether the attention of a decoding step is computed in single precision, as on CPUs without FP16 arithmetic.
    """
    with torch.no_grad():
        token = prompt
        if prefill:
            with scope("phase_prefill"):
                token = forward(weights, cache, prompt, _place(0, prompt.shape[1], rope, prefill_choice, fused), shape)

        def step(token: Tensor, position: int) -> Tensor:
            return forward(weights, cache, token, _place(position, 1, rope, decode_choice, fused, on_host), shape)

        with scope("phase_decode"):
            return steps(step, token, range(prompt_length, prompt_length + tokens), name="decode", segments=segments)


def _place(
    position: int, count: int, rope: tuple[Tensor, Tensor] | None, choice: Choice, fused: bool = True, on_host: bool = False
) -> Place:
    end = position + count
    return Place(position, None if rope is None else (rope[0][position:end], rope[1][position:end]), choice, fused, on_host)


def forward(weights: dict[str, Any], cache: dict[str, Tensor], tokens: Tensor, place: Place, shape: ModelShape) -> Tensor:
    """Return the most probable next token, int64 [batch, 1], of tokens int64 [batch, count]; the cache gets their keys and values."""
    with scope("stage_embedding"):
        x = _embedded(tokens, weights["embedding"], shape)
        if "positions" in weights:
            x = x + weights["positions"][place.position : place.position + tokens.shape[1]]

    def layers(x: Tensor, sliced: Any) -> Tensor:
        period, keys, values = sliced
        for number, layer in enumerate(period):
            x = _layer(x, layer, (keys[number], values[number]), place, shape)
        return x

    x = scan(layers, x, (weights["layers"], cache["keys"], cache["values"]), name="layers")
    with scope("stage_head"):
        x = _norm(x[:, -1:], weights["final_norm"])
        logits = linear(x, weights.get("head", weights["embedding"]))
        if _ranks(shape) > 1:
            logits = all_gather(logits[:, 0], _ranks(shape))[:, None]
        return logits.argmax(dim=-1)


def _ranks(shape: ModelShape) -> int:
    """Ranks that share the products."""
    return shape.tensor if isinstance(shape, Part) else 1


def _embedded(tokens: Tensor, table: Tensor, shape: ModelShape) -> Tensor:
    """Look tokens up; those of other ranks count nothing here and are added up."""
    if not isinstance(shape, Part) or shape.tensor == 1:
        return functional.embedding(tokens, table)
    own = tokens - shape.first_token
    elsewhere = (own < 0) | (own >= shape.vocabulary)
    found = functional.embedding(own.masked_fill(elsewhere, 0), table)
    return all_reduce(found.masked_fill(elsewhere[..., None], 0.0))


def _summed(x: Tensor, layer: dict[str, Any], shape: ModelShape) -> Tensor:
    """A linear layer that is split by rows: partial sums of all ranks, added up, and the bias."""
    if _ranks(shape) == 1:
        return linear(x, **_of(layer))
    total = all_reduce(linear(x, layer["weight"]))
    return total + layer["bias"] if "bias" in layer else total


def _layer(x: Tensor, layer: dict[str, Any], cache: tuple[Tensor, Tensor], place: Place, shape: ModelShape) -> Tensor:
    with scope("stage_attention"):
        part = _attention(_norm(x, layer["attention_norm"]), layer, cache, place, shape)
        x = x + (_norm(part, layer["attention_post_norm"]) if shape.post_norms else part)
    with scope("stage_feed_forward"):
        normed = _norm(x, layer["forward_norm"])
        part = _mixture(normed, layer, place.choice, shape) if "experts" in layer else _feed_forward(normed, layer["forward"], shape)
        return x + (_norm(part, layer["forward_post_norm"]) if shape.post_norms else part)


def _norm(x: Tensor, norm: dict[str, Tensor]) -> Tensor:
    if "bias" in norm:
        return functional.layer_norm(x, x.shape[-1:], norm["weight"], norm["bias"], EPSILON)
    return functional.rms_norm(x, x.shape[-1:], norm["weight"], EPSILON)


def _attention(x: Tensor, layer: dict[str, Any], cache: tuple[Tensor, Tensor], place: Place, shape: ModelShape) -> Tensor:
    """Write keys and values of x [batch, count, hidden] to the cache and attend to all positions so far."""
    batch, count, _ = x.shape
    end = place.position + count

    def heads(name: str, number: int) -> Tensor:
        return linear(x, **_of(layer[name])).view(batch, count, number, shape.head_dim).transpose(1, 2)

    query, key, value = heads("query", shape.heads), heads("key", shape.kv_heads), heads("value", shape.kv_heads)
    if place.angles is not None:
        query, key = _rotated(query, *place.angles), _rotated(key, *place.angles)
    keys, values = cache
    if place.on_host:
        with scope(f"stage_{HOST_STAGE}"):
            attended = _on_host(query, key, value, (keys, values), place.position)
        return _summed(attended.transpose(1, 2).reshape(batch, count, shape.width), layer["out"], shape)
    keys[:, :, place.position : end] = key
    values[:, :, place.position : end] = value
    if place.fused:
        grouped = shape.kv_heads != shape.heads
        attended = functional.scaled_dot_product_attention(
            query, keys[:, :, :end], values[:, :, :end], is_causal=count > 1, enable_gqa=grouped
        )
    else:
        attended = _unfused(query, keys[:, :, :end], values[:, :, :end])
    return _summed(attended.transpose(1, 2).reshape(batch, count, shape.width), layer["out"], shape)


def _on_host(query: Tensor, key: Tensor, value: Tensor, cache: tuple[Tensor, Tensor], position: int) -> Tensor:
    """Append to the cache and attend in single precision: FlexGen (pytorch_backend.py, mha_gen) converts keys and values for that."""
    keys, values = cache
    end = position + query.shape[2]
    keys[:, :, position:end] = key
    values[:, :, position:end] = value
    return _unfused(query.float(), keys[:, :, :end].float(), values[:, :, :end].float()).to(query.dtype)


def _unfused(query: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """Attend by two products and a softmax; heads that share a key are rows of one product."""
    batch, heads, count, width = query.shape
    scaled = (query * width**-0.5).reshape(batch, keys.shape[1], -1, width)
    scores = torch.matmul(scaled, keys.transpose(2, 3))
    if count > 1:
        hidden = torch.full((count, keys.shape[2]), float("-inf"), dtype=query.dtype, device=query.device).triu(1)
        scores = (scores.view(batch, heads, count, -1) + hidden).view_as(scores)
    return torch.matmul(scores.softmax(dim=-1), values).view(batch, heads, count, width)


def _rotated(x: Tensor, cosines: Tensor, sines: Tensor) -> Tensor:
    half = x.shape[-1] // 2
    return x * cosines + torch.cat((-x[..., half:], x[..., :half]), dim=-1) * sines


def _of(layer: dict[str, Any]) -> dict[str, Any]:
    return {"matrix": layer["weight"], "bias": layer.get("bias")}


def _feed_forward(x: Tensor, weights: dict[str, Any], shape: ModelShape) -> Tensor:
    return _summed(_wide(x, weights, shape), weights["down"], shape)


def _wide(x: Tensor, weights: dict[str, Any], shape: ModelShape) -> Tensor:
    """Return what the last matrix of a feed-forward part is multiplied with."""
    activations: dict[str, Callable[[Tensor], Tensor]] = {"silu": functional.silu, "gelu": functional.gelu, "relu": functional.relu}
    activation = activations[shape.activation]
    wide = linear(x, **_of(weights["up"]))
    return activation(linear(x, **_of(weights["gate"]))) * wide if shape.gated else activation(wide)


def _expert(x: Tensor, weights: dict[str, Any], shape: ModelShape) -> Tensor:
    """An expert, on this rank alone: ranks that share its products add their partial sums up behind all experts (which have no bias)."""
    return linear(_wide(x, weights, shape), **_of(weights["down"]))


def _mixture(x: Tensor, layer: dict[str, Any], choice: Choice, shape: ModelShape) -> Tensor:
    """Each token through its experts, weighted by the router's softmax: one expert after the other, those without tokens not at all."""
    flat = x.reshape(-1, shape.hidden)
    shares = functional.softmax(linear(flat, **_of(layer["router"])), dim=-1)
    best, chosen = shares.topk(shape.top_k, dim=-1)
    if isinstance(choice, Routing):
        in_order = best.gather(1, chosen.argsort(dim=-1))
        return _exchanged(flat, in_order, choice, layer["experts"], shape).view_as(x)
    mixed = torch.zeros_like(flat)
    for number, expert in enumerate(layer["experts"], start=shape.first_expert if isinstance(shape, Part) else 0):
        tokens = (chosen == number).any(dim=-1).nonzero()[:, 0] if choice is None else choice[number]
        if not tokens.shape[0]:
            continue
        part = _expert(flat[tokens], expert, shape)
        share = shares[tokens, number] / best[tokens].sum(dim=-1)
        mixed.index_add_(0, tokens, part * share[:, None])
    return (all_reduce(mixed) if _ranks(shape) > 1 else mixed).view_as(x)


def _exchanged(flat: Tensor, best: Tensor, routing: Routing, experts: Sequence[dict[str, Any]], shape: ModelShape) -> Tensor:
    """Send each token to its experts' ranks, run the rank's own experts on what comes, send it back and add up by ``best`` shares."""
    sent = flat[routing.order // shape.top_k]
    got = all_to_all(sent, routing.sends, routing.gets)[routing.arrange]
    parts = [_expert(of, expert, shape) for of, expert in zip(torch.split(got, list(routing.counts)), experts, strict=True) if of.shape[0]]
    came = all_to_all(torch.cat(parts)[routing.restore], routing.gets, routing.sends)[routing.back]
    shares = best / best.sum(dim=-1, keepdim=True)
    return (came.view(flat.shape[0], shape.top_k, -1) * shares[..., None]).sum(dim=1)
