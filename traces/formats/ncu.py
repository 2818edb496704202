"""Nsight Compute: ``ncu --csv``, of the page 'details' (one line a metric) or 'raw' (one line a kernel, units in the second line).

Metric names are those of NVIDIA's "Kernel Profiling Guide". Nsight Compute runs each kernel alone, serialised and with clocks
locked unless told otherwise: its durations are comparable with each other, their sum is not the program's time.
"""

import re
from collections.abc import Iterator
from typing import ClassVar

import numpy as np

from traces.errors import TraceError
from traces.formats import families
from traces.formats.csv_rows import BYTES, SECONDS, has_decimal_comma, header_line, number, read_rows
from traces.formats.format import Importer
from traces.formats.profile import KERNEL, PS_PER_S, Ints, Launches, Profile
from traces.formats.source import Source
from traces.table import Values

NEEDED = ("ID", "Process ID", "Kernel Name")

_LONG = ("Metric Name", "Metric Unit", "Metric Value")
"""Columns of the page 'details' that the page 'raw' does not have."""

DURATION = ("gpu__time_duration.sum", "gpu__time_duration.avg", "gpu__time_duration", "Duration")
REGISTERS = ("launch__registers_per_thread", "Registers Per Thread")
SHARED = (
    ("launch__shared_mem_per_block_static", "Static Shared Memory Per Block"),
    ("launch__shared_mem_per_block_dynamic", "Dynamic Shared Memory Per Block"),
    ("launch__shared_mem_per_block_driver", "Driver Shared Memory Per Block"),
)
DRAM = ("dram__bytes_read.sum", "dram__bytes_write.sum")
DRAM_RATE = ("dram__bytes.sum.per_second", "Memory Throughput")
INSTRUCTIONS = ("smsp__thread_inst_executed.sum", "sm__thread_inst_executed.sum")
OPS = {"add": 1, "mul": 1, "fma": 2}
"""FLOP of the instructions a profiler counts, by their names in smsp__sass_thread_inst_executed_op_[hfd]..._pred_on.sum."""

_Metrics = dict[str, tuple[str, str]]
"""Metric to (unit, value)."""


class Ncu(Importer):
    """Nsight Compute's kernels with their counters."""

    name: ClassVar[str] = "ncu"
    description: ClassVar[str] = "Nsight Compute CSV (ncu --csv, pages details and raw)"

    def recognises(self, source: Source) -> bool:
        """Say whether a line near the beginning is Nsight Compute's header."""
        return header_line(source.text_start(), NEEDED) >= 0

    def read(self, source: Source) -> Profile:
        """Return the profile. Raises TraceError naming the line for a truncated file or a cell that is no number."""
        header, rows, line, _ = read_rows(source, NEEDED, interrupted=True)
        pick = {name: header.index(name) for name in header}
        missing = [name for name in (*NEEDED, *_LONG) if name not in pick]
        wide = missing == list(_LONG)
        if missing and not wide:
            raise TraceError(f"{source} must have the columns of the page 'details' or 'raw', but {', '.join(missing)} are missing")
        kernels = _wide(source, header, rows, line) if wide else _long(pick, rows)
        head = [row for row, _ in kernels]

        def text(name: str) -> list[str]:
            return [row[pick[name]].strip() if name in pick else "" for row in head]

        device = next((re.sub(r"^NVIDIA$", "", d) for d in text("Device") if d and not d.isdigit()), "")
        metrics = [found for _, found in kernels]
        return Profile(
            self.name,
            str(source),
            _launches(source, text("Kernel Name"), text("Stream"), text("Device"), metrics, (text("Grid Size"), text("Block Size"))),
            device_name=device or _metric_text(metrics, "device__attribute_display_name"),
            remarks=(
                "Nsight Compute runs each kernel alone: the sum of durations is not the program's time",
                "bytes_unique is what DRAM moved (dram__bytes_read + dram__bytes_write), flops_vector what the counters saw; the work of "
                "tensor cores is not in them",
            ),
        )


def _long(pick: dict[str, int], rows: list[list[str]]) -> list[tuple[list[str], _Metrics]]:
    """One line a metric: those of one ID are one kernel."""
    found: dict[tuple[str, str], tuple[list[str], _Metrics]] = {}
    for row in rows:
        key = row[pick["ID"]], row[pick["Process ID"]]
        _, metrics = found.setdefault(key, (row, {}))
        metrics[row[pick["Metric Name"]]] = row[pick["Metric Unit"]], row[pick["Metric Value"]]
    return list(found.values())


def _wide(source: Source, header: list[str], rows: list[list[str]], line: int) -> list[tuple[list[str], _Metrics]]:
    """One line a kernel; the first line below the header holds units."""
    if not rows or rows[0][header.index("ID")].strip():
        raise TraceError(f"{source} must have the units below the header, as `ncu --csv --page raw` writes, but line {line} has none")
    units, identity = rows[0], header.index("ID")
    kernels = [row for row in rows[1:] if row[identity].strip()]  # another process has the header and the units again
    return [(row, {name: (units[i], row[i]) for i, name in enumerate(header)}) for row in kernels]


