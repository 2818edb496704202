"""The errors that codesign raises; each message says what must hold, what was given, where, and what to do."""

from traces.errors import (
    CapacityError,
    CaptureError,
    CodesignError,
    MachineError,
    MappingError,
    MissingExtra,
    SearchError,
    TraceError,
    nearest,
)

__all__ = [
    "CapacityError",
    "CaptureError",
    "CodesignError",
    "MachineError",
    "MappingError",
    "MissingExtra",
    "SearchError",
    "TraceError",
    "nearest",
]
