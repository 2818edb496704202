"""A user's files: told apart by what they hold, never by their names; written whole or not at all."""

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from traces.errors import CodesignError, TraceError

if TYPE_CHECKING:
    from codesign.engine.timeline import Timeline
    from codesign.search.result import Result
    from traces.trace import Trace


def check_readable(path: Path) -> None:
    """Raise CodesignError unless ``path`` is a file that can be opened for reading."""
    if not path.exists():
        raise CodesignError(f"the file must exist, but there is no {path}; check the name and the folder")
    if path.is_dir():
        raise CodesignError(f"a file is needed, but {path} is a folder; name a file in it")
    if not os.access(path, os.R_OK):
        raise CodesignError(f"the file must be readable, but {path} is not; check its permissions")


def check_writable(path: Path, *inputs: Path) -> None:
    """Raise CodesignError unless ``path`` can be written, and without overwriting one of ``inputs``. Nothing is written.

    A command asks this before the work begins, so that nobody waits minutes for an output that has no place.
    """
    target = _real(path)
    if target.is_dir():
        raise CodesignError(f"the output must be a file, but {path} is a folder; name a file in it")
    if not target.parent.is_dir():
        raise CodesignError(f"the output's folder must exist, but there is no {target.parent}; make it first")
    if not os.access(target if _is_special(target) else target.parent, os.W_OK):
        raise CodesignError(f"the output must be writable, but {path} is not; check the permissions of its folder")
    if any(target == _real(source) for source in inputs):
        raise CodesignError(f"the output must not overwrite the input, but both are {path}; name another file")


def write(path: Path, data: bytes | str) -> None:
    """Write ``data`` (text as UTF-8) to ``path``: to a temporary file beside it, then renamed. Raises CodesignError."""
    from traces.files import replacing

    content = data.encode() if isinstance(data, str) else data
    target = _real(path)
    check_writable(target)
    try:
        if _is_special(target):
            target.write_bytes(content)
            return
        with replacing(target) as temporary:
            temporary.write_bytes(content)
    except OSError as error:
        raise CodesignError(f"{path} cannot be written: {error.strerror or error}") from error


def _real(path: Path) -> Path:
    return Path(os.path.realpath(path))  # what a link points to is replaced, not the link


def _is_special(path: Path) -> bool:
    return path.exists() and not path.is_file()  # a device or a pipe is written to, never replaced


def read(path: Path | str) -> "Trace | Timeline | Result":
    """Return what a file holds: a trace, the timeline that a replay wrote, or the result that a search wrote.

    Raises CodesignError if the file cannot be read, TraceError if it holds none of these.
    """
    from traces import files

    path = Path(path)
    check_readable(path)
    if files.is_trace(path):
        return files.load(path)
    document = _document(path)
    if document.get("kind") == "timeline":
        from codesign.engine.timeline import Timeline

        return Timeline.load(path)
    if document.get("kind") == "result":
        from codesign.search.result import Result

        return Result.load(path)
    raise _foreign(path, f"a JSON document of kind {document.get('kind')!r}")


def _document(path: Path) -> dict[str, Any]:
    """Return the JSON object in a file. Raises TraceError."""
    try:
        document = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise _foreign(path, "neither a whole trace nor JSON") from error
    if not isinstance(document, dict):
        raise _foreign(path, "JSON, but no object")
    return document


def _foreign(path: Path, found: str) -> TraceError:
    return TraceError(
        f"{path} must be a trace, or a file that `codesign replay -o` or `codesign explore -o` wrote, but it is {found};"
        " make one with `codesign capture`"
    )
