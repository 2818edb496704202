"""Optimisers: on `meta` they take the kernels that they take on CUDA, and those that have not stepped yet make their state before the
trace, so that it shows any step and not the first.
"""

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor
from torch.optim.optimizer import Optimizer, register_optimizer_step_pre_hook
from torch.utils._python_dispatch import _disable_current_modes

from traces.capture.aten.recorder import Recorder

_SHAPELESS = ("_fused_sgd_", "_fused_sgd_.tensor_lr", "_fused_adagrad_", "_fused_adam_.tensor_lr", "_fused_adamw_.tensor_lr")
"""Fused steps that PyTorch has no kernel on `meta` for; they return nothing."""


@contextmanager
def optimising() -> Iterator[None]:
    """Inside, optimisers on `meta` may be multi-tensor, fused and capturable, as on CUDA."""
    from torch.utils import _foreach_utils

    library = torch.library.Library("aten", "IMPL")  # type: ignore[no-untyped-call]
    with ExitStack() as stack:
        stack.callback(library._destroy)
        for name in _SHAPELESS:
            library.impl(name, lambda *args, **kwargs: None, "Meta")  # type: ignore[no-untyped-call]
        for kind in ("foreach_kernels", "fused_kernels", "capturable"):
            getter = f"_get_{kind}_supported_devices"
            for module in (_foreach_utils, *(found for name, found in tuple(sys.modules.items()) if name.startswith("torch.optim."))):
                if hasattr(module, getter):
                    supported = [*getattr(module, getter)(), "meta"]
                    stack.enter_context(patch.object(module, getter, lambda *args, supported=supported, **kwargs: supported))
        yield


@contextmanager
def with_state(recorder: Recorder) -> Iterator[None]:
    """Inside, an optimiser's first step is taken twice: unseen, which makes its state (zeros of the size of all parameters), and seen.

    An optimiser that takes a closure is left alone: its step would run the program again.
    """
    started: set[int] = set()

    def start(optimizer: Optimizer, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if id(optimizer) in started or _has_state(optimizer) or len(args) > 1 or kwargs:
            return
        started.add(id(optimizer))
        with _disable_current_modes(), suppress(RuntimeError):  # what it may not do the step that is seen is refused for
            optimizer.step()
        for place, (parameter, state) in enumerate(optimizer.state.items()):
            for key, value in state.items():
                if isinstance(value, Tensor) and value.device == parameter.device:
                    recorder.memory(value, "parameter", f"{type(optimizer).__name__}.state[{place}].{key}")

    hook = register_optimizer_step_pre_hook(start)
    try:
        yield
    finally:
        hook.remove()


def _has_state(optimizer: Optimizer) -> bool:
    given = (p for group in optimizer.param_groups for p in group["params"] if p.grad is not None)
    return all(torch.is_tensor(p) and p in optimizer.state for p in given)
