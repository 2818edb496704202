"""What a format is: it recognises and reads profiles, or writes traces, or both. Formats are entry points ``codesign.formats``."""

from abc import ABC, abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from traces.formats.profile import Profile
    from traces.formats.source import Source
    from traces.trace import Trace


class Importer(ABC):
    """Reads the profiles of one tool."""

    name: ClassVar[str]
    """The name it is registered by."""
    description: ClassVar[str]
    """What it reads, for people."""

    @abstractmethod
    def recognises(self, source: "Source") -> bool:
        """Say by its content whether the file is of this format. Must not raise, and not read more than it needs."""

    @abstractmethod
    def read(self, source: "Source") -> "Profile":
        """Return what the file holds. Raises TraceError naming the file and the event if that cannot be."""


class Exporter(ABC):
    """Writes traces for other tools."""

    name: ClassVar[str]
    description: ClassVar[str]

    @abstractmethod
    def write(self, trace: "Trace", path: Path) -> list[str]:
        """Write a trace to ``path``, whole or not at all; return remarks for the user (what the file does not say)."""
