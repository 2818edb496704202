"""AMD's profilers: ``rocprof`` (results.csv), ``rocprofv2`` and ``rocprofv3 --kernel-trace --output-format csv`` (kernel_trace.csv).

Columns by AMD's documentation of the ROCm profiler and of the ROCprofiler-SDK: names differ by version, and times are nanoseconds in all
of them. Grids count threads, as OpenCL's do.
"""

import re
from typing import ClassVar

import numpy as np

from traces.errors import TraceError
from traces.formats.csv_rows import Rows, header_line, read_rows
from traces.formats.csv_table import CsvTable
from traces.formats.format import Importer
from traces.formats.profile import KERNEL, PS_PER_NS, Ints, Launches, Profile
from traces.formats.source import Source
from traces.table import Values

NEEDED = (
    ("Kernel_Name", "Start_Timestamp", "End_Timestamp"),
    ("Kernel_Name", "Begin_Timestamp", "End_Timestamp"),
    ("KernelName", "gpu-id"),
)
"""Columns of each version."""

_COLUMNS = {
    "name": ("kernel_name", "kernelname"),
    "start": ("start_timestamp", "begin_timestamp", "beginns"),
    "end": ("end_timestamp", "endns"),
    "device": ("agent_id", "gpu_id", "gpu-id"),
    "stream": ("stream_id", "queue_id", "queue-id"),
    "dispatch": ("dispatch_id",),
    "registers": ("vgpr_count", "arch_vgpr", "vgpr"),
    "shared": ("lds_block_size", "group_segment_size", "lds_per_workgroup", "lds"),
    "grid": ("grid_size", "grd"),
    "block": ("workgroup_size", "wgr"),
    **{f"grid_{axis}": (f"grid_size_{axis}",) for axis in "xyz"},
    **{f"block_{axis}": (f"workgroup_size_{axis}",) for axis in "xyz"},
}
"""Our name to theirs, in lower case; the first that is there counts."""


class Rocprof(Importer):
    """The kernels that AMD's profilers list."""

    name: ClassVar[str] = "rocprof"
    description: ClassVar[str] = "rocprof results.csv, rocprofv3 kernel_trace.csv"

    def recognises(self, source: Source) -> bool:
        """Say whether a line near the beginning is a header of AMD's profilers."""
        return any(header_line(source.text_start(), needed) >= 0 for needed in NEEDED)

    def read(self, source: Source) -> Profile:
        """Return the profile. Raises TraceError naming the line for a truncated file or a cell that is no number, or without times."""
        needed = next((found for found in NEEDED if header_line(source.text_start(), found) >= 0), NEEDED[0])
        table = _table(source, read_rows(source, needed))
        if "start" not in table or "end" not in table:
            raise TraceError(f"{source} must have the times of kernels, but has no column BeginNs or EndNs: run `rocprof --timestamp on`")
        return Profile(self.name, str(source), _launches(table))


def _table(source: Source, rows: Rows) -> CsvTable:
    """Return the table under our names; of a list of counters, one line a counter, the first line of each dispatch."""
    lower = [title.lower() for title in rows.header]
    ours = {theirs: name for name, choice in _COLUMNS.items() for theirs in [next((c for c in choice if c in lower), None)] if theirs}
    names = [ours.get(title, title) for title in lower]
    kept = rows
    if "counter_name" in lower and "dispatch" in names:
        key = [names.index(name) for name in ("dispatch", "device", "process_id") if name in names]
        first = {tuple(row[place] for place in key): row for row in reversed(rows.rows)}
        kept = rows._replace(rows=list(reversed(first.values())))
    return CsvTable(source, kept, names, [""] * len(names))


def _launches(table: CsvTable) -> Launches:
    start, end = table.counts("start"), table.counts("end")
    return Launches(
        name=[plain_name(name) for name in table.text("name")],
        kind=[KERNEL] * len(table),
        start_ns=start,
        duration_ps=np.where(end >= start, (end - start) * PS_PER_NS, -2),  # negative: found by the check of the clock
        stream=table.counts("stream"),
        device=_devices(table),
        columns=_sizes(table) | {"registers": table.counts("registers"), "shared_bytes": table.counts("shared")},
    )


def _devices(table: CsvTable) -> Ints:
    """Return the agent's number: '4' or 'Agent 4'."""
    found = [re.search(r"(\d+)$", device) for device in table.text("device")]
    return np.array([int(number[1]) if number else -1 for number in found], np.int64)


def _sizes(table: CsvTable) -> dict[str, Values]:
    """Return blocks and threads of a block by axis; older versions have only the product of the three, which stands on the first axis."""
    if "grid_x" not in table:
        threads, block = table.counts("grid"), table.counts("block")
        return {"grid_x": blocks(threads, block), "block_x": block}
    found: dict[str, Values] = {}
    for axis in "xyz":
        threads, block = table.counts(f"grid_{axis}"), table.counts(f"block_{axis}")
        found |= {f"grid_{axis}": blocks(threads, block), f"block_{axis}": block}
    return found


def plain_name(name: str) -> str:
    """Return a kernel's name without the ending of its descriptor's in the code object."""
    return re.sub(r"(\s*\[clone )?\.kd\]?$", "", name)


def blocks(threads: Ints, block: Ints) -> Ints:
    """Return the blocks that so many threads are, the last of which need not be full; -1 where not known."""
    return np.where((threads > 0) & (block > 0), -(-threads // np.maximum(block, 1)), -1)
