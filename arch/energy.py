"""Joules of kernels on a GPU, and the closure that holds them to the board's power.

A kernel's dynamic energy is a sum of terms, each bytes or operations times a constant of the catalogue:

- ``compute_matrix_j``: multiply-adds of products by unit and type, two FLOP each;
- ``compute_vector_j``: other operations: one is an instruction, and costs as much as a multiply-add of its type;
- ``transcendental_j``: results of the special-function units;
- ``instructions_j``: instructions beyond these (addresses, loops, conversions), where PTX counts them: half a multiply-add each;
- ``l2_j``: bytes that pass L2: L2, crossbar, L1, registers; ``dram_j``: bytes of DRAM: cells, interface, controllers, regulators.

Boundaries: constants fitted to board power (``te42kyfo`` in the sources) hold everything on the board; static power is the board
with clocks up and nothing issued. Refresh and background of a GPU's own memory are part of it.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from arch.catalog import Entry
from arch.device import Bool, Float, Work
from arch.facts import Facts
from traces.table import Table
from traces.trace import Trace

if TYPE_CHECKING:
    from arch.gpu import GPU

COPY_BYTES = 2.0**32
"""Of the copy of the closure: enough that starting it does not count."""
PRODUCT = 8192
"""Rows, columns and inner dimension of the product of the closure."""


def kernel_terms(entry: Entry, known: Facts, per_op: Float, per_matrix_flop: Float, product: Bool, l2_bytes: Float) -> dict[str, Float]:
    """Return joules of every kernel by term, without DRAM; shape [kernels]. NaN where the catalogue lacks a constant.

    ``per_op`` is J a FLOP of the vector pipes for the type of each kernel, ``per_matrix_flop`` of the unit that serves its product.
    """
    special, of_l2 = (_known(entry, key) for key in ("transcendental_energy_flops", "l2_energy_per_byte"))
    counted = known.flops_vector + known.flops_transcendental
    return {
        "compute_matrix_j": np.where(product, known.flops_matrix * per_matrix_flop, 0.0),
        "compute_vector_j": 2 * known.flops_vector * per_op,
        "transcendental_j": special * known.flops_transcendental * per_op,
        "instructions_j": np.maximum(known.instructions - counted, 0.0) * per_op,
        "l2_j": of_l2 * l2_bytes,
    }


def _known(entry: Entry, key: str) -> float:
    value = entry.get(key)
    return np.nan if value is None else value


@dataclass(frozen=True)
class Closure:
    """Watts of a GPU's board when idle with clocks up, copying as fast as it can, and computing large products by type."""

    gpu: str
    cap_w: float | None
    idle_w: float
    copy_w: float
    product_w: dict[str, float]

    @property
    def highest_w(self) -> float:
        """The highest of them."""
        return max(self.idle_w, self.copy_w, *self.product_w.values())


def closure(gpu: "GPU") -> Closure | None:
    """Return what the catalogue's energies make of three loads; None if a constant is missing.

    Types of products: 'f32' on the vector pipes, and on tensor cores where there are any 'tf32', 'bf16' and 'f16'.
    """
    idle, matrix = gpu.static_watts, gpu.entry.group("matrix_flops")
    kinds = ["f32", *(dtype for dtype in ("tf32", "bf16", "f16") if dtype in matrix)]
    prices = gpu.price(Work.of(_loads(kinds)))
    if idle is None or np.isnan(prices.energy_j).any():
        return None
    watts = idle + prices.energy_j / prices.duration_s
    return Closure(gpu.id, gpu.entry.get("board_power"), idle, float(watts[0]), dict(zip(kinds, watts[1:].tolist(), strict=True)))


def _loads(kinds: list[str]) -> Trace:
    """A copy, then a product of each type."""
    count, n = len(kinds), float(PRODUCT)
    element = np.array([4 if kind in ("f32", "tf32") else 2 for kind in kinds], dtype=np.float64)
    sizes = np.concatenate([[COPY_BYTES / 2], element * n * n])
    kernels: dict[str, Any] = {
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
    tensors: dict[str, Any] = {
        "name": [f"t{i}" for i in range(2 + 3 * count)],
        "bytes": np.concatenate([np.repeat(sizes[:1], 2), np.repeat(sizes[1:], 3)]),
    }
    owner = np.concatenate([[0, 0], np.repeat(np.arange(1, count + 1), 3)])
    accesses = {
        "kernel": owner,
        "tensor": np.arange(len(owner)),
        "mode": ["read", "write"] + ["read", "read", "write"] * count,
        "bytes_unique": sizes[owner],
        "bytes_requested": sizes[owner],
        "stride": ["contiguous"] * len(owner),
    }
    root: dict[str, Any] = {"parent": [-1], "kind": ["sequence"], "name": ["root"], "trip_count": [1], "condition": ["host"]}
    return Trace(
        Table.build("kernels", kernels),
        Table.build(
            "tensors", {**tensors, "dtype": ["f32"] * len(owner), "kind": ["temporary"] * len(owner), "alias_set": np.arange(len(owner))}
        ),
        Table.build("accesses", accesses),
        Table.build("regions", {**root, "first_kernel": [0], "end_kernel": [count + 1]}),
        {"program": "closure", "target": ""},
    )
