"""Capture of PyTorch programs: ATen calls on device `meta`, as the kernels that eager mode launches on a GPU."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from traces.capture.aten.loops import repeat, scan, scope, steps

if TYPE_CHECKING:
    from traces.capture.scopes import StageRules
    from traces.capture.target import CompileTarget
    from traces.trace import Trace

__all__ = ["capture_torch", "is_torch_program", "repeat", "scan", "scope", "steps"]


def capture_torch(
    function: Callable[..., Any],
    args: Sequence[Any] = (),
    kwargs: Mapping[str, Any] | None = None,
    *,
    target: "CompileTarget",
    precision: str | None = None,
    seed: int = 0,
    phase: str | None = None,
    program: str | None = None,
    options: Mapping[str, Any] | None = None,
    stage_rules: "StageRules | None" = None,
) -> "Trace":
    """Run ``function(*args, **kwargs)`` on device `meta` and return the trace of the kernels that eager PyTorch launches on ``target``.

    Parameters
    ----------
    function
        Any function of tensors, a module, or a bound method of one; forward, backward and optimiser steps are seen alike.
    args, kwargs
        Tensors on any device in any pytrees, modules, optimisers. Only shapes, types and strides matter; nothing given is changed.
    target
        The GPU: its compute capability decides which attention kernel runs, its multiprocessors how keys are split.
    precision
        Of FP32 matrix products: 'highest' (full FP32, PyTorch's default, None), or 'high' or 'default' (TF32: allow_tf32).
    seed
        Recorded in the manifest; a capture draws nothing.
    phase
        Phase of kernels that no scope ``phase_...`` names; by default 'forward', 'gradient' (the backward pass) and 'optimizer'.
    program
        Name of the program; by default the function's.
    options
        Recorded in the manifest ('batch' also as its own key).
    stage_rules
        Ordered (stage, regular expression): the first found in a kernel's scope names its stage, where no scope ``stage_...`` does.

    Raises
    ------
    CaptureError
        If the program depends on values (``.item()``), mixes devices, or an argument cannot be moved to `meta`.
    MissingExtra
        If PyTorch is not installed.
    """
    import_torch("capturing a PyTorch program")
    from traces.capture.aten.capture import capture

    written: dict[str, Any] = {"phase": phase, "program": program, "options": options, "stage_rules": tuple(stage_rules or ())}
    return capture(function, args, kwargs or {}, target, precision=precision, seed=seed, **written)


def is_torch_program(function: Callable[..., Any], args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None) -> bool:
    """Tell whether a tensor, module or optimiser of PyTorch is among function and arguments; imports nothing that is not imported."""
    import sys

    if "torch" not in sys.modules:
        return False
    from traces.capture.aten.arguments import has_torch

    return has_torch(function, args, kwargs or {})


def import_torch(needed_for: str) -> None:
    """Import PyTorch. Raises MissingExtra if it is not installed."""
    from traces.errors import MissingExtra

    try:
        import torch  # noqa: F401
    except ImportError as error:
        raise MissingExtra("torch", needed_for) from error
