"""A user's files: checked before the work, written whole or not at all."""

import os
from pathlib import Path

from traces.errors import CodesignError


def exists(path: Path) -> bool:
    """Return whether there is such a file or folder; there is none of a name that is too long for one, which ``Path.exists`` refuses."""
    return os.path.exists(path)


def check_readable(path: Path) -> None:
    """Raise CodesignError unless ``path`` is a file that can be opened for reading."""
    if not exists(path):
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
    try:
        is_folder = target.is_dir()
    except OSError as error:
        raise CodesignError(f"the output must have a name that a file can have, but got {path}: {error.strerror}") from error
    if is_folder:
        raise CodesignError(f"the output must be a file, but {path} is a folder; name a file in it")
    if not target.parent.is_dir():
        raise CodesignError(f"the output's folder must exist, but there is no {target.parent}; make it first")
    if not os.access(target if _is_special(target) else target.parent, os.W_OK):
        raise CodesignError(f"the output must be writable, but {path} is not; check the permissions of its folder")
    if any(target == _real(source) for source in inputs):
        raise CodesignError(f"the output must not overwrite the input, but both are {path}; name another file")


def write(path: Path, data: bytes | str) -> None:
    """Write ``data`` (text as UTF-8) to ``path``: to a temporary file beside it, then renamed. Raises CodesignError."""
    from traces.saving import replacing

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
