"""The closure that holds the energies of a GPU to its board's power: idle, copying, and in dense products."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from arch.entry import Entry
from arch.gpu import GPU
from arch.work import Float, Work
from traces.table import Table
from traces.trace import Trace

COPY_BYTES = 2.0**32
"""Of the copy of the closure: enough that starting it does not count."""
PRODUCT = 8192
"""Rows, columns and inner dimension of the product of the closure."""


@dataclass(frozen=True)
class Closure:
    """Watts of a GPU's board when idle with clocks up, copying as fast as it can, and computing large products by type.

    ``asked_w`` is the highest that the constants alone give, without ``cap_j``. Each range is what was measured, None where no
    measurement is at hand; the largest of the products is held to its range.
    """

    gpu: str
    cap_w: float | None
    idle_w: float
    copy_w: float
    product_w: dict[str, float]
    asked_w: float
    ranges: dict[str, tuple[float, float] | None]

    @property
    def watts(self) -> dict[str, float]:
        """Of 'idle', 'copy' and 'product', the type of product that draws most."""
        return {"idle": self.idle_w, "copy": self.copy_w, "product": max(self.product_w.values())}

    @property
    def outside(self) -> tuple[str, ...]:
        """Loads whose watts leave the measured range."""
        held = {load: bounds for load, bounds in self.ranges.items() if bounds is not None}
        return tuple(load for load, (low, high) in held.items() if not low <= self.watts[load] <= high)


def closure(gpu: GPU) -> Closure | None:
    """Return what the catalogue's energies make of three loads; None if a constant is missing.

    Types of products: 'f32' on the vector pipes, and on tensor cores where there are any 'tf32', 'bf16' and 'f16'.
    """
    idle, matrix = gpu.static_watts, gpu.entry.group("matrix_flops")
    kinds = ["f32", *(dtype for dtype in ("tf32", "bf16", "f16") if dtype in matrix)]
    prices = gpu.price(Work.of(_loads(kinds)))
    if idle is None or np.isnan(prices.energy_j).any():
        return None
    watts = idle + prices.energy_j / prices.duration_s
    asked = idle + (prices.energy_j - prices.energy_terms["cap_j"]) / prices.duration_s
    products = dict(zip(kinds, watts[1:].tolist(), strict=True))
    ranges = {load: _range(gpu.entry, f"{load}_power_range") for load in ("idle", "copy", "product")}
    return Closure(gpu.id, gpu.entry.get("board_power"), idle, float(watts[0]), products, float(asked.max()), ranges)


def _range(entry: Entry, key: str) -> tuple[float, float] | None:
    if key not in entry.numbers:
        return None
    low, high = entry.list(key)
    return low, high


def _loads(kinds: list[str]) -> Trace:
    """A copy, then a product of each type."""
    element = np.array([4 if kind in ("f32", "tf32") else 2 for kind in kinds], dtype=np.float64)
    sizes = np.concatenate([[COPY_BYTES / 2], element * float(PRODUCT) ** 2])
    root: dict[str, Any] = {"parent": [-1], "kind": ["sequence"], "name": ["root"], "trip_count": [1], "condition": ["host"]}
    return Trace(
        Table.build("kernels", _kernels(kinds, sizes)),
        *_operands(sizes),
        Table.build("regions", {**root, "first_kernel": [0], "end_kernel": [len(sizes)]}),
        {"program": "closure", "target": ""},
    )


def _kernels(kinds: list[str], sizes: Float) -> dict[str, Any]:
    """Columns of the loads; ``sizes`` is bytes of one operand, shape [kernels]."""
    count, n = len(kinds), float(PRODUCT)
    return {
        "name": ["copy", *kinds],
        "region": np.zeros(count + 1, np.int64),
        "family": ["copy"] + ["gemm"] * count,
        "launch_kind": ["copy"] + ["library"] * count,
        "dtype": ["f32"] + ["f32" if kind == "tf32" else kind for kind in kinds],
        "precision": ["", "highest"] + ["default"] * (count - 1),
        "launches": np.ones(count + 1, np.int64),
        "batch": [-1] + [1] * count,
        **{name: [-1] + [PRODUCT] * count for name in ("m", "n", "k")},
        "flops_matrix": [0.0] + [2 * n**3] * count,
        "flops_vector": np.zeros(count + 1),
        "flops_transcendental": np.zeros(count + 1),
        "bytes_unique": sizes * np.array([2.0] + [3.0] * count),
    }


def _operands(sizes: Float) -> tuple[Table, Table]:
    """Tensors and accesses: the copy reads one and writes one, each product reads two and writes one, none of them shared."""
    products = len(sizes) - 1
    owner = np.repeat(np.arange(products + 1), [2] + [3] * products)
    rows = len(owner)
    tensors: dict[str, Any] = {
        "name": [f"t{i}" for i in range(rows)],
        "bytes": sizes[owner],
        "dtype": ["f32"] * rows,
        "kind": ["temporary"] * rows,
        "alias_set": np.arange(rows),
    }
    accesses: dict[str, Any] = {
        "kernel": owner,
        "tensor": np.arange(rows),
        "mode": ["read", "write"] + ["read", "read", "write"] * products,
        "bytes_unique": sizes[owner],
        "bytes_requested": sizes[owner],
        "stride": ["contiguous"] * rows,
    }
    return Table.build("tensors", tensors), Table.build("accesses", accesses)


def table(closures: Iterable[Closure]) -> str:
    """Return the closures as a table in Markdown: watts, the measured range in brackets, and what leaves its range."""
    lines = [f"| {' | '.join(_COLUMNS)} |", f"| {' | '.join(['---'] * len(_COLUMNS))} |"]
    for found in closures:
        loads = [f"{watts:.0f}{_shown(found.ranges[load])}" for load, watts in found.watts.items()]
        cap = "—" if found.cap_w is None else f"{found.cap_w:.0f}"
        cells = [found.gpu, cap, *loads, f"{found.asked_w:.0f}", ", ".join(found.outside) or "—"]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


_COLUMNS = ("GPU", "cap W", "idle W", "copy W", "product W", "without cap_j W", "outside")


def _shown(bounds: tuple[float, float] | None) -> str:
    return "" if bounds is None else f" [{bounds[0]:g} to {bounds[1]:g}]"