def _metric_text(metrics: list[_Metrics], name: str) -> str:
    return next((found[name][1] for found in metrics if name in found), "")


def _launches(
    source: Source, names: list[str], streams: list[str], devices: list[str], metrics: list[_Metrics], sizes: tuple[list[str], list[str]]
) -> Launches:
    comma = has_decimal_comma([value for found in metrics for _, value in found.values()])
    read = [_Reader(source, row, found, comma) for row, found in enumerate(metrics)]
    columns: dict[str, Values] = {"registers": _counts(r.number(REGISTERS) for r in read)}
    for word, given, ours in (("grid", sizes[0], "grid"), ("block", sizes[1], "block")):
        for axis, letter in enumerate("xyz"):
            columns[f"{ours}_{letter}"] = _counts(r.size(word, letter, axis, given[r.row]) for r in read)
    columns["shared_bytes"] = _counts(r.total(SHARED) for r in read)
    columns["bytes_unique"] = [_known(r.dram()) for r in read]
    flops = [_known(r.flops()) for r in read]
    columns["flops_ncu"] = flops
    scalar = [families.is_scalar_product(name) for name in names]
    columns["flops_matrix"] = [counted if product else float("nan") for product, counted in zip(scalar, flops, strict=True)]
    columns["flops_vector"] = [0.0 if product else counted for product, counted in zip(scalar, flops, strict=True)]
    columns["dtype"] = [families.dtype_of(name) for name in names]
    columns["precision"] = ["highest" if product else "" for product in scalar]
    columns["instructions"] = [_known(r.number(INSTRUCTIONS)) for r in read]
    return Launches(
        name=names,
        kind=["library" if product else KERNEL for product in scalar],
        start_ns=np.full(len(names), -1, np.int64),
        duration_ps=_counts(None if (t := r.seconds(DURATION)) is None else t * PS_PER_S for r in read),
        stream=_counts(int(s) if s.isdigit() else None for s in streams),
        device=_counts(int(d) if d.isdigit() else None for d in devices),
        columns=columns,
    )


def _counts(values: Iterator[float | None]) -> Ints:
    return np.array([-1 if v is None else round(v) for v in values], np.int64)


def _known(value: float | None) -> float:
    return float("nan") if value is None else value


class _Reader:
    """The metrics of one kernel, in SI."""

    def __init__(self, source: Source, row: int, metrics: _Metrics, decimal_comma: bool) -> None:
        self.source, self.row, self.metrics, self.comma = source, row, metrics, decimal_comma

    def number(self, names: tuple[str, ...], units: dict[str, float] | None = None) -> float | None:
        """Return the first of the metrics that is there, in SI; None if none is."""
        for name in names:
            if name in self.metrics:
                unit, text = self.metrics[name]
                value = number(self.source, self.row, name, text, decimal_comma=self.comma)
                return None if value is None else value * self._factor(name, unit, units)
        return None

    def _factor(self, name: str, unit: str, units: dict[str, float] | None) -> float:
        plain = unit.strip().lower().split("/")[0]
        if units is None:
            return {"k": 1e3, "m": 1e6, "g": 1e9}.get(plain[:1], 1.0) if plain in ("kinst", "minst", "ginst") else 1.0
        if plain not in units:
            raise TraceError(f"{self.source}: the unit of {name!r} must be one of {', '.join(units)}, but kernel {self.row} has {unit!r}")
        return units[plain]

    def seconds(self, names: tuple[str, ...]) -> float | None:
        return self.number(names, SECONDS)

    def total(self, groups: tuple[tuple[str, ...], ...]) -> float | None:
        found = [v for names in groups if (v := self.number(names, BYTES)) is not None]
        return sum(found) if found else None

    def dram(self) -> float | None:
        found = [self.number((name,), BYTES) for name in DRAM]
        if None not in found:
            return sum(v for v in found if v is not None)
        counted = self.number(("dram__bytes.sum",), BYTES)
        return self._dram_by_rate() if counted is None else counted

    def _dram_by_rate(self) -> float | None:
        """Return what DRAM moved where only its rate was collected, as by the section of memory's workload."""
        duration = self.seconds(DURATION)
        rates = [name for name in DRAM_RATE if "/s" in self.metrics.get(name, ("", ""))[0]]  # the other 'Memory Throughput' is a percentage
        rate = self.number(tuple(rates), BYTES)
        return None if rate is None or duration is None else rate * duration

    def flops(self) -> float | None:
        """Add + multiply + twice fused multiply-add of half, single and double precision; None if none was counted."""
        total, any_there = 0.0, False
        for letter in "hfd":
            for op, each in OPS.items():
                for unit in ("smsp", "sm"):
                    value = self.number((f"{unit}__sass_thread_inst_executed_op_{letter}{op}_pred_on.sum",))
                    if value is not None:
                        total, any_there = total + each * value, True
                        break
        return total if any_there else None

    def size(self, word: str, letter: str, axis: int, text: str) -> float | None:
        """Return one dimension: a metric, or a part of '(128, 1, 1)'."""
        value = self.number((f"launch__{word}_dim_{letter}",))
        parts = re.findall(r"\d+", text)
        return value if value is not None else float(parts[axis]) if len(parts) == 3 else None
