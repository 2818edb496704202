"""Nsight Systems: the reports ``cuda_gpu_trace`` (gputrace in older versions) and ``cuda_kern_exec_trace`` of ``nsys stats --format csv``.

Columns by NVIDIA's "Post-Collection Analysis Guide": Start, Duration, CorrId, GrdX to BlkZ, Reg/Trd, StcSMem, DymSMem, Bytes, ...,
Device, Ctx, Strm, Name; or API Start, ..., Kernel Start, Kernel Dur, ..., DevId, API Function, GridXYZ, BlockXYZ, Kernel Name. Each has
its unit in parentheses where it has one; a report's script that is run by itself writes it behind a colon ('Start:ts_ns').
"""

import re
from typing import ClassVar

import numpy as np

from traces.errors import TraceError
from traces.formats.csv_rows import BYTES, SECONDS, Rows, header_line, read_rows
from traces.formats.csv_table import CsvTable
from traces.formats.format import Importer
from traces.formats.profile import COPY, KERNEL, MEMSET, PS_PER_S, Ints, Launches, Profile
from traces.formats.source import Source
from traces.table import Values

NEEDED = ("Start", "Duration", "CorrId", "Name")
NEEDED_OF_LAUNCHES = ("Kernel Start", "Kernel Dur", "GridXYZ", "Kernel Name")
_OF_LAUNCHES = {"Kernel Start": "Start", "Kernel Dur": "Duration", "Kernel Name": "Name"}
"""Columns of ``cuda_kern_exec_trace``, which lists what a launch's call, its wait and its kernel took, by their names here."""
_COLON_UNITS = {"ts_ns": "ns", "dur_ns": "ns", "mem_b": "b"}
_COUNTS = {
    "grid_x": "GrdX",
    "grid_y": "GrdY",
    "grid_z": "GrdZ",
    "block_x": "BlkX",
    "block_y": "BlkY",
    "block_z": "BlkZ",
    "registers": "Reg/Trd",
}


class NsysCsv(Importer):
    """Nsight Systems' list of everything that ran on the GPU."""

    name: ClassVar[str] = "nsys-csv"
    description: ClassVar[str] = "Nsight Systems cuda_gpu_trace or cuda_kern_exec_trace report as CSV"

    def recognises(self, source: Source) -> bool:
        """Say whether a line near the beginning is a report's header."""
        start = source.text_start()
        return header_line(start, NEEDED) >= 0 or header_line(start, NEEDED_OF_LAUNCHES) >= 0

    def read(self, source: Source) -> Profile:
        """Return the profile. Raises TraceError naming the line for a truncated file, a cell that is no number, an unknown unit."""
        of_launches = header_line(source.text_start(), NEEDED) < 0
        table = _table(source, read_rows(source, NEEDED_OF_LAUNCHES if of_launches else NEEDED))
        return Profile(self.name, str(source), _launches(table), device_name=table.first_name("Device"))


def _table(source: Source, rows: Rows) -> CsvTable:
    titles = [_name_and_unit(title) for title in rows.header]
    return CsvTable(source, rows, [name for name, _ in titles], [unit for _, unit in titles])


def _name_and_unit(title: str) -> tuple[str, str]:
    """Return the two parts of 'Start (ns)', 'Start(nsec)' or 'Start:ts_ns', the unit '' where there is none."""
    name, _, unit = title.partition("(") if "(" in title else title.partition(":")
    plain = unit.strip(" )")
    return _OF_LAUNCHES.get(name.strip(), name.strip()), _COLON_UNITS.get(plain.lower(), plain)


def _launches(table: CsvTable) -> Launches:
    names = table.text("Name")
    columns: dict[str, Values] = {ours: table.counts(theirs) for ours, theirs in _COUNTS.items()}
    columns |= _sizes(table)
    columns["shared_bytes"] = table.shared_bytes("StcSMem", "DymSMem", BYTES, "MB")
    return Launches(
        name=[re.sub(r"^\[CUDA (.*)\]$", r"\1", name) for name in names],
        kind=[_kind(name) for name in names],
        start_ns=table.scaled("Start", SECONDS, "ns", 1e9),
        duration_ps=_durations(table),
        stream=table.counts("Strm"),
        device=table.counts("DevId") if "DevId" in table else table.numbers_behind("Device"),
        columns=columns,
    )


def _sizes(table: CsvTable) -> dict[str, Values]:
    """Return grid and block where a column holds all three: ' 148    1    1'."""
    found: dict[str, Values] = {}
    for ours, theirs in (("grid", "GridXYZ"), ("block", "BlockXYZ")):
        if theirs in table:
            sizes = [re.findall(r"\d+", text) for text in table.text(theirs)]
            found |= {f"{ours}_{letter}": [int(s[axis]) if len(s) == 3 else -1 for s in sizes] for axis, letter in enumerate("xyz")}
    return found


def _durations(table: CsvTable) -> Ints:
    given = table.scaled("Duration", SECONDS, "ns", PS_PER_S)
    missing = np.flatnonzero(given == -1)
    if len(missing):
        row = int(missing[0])
        raise TraceError(
            f"{table.source}: every line must have a duration, but line {table.line + row} ({table.text('Name')[row]!r}) has none"
        )
    return given


def _kind(name: str) -> str:
    """Copies and memory sets stand in brackets: '[CUDA memcpy Host-to-Device]'."""
    if not name.startswith("[CUDA"):
        return KERNEL
    return MEMSET if "memset" in name.lower() else COPY
