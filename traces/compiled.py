"""The one place that knows numba: typed decorators for functions that are compiled to machine code.

Modules that use it are imported where they are needed, never by ``import codesign``. The machine code is kept on disk
between processes. Most of the time of the first compilation goes into wrappers by which Python calls a function, and
into optimising a function again in each of its callers: so only `compiled` makes a wrapper.

What is not on disk yet takes a minute or more: after some seconds of it a line is logged, so that nobody takes it for a program that hangs.
"""

import logging
import time
from collections.abc import Callable
from typing import Any, NoReturn, ParamSpec, TypeVar

import numba
from numba.core import event, types
from numba.core.registry import CPUDispatcher

log = logging.getLogger("traces")

P = ParamSpec("P")
R = TypeVar("R")

_njit: Any = numba.njit  # its overloads know no pair of options that stand without a function
_Dispatcher: Any = CPUDispatcher
_unliteral: Any = types.unliteral
_Integer: Any = types.Integer


class Notice(event.Listener):
    """Says once in a process that functions are being compiled, when that has taken ``PATIENCE_S`` seconds."""

    PATIENCE_S = 3.0

    def __init__(self) -> None:
        self._began: float | None = None
        self._said = False

    def on_start(self, event: event.Event) -> None:
        """Look at the clock whenever the compiler takes up a function: a large program has hundreds."""
        now = time.monotonic()
        self._began = now if self._began is None else self._began
        if not self._said and now - self._began > self.PATIENCE_S:
            self._said = True
            log.warning("compiling the engine to machine code, once after an installation: this takes up to a minute")

    def on_end(self, event: event.Event) -> None:
        """Nothing: the next function that is taken up looks at the clock."""


_register: Any = event.register  # untyped
_register("numba:compile", Notice())


class _Inner(_Dispatcher):  # type: ignore[misc]
    """A compiled function without a wrapper: a call from Python would end the process, so it is refused."""

    def __call__(self, *_: object, **__: object) -> NoReturn:
        name = self.py_func.__name__
        raise TypeError(f"`{name}` is called by compiled functions only: to call it from Python, decorate it with `compiled`")

    def get_call_template(self, args: Any, kws: Any) -> Any:
        """Compile it once for whole numbers of any width and for constants, not once for each: callers convert what they pass."""
        wide = [_widened(kind) for kind in args]
        return super().get_call_template(wide, {name: _widened(kind) for name, kind in kws.items()})


def _widened(kind: Any) -> Any:
    plain: Any = _unliteral(kind)
    return types.int64 if isinstance(plain, _Integer) and plain.signed else plain


def compiled(function: Callable[P, R]) -> Callable[P, R]:
    """Compile ``function`` in numba's nopython mode; Python and compiled functions may call it."""
    dispatcher: Callable[P, R] = _njit(cache=True)(function)
    return dispatcher


def inner(function: Callable[P, R], **options: bool) -> Callable[P, R]:
    """As ``compiled``, for functions that only compiled functions call."""
    dispatcher = _Inner(function, targetoptions={"nopython": True, "no_cpython_wrapper": True, "no_cfunc_wrapper": True, **options})
    dispatcher.enable_caching()
    return dispatcher


def in_place(function: Callable[P, R]) -> Callable[P, R]:
    """As ``inner``, for functions that make no arrays or lists (only work on those they are given): calls do not count references."""
    return inner(function, _nrt=False)


def inlined(function: Callable[P, R]) -> Callable[P, R]:
    """As ``in_place``, and compiled into its callers: for parts of a hot loop that take many arrays and have one caller."""
    return inner(function, _nrt=False, forceinline=True)
