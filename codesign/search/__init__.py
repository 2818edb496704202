"""The search for a machine and a mapping: ``explore`` tries designs of a ``Space`` and returns a ``Result``."""

from codesign.search.exploring import explore
from codesign.search.result import Result
from codesign.search.space import Range, Space

__all__ = ["Range", "Result", "Space", "explore"]
