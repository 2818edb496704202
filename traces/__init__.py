"""What programs did: traces of GPU kernels, how they are captured, saved and merged. Names are imported when first used."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from traces.interleaving import interleave
    from traces.loading import is_trace
    from traces.merging import merge
    from traces.recordings import load
    from traces.saving import save
    from traces.table import Table
    from traces.trace import Trace

__all__ = ["Table", "Trace", "interleave", "is_trace", "load", "merge", "save"]

_HOME = {
    "Table": "traces.table",
    "Trace": "traces.trace",
    "interleave": "traces.interleaving",
    "is_trace": "traces.loading",
    "load": "traces.recordings",
    "merge": "traces.merging",
    "save": "traces.saving",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'traces' has no attribute {name!r}")
    value = getattr(import_module(_HOME[name]), name)
    globals()[name] = value
    return value
