"""Rows for elementwise kernels of a real profile, of which nothing is in the calibration table."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from codesign.validation.published import published
from codesign.validation.row import Row, tolerance_of


def rows() -> Iterator[Row]:
    """Yield the median duration of kernels of one grid; a bar where every tensor is larger than L2, so that its state does not matter."""
    table = published()["real_profile"]
    for kernel in table["kernels"]:
        yield _row(table, kernel)


def _row(table: dict[str, Any], kernel: Mapping[str, Any]) -> Row:
    from arch import operators
    from arch.registered import find

    entry, elements = find(table["machine"]), kernel["blocks"] * table["elements_a_block"]
    shape = {"rows": np.array([float(elements)]), "cols": np.ones(1)}
    ours = 1e6 * operators.kernel_s(entry, operators.Operators("elementwise", kernel["operator"], "f32", shape))
    streams = 4 * elements > table["larger_than_l2"] * entry["l2"]
    return Row(
        f"real-profile/{kernel['name']}/{kernel['blocks']}",
        f"{kernel['name']}, {kernel['blocks']:,} blocks of {table['elements_a_block']} elements, V100: median us of {kernel['count']}",
        kernel["us"],
        float(ours[0]),
        tolerance_of(table["tolerance"], {"value": kernel["us"]}) if streams else None,
        table["configuration"],
        table["title"],
        "" if streams else table["short"],
    )
