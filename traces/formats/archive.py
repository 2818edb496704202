"""Archives of profiles: tar (gzip or not) and zip, as profilers' launchers and bug reports pack the files of several ranks."""

import io
import re
import tarfile
import zipfile
from pathlib import Path, PurePosixPath

from traces.errors import TraceError, nearest

_TAR, _TAR_AT, _ZIP = b"ustar", 257, b"PK\x03\x04"
OURS = "kernels.parquet"
"""A member that only our own traces have."""


def is_archive(raw: bytes) -> bool:
    """Say whether the bytes begin as a tar or a zip archive."""
    return _is_tar(raw) or raw.startswith(_ZIP)


def _is_tar(raw: bytes) -> bool:
    return raw[_TAR_AT : _TAR_AT + len(_TAR)] == _TAR


def members(path: Path, raw: bytes) -> dict[str, bytes]:
    """Return the files of an archive by name, ranks in order (2 before 10). Raises TraceError if it is damaged or holds none."""
    try:
        found = _of_tar(raw) if _is_tar(raw) else _of_zip(raw)
    except (tarfile.TarError, zipfile.BadZipFile, EOFError, OSError, RuntimeError, NotImplementedError) as error:
        kind = "tar" if _is_tar(raw) else "zip"
        raise TraceError(f"{path} must be a whole {kind} archive, but is truncated or damaged: {error}") from error
    if OURS in found:
        raise TraceError(f"{path} must be another tool's profile, but is a trace of codesign already: load or replay it as it is")
    kept = {name: found[name] for name in sorted(found, key=_natural) if not _attributes(name)}
    if not kept:
        raise TraceError(f"{path} must be an archive of profiles, but holds no file")
    return kept


def _of_tar(raw: bytes) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    with tarfile.open(fileobj=io.BytesIO(raw)) as archive:
        for member in archive.getmembers():
            stream = archive.extractfile(member) if member.isfile() else None
            if stream is not None:
                found[member.name] = stream.read()
    return found


def _of_zip(raw: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(raw)) as archive:
        return {info.filename: archive.read(info) for info in archive.infolist() if not info.is_dir()}


def _attributes(name: str) -> bool:
    """macOS packs a file's attributes beside it, as '._name' or in a folder of its own."""
    path = PurePosixPath(name)
    return path.name.startswith(".") or "__MACOSX" in path.parts


def _natural(name: str) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name)]


def chosen(path: Path, found: dict[str, bytes], member: str) -> bytes:
    """Return the content of a member by its name, or by the end of it. Raises TraceError if it is none of the archive, or several."""
    fitting = [name for name in found if name == member] or [name for name in found if name.endswith(member)]
    if len(fitting) != 1:
        known = ", ".join(fitting) if fitting else nearest(member, found)
        raise TraceError(f"the member of {path} must be one of its {len(found)} files, but got {member!r}; {known}")
    return found[fitting[0]]
