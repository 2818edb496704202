"""Where a program meets a device's name: ``cd.capture``."""

import inspect
import os
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jax.export import Exported

    from arch.machine import Machine
    from traces import Trace
    from traces.capture.target import CompileTarget, TpuTarget


def capture(
    function: "Callable[..., Any] | str | os.PathLike[str] | bytes | Exported",
    args: Sequence[Any] = (),
    *,
    kwargs: Mapping[str, Any] | None = None,
    target: "str | Machine | CompileTarget | TpuTarget",
    trip_counts: "Mapping[str, int] | int | None" = None,
    precision: str | None = None,
    x64: bool | None = None,
    seed: int = 0,
) -> "Trace":
    """Return the trace of the kernels of a JAX or PyTorch program on a GPU that need not be there.

    A program with a tensor, module or optimiser of PyTorch among its function and arguments, or one without arrays that names PyTorch, is
    PyTorch's: its ATen calls are captured on `meta` (``traces.capture.aten.capture_torch``). JAX compiles every other one for the GPU.

    Parameters
    ----------
    function
        Any function that ``jax.jit`` takes, or a PyTorch function or module, called as ``function(*args, **kwargs)``; or a program of
        ``jax.export`` for CUDA, as an ``Exported``, its serialised bytes, or a file of them: then without arguments and precision,
        which it holds.
    args, kwargs
        Arrays or ``jax.ShapeDtypeStruct`` in any pytrees, or tensors, modules and optimisers; only shapes and types are used.
    target
        The id of a GPU or TPU in the catalogue such as "a5000" or "tpu-v5e", a machine whose GPU (or TPU) is meant, or a CompileTarget
        of your own.
    trip_counts
        How often loops run whose trip count the compiler cannot know: by the loop's name, or one number for all of them.
    precision
        Matmul precision as ``jax.default_matmul_precision`` takes it, or ``torch.set_float32_matmul_precision``; None is the
        framework's own default, whatever this process has set.
    x64
        Whether 64-bit types are enabled; None is JAX's own default (they are not). PyTorch always has them.
    seed
        Stored in the manifest; capture itself draws nothing.

    Raises
    ------
    CaptureError
        If the arguments do not fit the function, it cannot be compiled or depends on values, a loop's trip count is not known (the
        message names the loop), or ``trip_counts`` or ``x64`` is given for a PyTorch program.
    MissingExtra
        If the extra ``xla-gpu`` (JAX) is not installed.
    MachineError
        If there is no such device.
    """
    from traces.capture import capture as capture_jax
    from traces.capture import capture_exported
    from traces.capture.aten import capture_torch, is_torch_program

    jax_only: dict[str, Any] = {"trip_counts": trip_counts, "x64": x64}
    if is_exported(function):
        _check_no_arguments(args, kwargs, precision)
        return capture_exported(function, target=compile_target(target), seed=seed, **jax_only)
    _check_call(function, args, kwargs)
    assert callable(function)
    if is_torch_program(function, args, kwargs):
        return capture_torch(function, args, kwargs, target=_gpu_of_torch(target, jax_only), precision=precision, seed=seed)
    return capture_jax(function, args, kwargs=kwargs, target=compile_target(target), precision=precision, seed=seed, **jax_only)


def _gpu_of_torch(target: "str | Machine | CompileTarget | TpuTarget", jax_only: Mapping[str, Any]) -> "CompileTarget":
    """Return the GPU that a PyTorch program is captured for. Raises CaptureError for a TPU, and for what is JAX's alone."""
    from traces.capture.target import CompileTarget
    from traces.errors import CaptureError

    if any(value is not None for value in jax_only.values()):
        raise CaptureError(f"{' and '.join(jax_only)} are for JAX programs, but this one is PyTorch's: leave them out")
    gpu = compile_target(target)
    if not isinstance(gpu, CompileTarget):
        raise CaptureError(f"a PyTorch program can be captured for a GPU, but {gpu.id!r} is a TPU: choose a GPU, or JAX")
    return gpu


def is_exported(function: Any) -> bool:
    """Say whether something stands for a program of ``jax.export``: a path, bytes, or an ``Exported``."""
    return isinstance(function, (str, os.PathLike, bytes, bytearray)) or hasattr(function, "mlir_module_serialized")


def _check_no_arguments(args: Any, kwargs: Any, precision: str | None) -> None:
    from traces.errors import CaptureError

    if args or kwargs or precision is not None:
        raise CaptureError("an exported program holds its shapes and its precision: leave args, kwargs and precision out")


def _check_call(function: Any, args: Any, kwargs: Mapping[str, Any] | None) -> None:
    """Refuse what is no function, arguments that are no tuple, and those that do not fit."""
    from traces.errors import CaptureError

    if not callable(function):
        raise CaptureError(f"what is captured must be a function, a module or an exported program, but got {type(function).__name__}")
    if not isinstance(args, (tuple, list)):
        raise CaptureError(f"args must be a tuple of the function's arguments, but got {type(args).__name__}: write args=(x,)")
    try:
        inspect.signature(function).bind(*args, **(kwargs or {}))
    except TypeError as error:
        name = getattr(function, "__name__", type(function).__name__)
        raise CaptureError(
            f"args and kwargs must fit the function {name!r}, but got {len(args)} and {len(kwargs or {})}: {error}"
        ) from error
    except ValueError:  # built in, without a signature
        return


def compile_target(target: "str | Machine | CompileTarget | TpuTarget") -> "CompileTarget | TpuTarget":
    """Return what a compiler must know about ``target``: a device's id, a machine (its GPU), or a CompileTarget itself."""
    from arch.building import machine
    from arch.machine import Machine
    from traces.capture.target import CompileTarget, TpuTarget

    if isinstance(target, CompileTarget | TpuTarget):
        return target
    return (target if isinstance(target, Machine) else machine(target)).target
