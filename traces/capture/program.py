"""A user's function as a portable program: traced and exported for CUDA, with names for what goes in and out.

Capture always goes through ``jax.export``: the program that is compiled is then the same whether this process compiles it or
another one. Matrix precision and 64-bit types are set for the tracing only, in this thread; JAX's configuration and the
environment stay as they are.
"""

import inspect
import logging
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

from traces.capture import pallas
from traces.capture.doubts import LeakWatch
from traces.capture.pallas import PallasWork
from traces.errors import CaptureError, MissingExtra, nearest

PRECISIONS = ("default", "high", "highest")


@dataclass(frozen=True)
class ExportedProgram:
    """A serialised ``jax.export.Exported`` and what its flat arguments and results are called.

    ``kept`` are the flat arguments that the program uses, ``donated`` those whose memory the caller gives away, ``pallas`` what its
    kernels in Pallas do.
    """

    blob: bytes
    parameters: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    kept: tuple[int, ...] = ()
    donated: tuple[int, ...] = ()
    name: str = "program"
    pallas: tuple[PallasWork, ...] = ()


@contextmanager
def numerics(precision: str, x64: bool) -> Iterator[None]:
    """Set what a capture depends on, for this thread and block: all else a process may have set does not matter."""
    import jax

    with ExitStack() as stack:
        stack.enter_context(jax.default_matmul_precision(precision))
        stack.enter_context(jax.enable_x64(x64))
        stack.enter_context(jax.disable_jit(False))
        stack.enter_context(jax.debug_nans(False))
        stack.enter_context(jax.debug_infs(False))
        yield


def checked_precision(precision: str | None) -> str:
    """Return the precision, JAX's shipped one for None. Raises CaptureError for an unknown name."""
    if precision is None:
        return "default"
    if precision not in PRECISIONS:
        raise CaptureError(f"precision must be one of {', '.join(PRECISIONS)}, but got {precision!r}; {nearest(precision, PRECISIONS)}")
    return precision


def export_program(
    function: Callable[..., Any],
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    precision: str,
    x64: bool | None,
    platform: str = "cuda",
) -> tuple[ExportedProgram, bool]:
    """Trace and export a function; returns the program and whether 64-bit types were on.

    Raises
    ------
    CaptureError
        If the function cannot be traced, or takes 64-bit arrays without x64 being said.
    MissingExtra
        Without flatbuffers, which the export format needs.
    """
    wide = _wide(args, kwargs, x64)
    _need_flatbuffers("capturing a GPU program")
    with numerics(precision, wide), _no_gpu_is_no_error():
        return _exported(function, _shapes(args), _shapes(dict(kwargs)), platform), wide


@contextmanager
def _no_gpu_is_no_error() -> Iterator[None]:
    """Keep JAX from printing a traceback when it first looks for a GPU and finds none: a capture needs none."""

    def is_news(record: logging.LogRecord) -> bool:
        return not str(record.msg).startswith("Jax plugin configuration error")

    bridge = logging.getLogger("jax._src.xla_bridge")
    bridge.addFilter(is_news)
    try:
        yield
    finally:
        bridge.removeFilter(is_news)


def _wide(args: Sequence[Any], kwargs: Mapping[str, Any], x64: bool | None) -> bool:
    import jax

    if x64 is None:
        for leaf in jax.tree_util.tree_leaves((tuple(args), dict(kwargs))):
            if isinstance(leaf, jax.Array) and str(leaf.dtype) in ("float64", "int64", "uint64", "complex128"):
                raise CaptureError(
                    f"x64 must be said where an argument is 64 bits wide, but one is {leaf.dtype}{list(leaf.shape)}: pass x64=True to "
                    "capture with 64-bit types, or x64=False to capture with 32-bit ones (JAX's default)"
                )
    return bool(x64)


def shaped(shape: Sequence[int], dtype: Any, weak_type: bool = False) -> Any:
    """Return a ``jax.ShapeDtypeStruct``, whose constructor has no types."""
    import jax

    make: Callable[..., Any] = jax.ShapeDtypeStruct
    return make(shape, dtype, weak_type=weak_type)


def _shapes(tree: Any) -> Any:
    """Replace arrays by their shapes: a capture keeps no data alive, and a device's placement does not matter."""
    import jax
    import numpy as np

    def shape(leaf: Any) -> Any:
        if isinstance(leaf, (jax.Array, np.ndarray)):
            return shaped(leaf.shape, leaf.dtype, bool(getattr(leaf, "weak_type", False)))
        if isinstance(leaf, jax.ShapeDtypeStruct):
            return shaped(leaf.shape, leaf.dtype, bool(leaf.weak_type))
        return leaf

    return jax.tree_util.tree_map(shape, tree)


