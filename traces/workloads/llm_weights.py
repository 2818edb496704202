"""Weights of a language model: layers stacked along dimension 0, in 16 bits or quantised.

Quantised linear layers (weights only; embedding, output layer, router and norms stay in 16 bits) hold codes of 8, 4 or 2 bits in bytes,
the first code of a byte lowest, and scales in 16 bits:

=========  =======================  =====================================================================================
dtype      bits a weight            scales
=========  =======================  =====================================================================================
int8       8                        one a row (LLM.int8 and its followers: arXiv 2208.07339)
int4       4                        one a row and 128 columns (GPTQ, arXiv 2210.17323; AWQ, arXiv 2306.00978)
ternary    2 (-1, 0, 1)             one a matrix (BitNet b1.58, arXiv 2402.17764)
=========  =======================  =====================================================================================
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from traces.workloads.llm_parallel import Part
from traces.workloads.llm_shapes import ModelShape

BITS = {"int8": 8, "int4": 4, "ternary": 2}
ZERO = {8: 128, 4: 8, 2: 1}
"""The code that stands for zero."""
GROUP = 128
"""Columns that share a scale in int4."""
ACTIVATIONS = torch.float16

Make = Callable[[str, tuple[int, ...], torch.dtype], Tensor]


class Quantized(NamedTuple):
    """Codes uint8 [..., rows, columns x bits / 8] and scales float16 [..., rows or 1, groups]."""

    codes: Tensor
    scales: Tensor


Matrix = Tensor | Quantized


def on_meta(name: str, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    """Make a tensor that has a shape and nothing else."""
    return torch.empty(shape, dtype=dtype, device="meta")


def normal(seed: int, dtype: torch.dtype = ACTIVATIONS) -> Make:
    """Return a maker of real weights: norms one, biases zero, the rest drawn with deviation 1 / sqrt(columns)."""
    generator = torch.Generator().manual_seed(seed)

    def make(name: str, shape: tuple[int, ...], asked: torch.dtype) -> Tensor:
        if asked == torch.uint8:
            return torch.randint(0, 256, shape, generator=generator, dtype=asked)
        if name.endswith("norm"):
            return torch.ones(shape, dtype=dtype)
        if name.endswith("bias"):
            return torch.zeros(shape, dtype=dtype)
        drawn: Tensor = torch.randn(shape, generator=generator) / shape[-1] ** 0.5
        return drawn.to(dtype)

    return make


def weights(shape: ModelShape, dtype: str, make: Make = on_meta) -> dict[str, Any]:
    """Return all weights: 'embedding', 'positions', 'layers' (a list of the period's layers, each stacked), 'final_norm', 'head'."""
    made: dict[str, Any] = {"embedding": make("embedding", (shape.vocabulary, shape.hidden), ACTIVATIONS)}
    if shape.positions == "learned":
        made["positions"] = make("positions", (shape.positions_up_to, shape.hidden), ACTIVATIONS)
    mixed = [bool(shape.moe_every) and at == shape.period - 1 for at in range(shape.period)]
    made["layers"] = [_layer(shape, dtype, mixture, make) for mixture in mixed]
    made["final_norm"] = _norm(shape, (), make)
    if not shape.tied:
        made["head"] = make("head", (shape.vocabulary, shape.hidden), ACTIVATIONS)
    return made


def _layer(shape: ModelShape, dtype: str, mixture: bool, make: Make) -> dict[str, Any]:
    stack = (shape.layers // shape.period,)
    layer: dict[str, Any] = {name: _norm(shape, stack, make) for name in ("attention_norm", "forward_norm")}
    if shape.post_norms:
        layer |= {name: _norm(shape, stack, make) for name in ("attention_post_norm", "forward_post_norm")}
    for name, rows in (("query", shape.width), ("key", shape.kv_width), ("value", shape.kv_width)):
        layer[name] = _linear(shape, dtype, name, stack, rows, shape.hidden, make)
    layer["out"] = _linear(shape, dtype, "out", stack, shape.hidden, shape.width, make)
    if mixture:
        routed = shape.whole_experts if isinstance(shape, Part) else shape.experts
        layer["router"] = {"weight": make("router", (*stack, routed, shape.hidden), ACTIVATIONS)}
        width = shape.expert_width if isinstance(shape, Part) else shape.feed_forward
        layer["experts"] = [_forward(shape, dtype, stack, width, make) for _ in range(shape.experts)]
    else:
        layer["forward"] = _forward(shape, dtype, stack, shape.feed_forward, make)
    return layer


def _forward(shape: ModelShape, dtype: str, stack: tuple[int, ...], width: int, make: Make) -> dict[str, Any]:
    wide = ("gate", "up") if shape.gated else ("up",)
    made = {name: _linear(shape, dtype, name, stack, width, shape.hidden, make) for name in wide}
    return made | {"down": _linear(shape, dtype, "down", stack, shape.hidden, width, make)}


def _norm(shape: ModelShape, stack: tuple[int, ...], make: Make) -> dict[str, Tensor]:
    made = {"weight": make("norm", (*stack, shape.hidden), ACTIVATIONS)}
    return made | ({"bias": make("bias", (*stack, shape.hidden), ACTIVATIONS)} if shape.norm == "layer" else {})


def _linear(shape: ModelShape, dtype: str, name: str, stack: tuple[int, ...], rows: int, columns: int, make: Make) -> dict[str, Any]:
    made: dict[str, Any] = {"weight": _matrix(dtype, name, stack, rows, columns, make)}
    return made | ({"bias": make("bias", (*stack, rows), ACTIVATIONS)} if shape.bias else {})


def _matrix(dtype: str, name: str, stack: tuple[int, ...], rows: int, columns: int, make: Make) -> Matrix:
    if dtype == "fp16":
        whole: Tensor = make(name, (*stack, rows, columns), ACTIVATIONS)
        return whole
    codes = make(name, (*stack, rows, columns * BITS[dtype] // 8), torch.uint8)
    return Quantized(codes, make(name, (*stack, *_scales(dtype, rows, columns)), ACTIVATIONS))


def _scales(dtype: str, rows: int, columns: int) -> tuple[int, int]:
    return {"int8": (rows, 1), "int4": (rows, max(columns // GROUP, 1)), "ternary": (1, 1)}[dtype]


def unpacked(codes: Tensor, scales: Tensor, bits: int, dtype: torch.dtype) -> Tensor:
    """Return the matrix [rows, columns] of codes of ``bits`` bits."""
    parts = (codes[..., None].to(torch.int16) >> (bits * torch.arange(8 // bits))) & (2**bits - 1)
    values = (parts.reshape(codes.shape[0], -1) - ZERO[bits]).to(dtype)
    spread = scales.to(dtype).repeat_interleave(values.shape[1] // scales.shape[1], dim=1)
    matrix: Tensor = values * spread
    return matrix
