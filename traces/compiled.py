"""The one place that knows numba: a typed decorator for functions that are compiled to machine code.

Modules that use it are imported where they are needed, never by ``import codesign``.
"""

from collections.abc import Callable
from typing import ParamSpec, TypeVar

import numba

P = ParamSpec("P")
R = TypeVar("R")


def compiled(function: Callable[P, R]) -> Callable[P, R]:
    """Compile ``function`` in numba's nopython mode; the machine code is kept on disk between processes."""
    return numba.njit(cache=True)(function)