def _exported(function: Callable[..., Any], args: Any, kwargs: dict[str, Any], platform: str) -> ExportedProgram:
    import jax
    from jax import export

    watch = LeakWatch(function)
    jitted = function if hasattr(function, "trace") and hasattr(function, "lower") else jax.jit(watch.named())
    with _explained(function):
        traced = jitted.trace(*args, **kwargs)
    watch.warn(_name_of(function))
    infos = jax.tree_util.tree_flatten_with_path(traced.args_info)[0]
    names = _parameter_names(function, args, [path for path, _ in infos])
    donated = tuple(i for i, (_, info) in enumerate(infos) if info.donated)
    name = _name_of(function)
    anything = export.DisabledSafetyCheck.custom_call("ALL")
    flat = jax.jit(_flat(traced.jaxpr, name))
    try:
        with _explained(function):
            exported = export.export(flat, platforms=[platform], disabled_checks=[anything])(*traced.jaxpr.in_avals)
    except (NotImplementedError, ValueError) as error:
        raise CaptureError(
            "a captured function must be one program for the device, without host callbacks such as jax.debug.print, "
            f"but JAX says of {name!r}: {error}"
        ) from error
    kept = tuple(exported.module_kept_var_idx)
    work = pallas.kernels(traced.jaxpr.jaxpr)
    return ExportedProgram(bytes(exported.serialize()), names, _output_names(traced.out_info), kept, donated, name, work)


def _flat(jaxpr: Any, name: str) -> Callable[..., Any]:
    """Return a traced program as a function of arrays: classes of a user's own pytrees need not be serialised."""
    from jax.extend.core import jaxpr_as_fun

    run = jaxpr_as_fun(jaxpr)

    def flat(*leaves: Any) -> Any:
        return run(*leaves)

    flat.__name__ = name
    return flat


@contextmanager
def _explained(function: Callable[..., Any]) -> Iterator[None]:
    """Turn JAX's errors about functions that cannot be traced into ones that say what to do."""
    import jax

    try:
        yield
    except (jax.errors.JAXTypeError, jax.errors.JAXIndexError, jax.errors.UnexpectedTracerError) as error:
        raise CaptureError(
            f"a captured function must be jittable, but {_name_of(function)!r} looks at the values of its arguments: use jax.lax.cond, "
            "jax.lax.while_loop or jax.numpy instead of Python's if, while, float() and numpy, or close over what is constant. "
            f"JAX says: {error}"
        ) from error
    except RuntimeError as error:
        asked = next((what for sign, what in _ASKED_LIBRARIES.items() if sign in str(error)), None)
        if asked is None:
            raise
        raise CaptureError(f"a capture runs without a GPU's libraries, but {_name_of(function)!r} asks for {asked}") from error
    except ValueError as error:
        if not _asks_for_devices(error):
            raise
        raise CaptureError(
            f"a captured function must be a program of one device, but {_name_of(function)!r} asks for several: capture what jax.pmap or "
            f"jax.shard_map map, with one device's share of the arguments. JAX says: {error}"
        ) from error
    except TypeError as error:
        if not any(part in str(error) for part in ("valid JAX type", "non-array argument", "JAX array")):
            raise
        raise CaptureError(
            f"arguments and results of a captured function must be arrays (or pytrees of them), but {_name_of(function)!r} has others: "
            f"close over what is no array, or mark it with jax.jit(..., static_argnames=...). JAX says: {error}"
        ) from error


_ASKED_LIBRARIES = {
    "cuDNN not found": (
        "cuDNN when it is traced (dot_product_attention with implementation='cudnn'): use implementation='xla', or a kernel in Pallas"
    ),
    "cusolverGetVersion": (
        "cuSOLVER's version when it is lowered (jax.numpy.linalg.eig): use jax.numpy.linalg.eigh where the matrix is symmetric, or compute "
        "the eigenvalues outside of what is captured"
    ),
}
"""What JAX says where it calls a library before there is a program, and what asks for that."""


def _asks_for_devices(error: ValueError) -> bool:
    """Say whether a mesh, or jax.pmap, has more devices than there are.

    Of pmap JAX says that an axis cannot be squeezed, as of ``squeeze``, whose frame it leaves in the traceback.
    """
    if "Number of devices" in str(error):
        return True
    frames = traceback.extract_tb(error.__traceback__)
    return "axis to squeeze out" in str(error) and "/jax/" not in frames[-1].filename


