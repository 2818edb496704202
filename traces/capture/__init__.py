"""Capture: a JAX function, compiled for a GPU that is not there, as a trace of its kernels."""

import logging
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from traces.capture.job import Job
    from traces.capture.program import ExportedProgram
    from traces.capture.schedule import TripCounts
    from traces.capture.scopes import StageRules
    from traces.capture.target import CompileTarget, TpuTarget
    from traces.trace import Trace

log = logging.getLogger("traces")


def capture(
    function: Callable[..., Any],
    args: Sequence[Any] = (),
    *,
    kwargs: Mapping[str, Any] | None = None,
    target: "CompileTarget | TpuTarget",
    trip_counts: "TripCounts" = None,
    precision: str | None = None,
    x64: bool | None = None,
    seed: int = 0,
    phase: str | None = None,
    program: str | None = None,
    options: Mapping[str, Any] | None = None,
    stage_rules: "StageRules | None" = None,
) -> "Trace":
    """Compile ``function(*args, **kwargs)`` for ``target`` and return the trace of its kernels.

    Parameters
    ----------
    function
        Any function that ``jax.jit`` takes, or a jitted one (its donated and static arguments are honoured).
    args, kwargs
        Its arguments: pytrees of arrays or ``jax.ShapeDtypeStruct``; only shapes and types matter.
    target
        What the compiler must know about the GPU or TPU.
    trip_counts
        How often loops run whose trip count the compiler does not know: a number for all of them, or a mapping from a
        loop's name, or a part of its scope, to a number.
    precision
        Precision of matrix products that do not say their own: 'default', 'high', 'highest'; None is JAX's shipped
        default, whatever this process has set.
    x64
        Whether 64-bit types are on; None is JAX's shipped default, off.
    seed
        Recorded in the manifest; a capture draws nothing.
    phase
        Phase of kernels that no scope ``phase_...`` names.
    program
        Name of the program; by default the function's.
    options
        Recorded in the manifest ('batch' also as its own key).
    stage_rules
        Ordered (stage, regular expression): the first found in a kernel's scope names its stage, where no scope ``stage_...`` does.

    Raises
    ------
    CaptureError
        If the function is not jittable, a loop's trip count is unknown, or this is not Linux.
    MissingExtra
        If the extra 'xla-gpu' is not installed.
    """
    from traces.capture.job import Job
    from traces.capture.program import checked_precision, export_program

    _check(target)
    asked = checked_precision(precision)
    exported, wide = export_program(function, args, kwargs or {}, asked, x64, target.platform)
    name = program or exported.name
    job = Job(target, name, asked, wide, phase, trip_counts, tuple(stage_rules or ()), options, seed)
    return _run(job, exported)


def capture_exported(
    exported: "bytes | str | os.PathLike[str] | Any",
    *,
    target: "CompileTarget | TpuTarget",
    trip_counts: "TripCounts" = None,
    x64: bool | None = None,
    phase: str | None = None,
    program: str | None = None,
    options: Mapping[str, Any] | None = None,
    stage_rules: "StageRules | None" = None,
    seed: int = 0,
) -> "Trace":
    """Capture a program of ``jax.export``: a file or bytes that ``serialize()`` made, or an ``Exported``; see ``capture``.

    It must have been exported with ``platforms=["cuda"]`` (or more) and holds the precision it was traced with. ``x64`` None: on if
    an argument or result is 64 bits wide. Raises CaptureError if it cannot be read, or is for another platform.
    """
    from traces.capture.job import Job
    from traces.capture.program import is_wide, read_exported

    _check(target)
    what, blob = _blob(exported)
    read = read_exported(blob, target.platform, what)
    wide = is_wide(blob) if x64 is None else x64
    job = Job(target, program or read.name, "default", wide, phase, trip_counts, tuple(stage_rules or ()), options, seed)
    return _run(job, read)


def _check(target: "CompileTarget | TpuTarget") -> None:
    """Raise CaptureError where there is no compiler for the target, MissingExtra where it is not installed."""
    from traces.capture.compile import check_platform
    from traces.capture.compile_tpu import check_libtpu

    check_platform(target.platform)
    if target.platform == "tpu":
        check_libtpu()


def _blob(exported: Any) -> tuple[str, bytes]:
    """Return what to call a program, and its bytes."""
    from traces.errors import CaptureError

    if isinstance(exported, (bytes, bytearray)):
        return "the program", bytes(exported)
    if hasattr(exported, "mlir_module_serialized"):
        return "the program", bytes(exported.serialize())
    try:
        return str(exported), Path(exported).read_bytes()
    except OSError as error:
        raise CaptureError(f"a program must be a file that can be read, but {exported}: {error.strerror or error}") from error


def _run(job: "Job", program: "ExportedProgram") -> "Trace":
    """Compile in this process where it can, else in another."""
    from traces.capture.doubts import warn_of_sorts, warn_of_unknown_work

    trace = _compiled(job, program)
    warn_of_unknown_work(trace)
    if job.target.platform == "cuda":
        warn_of_sorts(trace)
    return trace


def _compiled(job: "Job", program: "ExportedProgram") -> "Trace":
    from traces.capture.compile import NoTopology, can_compile_here
    from traces.capture.worker import run_in_worker

    if job.target.platform == "cuda" and can_compile_here():
        try:
            return job.run(program)
        except NoTopology as error:
            log.info("the CUDA plugin does not come up here (%s): compiling in a worker process", error)
    return run_in_worker(job, program)
