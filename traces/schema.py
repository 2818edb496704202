"""What a trace holds: the four tables, column by column, with type, unit and what null means.

The table in the documentation is made from this file. In memory a missing integer is -1, a missing float NaN and a
missing string empty; in the file all three are Parquet nulls.
"""

from dataclasses import dataclass
from typing import Literal

FORMAT_VERSION = 2

DType = Literal["int32", "int64", "float64", "string"]

FAMILIES = (
    "gemm",
    "elementwise",
    "transpose",
    "reduce",
    "slice_concat",
    "triangular_solve",
    "lu",
    "attention",
    "gather_scatter",
    "sort",
    "copy",
    "collective",
    "other",
)
STAGES = {"A": "features", "B": "interaction", "C": "orbitals", "D": "determinants", "E": "derivatives"}
LAUNCH_KINDS = ("fusion", "library", "triton", "copy", "memset", "other")
TENSOR_KINDS = ("parameter", "constant", "temporary", "output", "workspace")
ACCESS_MODES = ("read", "write")
STRIDES = ("contiguous", "strided", "transposed", "broadcast", "gather")
REGION_KINDS = ("sequence", "loop")
CONDITIONS = ("host", "device")


@dataclass(frozen=True)
class Column:
    """One column: ``null`` is the meaning of a missing value, '' where none may be missing."""

    name: str
    dtype: DType
    unit: str
    null: str
    doc: str
    values: tuple[str, ...] = ()
    """For strings drawn from a fixed set: that set."""


def _text(name: str, doc: str, null: str = "", values: tuple[str, ...] = ()) -> Column:
    return Column(name, "string", "", null, doc, values)


def _index(name: str, doc: str, null: str = "") -> Column:
    return Column(name, "int32", "row", null, doc)


def _count(name: str, doc: str, null: str = "", unit: str = "1") -> Column:
    return Column(name, "int64", unit, null, doc)


def _amount(name: str, unit: str, doc: str, null: str = "unknown") -> Column:
    return Column(name, "float64", unit, null, doc)


KERNELS = (
    _text("name", "the compiler's or profiler's name of the kernel"),
    _index("region", "the innermost region that holds this launch"),
    _text("family", "what kind of kernel it is", values=FAMILIES),
    _text("phase", "which part of the algorithm", null="not known"),
    _text("stage", "part of a phase: a letter of A to E, or a workload's own name", null="not known"),
    _text("scope", "path of named scopes (op_name) that the kernel's root came from", null="not known"),
    _text("launch_kind", "how the kernel came to be", values=LAUNCH_KINDS),
    _text("library", "the library routine that is called", null="no library call"),
    _text("opcodes", "'opcode:count' for each opcode of the fused computation, sorted, joined by ','", null="not known"),
    _text("dtype", "element type of the main operand, XLA's names (f32, bf16, s32)", null="not known"),
    _text("precision", "matmul precision: default, high or highest", null="no matrix product"),
    _count("launches", "kernels that one issue of this entry launches (library calls expand by a documented rule)"),
    Column("command_buffer", "int32", "id", "issued alone", "command buffer (CUDA graph) that this launch belongs to"),
    Column("stream", "int32", "id", "the only stream", "stream it was launched on"),
    _count("grid_x", "blocks along x", null="not known"),
    _count("grid_y", "blocks along y", null="not known"),
    _count("grid_z", "blocks along z", null="not known"),
    _count("block_x", "threads of a block along x", null="not known"),
    _count("block_y", "threads of a block along y", null="not known"),
    _count("block_z", "threads of a block along z", null="not known"),
    _count("shared_bytes", "shared memory of a block", null="not known", unit="byte"),
    _count("registers", "registers of a thread", null="not known"),
    _count("spill_bytes", "register spills of a thread (stores and loads)", null="not known", unit="byte"),
    _count("batch", "matrix products (or matrices to factorise) in one call", null="no matrix product"),
    _count("m", "rows of the product, or of the matrix to factorise or solve", null="no matrix product"),
    _count("n", "columns of the product, or right-hand sides", null="no matrix product"),
    _count("k", "inner dimension", null="no matrix product"),
    _amount("flops_matrix", "FLOP", "multiply-adds of matrix products, twice their number (from the HLO)"),
    _amount("flops_vector", "FLOP", "other arithmetic, one an element and operation (from the HLO)"),
    _amount("flops_transcendental", "FLOP", "exp, log, tanh, sqrt, ... one an element (from the HLO)"),
    _amount("flops_ncu", "FLOP", "add + multiply + twice fused multiply-add, as a profiler counts (from the PTX)"),
    _amount("instructions", "1", "instructions of all threads (PTX count, straight-line, times threads)"),
    _amount("bytes_unique", "byte", "elements touched, each once: reads plus writes"),
    _amount("bytes_requested", "byte", "bytes asked for by access: reads plus writes, repeats counted"),
    _amount("compiler_cycles", "cycle", "the compiler's own estimate, of TPUs", null="the compiler gives none"),
    _amount("measured_s", "s", "measured duration on the trace's target", null="not measured"),
)

TENSORS = (
    _text("name", "the compiler's name of the value"),
    _text("dtype", "element type, XLA's names", null="not known"),
    _text("shape", "dimensions joined by 'x', '' for a scalar", null="scalar, or not known"),
    _count("bytes", "size in memory; 0 for what a TPU's compiler keeps on the chip", unit="byte"),
    _text("kind", "what the tensor is to the program", values=TENSOR_KINDS),
    Column("alias_set", "int32", "id", "", "tensors with one number are one allocation (in-place, loop carry, donation)"),
    _index("first_kernel", "first launch that needs the allocation", null="it exists before the trace starts"),
    _index("last_kernel", "last launch that needs the allocation", null="it lives on after the trace ends"),
)

ACCESSES = (
    _index("kernel", "which launch"),
    _index("tensor", "which tensor"),
    _text("mode", "read or write; in place is one row of each", values=ACCESS_MODES),
    _amount("bytes_unique", "byte", "elements touched, each once"),
    _amount("bytes_requested", "byte", "bytes asked for, repeats counted"),
    _text("stride", "how neighbouring threads step through the tensor", values=STRIDES),
)

REGIONS = (
    _index("parent", "the region around this one, always an earlier row", null="the root (row 0, and only it)"),
    _text("kind", "what the region is", values=REGION_KINDS),
    _text("name", "the compiler's or the user's name"),
    _count("trip_count", "how often the body runs; 1 for a sequence"),
    _text("condition", "who decides on another iteration: 'device' costs a host round trip each", values=CONDITIONS),
    _index("first_kernel", "first launch of the region"),
    _index("end_kernel", "one past its last launch: a region is a contiguous range of launches"),
)

TABLES: dict[str, tuple[Column, ...]] = {"kernels": KERNELS, "tensors": TENSORS, "accesses": ACCESSES, "regions": REGIONS}
