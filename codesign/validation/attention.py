"""Rows for FlashAttention's published rates."""

from collections.abc import Iterator
from typing import Any

from codesign.validation.published import published
from codesign.validation.row import Row, tolerance_of


def rows() -> Iterator[Row]:
    """Yield TFLOP/s of every published series and length."""
    table = published()["flash_attention"]
    for series in table["series"]:
        for length, said in zip(series.get("lengths", table["lengths"]), series["tflops"], strict=True):
            yield _row(table, series, length, float(said))


def _row(table: dict[str, Any], series: dict[str, Any], length: int, said: float) -> Row:
    from arch.attention import KERNELS, table_shape, tflops
    from arch.registered import find

    version, backward = series["version"], series["backward"]
    shape = table_shape(length, series["head"], series["causal"])
    ours = tflops(find(series["machine"]), KERNELS[f"fa{version}"], table["dtype"], shape, backward)
    passes = "forward and backward" if backward else "forward"
    causal = ", causal" if series["causal"] else ""
    return Row(
        f"attention/{series['id']}/{length}",
        f"FlashAttention-{version}, {series['machine']}, {passes}, head {series['head']}{causal}, length {length:,}: TFLOP/s",
        said,
        float(ours[0]),
        tolerance_of(table["tolerance"], {"value": said}),
        table["configuration"],
        table["title"],
    )
