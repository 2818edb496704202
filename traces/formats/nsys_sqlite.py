"""SQLite files of profilers: ``nsys export --type sqlite``, nvprof's own (``nvprof -o``), rocprofv3's (``traces.formats.rocpd``).

Tables and columns are those of the "SQLite Schema Reference" in NVIDIA's documentation: CUPTI_ACTIVITY_KIND_KERNEL, _MEMCPY and
_MEMSET, names by id in StringIds, devices in TARGET_INFO_GPU; in nvprof's CUPTI_ACTIVITY_KIND_CONCURRENT_KERNEL, StringTable and
CUPTI_ACTIVITY_KIND_DEVICE. Columns that a version does not have are left unknown.
"""

import sqlite3
from contextlib import closing
from typing import Any, ClassVar
from urllib.parse import quote

from traces.errors import TraceError
from traces.formats import nsys_rows, rocpd
from traces.formats.format import Importer
from traces.formats.profile import COPY, KERNEL, MEMSET, Profile
from traces.formats.source import Source

MAGIC = b"SQLite format 3\0"
KERNELS, COPIES, MEMSETS = (f"CUPTI_ACTIVITY_KIND_{what}" for what in ("KERNEL", "MEMCPY", "MEMSET"))
CONCURRENT = "CUPTI_ACTIVITY_KIND_CONCURRENT_KERNEL"
DEVICES_OF_NVPROF = "CUPTI_ACTIVITY_KIND_DEVICE"
GRAPHS = "CUPTI_ACTIVITY_KIND_GRAPH_TRACE"

_NAMES = ("demangledName", "shortName", "mangledName", "name")
_READ = nsys_rows.READ | set(_NAMES)
_PID_BITS = 24
"""A globalPid holds the process's number behind so many bits of a thread's, in as many bits."""


class NsysSqlite(Importer):
    """Nsight Systems, exported as SQLite."""

    name: ClassVar[str] = "nsys"
    description: ClassVar[str] = "SQLite of Nsight Systems (nsys export), nvprof -o, rocprofv3"

    def recognises(self, source: Source) -> bool:
        """Say whether it is an SQLite file; whether it is Nsight's shows its tables."""
        return source.start.startswith(MAGIC)

    def read(self, source: Source) -> Profile:
        """Return the profile. Raises TraceError for a damaged file, and for one without a table of CUDA kernels."""
        try:
            with closing(_opened(source)) as database:
                database.row_factory = sqlite3.Row
                return _profile(source, database)
        except sqlite3.DatabaseError as error:
            raise TraceError(f"{source} must be a whole SQLite file of nsys export, but is damaged or foreign: {error}") from error
        except TraceError:
            raise
        except (TypeError, ValueError, OverflowError) as error:
            raise TraceError(f"{source}: the tables must hold numbers as NVIDIA's schema says, but one does not: {error}") from error


def _opened(source: Source) -> sqlite3.Connection:
    """Open the file where it lies, or from memory if it is packed."""
    if not source.packed:
        return sqlite3.connect(f"file:{quote(str(source.path))}?mode=ro", uri=True)
    database = sqlite3.connect(":memory:")
    database.deserialize(source.data)
    return database


def _profile(source: Source, database: sqlite3.Connection) -> Profile:
    tables = {row[0] for row in database.execute("SELECT name FROM sqlite_master WHERE type IN ('table', 'view')")}
    if any(table.startswith(rocpd.DISPATCHES) for table in tables):
        return rocpd.profile(source, database, tables)
    kernels = [table for table in (KERNELS, CONCURRENT) if table in tables]
    if not kernels:
        graphs = database.execute(f"SELECT count(*) FROM {GRAPHS}").fetchone()[0] if GRAPHS in tables else 0
        if graphs:
            raise TraceError(
                f"{source} must have the kernels of CUDA graphs, but has {graphs:,} launches of whole graphs (table {GRAPHS}): record with "
                "`nsys profile --trace=cuda --cuda-graph-trace=node`"
            )
        raise TraceError(
            f"{source} must have the table {KERNELS}, but has {', '.join(sorted(tables)[:8]) or 'none'}; record with "
            "`nsys profile --trace=cuda` and export with `nsys export --type sqlite`"
        )
    rows = [row for table in kernels for row in _rows(database, table)]
    names = _names(database, tables, rows)
    kinds = [KERNEL] * len(rows)
    for table, kind, what in ((COPIES, COPY, "Memcpy"), (MEMSETS, MEMSET, "Memset")):
        more = _rows(database, table) if table in tables else []
        rows += more
        names += [what] * len(more)
        kinds += [kind] * len(more)
    _number_devices(database, tables, rows)
    nsys_rows.number_streams(rows)
    name, facts = _device(database, tables, rows)
    return Profile(
        "nsys", str(source), nsys_rows.launches(rows, names, kinds), device_name=name, facts=facts, remarks=_whole_graphs(database, tables)
    )


