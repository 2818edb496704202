"""Rows for large square products in PyTorch: nothing is fitted to them, but catalogue energies of the rows without a bar come from them."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from codesign.validation.published import published
from codesign.validation.row import Row, tolerance_of

if TYPE_CHECKING:
    from arch.entry import Entry

_NAMES = {"f32": "FP32", "tf32": "TF32", "f16": "FP16", "bf16": "BF16"}


def rows() -> Iterator[Row]:
    """Yield the TFLOP/s of every board and dtype."""
    from arch.registered import find

    table = published()["squares"]
    for board in table["boards"]:
        entry = find(board["machine"])
        for dtype in (name for name in _NAMES if name in board):
            yield _row(table, board, dtype, _tflops(entry, dtype, table["sides"]))


def _row(table: dict[str, Any], board: dict[str, Any], dtype: str, ours: float) -> Row:
    said = float(np.mean(board[dtype]))
    known = dtype in board.get("known", ())
    return Row(
        f"squares/{board['machine']}/{dtype}",
        f"{board['machine']}, {_NAMES[dtype]} squares: TFLOP/s",
        said,
        ours,
        None if known else tolerance_of(table["tolerance"], {"value": said}),
        table["configuration"],
        f"{table['title']} ({board['issue']})",
        "the catalogue's energy a FLOP comes from this measurement" if known else "",
    )


def _tflops(entry: "Entry", dtype: str, sides: Sequence[float]) -> float:
    """Return the mean of the rates of products of ``sides`` rows, columns and inner dimension."""
    from arch import gemm

    side = np.array(sides, dtype=np.float64)
    seconds = gemm.kernel_s(entry, dtype, np.ones(len(side)), side, side, side)
    return float(np.mean(2e-12 * side**3 / seconds))
