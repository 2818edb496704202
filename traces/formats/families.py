"""Which family a profiled kernel belongs to: told by its name, for a profile tells nothing else.

``families.toml`` holds the ordered patterns; the first that matches decides. What matches none is 'other'.
"""

import re
import tomllib
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from traces.errors import TraceError
from traces.schema import FAMILIES

TABLE = Path(__file__).with_name("families.toml")


@cache
def patterns() -> tuple[tuple[re.Pattern[str], str], ...]:
    """Return (pattern, family) in order. Raises TraceError if the table is wrong."""
    with TABLE.open("rb") as stream:
        rows = tomllib.load(stream)["pattern"]
    for number, row in enumerate(rows):
        if row["family"] not in FAMILIES:
            raise TraceError(f"{TABLE.name}: family must be one of {', '.join(FAMILIES)}, but pattern {number} has {row['family']!r}")
    return tuple((re.compile(row["match"], re.IGNORECASE), row["family"]) for row in rows)


@cache
def family_of(name: str) -> str:
    """Return the family of a kernel by its name (mangled or not), 'other' if no pattern matches."""
    for pattern, family in patterns():
        if pattern.search(name):
            return family
    return "other"


def of_launches(names: Sequence[str], kinds: Sequence[str]) -> list[str]:
    """Return the family of each launch; copies and memory sets are known by their kind."""
    return ["copy" if kind in ("copy", "memset") else family_of(name) for name, kind in zip(names, kinds, strict=True)]
