"""Writes a trace as one file: an uncompressed zip of four Parquet tables and manifest.json."""

import io
import json
import os
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow.parquet as pq

from traces import schema
from traces.errors import TraceError

if TYPE_CHECKING:
    from traces.trace import Trace

MANIFEST = "manifest.json"


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Give a temporary path beside ``path`` and rename it to ``path`` at the end: nothing half-written is ever seen.

    Raises TraceError if the folder does not exist or cannot be written.
    """
    target = Path(path)
    if target.is_dir():
        raise TraceError(f"the output must be a file, but {target} is a folder: give a file name")
    try:
        handle, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    except OSError as error:
        raise TraceError(f"cannot write {target}: {error.strerror}; give a path in a folder that exists and can be written") from error
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        mask = os.umask(0)
        os.umask(mask)
        temporary.chmod(0o666 & ~mask)
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


def save(trace: "Trace", path: str | os.PathLike[str]) -> None:
    """Write ``trace`` to ``path``; the same trace gives the same bytes. Raises TraceError if it cannot be written."""
    manifest = {"format_version": schema.FORMAT_VERSION, **trace.manifest, "content_hash": trace.content_hash}
    with replacing(path) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as archive:
        _store(archive, MANIFEST, json.dumps(manifest, indent=1, sort_keys=True).encode())
        for name, table in trace.tables.items():
            buffer = io.BytesIO()
            pq.write_table(table.to_arrow(), buffer, compression="zstd", compression_level=9)
            _store(archive, f"{name}.parquet", buffer.getvalue())


def _store(archive: zipfile.ZipFile, name: str, data: bytes) -> None:
    archive.writestr(zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0)), data)
