"""Reads the file of a trace, which ``traces.saving`` wrote, and brings those of older format versions up to date."""

import json
import os
import zipfile
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from traces import schema
from traces.errors import TraceError
from traces.saving import MANIFEST
from traces.table import Table
from traces.trace import Trace

Versioned = tuple[dict[str, pa.Table], dict[str, Any]]


def _with_cycles(tables: dict[str, pa.Table], manifest: dict[str, Any]) -> Versioned:
    """Version 2 has the compiler's cycles; before it no trace was a TPU's."""
    kernels = tables["kernels"]
    return {**tables, "kernels": kernels.append_column("compiler_cycles", pa.nulls(kernels.num_rows, pa.float64()))}, manifest


UPGRADES: dict[int, Callable[[dict[str, pa.Table], dict[str, Any]], Versioned]] = {1: _with_cycles}
"""From a format version to the function that makes the next version's tables and manifest of it."""


def load(path: str | os.PathLike[str]) -> Trace:
    """Read a trace that ``Trace.save`` wrote, upgrading an older format.

    Raises TraceError if the file does not exist, is no trace, is damaged, or was written by a newer version.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            return _read(archive)
    except FileNotFoundError as error:
        raise TraceError(f"there is no file {path}") from error
    except (IsADirectoryError, PermissionError) as error:
        raise TraceError(f"cannot read {path}: {error.strerror}") from error
    except (zipfile.BadZipFile, pa.ArrowException, KeyError, UnicodeDecodeError, json.JSONDecodeError, OSError) as error:
        raise TraceError(
            f"{path} must be a trace (a zip of four Parquet tables and {MANIFEST}), but cannot be read as one: {error}"
        ) from error
    except TraceError as error:
        raise TraceError(f"{path}: {error}") from error


def is_trace(path: str | os.PathLike[str]) -> bool:
    """Return whether the file at ``path`` is a zip with a trace's manifest (its content is not checked)."""
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return MANIFEST in archive.namelist()


def _read(archive: zipfile.ZipFile) -> Trace:
    manifest = json.loads(archive.read(MANIFEST))
    version = manifest.get("format_version") if isinstance(manifest, dict) else None
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise TraceError(f"format_version in {MANIFEST} must be a whole number from 1 to {schema.FORMAT_VERSION}, but is {version!r}")
    if version > schema.FORMAT_VERSION:
        raise TraceError(
            f"format_version must be at most {schema.FORMAT_VERSION}, but is {version}: a newer codesign wrote the file; upgrade yours"
        )
    # not `pq.read_table`, which imports pyarrow's datasets and pandas with them
    files = {name: pq.ParquetFile(pa.BufferReader(archive.read(f"{name}.parquet"))) for name in schema.TABLES}
    tables = {name: file.read(use_threads=False) for name, file in files.items()}
    for older in range(version, schema.FORMAT_VERSION):
        tables, manifest = UPGRADES[older](tables, manifest)
    written = manifest.pop("content_hash", None)
    manifest.pop("format_version", None)
    trace = Trace(**{name: Table.from_arrow(name, table) for name, table in tables.items()}, manifest=manifest)
    if version == schema.FORMAT_VERSION and written != trace.content_hash:
        raise TraceError(
            f"the tables must have the content hash {written} that the manifest states, but have {trace.content_hash}: damaged or edited"
        )
    return trace
