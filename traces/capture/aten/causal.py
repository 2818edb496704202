"""`nn.Transformer` asks, by its values, whether a mask is the causal one. Without values that is known of masks that it made itself."""

import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

from torch import Tensor
from torch.nn.modules import transformer

from traces.capture.doubts import CaptureWarning

_MADE = "_made_causal"
"""Attribute of the masks that the module's own function has made."""
_make = transformer._generate_square_subsequent_mask


def _made(*args: Any, **kwargs: Any) -> Tensor:
    mask: Tensor = _make(*args, **kwargs)
    setattr(mask, _MADE, True)
    return mask


def _is_causal(mask: Tensor | None, is_causal: bool | None = None, size: int | None = None) -> bool:
    """Answer as the module does, with the kernels of its comparison; a mask of unknown values is taken for the causal one."""
    if is_causal is not None or mask is None:
        return is_causal is True
    compared = _make(mask.size(-2) if size is None else size, device=mask.device, dtype=mask.dtype)
    if mask.size() != compared.size():
        return False
    (mask == compared).all()
    if not hasattr(mask, _MADE):
        warnings.warn(
            f"nn.Transformer asks whether its mask of {tuple(mask.shape)} is causal, by values that a capture does not have: it is taken "
            "for causal; pass is_causal (tgt_is_causal, src_is_causal, ...) to say so yourself",
            CaptureWarning,
            stacklevel=2,
        )
    return True


@contextmanager
def causal_masks() -> Iterator[None]:
    """Let `nn.Transformer` and its parts answer for themselves whether a mask is causal."""
    with ExitStack() as stack:
        stack.enter_context(patch.object(transformer, "_generate_square_subsequent_mask", _made))
        stack.enter_context(patch.object(transformer, "_detect_is_causal_mask", _is_causal))
        yield
