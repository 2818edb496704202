"""Makes device `meta` choose as CUDA does: fused attention, multi-tensor optimisers, tensors made on "cuda"."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

from traces.capture.aten.fused import rms_norm

FLASH_CAPABILITY = (8, 0)
"""Flash attention needs Ampere or later (ATen/native/transformers/cuda/sdp_utils.cpp, check_sm_version)."""
FLASH_WIDTH = 256
"""Largest head (check_head_dim_size_flash)."""


class LikeCuda(TorchFunctionMode):
    """Rewrites calls above the dispatcher, which on `meta` would choose other kernels than on a GPU of this compute capability."""

    def __init__(self, capability: tuple[int, int]) -> None:
        super().__init__()
        self.capability = capability

    def __torch_function__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None) -> Any:
        kwargs = dict(kwargs or {})
        if func is F.scaled_dot_product_attention:
            return self._attention(func, args, kwargs)
        if func in (F.rms_norm, torch.rms_norm) and args[0].device.type == "meta":
            return rms_norm(*args, **kwargs)
        if func is Tensor.cuda:
            return args[0]
        if _is_cuda(kwargs.get("device")):
            kwargs["device"] = torch.device("meta")
        if func is Tensor.to and any(_is_cuda(a) for a in args[1:]):
            args = (args[0], *(torch.device("meta") if _is_cuda(a) else a for a in args[1:]))
        return func(*args, **kwargs)

    def _attention(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Flash where its constraints hold, else the memory-efficient kernel, else the unfused form: the order of sdp_utils.cpp."""
        names = ("query", "key", "value", "attn_mask", "dropout_p", "is_causal")
        given: dict[str, Any] = dict(zip(names, args, strict=False)) | kwargs
        query, key, value = given["query"], given["key"], given["value"]
        mask, dropout, causal = given.get("attn_mask"), given.get("dropout_p", 0.0), given.get("is_causal", False)
        if query.device.type != "meta" or query.dim() != 4:
            return func(*args, **kwargs)
        grouped = key.shape[1] != query.shape[1]
        if mask is None and self._flash(query, key, value) and not (causal and query.shape[2] != key.shape[2]):
            done = torch.ops.aten._scaled_dot_product_flash_attention
            return done(query, key, value, dropout, causal, scale=given.get("scale"))[0]
        if not grouped and self.capability >= (5, 0) and query.dtype in (torch.float16, torch.bfloat16, torch.float32):
            if mask is not None and mask.dtype == torch.bool:
                mask = torch.zeros_like(mask, dtype=query.dtype).masked_fill(~mask, float("-inf"))
            mask = mask.expand(*query.shape[:3], key.shape[2]) if mask is not None else None
            needs_sums = torch.is_grad_enabled() and any(t.requires_grad for t in (query, key, value))
            efficient = torch.ops.aten._scaled_dot_product_efficient_attention
            return efficient(query, key, value, mask, needs_sums, dropout, causal, scale=given.get("scale"))[0]
        return func(*args, **kwargs)

    def _flash(self, query: Tensor, key: Tensor, value: Tensor) -> bool:
        half = query.dtype in (torch.float16, torch.bfloat16)
        widths = query.shape[3] <= FLASH_WIDTH and query.shape[3] % 8 == 0 and query.shape[3] == value.shape[3]
        return half and widths and self.capability >= FLASH_CAPABILITY and query.shape[1] % key.shape[1] == 0


def _is_cuda(device: Any) -> bool:
    if isinstance(device, torch.device):
        return device.type == "cuda"
    return isinstance(device, str) and device.partition(":")[0] == "cuda"


@contextmanager
def like_cuda(capability: tuple[int, int]) -> Iterator[None]:
    """Run a program on `meta` with the choices that PyTorch makes on a CUDA device."""
    from torch.optim import optimizer
    from torch.utils import _foreach_utils

    supported = [*_foreach_utils._get_foreach_kernels_supported_devices(), "meta"]
    with ExitStack() as stack:
        for module in (_foreach_utils, optimizer):
            stack.enter_context(patch.object(module, "_get_foreach_kernels_supported_devices", lambda: supported))
        stack.enter_context(LikeCuda(capability))
        yield
