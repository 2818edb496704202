"""Optimisers that have not stepped yet: they make their state before the trace, so that it shows any step and not the first."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.optim.optimizer import Optimizer, register_optimizer_step_pre_hook
from torch.utils._python_dispatch import _disable_current_modes

from traces.capture.aten.recorder import Recorder


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
        with _disable_current_modes():
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
