"""The errors of codesign: all of them, defined here because every package may raise them.

Users reach them as ``codesign.errors``. A message says what must hold, what was given, where, and what to do.
"""

import difflib
from collections.abc import Iterable


class CodesignError(Exception):
    """Base class: whatever a user can do something about. The command line turns it into exit status 2."""


class TraceError(CodesignError, ValueError):
    """A trace, or a file that should hold one, breaks a rule of the schema."""


class MachineError(CodesignError, ValueError):
    """A machine, a device or a catalogue file cannot be what it says."""


class MappingError(CodesignError, ValueError):
    """A mapping or a scheduler does not fit the trace or the machine."""


class CapacityError(CodesignError, ValueError):
    """A tensor does not fit into the memory where the mapping puts it."""


class CaptureError(CodesignError, ValueError):
    """A program cannot be captured."""


class SearchError(CodesignError, ValueError):
    """A search space, an objective or a storage cannot be used."""


class MissingExtra(CodesignError, ImportError):
    """An optional dependency is not installed; the message names the pip command."""

    def __init__(self, extra: str, needed_for: str) -> None:
        super().__init__(f"{needed_for} needs the extra '{extra}', which is not installed: pip install 'codesign[{extra}]'")
        self.extra = extra


MOST_LISTED = 30
"""Names that an error message lists at most."""


def nearest(name: str, known: Iterable[str], count: int = 3) -> str:
    """Return the end of an error message about an unknown name: the nearest known ones, or if none is near all (of many, the first)."""
    known = sorted(known)
    close = difflib.get_close_matches(str(name).lower(), known, n=count, cutoff=0.4)
    if close:
        return "did you mean " + " or ".join(repr(c) for c in close) + "?"
    more = f" and {len(known) - MOST_LISTED} more" if len(known) > MOST_LISTED else ""
    return "known: " + ", ".join(known[:MOST_LISTED]) + more
