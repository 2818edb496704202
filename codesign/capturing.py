"""Where a program meets a device's name: ``cd.capture``."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from arch.machine import Machine
    from traces import Trace
    from traces.capture.target import CompileTarget


def capture(
    function: Callable[..., Any],
    args: Sequence[Any] = (),
    *,
    kwargs: Mapping[str, Any] | None = None,
    target: "str | Machine | CompileTarget",
    trip_counts: "Mapping[str, int] | int | None" = None,
    precision: str | None = None,
    x64: bool | None = None,
    seed: int = 0,
) -> "Trace":
    """Compile a JAX function for a GPU that need not be there, and return the trace of its kernels.

    Parameters
    ----------
    function
        Any function that ``jax.jit`` takes, called as ``function(*args, **kwargs)``.
    args, kwargs
        Arrays or ``jax.ShapeDtypeStruct`` in any pytrees; only shapes and types are used.
    target
        The id of a GPU in the catalogue such as "a5000", a machine whose GPU is meant, or a CompileTarget of your own.
    trip_counts
        How often loops run whose trip count the compiler cannot know: by the loop's name, or one number for all of them.
    precision
        Matmul precision as ``jax.default_matmul_precision`` takes it; None is JAX's own default, whatever this process has set.
    x64
        Whether 64-bit types are enabled; None is JAX's own default (they are not).
    seed
        Stored in the manifest; capture itself draws nothing.

    Raises
    ------
    CaptureError
        If the function cannot be compiled, or a loop's trip count is not known (the message names the loop).
    MissingExtra
        If the extra ``xla-gpu`` is not installed.
    MachineError
        If there is no such device.
    """
    from traces.capture import capture as capture_for

    return capture_for(
        function, args, kwargs=kwargs, target=compile_target(target), trip_counts=trip_counts, precision=precision, x64=x64, seed=seed
    )


def compile_target(target: "str | Machine | CompileTarget") -> "CompileTarget":
    """Return what a compiler must know about ``target``: a device's id, a machine (its GPU), or a CompileTarget itself."""
    from arch.build import machine
    from arch.machine import Machine
    from traces.capture.target import CompileTarget

    if isinstance(target, CompileTarget):
        return target
    return (target if isinstance(target, Machine) else machine(target)).target
