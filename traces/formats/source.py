"""A profile's file: opened once, unpacked if it is compressed, told apart by its bytes and never by its name."""

import gzip
import io
import os
import re
import tarfile
import zlib
from functools import cached_property
from pathlib import Path

from traces.errors import TraceError

START = 65536
"""Bytes that formats look at to tell whether a file is theirs."""

_GZIP, _TAR, _TAR_AT = b"\x1f\x8b", b"ustar", 257


class Source:
    """The content of one file: plain, gzip, or a tar archive with one file in it.

    Raises
    ------
    TraceError
        If the file does not exist, cannot be read, is empty, is truncated, or an archive of several files.
    """

    def __init__(self, path: "str | os.PathLike[str]") -> None:
        self.path = Path(path)
        try:
            with self.path.open("rb") as stream:
                self._raw_start = stream.read(START)
        except OSError as error:
            raise TraceError(f"a profile must be a file that can be read, but {path}: {error.strerror or error}") from error
        if not self._raw_start:
            raise TraceError(f"{path} must hold a profile, but is empty: was the profiler stopped before it wrote?")

    @cached_property
    def start(self) -> bytes:
        """The first bytes of the content."""
        return self.data[:START] if self._packed else self._raw_start

    @cached_property
    def data(self) -> bytes:
        """The whole content, unpacked."""
        try:
            raw = self.path.read_bytes()
            if raw.startswith(_GZIP):
                raw = gzip.decompress(raw)
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise TraceError(f"{self.path} must be a whole gzip file, but is truncated or damaged: {error}") from error
        except OSError as error:
            raise TraceError(f"{self.path} cannot be read: {error.strerror or error}") from error
        return self._only_member(raw) if _is_tar(raw) else raw

    def _only_member(self, raw: bytes) -> bytes:
        try:
            with tarfile.open(fileobj=io.BytesIO(raw)) as archive:
                # '._name' is how macOS packs a file's attributes beside it
                files = [m for m in archive.getmembers() if m.isfile() and not Path(m.name).name.startswith(".")]
                if len(files) != 1:
                    raise TraceError(f"{self.path} must be an archive of one profile, but holds {len(files)}: unpack it and name one")
                member = archive.extractfile(files[0])
                return member.read() if member else b""
        except tarfile.TarError as error:
            raise TraceError(f"{self.path} must be a whole tar archive, but is truncated or damaged: {error}") from error

    @property
    def _packed(self) -> bool:
        return self._raw_start.startswith(_GZIP) or _is_tar(self._raw_start)

    @property
    def is_json(self) -> bool:
        """Whether the content begins as a JSON object or array."""
        return self.start.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] in (b"{", b"[")

    def has_key(self, *names: str, everywhere: bool = False) -> bool:
        """Say whether a JSON object in the first bytes (or everywhere) has one of these keys; the same text as a value is none."""
        found = re.compile(rb'"(?:%s)"\s*:' % b"|".join(re.escape(name.encode()) for name in names))
        return found.search(self.data if everywhere else self.start) is not None

    def text_start(self) -> str:
        """The first bytes as text, '' if they are none."""
        return "" if b"\0" in self.start else self.start.decode("utf-8", errors="replace")

    def text(self) -> str:
        """The whole content as text. Raises TraceError if it is none."""
        try:
            return self.data.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise TraceError(f"{self.path} must be UTF-8 text, but byte {error.start} is not: {error.reason}") from error

    def __str__(self) -> str:
        return str(self.path)


def _is_tar(raw: bytes) -> bool:
    return raw[_TAR_AT : _TAR_AT + len(_TAR)] == _TAR
