"""What programs did: traces of GPU kernels, how they are captured, saved and merged. Names are imported when first used."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from traces.files import is_trace, load, save
    from traces.interleaving import interleave
    from traces.merging import merge
    from traces.table import Table
    from traces.trace import Trace

__all__ = ["Table", "Trace", "interleave", "is_trace", "load", "merge", "save"]

_HOME = {
    "Table": "traces.table",
    "Trace": "traces.trace",
    "interleave": "traces.interleaving",
    "is_trace": "traces.files",
    "load": "traces.files",
    "merge": "traces.merging",
    "save": "traces.files",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'traces' has no attribute {name!r}")
    value = getattr(import_module(_HOME[name]), name)
    globals()[name] = value
    return value
