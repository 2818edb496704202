"""The one place that knows numba: a typed decorator for functions that are compiled to machine code.

Modules that use it are imported where they are needed, never by ``import codesign``.
"""

from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

import numba

P = ParamSpec("P")
R = TypeVar("R")

_njit: Any = numba.njit  # its overloads know no pair of options that stand without a function


def compiled(function: Callable[P, R]) -> Callable[P, R]:
    """Compile ``function`` in numba's nopython mode; the machine code is kept on disk between processes."""
    return _njit(cache=True)(function)  # type: ignore[no-any-return]


def in_place(function: Callable[P, R]) -> Callable[P, R]:
    """Compile ``function``, which makes no arrays or lists (only works on those it is given): calls do not count references."""
    return _njit(cache=True, _nrt=False)(function)  # type: ignore[no-any-return]


def inlined(function: Callable[P, R]) -> Callable[P, R]:
    """As ``in_place``, and compiled into its callers: for parts of a hot loop that take many arrays and have one caller."""
    return _njit(cache=True, _nrt=False, forceinline=True)(function)  # type: ignore[no-any-return]
