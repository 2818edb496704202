"""Frameworks' operators of which only the shape is known: which kernel they launch, and what it takes on a GPU.

A rule stands in for the launch that a compiler would tell: PyTorch's, whose kernels the calibration measured.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from arch import gemm, measuring, streaming, trust
from arch.entry import Entry
from arch.facts import itemsize
from arch.gemm_choices import Products
from arch.work import Bool, Float

SHAPES = {"gemm": ("batch", "m", "n", "k"), "elementwise": ("rows", "cols"), "softmax": ("rows", "cols"), "layernorm": ("rows", "cols")}
"""The sizes of each op: a product is a batch of (m x k) @ (k x n), softmax and layernorm reduce over cols."""

ELEMENTWISE = {"add": 2, "mul": 2, "div": 2, "pow": 2, "addu": 1, "mulu": 1, "divu": 1, "powu": 1, "relu": 1, "gelu": 1, "tanh": 1}
"""Elementwise operators and how many tensors they read; those that end in u take a tensor and a scalar."""

_THREADS = 128.0
_VECTOR = 4.0
_PERSISTENT_COLUMNS = 1024.0
_MOST_THREADS = 1024.0
_LOAD_BYTES = 16.0
"""PyTorch's launch rules; softmax loads 16 bytes at a time, the others four elements."""

FAMILIES = {"gemm": "gemm", "elementwise": "elementwise", "softmax": "reduce", "layernorm": "reduce"}
"""The family of a trace to which an op belongs."""


@dataclass(frozen=True, eq=False)
class Operators:
    """Rows of one op, name and dtype (XLA's name); ``shape`` has arrays of shape [rows] by size."""

    op: str
    name: str
    dtype: str
    shape: Mapping[str, Float]
    source: str = ""
    """Who measured the rows, which says what was in L2 before."""

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
    return entry["kernel_floor"] + streaming.cost(entry, _STREAMS[work.op](entry, work)).total_s


def _elementwise(entry: Entry, work: Operators) -> streaming.Stream:
    """PyTorch's vectorised kernel: 128 threads, four elements a thread (aten/src/ATen/native/cuda/CUDALoops.cuh)."""
    inputs, size = ELEMENTWISE[work.name], itemsize(work.dtype)
    blocks = np.ceil(work.elements / (_THREADS * _VECTOR))
    return _stream(work, blocks, np.full(len(blocks), _THREADS), inputs * _THREADS * _VECTOR * size, inputs=inputs)


def _softmax(entry: Entry, work: Operators) -> streaming.Stream:
    """PyTorch's softmax: a warp a row up to 1,024 columns, all in registers; beyond, a block a row that reads it three times.

    Rows: aten/src/ATen/native/cuda/PersistentSoftmax.cuh and SoftMax.cu. The three passes find the maximum, sum, and write.
    """
    rows, cols = work.shape["rows"], work.shape["cols"]
    short = cols <= _PERSISTENT_COLUMNS
    threads = np.where(short, _THREADS, _block_threads(cols, itemsize(work.dtype)))
    rows_of_block = np.where(short, _THREADS / entry["warp_threads"], 1.0)
    instructions = np.where(short, 0.0, threads / entry["warp_threads"] * entry["block_softmax_instructions"])
    row_bytes = rows_of_block * cols * itemsize(work.dtype)
    begin = cols * itemsize(work.dtype) % entry["sector_bytes"] != 0
    passes, partial = np.where(short, 1, 3), short & begin  # the kernel of long rows shifts its stores to whole sectors
    return _stream(work, np.ceil(rows / rows_of_block), threads, row_bytes, passes=passes, instructions=instructions, partial=partial)


def _layernorm(entry: Entry, work: Operators) -> streaming.Stream:
    """PyTorch's layer norm: a block of four warps a row, Welford's mean and variance in one pass, the result in a second.

    aten/src/ATen/native/cuda/layer_norm_kernel.cu, vectorized_layer_norm_kernel.
    """
    rows, cols = work.shape["rows"], work.shape["cols"]
    steps = np.ceil(cols / (_THREADS * _VECTOR))
    a_warp = entry["layernorm_row_instructions"] + entry["layernorm_step_instructions"] * steps
    threads = np.full(len(rows), _THREADS)
    instructions = a_warp * _THREADS / entry["warp_threads"]
    return _stream(work, rows, threads, cols * itemsize(work.dtype), passes=np.full(len(rows), 2), instructions=instructions)


_STREAMS = {"elementwise": _elementwise, "softmax": _softmax, "layernorm": _layernorm}


def _stream(
    work: Operators,
    blocks: Float,
    threads: Float,
    row_bytes: Float | float,
    inputs: int = 1,
    passes: Float | float = 1.0,
    instructions: Float | float = 0.0,
    partial: Bool | bool = False,
) -> streaming.Stream:
    """Return a stream over tensors of the row's size: ``inputs`` are read, one is written, where ``partial`` not in whole sectors."""
    tensor = work.elements * itemsize(work.dtype)
    return streaming.Stream(
        blocks=blocks,
        threads=threads.astype(np.float64),
        row_bytes=row_bytes + np.zeros(len(blocks)),
        moved_bytes=(inputs + 1) * tensor,
        again_bytes=(passes - 1.0) * tensor,
        held_bytes=inputs * tensor,
        warp_instructions=instructions + np.zeros(len(blocks)),
        partial_bytes=tensor * partial,
    )


def _block_threads(cols: Float, size: float) -> Float:
    """Threads of PyTorch's block softmax: the power of two that is at least half of the row's loads, 32 to 512."""
    vectors = np.minimum(np.floor(cols * size / _LOAD_BYTES), _MOST_THREADS)
    return np.maximum(2.0 ** np.ceil(np.log2(np.maximum(np.floor(vectors / 2), 1.0))), 32.0)


def _product_s(entry: Entry, work: Operators) -> Float:
    batch, m, n, k = (work.shape[name] for name in SHAPES["gemm"])
    products = Products(batch, m, n, k, np.full(len(m), itemsize(work.dtype)))
    under = measuring.conditions(entry, work.source, work.dtype, products, measuring.idle_s(entry, work.source, work.name))
    return gemm.kernel_s(entry, work.dtype, batch, m, n, k, under)


def tensor_cores(entry: Entry, work: Operators) -> bool:
    """Return whether tensor cores run a product of this dtype: plain FP32 uses the vector pipes."""
    return work.op == "gemm" and work.dtype in entry.group("matrix_flops")


def relative_uncertainty(entry: Entry, work: Operators, kernel_s: Float) -> Float:
    """Return the relative standard deviation of each price."""
    return trust.of_rows(entry, work.op, work.dtype, kernel_s, tensor_cores=tensor_cores(entry, work))
