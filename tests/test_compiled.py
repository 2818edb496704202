"""Is a function without a wrapper refused to Python, instead of ending the process?"""

import pytest

from traces.compiled import compiled, inner


@inner
def add_one(x: int) -> int:
    """Return one more."""
    return x + 1


@compiled
def twice_one_more(x: int) -> int:
    """Return twice one more."""
    return 2 * add_one(x)


def test_compiled_functions_call_inner_ones() -> None:
    assert twice_one_more(3) == 8


def test_python_cannot_call_an_inner_function() -> None:
    with pytest.raises(TypeError, match="`add_one` is called by compiled functions only"):
        add_one(3)
