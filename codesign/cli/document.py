"""The one document that a command writes: to standard output with ``--json``, to a file with ``-o``."""

import json
import math
import sys
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

SCHEMA_VERSION = 1


def envelope(kind: str, command: list[str], seed: int | None, payload: Mapping[str, Any]) -> dict[str, Any]:
    """Return the document: what it is, which version of what wrote it, by which command and seed, then the payload's keys."""
    head = {
        "kind": kind,
        "schema_version": SCHEMA_VERSION,
        "codesign_version": version("codesign"),
        "command": command,
        "seed": seed,
    }
    return head | {key: value for key, value in payload.items() if key not in head}


def text(document: Mapping[str, Any]) -> str:
    """Return the document as strict JSON on several lines: no NaN, no infinity (both are null), ending in a newline."""
    return json.dumps(plain(document), indent=1, allow_nan=False, ensure_ascii=False) + "\n"


def plain(value: Any) -> Any:
    """Return ``value`` in JSON's own types; NumPy's scalars and arrays become numbers and lists, a number that is not finite null."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(item) for item in value]
    if hasattr(value, "tolist"):
        return plain(value.tolist())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return str(value) if isinstance(value, Path) else value


def print_document(document: Mapping[str, Any]) -> None:
    """Write the document to standard output."""
    sys.stdout.write(text(document))
    sys.stdout.flush()
