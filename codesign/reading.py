"""What a file holds, told by its content and never by its name; a name that is no file is that of a recorded trace."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from codesign.files import check_readable, exists
from traces.errors import TraceError

if TYPE_CHECKING:
    from codesign.engine.timeline import Timeline
    from codesign.search.result import Result
    from traces.trace import Trace


def read(path: Path | str) -> "Trace | Timeline | list[Timeline] | Result":
    """Return what a file holds: a trace, the timelines that replay wrote, the result of a search; or the recorded trace of that name.

    Raises CodesignError if the file cannot be read, TraceError if it holds none of these.
    """
    from traces.loading import is_trace
    from traces.recordings import load

    path = Path(path)
    if not exists(path):
        return load(path)
    check_readable(path)
    if is_trace(path):
        return load(path)
    document = _document(path)
    if document.get("kind") == "timeline":
        from codesign.engine.timeline import Timeline

        return Timeline.load(path)
    if document.get("kind") == "comparison":
        from codesign.engine.timeline import Timeline

        return [Timeline.from_dict(one) for one in document.get("timelines", [])]
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
