"""Rows for FlashAttention's published rates, and times with one query."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from codesign.validation.published import published
from codesign.validation.row import Row, tolerance_of


def rows() -> Iterator[Row]:
    """Yield TFLOP/s of every published series and length."""
    table = published()["flash_attention"]
    for series in table["series"]:
        for length, said in zip(series.get("lengths", table["lengths"]), series["tflops"], strict=True):
            yield _row(table, series, length, float(said))
    yield from _one_query(table["one_query"])


def _row(table: dict[str, Any], series: dict[str, Any], length: int, said: float) -> Row:
    from arch.attention import table_shape, tflops
    from arch.attention_kernels import KERNELS
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


def _one_query(table: dict[str, Any]) -> Iterator[Row]:
    """Yield seconds of attention while a language model generates: by blocks of one query, and with shared keys and keys in parts."""
    for column, price in (("flash_attention_2", _padded_s), ("flash_decoding", _split_s)):
        for (batch, keys), said in zip(table["calls"], table[column], strict=True):
            yield Row(
                f"attention/one-query/{column}/{keys}",
                f"{table['labels'][column]}, A100, one query, batch {batch}, {keys:,} keys: seconds",
                said,
                price(table, batch, keys),
                tolerance_of(table["tolerance"], {"value": said}),
                table["configuration"],
                table["title"],
            )


def _padded_s(table: dict[str, Any], batch: int, keys: int) -> float:
    """Each head is a block, of whose rows one is a query; heads that share keys read them from L2."""
    return _seconds(table, "fa2", table["heads"], 1, batch, keys, sharing=table["heads"] / table["key_heads"])


def _split_s(table: dict[str, Any], batch: int, keys: int) -> float:
    """Heads that share keys are rows of a block; keys are split where blocks are too few, and a second kernel joins the parts."""
    from arch.registered import find
    from traces.capture.aten import attention

    heads, shared, dim = table["heads"], table["key_heads"], table["head"]
    call = attention.Shape(batch, heads, heads // shared, 1, keys, dim, dim)
    entry = find(table["machine"])
    parts = attention.plan(call, int(entry["sm_count"])).splits
    kernel, joining = ("fa2 split", entry["kernel_floor"]) if parts > 1 else ("fa2", 0.0)
    return joining + _seconds(table, kernel, shared * parts, heads // shared, batch, keys / parts)


def _seconds(table: dict[str, Any], kernel: str, heads: int, queries: int, batch: int, keys: float, sharing: float = 1.0) -> float:
    from arch.attention import kernel_s
    from arch.attention_kernels import KERNELS, Shape
    from arch.registered import find

    whole, each, rows, columns, dim = (np.array([float(size)]) for size in (batch, heads, queries, keys, table["head"]))
    shape = Shape(whole, each, rows, columns, dim, sharing=sharing)
    return float(kernel_s(find(table["machine"]), KERNELS[kernel], table["dtype"], shape)[0])
