"""Are functions without a wrapper refused to Python; does a long compilation say so, once; can the engine be compiled ahead?"""

import logging

import pytest

import codesign as cd
from codesign.compiling import compile_engine
from traces import compiled as module
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


def test_a_long_compilation_says_so_once(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0.0, 1.0, 4.0, 5.0])
    monkeypatch.setattr(module.time, "monotonic", lambda: next(clock))
    notice, said = module.Notice(), []
    with caplog.at_level(logging.WARNING, "traces"):
        for _ in range(4):
            notice.on_start(module.event.Event("numba:compile", module.event.EventStatus.START))
            said.append(len(caplog.records))
    assert said == [0, 0, 1, 1]
    assert "once after an installation" in caplog.text


class Count(module.event.Listener):
    """Counts functions that are compiled."""

    def __init__(self) -> None:
        self.compiled: list[str] = []

    def on_start(self, event: object) -> None:
        self.compiled.append(event.data["dispatcher"].py_func.__qualname__)  # type: ignore[attr-defined]

    def on_end(self, event: object) -> None:
        """Nothing."""


def test_after_the_engine_was_compiled_first_uses_compile_nothing() -> None:
    compile_engine()
    count = Count()
    with module.event.install_listener("numba:compile", count):
        trace = cd.load("psiformer-lih-a5000")
        cd.replay(trace, "h200")
        cd.replay(trace, "a5000+aim-fp32@link", "cut-points")
        cd.replay(trace, "a5000", disturbances=[cd.Disturbance("a5000", start_s=0.01, duration_s=0.01, closed=0.5)])
        cd.explain(trace, "a5000")
    assert count.compiled == []
