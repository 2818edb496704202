"""Rows for a matrix-vector product that is bound by memory."""

from collections.abc import Iterator

import numpy as np

from codesign.validation.published import published
from codesign.validation.row import Row, tolerance_of


def rows() -> Iterator[Row]:
    """Yield the seconds of [1,N] times [N,N] for every published N."""
    from arch import gemm
    from arch.registered import find

    table = published()["gemv"]
    entry = find(table["machine"])
    for size, said in table["rows"].items():
        one, n = np.ones(1), np.array([float(size)])
        ours = gemm.kernel_s(entry, table["dtype"], one, one, n, n)
        yield Row(
            f"gemv/{table['machine']}/{size}",
            f"[1,{size}] x [{size},{size}], FP16, one A100: seconds",
            said,
            float(ours[0]),
            tolerance_of(table["tolerance"], {"value": said}),
            table["configuration"],
            table["title"],
        )
