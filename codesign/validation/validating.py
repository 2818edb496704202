"""The one call that puts all published numbers beside ours."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from codesign.validation.row import Row
from traces import html
from traces.errors import CodesignError, nearest

PARTS = {
    "kernels": "Measured kernels, each device left out of the fit",
    "real_profile": "Elementwise kernels of a real profile",
    "ablation": "What each term of the GPU model buys",
    "survey": "Shares, totals, growth and devices of four neural wave functions (survey, arXiv 2603.18126)",
    "memory": "Which of the survey's runs fit the GPU",
    "counters": "Profiler counters of the survey",
    "wall_clock": "Wall clock of a sampler on an RTX 3090",
    "attention": "FlashAttention's published rates",
    "squares": "Large square products in PyTorch",
    "gemv": "Matrix-vector products on an A100",
    "small_matrices": "Batched factorisations, inverses and products of small matrices",
    "pim": "Published systems with processing in memory: Pimba, AttAcc, CENT, Duplex, HBM-PIM, AiM",
    "systems": "Published accelerators and tiers of memory: SN40L, LLM in a flash",
    "energy": "Published energies of CENT, AttAcc and Duplex",
    "offload": "Published throughputs of FlexGen: OPT on a T4, weights and cache in DRAM and on SSDs",
}
"""Modules of this package, each with a function ``rows``, and what they compare."""


@dataclass(frozen=True)
class Validation:
    """All rows, in the order of `PARTS`."""

    rows: tuple[Row, ...]

    @property
    def judged(self) -> tuple[Row, ...]:
        """Rows that have a bar."""
        return tuple(row for row in self.rows if row.met is not None)

    @property
    def met(self) -> int:
        """How many of the judged rows are met."""
        return sum(bool(row.met) for row in self.judged)

    def of(self, prefix: str) -> tuple[Row, ...]:
        """Return the rows whose id is ``prefix`` or begins with ``prefix/``."""
        return tuple(row for row in self.rows if row.id == prefix or row.id.startswith(f"{prefix}/"))

    def to_dict(self) -> dict[str, Any]:
        """Return the rows for JSON."""
        return {"kind": "validation", "rows": [row.to_dict() for row in self.rows], "judged": len(self.judged), "met": self.met}

    def __repr__(self) -> str:
        return f"<Validation: {self.met} of {len(self.judged)} bars met, {len(self.rows)} rows>"

    def _repr_html_(self) -> str:
        columns = ("id", "quantity", "published", "ours", "accepted", "met")
        return html.table(columns, [_line(row) for row in self.rows], f"{self.met} of {len(self.judged)} bars met")


def _line(row: Row) -> tuple[str, ...]:
    return (row.id, row.quantity, cell(row.published), cell(row.ours), str(row.tolerance or ""), verdict(row))


def validate(parts: Iterable[str] | None = None, *, progress: Callable[[str], None] | None = None) -> Validation:
    """Compute every row of the validation.

    Parameters
    ----------
    parts
        Some of `PARTS`; all by default.
    progress
        Called with the name of each part before it begins.

    Raises
    ------
    CodesignError
        If there is no such part.
    """
    chosen = tuple(PARTS) if parts is None else tuple(parts)
    for name in chosen:
        if name not in PARTS:
            raise CodesignError(f"there is no part {name!r} of the validation; {nearest(name, PARTS)}")
    return Validation(tuple(_rows(chosen, progress)))


def _rows(chosen: Sequence[str], progress: Callable[[str], None] | None) -> Iterator[Row]:
    for name in chosen:
        if progress is not None:
            progress(name)
        yield from import_module(f"codesign.validation.{name}").rows()


def cell(value: float | str | None) -> str:
    """Return a value as people read it."""
    return "—" if value is None else value if isinstance(value, str) else f"{value:.4g}"


def verdict(row: Row) -> str:
    """Return 'met', 'not met' or '' for a row without a bar."""
    return "" if row.met is None else "met" if row.met else "not met"
