"""Replay: a trace runs on a machine under a scheduler (docs/replay.md says exactly how)."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from codesign.engine.evaluator import Evaluator
    from codesign.engine.replaying import replay
    from codesign.engine.timeline import Timeline

__all__ = ["Evaluator", "Timeline", "replay"]

_HOME = {"replay": "replaying", "Evaluator": "evaluator", "Timeline": "timeline"}


def __getattr__(name: str) -> Any:
    """Import on first use: the engines need numba, which takes a while to load."""
    if name not in _HOME:
        raise AttributeError(f"module 'codesign.engine' has no attribute {name!r}")
    value = getattr(import_module(f"codesign.engine.{_HOME[name]}"), name)
    globals()[name] = value
    return value
