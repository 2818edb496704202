"""nvprof, NVIDIA's profiler before Nsight: ``nvprof --print-gpu-trace --csv``.

Columns by NVIDIA's "Profiler User's Guide": Start, Duration, Grid X to Block Z, Registers Per Thread, Static SMem, Dynamic SMem, Size,
Throughput, SrcMemType, DstMemType, Device, Context, Stream, Name; their units stand in the line below the header.
"""

import re
from typing import ClassVar

from traces.errors import TraceError
from traces.formats.csv_rows import SECONDS, Rows, header_line, read_rows
from traces.formats.csv_table import CsvTable
from traces.formats.format import Importer
from traces.formats.profile import COPY, KERNEL, MEMSET, PS_PER_S, Launches, Profile
from traces.formats.source import Source
from traces.table import Values

NEEDED = ("Start", "Duration", "Device", "Context", "Stream", "Name")
_BYTES = {"b": 1.0, "kb": 1024.0, "mb": 2.0**20, "gb": 2.0**30}
_COUNTS = {
    "grid_x": "Grid X",
    "grid_y": "Grid Y",
    "grid_z": "Grid Z",
    "block_x": "Block X",
    "block_y": "Block Y",
    "block_z": "Block Z",
    "registers": "Registers Per Thread",
}


class Nvprof(Importer):
    """nvprof's list of everything that ran on the GPU."""

    name: ClassVar[str] = "nvprof"
    description: ClassVar[str] = "nvprof --print-gpu-trace --csv"

    def recognises(self, source: Source) -> bool:
        """Say whether a line near the beginning is nvprof's header."""
        return header_line(source.text_start(), NEEDED) >= 0

    def read(self, source: Source) -> Profile:
        """Return the profile. Raises TraceError naming the line for a truncated file, a cell that is no number, an unknown unit."""
        table, faults = _table(source, read_rows(source, NEEDED))
        remarks = (f"{faults:,} faults and moves of unified memory that have no duration are left out",) if faults else ()
        return Profile(self.name, str(source), _launches(table), device_name=table.first_name("Device"), remarks=remarks)


def _table(source: Source, rows: Rows) -> tuple[CsvTable, int]:
    """Return the table without its line of units and without events of unified memory, and how many of these there are."""
    header, start = rows.header, rows.header.index("Start")
    if not rows.rows or rows.rows[0][start].strip().lower() not in SECONDS:
        raise TraceError(
            f"{source} must have the units below the header, as `nvprof --print-gpu-trace --csv` writes, but line {rows.line} has none"
        )
    name, duration = header.index("Name"), header.index("Duration")
    units, *listed = rows.rows
    kept = [row for row in listed if row[duration].strip() or not row[name].startswith("[Unified Memory")]
    table = CsvTable(source, Rows(header, kept, rows.line + 1, rows.delimiter), header, [unit.strip() for unit in units])
    return table, len(listed) - len(kept)


def _launches(table: CsvTable) -> Launches:
    names = table.text("Name")
    columns: dict[str, Values] = {ours: table.counts(theirs) for ours, theirs in _COUNTS.items()}
    columns["shared_bytes"] = table.shared_bytes("Static SMem", "Dynamic SMem", _BYTES, "B")
    return Launches(
        name=[_plain_name(name) for name in names],
        kind=[_kind(name) for name in names],
        start_ns=table.scaled("Start", SECONDS, "s", 1e9),
        duration_ps=table.scaled("Duration", SECONDS, "s", PS_PER_S),
        stream=table.counts("Stream"),
        device=table.numbers_behind("Device"),
        columns=columns,
    )


def _plain_name(name: str) -> str:
    """Return the name without the launch's number behind it, and of a copy without its brackets."""
    return re.sub(r"^\[CUDA (.*)\]$", r"\1", re.sub(r"\s\[\d+\]$", "", name))


def _kind(name: str) -> str:
    """Copies, memory sets and what unified memory does stand in brackets: '[CUDA memcpy HtoD]', '[Unified Memory Memcpy DtoH]'."""
    if not name.startswith(("[CUDA ", "[Unified Memory")):
        return KERNEL
    return MEMSET if "memset" in name.lower() else COPY
