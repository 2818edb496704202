"""Counts of a trace by family, phase or stage."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from traces import html, schema
from traces.errors import TraceError
from traces.rows import Rows
from traces.si import show

if TYPE_CHECKING:
    from traces.trace import Trace

GROUPS = ("family", "phase", "stage")
_FLOPS = ("flops_matrix", "flops_vector", "flops_transcendental")


@dataclass(frozen=True)
class Row:
    """One group: static kernels, launches in a run, FLOP (HLO), unique bytes; unknown work counts as none."""

    name: str
    kernels: int
    launches: int
    flops: float
    bytes_unique: float
    unknown: int
    """Kernels whose FLOP or bytes are unknown."""


@dataclass(frozen=True)
class Summary:
    """Rows by group, the one with the most bytes first."""

    by: str
    rows: Sequence[Row]

    def to_dict(self) -> dict[str, dict[str, Any]]:
        """Return the rows as plain values by group name."""
        return {r.name: {key: value for key, value in vars(r).items() if key != "name"} for r in self.rows}

    def __str__(self) -> str:
        lines = [f"{self.by:<18}{'kernels':>9}{'launches':>12}{'GFLOP':>12}{'GB':>12}"]
        lines += [f"{r.name:<18}{r.kernels:>9,}{r.launches:>12,}{r.flops / 1e9:>12,.3f}{r.bytes_unique / 1e9:>12,.3f}" for r in self.rows]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        rows = [(r.name, r.kernels, r.launches, show(r.flops, "FLOP"), show(r.bytes_unique, "B"), r.unknown) for r in self.rows]
        return html.table([self.by, "kernels", "launches", "work (HLO)", "bytes touched", "kernels of unknown work"], rows)


def label_of(group: str, value: str) -> str:
    """Return what is shown for a group's value: stages with their names, nothing as 'none'."""
    if group == "stage" and value in schema.STAGES:
        return f"{value} {schema.STAGES[value]}"
    return value or "none"


def summarize(trace: "Trace", by: str) -> Summary:
    """Return the summary of ``trace`` by one of GROUPS. Raises TraceError for another group."""
    if by not in GROUPS:
        raise TraceError(f"a summary is by {', '.join(GROUPS)}, but got {by!r}")
    kernels, codes = trace.kernels, trace.kernels.codes(by)
    names = kernels.categories(by)
    times = trace.executions.astype(np.float64)
    flops = sum((np.nan_to_num(kernels[c]) for c in _FLOPS), np.zeros(len(kernels)))
    unknown = np.isnan(kernels["bytes_unique"]) | np.logical_or.reduce([np.isnan(kernels[c]) for c in _FLOPS])

    def total(weights: NDArray[np.float64]) -> NDArray[np.generic]:
        return np.bincount(codes, weights=weights, minlength=len(names))

    columns = [
        np.bincount(codes, minlength=len(names)),
        total(times * kernels["launches"]),
        total(times * flops),
        total(times * np.nan_to_num(kernels["bytes_unique"])),
        total(unknown.astype(np.float64)),
    ]
    rows = [
        Row(names[i] or "none", int(k), int(n), float(f), float(b), int(u)) for i, (k, n, f, b, u) in enumerate(zip(*columns, strict=True))
    ]
    return Summary(by, sorted(rows, key=lambda r: -r.bytes_unique))


def work_table(trace: "Trace", caption: str = "") -> Rows:
    """Return a table of kernels, launches, FLOP and bytes by phase and by family."""
    cells = [
        (by, r.name, f"{r.kernels:,}", f"{r.launches:,}", show(r.flops, "FLOP"), show(r.bytes_unique, "B"))
        for by in ("phase", "family")
        for r in summarize(trace, by).rows
    ]
    return Rows(caption, ("by", "name", "kernels", "launches", "work (HLO)", "bytes touched"), cells)
