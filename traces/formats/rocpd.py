"""rocprofv3's SQLite file (``rocprofv3 --kernel-trace``, ROCm 7's default): what its tables say of kernels.

Tables by AMD's rocpd schema: rocpd_kernel_dispatch, names in rocpd_info_kernel_symbol, devices in rocpd_info_agent. They are views, or
tables whose names end in an id of the run, of which a file may have several. Grids count threads.
"""

import sqlite3
from typing import Any

import numpy as np

from traces.errors import TraceError
from traces.formats.profile import KERNEL, PS_PER_NS, Launches, Profile
from traces.formats.rocprof import blocks, plain_name
from traces.formats.source import Source
from traces.table import Values

DISPATCHES, SYMBOLS, AGENTS = "rocpd_kernel_dispatch", "rocpd_info_kernel_symbol", "rocpd_info_agent"
_COLUMNS = ("guid", "agent_id", "queue_id", "stream_id", "kernel_id", "start", "end", "group_segment_size")
_AGENT = ("guid", "id", "name", "product_name", "model_name")
"""Ids are a run's own: rows belong together by the run's ``guid`` too, where a version has it."""
_SIZES = tuple(f"{what}_size_{axis}" for what in ("workgroup", "grid") for axis in "xyz")


def profile(source: Source, database: sqlite3.Connection, tables: set[str]) -> Profile:
    """Return the profile. Raises TraceError for a file without kernels' names."""
    dispatches = [row for table in _named(tables, DISPATCHES) for row in _rows(database, table, (*_COLUMNS, *_SIZES))]
    symbols = [row for table in _named(tables, SYMBOLS) for row in _rows(database, table, ("guid", "id", "display_name", "kernel_name"))]
    if dispatches and not symbols:
        raise TraceError(f"{source} must have kernels' names in the table {SYMBOLS}, but has none")
    names = {(row.get("guid"), row["id"]): row.get("display_name") or row.get("kernel_name") or "" for row in symbols}
    known = {(row.get("guid"), row["id"]): row for table in _named(tables, AGENTS) for row in _rows(database, table, _AGENT)}
    dispatches.sort(key=lambda row: int(row["start"]))
    first = known.get((dispatches[0].get("guid"), dispatches[0].get("agent_id")), {}) if dispatches else {}
    device = str(first.get("product_name") or first.get("model_name") or first.get("name") or "")
    launches = _launches(dispatches, [plain_name(str(names.get((row.get("guid"), row.get("kernel_id")), ""))) for row in dispatches])
    return Profile("rocprof", str(source), launches, device_name=device)


def _named(tables: set[str], name: str) -> list[str]:
    """Return the view of a name, else the tables of each run."""
    return [name] if name in tables else sorted(table for table in tables if table.startswith(f"{name}_"))


def _rows(database: sqlite3.Connection, table: str, columns: tuple[str, ...]) -> list[dict[str, Any]]:
    """Return the columns of a table that it has."""
    there = {row["name"] for row in database.execute(f'PRAGMA table_info("{table}")')}
    wanted = ", ".join(f'"{name}"' for name in columns if name in there)
    return [dict(row) for row in database.execute(f'SELECT {wanted} FROM "{table}"')]


def _launches(rows: list[dict[str, Any]], names: list[str]) -> Launches:
    def column(name: str) -> np.ndarray[Any, np.dtype[np.int64]]:
        return np.array([-1 if row.get(name) is None else int(row[name]) for row in rows], np.int64)

    start, end = column("start"), column("end")
    columns: dict[str, Values] = {"shared_bytes": column("group_segment_size")}
    for axis in "xyz":
        block = column(f"workgroup_size_{axis}")
        columns |= {f"grid_{axis}": blocks(column(f"grid_size_{axis}"), block), f"block_{axis}": block}
    streams = column("stream_id")
    return Launches(
        name=names,
        kind=[KERNEL] * len(rows),
        start_ns=start,
        duration_ps=np.where(end >= start, (end - start) * PS_PER_NS, -2),
        stream=np.where(streams < 0, column("queue_id"), streams),
        device=column("agent_id"),
        columns=columns,
    )
