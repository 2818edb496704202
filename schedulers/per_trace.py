"""What depends on a trace alone is computed once a trace, however many machines it is mapped to."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from traces.trace import Trace

T = TypeVar("T")


def once_a_trace(function: Callable[[Trace], T]) -> Callable[[Trace], T]:
    """Keep what ``function`` returned for a trace for as long as the trace lives."""
    kept: weakref.WeakKeyDictionary[Trace, T] = weakref.WeakKeyDictionary()

    @wraps(function)
    def cached(trace: Trace) -> T:
        if trace not in kept:
            kept[trace] = function(trace)
        return kept[trace]

    return cached
