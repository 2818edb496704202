"""Floating-point work of HLO computations, by the convention of XLA's HloCostAnalysis.

https://github.com/openxla/xla/blob/main/xla/service/hlo_cost_analysis.cc: one FLOP an element of the result for every
elementwise operation, transcendental ones counted apart; a reduction applies its computation once for each input
element that is not the first of its result; a matrix product is 2 m n k; data movement is none. Unlike there, a product of
complex numbers counts as the four real products that it is.
"""

from collections import Counter
from dataclasses import dataclass
from math import prod

import numpy as np

from traces.capture.hlo import Computation, Instruction, Shape

TRANSCENDENTAL = frozenset(
    {
        "exponential",
        "exponential-minus-one",
        "log",
        "log-plus-one",
        "logistic",
        "power",
        "sqrt",
        "cbrt",
        "rsqrt",
        "tanh",
        "sine",
        "cosine",
        "tan",
        "atan2",
        "erf",
        "acos",
        "acosh",
        "asin",
        "asinh",
        "atanh",
        "cosh",
        "sinh",
    }
)
"""Operations that XLA counts as transcendental."""

ARITHMETIC = frozenset(
    {
        "abs",
        "add",
        "and",
        "ceil",
        "clamp",
        "clz",
        "compare",
        "complex",
        "convert",
        "count-leading-zeros",
        "divide",
        "floor",
        "imag",
        "is-finite",
        "maximum",
        "minimum",
        "multiply",
        "negate",
        "not",
        "or",
        "popcnt",
        "real",
        "reduce-precision",
        "remainder",
        "round-nearest-afz",
        "round-nearest-even",
        "select",
        "shift-left",
        "shift-right-arithmetic",
        "shift-right-logical",
        "sign",
        "stochastic-convert",
        "subtract",
        "xor",
    }
)
"""Other elementwise operations: one FLOP an element, whatever the type."""

NO_OPCODE = frozenset({"parameter", "constant", "tuple", "get-tuple-element", "bitcast"})
"""Instructions that are no operation of a kernel."""


@dataclass(frozen=True, slots=True)
class Flops:
    """FLOP by unit."""

    matrix: float = 0.0
    vector: float = 0.0
    transcendental: float = 0.0

    def __add__(self, other: "Flops") -> "Flops":
        return Flops(self.matrix + other.matrix, self.vector + other.vector, self.transcendental + other.transcendental)

    def times(self, factor: float) -> "Flops":
        """Return the work done ``factor`` times."""
        return Flops(self.matrix * factor, self.vector * factor, self.transcendental * factor)


def multiply_add(dtype: str) -> float:
    """Return the FLOP of one multiply-add of a matrix product: 2, of complex numbers 8 (four real ones)."""
    return 8.0 if dtype in ("c64", "c128") else 2.0


def flops_of(computation: Computation) -> Flops:
    """Return the work of one run of a (fused) computation."""
    total = Flops()
    for instruction in computation.instructions.values():
        total += instruction_flops(instruction)
    return total


def instruction_flops(instruction: Instruction) -> Flops:
    """Return the work of one instruction of a computation."""
    opcode, shape = instruction.opcode, instruction.shape
    if opcode in TRANSCENDENTAL:
        return Flops(transcendental=shape.size)
    if opcode in ARITHMETIC:
        return Flops(vector=shape.size)
    if opcode in _CALLING:
        return _calling(instruction)
    if opcode == "dot":
        return Flops(matrix=multiply_add(shape.dtype) * shape.size * _contracted(instruction))
    if opcode == "sort":
        size = instruction.operand(0).shape.size
        return Flops(vector=float(size * (size - 1).bit_length()))
    if opcode == "convolution":
        return Flops(matrix=convolution_flops(instruction))
    return Flops()


_CALLING = frozenset({"reduce", "reduce-window", "map", "scatter", "select-and-scatter", "fusion", "call"})


def _calling(instruction: Instruction) -> Flops:
    """Work of an instruction that applies a computation: times how often it does."""
    each = flops_of(instruction.called[0])
    if instruction.opcode == "reduce":
        return each.times(instruction.operand(0).shape.size - _first(instruction.shape).size)
    if instruction.opcode == "reduce-window":
        window = prod(int(n) for n in instruction.window["size"])
        return each.times((window - 1) * _first(instruction.shape).size)
    if instruction.opcode == "map":
        return each.times(instruction.shape.size)
    if instruction.opcode == "scatter":
        operands = len(instruction.operands) // 2
        return each.times(instruction.operand(operands + 1).shape.size)
    if instruction.opcode == "select-and-scatter":
        return flops_of(instruction.called[-1]).times(instruction.operand(1).shape.size)
    return each


def _first(shape: Shape) -> Shape:
    return next(leaf for _, leaf in shape.leaves())


def _contracted(dot: Instruction) -> int:
    dims = dot.operand(0).shape.dims
    return prod(dims[d] for d in dot.integers("lhs_contracting_dims"))


def convolution_flops(convolution: Instruction) -> float:
    """Return the work of a convolution: multiply-adds with elements that are there, not with padding or between dilated ones.

    TPU compilers write products with batches as convolutions whose window covers the batch and whose padding leaves one element of it.
    """
    labels = convolution.attributes["dim_labels"]
    of_source, rest = labels.split("_")
    of_kernel, of_result = rest.split("->")
    source, kernel, result = (s.dims for s in (convolution.operand(0).shape, convolution.operand(1).shape, convolution.shape))
    spatial = [letter for letter in of_kernel if letter.isdigit()]
    pairs = prod(_pairs(convolution, n, source[of_source.index(d)], result[of_result.index(d)]) for n, d in enumerate(sorted(spatial)))
    return 2.0 * pairs * result[of_result.index("b")] * result[of_result.index("f")] * kernel[of_kernel.index("i")]


def _pairs(convolution: Instruction, place: int, size: int, results: int) -> int:
    """Return how many (result, kernel element) of one spatial dimension meet an element of the source."""
    window = convolution.window
    taps, stride, lhs, rhs = (int(window[key][place]) if key in window else 1 for key in ("size", "stride", "lhs_dilate", "rhs_dilate"))
    low = int(window["pad"][place].split("_")[0]) if "pad" in window else 0
    at = np.arange(results)[:, None] * stride + np.arange(taps)[None, :] * rhs - low
    return int(((at >= 0) & (at < (size - 1) * lhs + 1) & (at % lhs == 0)).sum())


def opcode_counts(computation: Computation) -> Counter[str]:
    """Count the operations of a fused computation, nested computations (a reduction's addition) included."""
    counts: Counter[str] = Counter()
    for instruction in computation.instructions.values():
        if instruction.opcode not in NO_OPCODE:
            counts[instruction.opcode] += 1
        for called in instruction.called if instruction.opcode in _CALLING or instruction.opcode == "sort" else []:
            counts += opcode_counts(called)
    return counts


def opcodes_text(counts: Counter[str]) -> str:
    """Return 'add:3,multiply:2', sorted by name."""
    return ",".join(f"{opcode}:{count}" for opcode, count in sorted(counts.items()))
