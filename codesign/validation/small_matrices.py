"""Rows for many small matrices at once: cuBLAS' batched inverses, factorisations and products, on GPUs that gave the model no number."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from codesign.validation.published import published
from codesign.validation.row import Row, Tolerance, tolerance_of

if TYPE_CHECKING:
    from arch.entry import Entry


def rows() -> Iterator[Row]:
    """Yield the seconds of every published call."""
    for table in published()["small_matrices"]["tables"]:
        entry, rule = _entry(table), table.get("tolerance")
        for each in table["rows"]:
            bar: Tolerance | None = tolerance_of(rule, {"value": each["s"]}) if rule else None
            ours = _CALLS[table["call"]](entry, float(each["batch"]), float(each["n"]))
            quantity = f"{table['what']}, {each['batch']:,} of {each['n']} rows, {table['gpu']}: seconds"
            row_id = f"small-matrices/{table['id']}/{each['n']}"
            yield Row(row_id, quantity, each["s"], ours, bar, table["configuration"], table["title"], table.get("note", ""))


def _entry(table: dict[str, Any]) -> "Entry":
    """Return the GPU of a table: one of the catalogue, with what is said to differ."""
    from arch.building import machine

    return machine(table["machine"]).with_(**table.get("changed", {})).gpu.entry


def _factorisation_s(entry: "Entry", batch: float, n: float) -> float:
    from arch.solvers import Numbers, lu_s

    return float(lu_s(Numbers.of(entry), np.array([batch]), np.array([n]))[0])


def _inverse_s(entry: "Entry", batch: float, n: float) -> float:
    """An inverse from LU factors is a solve with each of them, the identity on the right."""
    from arch.solvers import Numbers, triangular_s

    rows = np.array([n])
    solve = triangular_s(Numbers.of(entry), np.array([batch]), rows, rows)
    return _factorisation_s(entry, batch, n) + 2 * float(solve[0])


def _product_s(entry: "Entry", batch: float, n: float) -> float:
    """A batch of square products, of which the library chooses the tile."""
    from arch import gemm

    rows = np.array([n])
    return float(gemm.kernel_s(entry, "f32", np.array([batch]), rows, rows, rows)[0])


_CALLS = {"factorisation": _factorisation_s, "inverse": _inverse_s, "product": _product_s}
