"""A profile's file: opened once, unpacked if it is compressed, told apart by its bytes and never by its name."""

import gzip
import os
import re
import zlib
from functools import cached_property
from pathlib import Path

from traces.errors import TraceError
from traces.formats import archive

START = 65536
"""Bytes that formats look at to tell whether a file is theirs."""

_GZIP = b"\x1f\x8b"
_UTF16 = (b"\xff\xfe", b"\xfe\xff")
"""How UTF-16 begins, in which a Windows shell writes what a command prints."""

_FOREIGN = {
    b"\x28\xb5\x2f\xfd": "is compressed by zstd: unpack it (`zstd -d`)",
    b"BZh": "is compressed by bzip2: unpack it (`bunzip2`)",
    b"\xfd7zXZ\x00": "is compressed by xz: unpack it (`unxz`)",
    b"7z\xbc\xaf\x27\x1c": "is a 7z archive: unpack it",
}
_REPORTS = {
    ".nsys-rep": "`nsys export --type sqlite`",
    ".qdrep": "`nsys export --type sqlite`",
    ".ncu-rep": "`ncu --import FILE --csv --page raw`",
}
"""Reports that only NVIDIA's own tools can read, and what they export."""


_SUMMARY, _TABLE = "a summary, which has no launches", "a table for people, whose numbers are rounded and names cut"
_FOR_PEOPLE = {
    ("Total Time", "Instances"): (_SUMMARY, "`nsys stats --report cuda_gpu_trace --format csv`"),
    ("Kernel Name", "Invocations", "Metric Name"): (_SUMMARY, "`ncu --csv` without --print-summary"),
    ("Time(%)", "Calls", "Avg", "Name"): (_SUMMARY, "`nvprof --print-gpu-trace --csv`"),
    ("Kernel", "Invocations", "Metric Name"): (_SUMMARY, "`nvprof --print-gpu-trace --csv`"),
    ("Name", "Self CPU %", "# of Calls"): (_SUMMARY, "`profile.export_chrome_trace(FILE)`, of PyTorch's profiler,"),
    ("Name", "Calls", "TotalDurationNs"): (_SUMMARY, "`rocprofv3 --kernel-trace --output-format csv` or `rocprof --timestamp on`"),
    ("Start", "Duration", "CorrId", "Reg/Trd"): (_TABLE, "`nsys stats --report cuda_gpu_trace --format csv`"),
    ("Start", "Duration", "Grid Size", "Block Size"): (_TABLE, "`nvprof --print-gpu-trace --csv`"),
    ("Metric Name", "Metric Unit", "Metric Value"): (_TABLE, "`ncu --csv`"),
}
"""Columns of reports that no format reads; what they are, and what lists launches one by one. The first that fits counts."""


class Source:
    """The content of one file: plain, gzip, or one file of a tar or zip archive.

    Parameters
    ----------
    path
        The file.
    member
        Of an archive of several files, the one that is meant (its name, or how it ends); None: the first.

    Raises
    ------
    TraceError
        If the file does not exist, cannot be read, is empty or truncated, or has no such member.
    """

    def __init__(self, path: "str | os.PathLike[str]", member: str | None = None) -> None:
        self.path = Path(path)
        self.member = member
        try:
            with self.path.open("rb") as stream:
                self._raw_start = stream.read(START)
        except OSError as error:
            raise TraceError(f"a profile must be a file that can be read, but {path}: {error.strerror or error}") from error
        if not self._raw_start:
            raise TraceError(f"{path} must hold a profile, but is empty: was the profiler stopped before it wrote?")
        if member is not None and not self.members:
            raise TraceError(f"{path} must be an archive to have the member {member!r}, but is one file: leave the member out")

    @cached_property
    def start(self) -> bytes:
        """The first bytes of the content."""
        return self.data[:START] if self.packed else self._raw_start

    @cached_property
    def _unzipped(self) -> bytes:
        """The file without its own compression: the content, or an archive."""
        try:
            return _gunzip(self.path.read_bytes(), str(self.path))
        except OSError as error:
            raise TraceError(f"{self.path} cannot be read: {error.strerror or error}") from error

    @cached_property
    def members(self) -> dict[str, bytes]:
        """The files of an archive by name, in order; none if the file is no archive."""
        if not self.packed or not archive.is_archive(self._unzipped):
            return {}
        return archive.members(self.path, self._unzipped)

    @cached_property
    def data(self) -> bytes:
        """The whole content, unpacked."""
        if not self.packed:
            return self._unzipped
        if not self.members:
            return self._unzipped
        name = self.member or next(iter(self.members))
        return _gunzip(archive.chosen(self.path, self.members, name), f"{name} in {self.path}")

    def of(self, member: str) -> "Source":
        """Return another member of the same archive, without unpacking it again."""
        other = Source(self.path)
        other.members = self.members
        other.member = member
        return other

    @property
    def packed(self) -> bool:
        """Whether the file is compressed or an archive."""
        return self._raw_start.startswith((_GZIP, *_UTF16)) or archive.is_archive(self._raw_start)

    def remedy(self) -> str:
        """Say what must be done to a file first that no format recognises, '' where that is not known."""
        for magic, what in _FOREIGN.items():
            if self._raw_start.startswith(magic):
                return f"it {what} first"
        for suffix, command in _REPORTS.items():
            if self.path.name.lower().endswith(suffix):
                return f"it is a report that only NVIDIA's tools read: write {command} and import that"
        for columns, (what, command) in _FOR_PEOPLE.items():
            if any(all(column in line for column in columns) for line in self.text_start().splitlines()):
                return f"it is {what}: write {command} and import that"
        return ""

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
        return "" if b"\0" in self.start else self.start.decode("utf-8-sig", errors="replace")

    def text(self) -> str:
        """The whole content as text. Raises TraceError if it is none."""
        try:
            return self.data.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise TraceError(f"{self} must be UTF-8 text, but byte {error.start} is not: {error.reason}") from error

    def __str__(self) -> str:
        return str(self.path) if self.member is None else f"{self.path} ({self.member})"


def _gunzip(raw: bytes, what: str) -> bytes:
    """Return the bytes without gzip's wrapping, however often, UTF-16 as UTF-8. Raises TraceError if it is damaged."""
    try:
        while raw.startswith(_GZIP):
            raw = gzip.decompress(raw)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise TraceError(f"{what} must be a whole gzip file, but is truncated or damaged: {error}") from error
    return raw.decode("utf-16", errors="replace").encode() if raw.startswith(_UTF16) else raw
