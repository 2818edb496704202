"""What an ATen operator does, from the shapes of its inputs: matrix products and convolutions, and what only moves elements.

Nothing of the framework is loaded: names and order of arguments are those of PyTorch's native_functions.yaml.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import TypeGuard

from traces.capture.aten.operators import operator
from traces.capture.work import Flops

Shape = tuple[int, ...]
Shapes = tuple[Shape, ...]
"""Of a list of tensors."""


def _is_shape(found: "Shape | Shapes") -> TypeGuard[Shape]:
    return all(isinstance(n, int) for n in found)


@dataclass(frozen=True)
class Inputs:
    """The arguments of one call: shapes (a list of tensors is a tuple of shapes), types ('' for none), and values as text."""

    shapes: tuple[Shape | Shapes | None, ...]
    types: tuple[str, ...]
    values: tuple[str, ...]

    def shape(self, place: int) -> Shape | None:
        """Return the shape of a tensor, None for what is none."""
        found = self.shapes[place] if place < len(self.shapes) else None
        return found if found is not None and _is_shape(found) else None

    def numbers(self, place: int) -> list[int] | None:
        """Return an argument that is a list of numbers, None if its value was not recorded."""
        text = self.values[place] if place < len(self.values) else ""
        return [int(n) for n in re.findall(r"-?\d+", text)] if text.startswith("[") else None

    def flag(self, place: int) -> bool | None:
        """Return an argument that is true or false, None if its value was not recorded."""
        text = self.values[place] if place < len(self.values) else ""
        return {"True": True, "False": False}.get(text)

    def tensors(self) -> list[Shape]:
        """Return the shapes of all tensors."""
        found: list[Shape] = []
        for shape in self.shapes:
            if shape is not None:
                found += [shape] if _is_shape(shape) else [part for part in shape if isinstance(part, tuple)]
        return found


@dataclass(frozen=True)
class Product:
    """``times`` products of ``batch`` pairs of an m x k and a k x n matrix."""

    batch: int
    m: int
    n: int
    k: int
    elements: int
    """Elements of operands and result."""
    times: int = 1

    @property
    def flops(self) -> float:
        return 2.0 * self.times * self.batch * self.m * self.n * self.k


@dataclass(frozen=True)
class Movement:
    """Elements read and written, and FLOP, counted as ``traces.capture.aten`` does."""

    elements: int
    vector: float
    transcendental: float


_LEFT = {"mm": 0, "bmm": 0, "matmul": 0, "_scaled_mm": 0, "addmm": 1, "_addmm_activation": 1, "baddbmm": 1, "addmv": 1, "mv": 0}
"""Which argument is the left factor; the right one follows."""


@dataclass(frozen=True)
class _ConvolutionPlaces:
    """Which arguments of a convolution, whose first two are input and weight, say how it strides; ``transposed`` if one may be."""

    stride: int
    padding: int
    dilation: int
    transposed: int | None = None


_ATEN = _ConvolutionPlaces(stride=3, padding=4, dilation=5, transposed=6)
_MIOPEN = _ConvolutionPlaces(stride=4, padding=3, dilation=5)
_CONVOLUTIONS = {
    "convolution": _ATEN,
    "_convolution": _ATEN,
    "convolution_overrideable": _ATEN,
    "cudnn_convolution": _ConvolutionPlaces(stride=3, padding=2, dilation=4),
    "miopen_convolution": _MIOPEN,
    "miopen_depthwise_convolution": _MIOPEN,
    "cudnn_convolution_relu": _ConvolutionPlaces(stride=3, padding=4, dilation=5),
}

_ATTENTION = {
    "_scaled_dot_product_flash_attention": "bhsd",
    "_scaled_dot_product_efficient_attention": "bhsd",
    "_scaled_dot_product_cudnn_attention": "bhsd",
    "_flash_attention_forward": "bshd",
    "_efficient_attention_forward": "bshd",
}
"""Order of batch, heads, sequence and size of a head in query, key and value, the first three arguments."""


def plain(name: str) -> str:
    """Return an operator's name without namespace, overload and in-place underscore."""
    return name.rsplit("::", 1)[-1].split(".")[0].removesuffix("_")


def product(name: str, given: Inputs) -> Product | None:
    """Return the matrix product that an operator is, None if it is none or its sizes are not known."""
    short = plain(name)
    if short in _LEFT:
        return _matrices(given.shape(_LEFT[short]), given.shape(_LEFT[short] + 1))
    if short == "linear":
        weight = given.shape(1)
        return _matrices(given.shape(0), weight[::-1] if weight and len(weight) == 2 else None)
    if short in _CONVOLUTIONS:
        return _convolution(given, _CONVOLUTIONS[short])
    if short == "convolution_backward":
        return _backward(given)
    return _attention(given, _ATTENTION[short]) if short in _ATTENTION else None


def _matrices(left: Shape | None, right: Shape | None) -> Product | None:
    if not left or not right:
        return None
    rows, columns = (left[-2] if len(left) > 1 else 1), (right[-1] if len(right) > 1 else 1)
    inner = right[-2] if len(right) > 1 else right[0]
    if left[-1] != inner:
        return None
    if len(right) <= 2:  # a batch on the left only is more rows
        rows = prod(left) // inner if inner else 0
        return Product(1, rows, columns, inner, prod(left) + prod(right) + rows * columns)
    batch = prod(max(a, b) for a, b in zip(_padded(left[:-2], right[:-2]), _padded(right[:-2], left[:-2]), strict=True))
    return Product(batch, rows, columns, inner, prod(left) + prod(right) + batch * rows * columns)


