"""Operators that are one kernel on CUDA but that device `meta` takes apart: stand-ins of the same name, shapes only.

`rms_norm` is `_fused_rms_norm` where CUDA has it (ATen/native/layer_norm.cpp), and its backward pass `_fused_rms_norm_backward`.
"""

from typing import Any

import torch
from torch import Tensor

from traces.capture.aten.call import CUDA_ONLY


def _forward(input: Tensor, normalized: list[int], weight: Tensor | None) -> tuple[Tensor, Tensor]:
    rows = [*input.shape[: input.dim() - len(normalized)], *(1 for _ in normalized)]
    wide = torch.float32 if input.dtype in (torch.float16, torch.bfloat16) else input.dtype
    return torch.empty_like(input), input.new_empty(rows, dtype=wide)


def _backward(grad: Tensor, input: Tensor, rstd: Tensor, weight: Tensor | None) -> tuple[Tensor, Tensor]:
    return torch.empty_like(input), torch.empty_like(weight) if weight is not None else input.new_empty(0)


_fused = torch.library.custom_op(
    f"{CUDA_ONLY}::_fused_rms_norm",
    _forward,
    mutates_args=(),
    schema="(Tensor input, int[] normalized, Tensor? weight) -> (Tensor, Tensor)",
)
_fused_backward = torch.library.custom_op(
    f"{CUDA_ONLY}::_fused_rms_norm_backward",
    _backward,
    mutates_args=(),
    schema="(Tensor grad, Tensor input, Tensor rstd, Tensor? weight) -> (Tensor, Tensor)",
)
_fused.register_fake(_forward)
_fused_backward.register_fake(_backward)


def _keep(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    ctx.set_materialize_grads(False)  # nobody asks for the gradient of the second result
    ctx.save_for_backward(inputs[0], output[1], inputs[2])


def _differentiate(ctx: Any, grad: Tensor, _: Any) -> tuple[Any, ...]:
    input, rstd, weight = ctx.saved_tensors
    by_input, by_weight = _fused_backward(grad, input, rstd, weight)
    return by_input, None, by_weight if weight is not None else None


_fused.register_autograd(_differentiate, setup_context=_keep)


def rms_norm(input: Tensor, normalized_shape: Any, weight: Tensor | None = None, eps: float | None = None) -> Tensor:
    """Stand for torch.nn.functional.rms_norm on CUDA: one kernel, and one for its backward pass."""
    normed: Tensor = _fused(input, [int(n) for n in normalized_shape], weight)[0]
    return normed