def _whole_graphs(database: sqlite3.Connection, tables: set[str]) -> tuple[str, ...]:
    """Say how many launches of whole CUDA graphs there are, whose kernels the profile does not know."""
    count, time = database.execute(f'SELECT count(*), sum("end" - start) FROM {GRAPHS}').fetchone() if GRAPHS in tables else (0, 0)
    if not count:
        return ()
    return (f"{count:,} launches of whole CUDA graphs, {time / 1e3:,.1f} us, are left out: --cuda-graph-trace=node records their kernels",)


def _rows(database: sqlite3.Connection, table: str) -> list[dict[str, Any]]:
    """Return the columns that we read, of those that the table has."""
    there = [row["name"] for row in database.execute(f'PRAGMA table_info("{table}")')]
    wanted = ", ".join(f'"{name}"' for name in there if name in _READ)
    return [dict(row) for row in database.execute(f'SELECT {wanted} FROM "{table}" ORDER BY start')]


def _names(database: sqlite3.Connection, tables: set[str], rows: list[dict[str, Any]]) -> list[str]:
    """Return the demangled name of each kernel: an id of StringIds."""
    strings = _strings(database, tables)
    found = []
    for row in rows:
        given = [row[column] for column in _NAMES if row.get(column)]
        found.append(str(next((strings[value] for value in given if value in strings), given[0] if given else "")))
    return found


def _strings(database: sqlite3.Connection, tables: set[str]) -> dict[int, str]:
    """Return the texts that other tables refer to by id."""
    found: dict[int, str] = {}
    for table, number in (("StringIds", "id"), ("StringTable", "_id_")):
        if table in tables:
            found |= dict(tuple(row) for row in database.execute(f"SELECT {number}, value FROM {table}"))
    return found


def _number_devices(database: sqlite3.Connection, tables: set[str], rows: list[dict[str, Any]]) -> None:
    """Number devices as TARGET_INFO_GPU does: a process that sees some of them (CUDA_VISIBLE_DEVICES) counts these from 0."""
    if "TARGET_INFO_CUDA_DEVICE" not in tables:
        return
    known = [dict(row) for row in database.execute("SELECT * FROM TARGET_INFO_CUDA_DEVICE")]
    gpus = {(row.get("pid"), row.get("cudaId")): row.get("gpuId") for row in known}
    for row in rows:
        process = (row.get("globalPid") or 0) >> _PID_BITS & (1 << _PID_BITS) - 1
        device = gpus.get((process, row.get("deviceId")))
        row["deviceId"] = row.get("deviceId") if device is None else device


def _device(database: sqlite3.Connection, tables: set[str], rows: list[dict[str, Any]]) -> tuple[str, dict[str, Any]]:
    if DEVICES_OF_NVPROF in tables:
        return _device_of_nvprof(database, tables, rows)
    if "TARGET_INFO_GPU" not in tables:
        return "", {}
    wanted = min((row["deviceId"] for row in rows if row.get("deviceId") is not None), default=0)
    found = [dict(row) for row in database.execute("SELECT * FROM TARGET_INFO_GPU")]
    ours = next((gpu for gpu in found if gpu.get("id") == wanted), found[0] if found else {})
    counts = {"sm_count": ours.get("smCount"), "memory_bytes": ours.get("totalMemory")}
    facts: dict[str, Any] = {name: count for name, count in counts.items() if isinstance(count, int) and count > 0}
    if ours.get("computeMajor") is not None:
        facts["compute_capability"] = f"{ours['computeMajor']}.{ours.get('computeMinor', 0)}"
    return str(ours.get("name") or ""), facts


def _device_of_nvprof(database: sqlite3.Connection, tables: set[str], rows: list[dict[str, Any]]) -> tuple[str, dict[str, Any]]:
    wanted = min((row["deviceId"] for row in rows if row.get("deviceId") is not None), default=0)
    found = [dict(row) for row in database.execute(f"SELECT * FROM {DEVICES_OF_NVPROF}")]
    ours = next((gpu for gpu in found if gpu.get("id") == wanted), found[0] if found else {})
    counts = {"sm_count": ours.get("numMultiprocessors"), "memory_bytes": ours.get("globalMemorySize")}
    facts: dict[str, Any] = {name: count for name, count in counts.items() if isinstance(count, int) and count > 0}
    if ours.get("computeCapabilityMajor") is not None:
        facts["compute_capability"] = f"{ours['computeCapabilityMajor']}.{ours.get('computeCapabilityMinor', 0)}"
    return str(_strings(database, tables).get(ours.get("name", -1), "")), facts
