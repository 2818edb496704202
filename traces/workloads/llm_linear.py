"""Linear layers with quantised weights: one operator, `codesign::quantized_linear`, which runs on the CPU and is one kernel in a trace.

On a GPU it stands for a kernel that reads packed weights, widens them in registers and multiplies on tensor cores, such as Marlin
(E. Frantar et al., arXiv 2408.11743): weights are read from memory in their packed form, each once, and one block a multiprocessor
works through stripes of them (its section 3.2), with 256 threads.
"""

from functools import cache
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional

from traces.workloads.llm_weights import Matrix, Quantized, unpacked

if TYPE_CHECKING:
    from traces.capture.aten.call import Call
    from traces.capture.aten.kernel import Kernel, Setting

BLOCK = 256
"""Threads of Marlin's blocks."""


def linear(x: Tensor, matrix: Matrix, bias: Tensor | None = None) -> Tensor:
    """Return x [..., columns] times the transpose of a matrix [rows, columns], plus the bias: [..., rows]."""
    if not isinstance(matrix, Quantized):
        return functional.linear(x, matrix, bias)
    product: Tensor = _operator()(x, matrix.codes, matrix.scales)
    return product if bias is None else product + bias


def _quantized_linear(x: Tensor, codes: Tensor, scales: Tensor) -> Tensor:
    bits = 8 * codes.shape[1] // x.shape[-1]
    return functional.linear(x, unpacked(codes, scales, bits, x.dtype))


def _shape_of(x: Tensor, codes: Tensor, scales: Tensor) -> Tensor:
    return x.new_empty((*x.shape[:-1], codes.shape[0]))


@cache
def _operator() -> Any:
    """Register the operator with PyTorch, and its rule with the capture, once."""
    from traces.capture.aten.kernels import register

    made = torch.library.custom_op("codesign::quantized_linear", _quantized_linear, mutates_args=())
    made.register_fake(_shape_of)
    register("codesign::quantized_linear", _rule)
    return made


def _rule(call: "Call", setting: "Setting") -> "Kernel":
    """A product whose weights are widened on the way: one operation a weight (times its scale) beside the multiply-adds."""
    from traces.capture.aten.call import dtype_name, read, write
    from traces.capture.aten.kernel import Kernel
    from traces.capture.work import Flops

    x, codes, scales = call.reads
    rows, columns = int(codes.shape[0]), int(x.shape[-1])
    tokens = x.numel() // columns
    return Kernel(
        call.full_name,
        "gemm",
        [read(x), read(codes), read(scales), *(write(t) for t in call.fresh)],
        Flops(2.0 * tokens * rows * columns, float(rows * columns)),
        launch_kind="library",
        library="quantized_gemm",
        opcodes="convert:1,dot:1,multiply:1",
        dtype=dtype_name(x.dtype),
        precision="default",
        sizes=(1, tokens, rows, columns),
        grid=(setting.sms, 1, 1),
        block=(BLOCK, 1, 1),
    )