def _name_of(function: Callable[..., Any]) -> str:
    return str(getattr(function, "__name__", None) or type(function).__name__)


def _parameter_names(function: Callable[..., Any], args: Sequence[Any], paths: list[Any]) -> tuple[str, ...]:
    """Name each flat argument by the function's own parameter and the path into it: ``params['w']``."""
    import jax

    positional = _signature_names(function, args)
    names = []
    for path in paths:
        if path[0].idx == 0 and len(path) > 1:
            head, rest = positional[path[1].idx] if path[1].idx < len(positional) else f"args[{path[1].idx}]", path[2:]
        else:
            head, rest = str(path[1].key), path[2:]
        names.append(head + jax.tree_util.keystr(rest))
    return tuple(names)


def _signature_names(function: Callable[..., Any], args: Sequence[Any]) -> list[str]:
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):
        return []
    plain = [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    return plain if len(plain) >= len(args) else plain + [f"args[{i}]" for i in range(len(plain), len(args))]


def _output_names(tree: Any) -> tuple[str, ...]:
    """Name each flat result by its path: ``output``, ``output[0]['energy']``."""
    import jax

    return tuple("output" + jax.tree_util.keystr(path) for path, _ in jax.tree_util.tree_flatten_with_path(tree)[0])


def _need_flatbuffers(what: str) -> None:
    """Raise MissingExtra without flatbuffers, which jax.export's format needs and JAX itself does not bring."""
    try:
        import flatbuffers  # noqa: F401
    except ImportError as error:
        raise MissingExtra("xla-gpu", what) from error


def deserialised(blob: bytes, what: str = "the program") -> Any:
    """Return the ``jax.export.Exported`` of serialised bytes. Raises CaptureError if they are none; MissingExtra without flatbuffers."""
    _need_flatbuffers("reading a program of jax.export")
    from jax import export

    try:
        found = export.deserialize(bytearray(blob))
        found.mlir_module()  # truncated bytes may only show here
    except Exception as error:
        raise CaptureError(
            f"{what} must be what jax.export's serialize() returns, whole and by a version of JAX that fits, but its {len(blob):,} bytes "
            f"cannot be read: {str(error).strip()[:200] or type(error).__name__}"
        ) from error
    return found


def read_exported(blob: bytes, platform: str = "cuda", what: str = "the program") -> ExportedProgram:
    """Describe a program that was exported elsewhere.

    Raises CaptureError if it is none, was not exported for the platform, is for several devices, or has sizes that are not fixed.
    """
    from jax.tree_util import tree_unflatten

    exported = deserialised(blob, what)
    if platform not in exported.platforms:
        given = ", ".join(exported.platforms)
        raise CaptureError(
            f"{what} must be exported for {platform}, but is for {given}: export it again with "
            f"jax.export.export(f, platforms=[{platform!r}])"
        )
    if exported.nr_devices != 1:
        raise CaptureError(f"{what} must run on one device, but was exported for {exported.nr_devices}: export it without shardings")
    _check_sizes(exported.in_avals, what)
    outputs = _output_names(tree_unflatten(exported.out_tree, range(len(exported.out_avals))))
    return ExportedProgram(blob, _argument_names(exported), outputs, tuple(exported.module_kept_var_idx), (), exported.fun_name)


def _check_sizes(avals: Sequence[Any], what: str) -> None:
    for number, aval in enumerate(avals):
        if not all(isinstance(size, int) for size in aval.shape):
            raise CaptureError(
                f"{what} must have fixed sizes, but its argument {number} is {aval.dtype}[{', '.join(map(str, aval.shape))}]: export it "
                "with arguments of numbers, not of jax.export.symbolic_shape"
            )


def _argument_names(exported: Any) -> tuple[str, ...]:
    """Name each flat argument by its path: ``args[0]['w']``, or a keyword's name."""
    import jax

    args, kwargs = jax.tree_util.tree_unflatten(exported.in_tree, range(len(exported.in_avals)))
    paths = jax.tree_util.tree_flatten_with_path(args)[0]
    named = jax.tree_util.tree_flatten_with_path(kwargs)[0]
    return tuple("args" + jax.tree_util.keystr(path) for path, _ in paths) + tuple(
        str(path[0].key) + jax.tree_util.keystr(path[1:]) for path, _ in named
    )


def is_wide(blob: bytes) -> bool:
    """Say whether a serialised program takes or gives 64-bit arrays."""
    exported = deserialised(blob)
    wide = ("float64", "int64", "uint64", "complex128")
    return any(str(aval.dtype) in wide for aval in (*exported.in_avals, *exported.out_avals))
