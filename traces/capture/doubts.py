"""What a capture's user should know: work that nobody counted, and side effects that a trace does not hold."""

import functools
import gc
import warnings
import weakref
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from traces.trace import Trace

_NAMED = 5
SORTED_BY_CUB = 16384
"""Elements from which XLA rewrites a sort as a call of CUB (xla/backends/gpu/transforms/sort_rewriter.cc)."""
NOTICED = 0.01
"""Share of a program's bytes below which a warning would be louder than what it is about."""


class CaptureWarning(UserWarning):
    """Something in a captured program that its reader should know."""


def warn_of_unknown_work(trace: "Trace") -> None:
    """Warn (CaptureWarning) of kernels whose FLOP are null, naming the routine or kernel that no rule knows."""
    kernels = trace.kernels
    unknown = np.flatnonzero(np.isnan(kernels["flops_matrix"]) & np.isnan(kernels["flops_vector"]))
    if not len(unknown):
        return
    names = Counter(str(kernels["library"][k] or kernels["name"][k]) for k in unknown)
    shown = ", ".join(f"{name} ({count})" for name, count in names.most_common(_NAMED))
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    warnings.warn(
        f"{trace.program}: there is no rule for the FLOP of {shown}{more}: the work of {len(unknown)} of {len(kernels)} kernels is unknown "
        "(null) in the trace",
        CaptureWarning,
        stacklevel=4,
    )


def warn_of_sorts(trace: "Trace") -> None:
    """Warn (CaptureWarning) of large sorts that XLA made itself: where the GPU is, it calls CUB, and asks it how much scratch memory."""
    kernels = trace.kernels
    large = kernels["bytes_unique"] > SORTED_BY_CUB * 2 * 4  # read and written, of the smallest types that are sorted often
    own = np.flatnonzero((kernels["family"] == "sort") & (kernels["launch_kind"] == "fusion") & large)
    moved = np.nan_to_num(kernels["bytes_unique"]) * trace.executions
    if moved[own].sum() > NOTICED * moved.sum():
        warnings.warn(
            f"{trace.program}: {len(own)} kernels sort in XLA's own way, step by step; where the GPU is, it calls CUB's radix sort "
            "for rows of plain keys, with or without values, which is several times faster",
            CaptureWarning,
            stacklevel=4,
        )


def _belongs(tracer: Any, traces: list[Any]) -> bool:
    """Say whether a tracer is of one of these tracings, or of one inside it (a loop's body)."""
    trace = tracer._trace
    while trace is not None:
        if any(trace is one for one in traces):
            return True
        trace = getattr(trace, "parent_trace", None)
    return False


class LeakWatch:
    """Sees whether arrays of a function's tracing outlive it: a side effect in Python, which happens once, at capture."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function
        self._traces: list[weakref.ref[Any]] = []

    def named(self) -> Callable[..., Any]:
        """Return the function as it looks to ``jax.jit``: name and signature are its own."""

        def watched(*args: Any, **kwargs: Any) -> Any:
            return self(*args, **kwargs)

        try:
            return functools.wraps(self.function)(watched)
        except (AttributeError, TypeError):
            return watched

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        import jax

        for leaf in jax.tree_util.tree_leaves((args, kwargs)):
            if isinstance(leaf, jax.core.Tracer):
                self._traces.append(weakref.ref(leaf._trace))
                break
        return self.function(*args, **kwargs)

    def _kept(self) -> bool:
        """Say whether an array of the tracing is alive. JAX's caches may keep the tracing itself, but no arrays of it.

        The type is asked, not the object: some objects of other libraries warn or fail when they are looked at.
        """
        import jax

        alive = [trace for ref in self._traces if (trace := ref()) is not None]
        if not alive:
            return False
        gc.collect()
        return any(issubclass(type(held), jax.core.Tracer) and _belongs(held, alive) for held in gc.get_objects())

    def warn(self, name: str) -> None:
        """Warn (CaptureWarning) if something still holds an array of the tracing."""
        if self._kept():
            warnings.warn(
                f"the captured function {name!r} should have no side effects in Python, but keeps arrays of its tracing (in a list, a "
                "global or an attribute): that happens once, when it is captured, and is no part of the trace; return such values instead",
                CaptureWarning,
                stacklevel=6,
            )
