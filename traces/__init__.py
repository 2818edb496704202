"""What programs did: traces of GPU kernels, how they are captured, saved and merged."""

from traces.files import is_trace, load, save
from traces.merging import merge
from traces.table import Table
from traces.trace import Trace

__all__ = ["Table", "Trace", "is_trace", "load", "merge", "save"]
