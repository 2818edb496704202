"""Rows for the kernels that the constants were fitted to: what each device showed when it was left out of the fit."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from codesign.validation.published import published
from codesign.validation.row import Row, tolerance_of

CONFIGURATION = "constants fitted without the device; rows above three times the 2nd percentile of their device and op"
OPERATORS = {"gemm_vector": "gemm", "gemm_matrix": "gemm", "elementwise": "elementwise", "softmax": "softmax", "layernorm": "layernorm"}
"""Operators of the table (products on the vector pipes and on tensor cores), and NeuSight's names for them."""


def rows() -> Iterator[Row]:
    """Yield error and bias of every left-out device and op, the ops' means, NeuSight's medians beside them, and the coverage."""
    from arch import catalog

    table, seen = published()["kernels"], catalog.left_out()
    yield from _by_op(table, seen)
    yield from _cells(table, seen)
    yield from _neusight(table, seen)
    yield _coverage(table, seen)


def _by_op(table: Mapping[str, Any], seen: Mapping[str, Mapping[str, float]]) -> Iterator[Row]:
    for op in OPERATORS:
        found = [numbers["median"] for cell, numbers in seen.items() if cell.endswith(f"/{op}")]
        yield Row(
            f"kernels/left-out/{op}",
            f"{op}: median error on a left-out device, mean over devices",
            published=None,
            ours=float(np.mean(found)) if found else None,
            tolerance=tolerance_of(table["leave_one_out"]["tolerance"], {}),
            configuration=CONFIGURATION,
            source=table["title"],
        )


def _cells(table: Mapping[str, Any], seen: Mapping[str, Mapping[str, float]]) -> Iterator[Row]:
    for cell, numbers in seen.items():
        bias = tolerance_of(table["bias"]["tolerance"], {})
        yield Row(
            f"kernels/median/{cell}",
            f"{cell}: median error, left out",
            published=None,
            ours=numbers["median"],
            tolerance=None,
            configuration=CONFIGURATION,
            source=table["title"],
        )
        yield Row(
            f"kernels/bias/{cell}", f"{cell}: bias of the summed time, left out", 0.0, numbers["bias"], bias, CONFIGURATION, table["title"]
        )


def _neusight(table: Mapping[str, Any], seen: Mapping[str, Mapping[str, float]]) -> Iterator[Row]:
    """The learned model's medians on its own held-out GPUs: ours are of other devices, so these rows carry no bar."""
    said = table["neusight"]
    for op, name in OPERATORS.items():
        found = [numbers["median"] for cell, numbers in seen.items() if cell.endswith(f"/{op}")]
        yield Row(
            f"kernels/neusight/{op}",
            f"{op}: median error of NeuSight (learned) on its held-out GPUs, ours on left-out ones",
            published=said[name],
            ours=float(np.mean(found)) if found else None,
            tolerance=None,
            configuration=CONFIGURATION,
            source=said["note"],
        )


def _coverage(table: Mapping[str, Any], seen: Mapping[str, Mapping[str, float]]) -> Row:
    """How many left-out devices' summed times lie within the standard deviation that is stated for their op."""
    from arch import catalog

    stated = catalog.residuals()
    inside = [
        abs(np.log1p(numbers["bias"])) <= stated.get(f"{cell.split('/')[1]}_long", {}).get("total", 0.0) for cell, numbers in seen.items()
    ]
    return Row(
        "kernels/coverage",
        "share of left-out devices' totals within the stated standard deviation of their op",
        table["coverage"]["value"],
        float(np.mean(inside)) if inside else None,
        tolerance_of(table["coverage"]["tolerance"], table["coverage"]),
        CONFIGURATION,
        table["title"],
    )