def _padded(shape: Shape, other: Shape) -> Shape:
    return (1,) * (len(other) - len(shape)) + shape


def _convolution(given: Inputs, at: _ConvolutionPlaces) -> Product | None:
    """Return a forward convolution as the implicit product that it is; the result's size needs stride, padding and dilation."""
    source, weight = given.shape(0), given.shape(1)
    stride, padding, dilation = (given.numbers(place) for place in (at.stride, at.padding, at.dilation))
    transposed = None if at.transposed is None else given.flag(at.transposed)
    if source is None or weight is None or len(source) != len(weight) or len(source) < 3:
        return None
    if stride is None or padding is None or dilation is None or not stride or not padding or not dilation:
        return None
    size = len(source) - 2
    outs = [
        (n + 2 * p - d * (w - 1) - 1) // s + 1
        for n, w, s, p, d in zip(source[2:], weight[2:], *(_each(v, size) for v in (stride, padding, dilation)), strict=True)
    ]
    if transposed:  # each element of the input meets the whole filter
        return _implicit(source[0] * prod(source[2:]), weight[1:], source[1], prod(source) + prod(weight))
    pixels = source[0] * prod(outs)
    return _implicit(pixels, weight[1:], weight[0], prod(source) + prod(weight) + pixels * weight[0], source[1] // max(weight[1], 1))


def _each(values: Sequence[int], size: int) -> list[int]:
    return [*values] * size if len(values) == 1 else [*values]


def _implicit(pixels: int, filter_: Shape, channels: int, elements: int, groups: int = 1, times: int = 1) -> Product:
    return Product(max(groups, 1), pixels, channels // max(groups, 1), prod(filter_), elements, times)


def _backward(given: Inputs) -> Product | None:
    """convolution_backward(grad_output, input, weight, ..., output_mask): two products of the forward's size, or one."""
    grad, source, weight = (given.shape(place) for place in range(3))
    transposed = given.flag(7)
    if grad is None or source is None or weight is None or len(grad) < 3 or transposed:
        return None
    mask = re.findall(r"True|False", given.values[-1]) if given.values else []
    times = sum(1 for wanted in mask[:2] if wanted == "True") if len(mask) == 3 else 2
    elements = times * (prod(grad) + prod(source) + prod(weight))
    return _implicit(grad[0] * prod(grad[2:]), weight[1:], grad[1], elements, source[1] // max(weight[1], 1), times)


def _attention(given: Inputs, order: str) -> Product | None:
    """Query times key and weights times value: two products. With offsets of ragged batches (three dimensions) nothing is known."""
    query, key = given.shape(0), given.shape(1)
    if query is None or key is None or len(query) != 4 or len(key) != 4:
        return None
    batch, heads, sequence, head = (query[order.index(letter)] for letter in "bhsd")
    other = key[order.index("s")]
    elements = 2 * prod(query) + 2 * prod(key)
    return Product(batch * heads, sequence, other, head, elements, times=2)


_IN_PLACE_FIRST = ("copy", "fill", "zero", "normal", "uniform", "bernoulli", "exponential")
"""Operators whose in-place form writes its first argument and does not read it."""


def movement(name: str, given: Inputs) -> Movement | None:
    """Return what an operator that is no product moves, None if its inputs do not tell.

    Elementwise: each input once and the result, of the shape that the inputs are broadcast to. Row-wise and reductions: the inputs,
    and for row-wise ones a result of the largest input's size; the result of a reduction is smaller and left out. Gathers: the
    index, and each element that it picks twice.
    """
    short = plain(name)
    rule, shapes = operator(short), given.tensors()
    if not shapes:
        return None
    sizes = [prod(shape) for shape in shapes]
    if short.startswith("_foreach_") or short.startswith("_fused_"):
        return _lists(short, given)
    if rule.kind in ("elementwise", "fill", "random", "copy"):
        result = sizes[0] if name.endswith("_") else prod(_broadcast(shapes))
        return _moved(sum(sizes) + (0 if short in _IN_PLACE_FIRST and name.endswith("_") else result), rule.flops(result, result))
    if rule.kind == "rows":
        return _moved(sum(sizes) + max(sizes), rule.flops(max(sizes), max(sizes)))
    if rule.kind == "reduce":
        return _moved(sum(sizes), rule.flops(0, max(sizes)))
    if rule.kind == "slice":
        return _moved(2 * sum(sizes), rule.flops(sum(sizes), sum(sizes)))
    return _gathered(short, given)


def _moved(elements: int, flops: Flops) -> Movement:
    return Movement(elements, float(flops.vector), float(flops.transcendental))


def _gathered(short: str, given: Inputs) -> Movement | None:
    table, index = given.shape(0), given.shape(1)
    if short != "embedding" or not table or index is None:
        return None
    return Movement(2 * prod(index) * table[-1] + prod(index), 0.0, 0.0)


def _lists(short: str, given: Inputs) -> Movement | None:
    """Operators on lists of tensors: the first list is written too, in place or not."""
    lists = [shape for shape in given.shapes if shape and not isinstance(shape[0], int)]
    if not lists:
        return None
    sizes = [sum(prod(part) for part in parts if isinstance(part, tuple)) for parts in lists]
    written = len(lists) if short.startswith("_fused_") else 1
    return _moved(sum(sizes) + sum(sizes[:written]), operator(short).flops(sizes[0], sizes[0])) if operator(short).kind else None


def _broadcast(shapes: list[Shape]) -> Shape:
    """Return the shape that all are broadcast to."""
    rank = max(len(shape) for shape in shapes)
    padded = [(1,) * (rank - len(shape)) + shape for shape in shapes]
    return tuple(max(axis) for axis in zip(*padded, strict=True))
