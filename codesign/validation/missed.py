"""Why bars are missed: what is known, and what was tried, for each row that is not met."""

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from importlib import resources
from typing import Any

from codesign.validation.row import Row

UNKNOWN = "not looked into"


@dataclass(frozen=True)
class Missed:
    """Rows that are not met for one reason."""

    what: str
    rows: tuple[Row, ...]
    why: str
    tried: str


@cache
def reasons() -> tuple[dict[str, Any], ...]:
    """Return what, patterns of ids, why and what was tried, as missed.toml has them."""
    text = resources.files("codesign.validation").joinpath("missed.toml").read_text(encoding="utf-8")
    return tuple(tomllib.loads(text)["missed"])


def missed(rows: Sequence[Row]) -> list[Missed]:
    """Return the rows that are not met, by reason in the order of the file; last those of which the file says nothing."""
    left = {row.id: row for row in rows if row.met is False}
    found = []
    for reason in reasons():
        mine = [row_id for row_id in left if any(fnmatchcase(row_id, pattern) for pattern in reason["rows"])]
        found.append(Missed(reason["what"], tuple(left.pop(row_id) for row_id in mine), reason["why"], reason["tried"]))
    found.append(Missed("others", tuple(left.values()), UNKNOWN, "-"))
    return [group for group in found if group.rows]
