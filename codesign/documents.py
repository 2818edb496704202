"""The JSON documents that commands and ``save`` write: what they are, which version of what wrote them, then what was found."""

import json
import math
import os
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from codesign import files
from traces.errors import CodesignError

SCHEMA_VERSION = 1


def envelope(kind: str, payload: Mapping[str, Any], *, command: Sequence[str] = (), seed: int | None = None) -> dict[str, Any]:
    """Return the document: what it is, which version of what wrote it, by which command and seed, then the payload's keys."""
    head = {
        "kind": kind,
        "schema_version": SCHEMA_VERSION,
        "codesign_version": version("codesign"),
        "command": list(command),
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


def save(path: str | os.PathLike[str], document: Mapping[str, Any], *, indent: int | None = None) -> None:
    """Write a document whose numbers are all finite, whole or not at all. Raises CodesignError if it cannot be written."""
    files.write(Path(path), json.dumps(document, indent=indent, allow_nan=False) + "\n")


def load(path: str | os.PathLike[str], kind: str, command: str, error: type[CodesignError]) -> dict[str, Any]:
    """Return the document of a ``kind`` that ``save`` or ``command`` wrote; raise ``error`` if it is none, or a newer version's."""
    try:
        document = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as failure:
        raise error(f"a {kind} must be a JSON document, but {path} cannot be read as one: {failure}") from failure
    if not isinstance(document, dict) or document.get("kind") != kind:
        raise error(f"a document of kind {kind!r} is needed, but {path} is none; make one with `{command}`")
    if document.get("schema_version", 0) > SCHEMA_VERSION:
        raise error(f"schema_version must be at most {SCHEMA_VERSION}, but {path} has {document['schema_version']}: upgrade codesign")
    return document
