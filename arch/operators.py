"""Frameworks' operators of which only the shape is known: which kernel they launch, and what it takes on a GPU.

A rule stands in for the launch that a compiler would tell: PyTorch's, whose kernels the calibration measured.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from arch import gemm
from arch.catalog import Entry
from arch.device import Float
from arch.facts import itemsize
from arch.uncertainty import prior

SHAPES = {"gemm": ("batch", "m", "n", "k"), "elementwise": ("rows", "cols"), "softmax": ("rows", "cols"), "layernorm": ("rows", "cols")}
"""The sizes of each op: a product is a batch of (m x k) @ (k x n), softmax and layernorm reduce over cols."""

ELEMENTWISE = {"add": 2, "mul": 2, "div": 2, "pow": 2, "addu": 1, "mulu": 1, "divu": 1, "powu": 1, "relu": 1, "gelu": 1, "tanh": 1}
"""Elementwise operators and how many tensors they read; those that end in u take a tensor and a scalar."""

FAMILIES = {"gemm": "gemm", "elementwise": "elementwise", "softmax": "reduce", "layernorm": "reduce"}
"""The family of a trace to which an op belongs."""


@dataclass(frozen=True, eq=False)
class Operators:
    """Rows of one op, name and dtype (XLA's name); ``shape`` has arrays of shape [rows] by size."""

    op: str
    name: str
    dtype: str
    shape: Mapping[str, Float]

    @property
    def elements(self) -> Float:
        """Elements of the tensor that is written."""
        if self.op == "gemm":
            return self.shape["batch"] * self.shape["m"] * self.shape["n"]
        return self.shape["rows"] * self.shape["cols"]


def dtypes(entry: Entry, op: str) -> list[str]:
    """Return the dtypes that a GPU has for an op."""
    vector, matrix = entry.group("vector_flops"), entry.group("matrix_flops")
    floats = [name for name in vector if not name.startswith("s")]
    return sorted({*floats, *matrix}) if op == "gemm" else sorted(floats)


def bytes_moved(work: Operators) -> Float:
    """Return the bytes of all operands, each once."""
    size = itemsize(work.dtype)
    if work.op == "gemm":
        batch, m, n, k = (work.shape[name] for name in SHAPES["gemm"])
        return size * batch * (m * k + k * n + m * n)
    return size * work.elements * (ELEMENTWISE.get(work.name, 1) + 1)


def roofline_s(entry: Entry, work: Operators) -> Float:
    """Return the seconds of a plain roofline: data-sheet peaks, every operand moved once."""
    moved = bytes_moved(work) / entry["memory_bandwidth"]
    if work.op != "gemm":
        return moved
    batch, m, n, k = (work.shape[name] for name in SHAPES["gemm"])
    peak = entry.group("matrix_flops").get(work.dtype) or entry["vector_flops." + work.dtype]
    return np.maximum(moved, 2 * batch * m * n * k / peak)


def kernel_s(entry: Entry, work: Operators) -> Float:
    """Return the seconds that the kernels of each row take on the GPU, without launch and host."""
    if work.op == "gemm":
        return _product_s(entry, work)
    return entry["kernel_floor"] + bytes_moved(work) / (entry["memory_bandwidth"] * entry["dram_efficiency"] * entry["streaming_gain"])


def _product_s(entry: Entry, work: Operators) -> Float:
    from arch.gpu import library

    batch, m, n, k = (work.shape[name] for name in SHAPES["gemm"])
    tensor = entry.group("matrix_flops").get(work.dtype)
    peak = (
        entry["vector_flops." + work.dtype] * entry["gemm_efficiency_vector"]
        if tensor is None
        else tensor * entry["gemm_efficiency_matrix"]
    )
    size = np.full(len(m), itemsize(work.dtype))
    chosen = gemm.plan(library(entry), batch, m, n, k, size, np.full(len(m), peak))
    return entry["kernel_floor"] + np.maximum(chosen.total_s, roofline_s(entry, work))


def relative_uncertainty(entry: Entry, work: Operators, kernel_s: Float) -> Float:
    """Return the relative standard deviation of each price."""
    return np.full(len(kernel_s), prior("family"))
