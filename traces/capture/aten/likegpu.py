"""Makes device `meta` choose as CUDA does: fused attention, multi-tensor optimisers, tensors made on "cuda"."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

from traces.capture.aten.autocast import Weights, autocasting, cast, lower_type
from traces.capture.aten.causal import causal_masks
from traces.capture.aten.fused import rms_norm
from traces.capture.aten.optimisers import optimising
from traces.capture.aten.recurrent import chooser
from traces.errors import CaptureError

FLASH_CAPABILITY = (8, 0)
"""Flash attention needs Ampere or later (ATen/native/transformers/cuda/sdp_utils.cpp, check_sm_version)."""
EFFICIENT_CAPABILITY = (5, 0)
FLASH_WIDTH = 256
"""Largest head (check_head_dim_size_flash)."""


class LikeCuda(TorchFunctionMode):
    """Rewrites calls above the dispatcher, which on `meta` would choose other kernels than on a GPU of this compute capability."""

    def __init__(self, chosen: dict[Any, Any]) -> None:
        super().__init__()
        self.chosen = chosen

    def __torch_function__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None) -> Any:
        kwargs = dict(kwargs or {})
        if func in self.chosen:
            return self.chosen[func](*args, **kwargs)
        if func is Tensor.numpy:
            raise CaptureError(f"the program must not depend on values, but {func.__name__}() takes them to the host: {STAY}")
        for place in (kwargs.get("device"), *(args[1:] if func is Tensor.to else ())):
            _refuse_other_device(place)
        if func is Tensor.cuda:
            return args[0]
        if _is_cuda(kwargs.get("device")):
            kwargs["device"] = torch.device("meta")
        if func is Tensor.to and any(_is_cuda(a) for a in args[1:]):
            args = (args[0], *(torch.device("meta") if _is_cuda(a) else a for a in args[1:]))
        return func(*args, **kwargs)


class Choice:
    """What CUDA runs for functions of ``torch.nn.functional`` that the dispatcher takes apart on other devices."""

    def __init__(self, capability: tuple[int, int], weights: Weights | None = None) -> None:
        self.capability = capability
        self.weights = weights or Weights()
        self.compiled = False
        """Whether a program is traced for Inductor, which takes norms apart and fuses them."""
        self.functions: dict[Any, Any] = {
            F.scaled_dot_product_attention: self.attention,
            F.rms_norm: self.rms_norm,
            F.dropout: self.dropout,
        }

    def recurrent(self) -> dict[Any, Any]:
        """What stands for the functions behind recurrent layers (see recurrent.py)."""
        return {function: chooser(kind, function, self.weights) for kind, function in _RECURRENT.items()}

    def attention(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attn_mask: Tensor | None = None,
        dropout_p: float = 0.0,
        is_causal: bool = False,
        scale: float | None = None,
        enable_gqa: bool = False,
    ) -> Tensor:
        """Flash where its constraints hold, else the memory-efficient kernel, else the unfused form: the order of sdp_utils.cpp."""
        if (lower := lower_type()) is not None:
            query, key, value, attn_mask = cast((query, key, value, attn_mask), lower, self.weights)
        if query.device.type != "cpu" and query.dim() == 4:
            if attn_mask is None and self._flash(query, key, value) and not (is_causal and query.shape[2] != key.shape[2]):
                flash = torch.ops.aten._scaled_dot_product_flash_attention
                attended: Tensor = flash(query, key, value, dropout_p, is_causal, scale=scale)[0]
                return attended
            if key.shape[1] == query.shape[1] and self.capability >= EFFICIENT_CAPABILITY and query.dtype in _EFFICIENT_TYPES:
                return _efficient(query, key, value, attn_mask, dropout_p, is_causal, scale)
        return _ATTENTION(query, key, value, attn_mask, dropout_p, is_causal, scale=scale, enable_gqa=enable_gqa)

    def _flash(self, query: Tensor, key: Tensor, value: Tensor) -> bool:
        half = query.dtype in (torch.float16, torch.bfloat16)
        widths = query.shape[3] <= FLASH_WIDTH and query.shape[3] % 8 == 0 and query.shape[3] == value.shape[3]
        return half and widths and self.capability >= FLASH_CAPABILITY and query.shape[1] % key.shape[1] == 0

    def rms_norm(self, input: Tensor, normalized_shape: Any, weight: Tensor | None = None, eps: float | None = None) -> Tensor:
        """One kernel (see fused.py)."""
        if lower_type() is not None:
            input, weight = cast((input, weight), torch.float32, self.weights)
        if input.device.type == "meta" and not self.compiled:
            return rms_norm(input, normalized_shape, weight, eps)
        return _RMS_NORM(input, normalized_shape, weight, eps)

    def dropout(self, input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
        """One kernel (`native_dropout`, ATen/native/Dropout.cpp) if something, and not everything, is dropped out of place."""
        if input.device.type == "meta" and training and 0 < p < 1 and not inplace:
            dropped: Tensor = torch.native_dropout(input, p, True)[0]
            return dropped
        return _DROPOUT(input, p, training, inplace)


_RECURRENT = {"lstm": torch.lstm, "gru": torch.gru, "rnn_tanh": torch.rnn_tanh, "rnn_relu": torch.rnn_relu}
_ATTENTION, _RMS_NORM, _DROPOUT = F.scaled_dot_product_attention, F.rms_norm, F.dropout
_EFFICIENT_TYPES = (torch.float16, torch.bfloat16, torch.float32)


def _efficient(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, dropout: float, causal: bool, scale: float | None) -> Tensor:
    """The memory-efficient kernel takes a mask as numbers of full shape; row sums are kept for a backward pass only."""
    if mask is not None and mask.dtype == torch.bool:
        mask = torch.zeros_like(mask, dtype=query.dtype).masked_fill(~mask, float("-inf"))
    mask = mask.expand(*query.shape[:3], key.shape[2]) if mask is not None else None
    needs_sums = torch.is_grad_enabled() and any(t.requires_grad for t in (query, key, value))
    efficient = torch.ops.aten._scaled_dot_product_efficient_attention
    attended: Tensor = efficient(query, key, value, mask, needs_sums, dropout, causal, scale=scale)[0]
    return attended


def _refuse_other_device(place: Any) -> None:
    """A capture is for a CUDA GPU: what runs on another accelerator would be other kernels."""
    named = isinstance(place, torch.device) or (isinstance(place, str) and place.partition(":")[0] in _OTHERS)
    kind = str(place).partition(":")[0] if named else ""
    if kind in _OTHERS:
        raise CaptureError(f"a program is captured for a CUDA GPU, but asks for device {kind!r}: use 'cuda', or the device of an argument")


_OTHERS = ("mps", "xpu", "xla", "hpu", "mtia", "privateuseone", "vulkan", "ipu", "ort")
STAY = "keep it a tensor, or take values after the captured function"


def _is_cuda(device: Any) -> bool:
    if isinstance(device, torch.device):
        return device.type == "cuda"
    return isinstance(device, str) and device.partition(":")[0] == "cuda"


_LAUNCHES_NOTHING = (
    *((torch.cuda, name) for name in ("synchronize", "empty_cache", "reset_peak_memory_stats")),
    *((torch.cuda.nvtx, name) for name in ("range_push", "range_pop", "mark")),
)
"""Functions of CUDA's interface that need a GPU and launch nothing."""


@contextmanager
def like_cuda(capability: tuple[int, int]) -> Iterator[Choice]:
    """Run a program on `meta` with the choices that PyTorch makes on a CUDA device; yields these."""
    with ExitStack() as stack:
        choice = Choice(capability, stack.enter_context(autocasting()))
        chosen = choice.functions
        stack.enter_context(optimising())
        for function, chooser in chosen.items():  # functions of torch.nn call each other below the mode
            stack.enter_context(patch.object(F, function.__name__, chooser))
        # below inference mode nothing takes composite operators apart; it launches what runs without gradients
        stack.enter_context(patch.object(torch._C, "_InferenceMode", lambda mode: torch.set_grad_enabled(not mode)))
        stack.enter_context(patch.object(torch.distributions.Distribution, "_validate_args", False))  # checks that read values
        stack.enter_context(causal_masks())
        for owner, name in _LAUNCHES_NOTHING:
            stack.enter_context(patch.object(owner, name, lambda *args, **kwargs: None))
        stack.enter_context(LikeCuda(chosen | choice.recurrent()))
        yield choice
