"""Operators whose work is neither that of an element nor a product's: losses that pick a score a row, windows, bags, Fourier transforms."""

import math
from collections.abc import Sequence

from torch import Tensor

from traces.capture.aten.call import Call, Touch, read, write
from traces.capture.aten.kernel import NO_SIZE, Kernel, Rule, Setting
from traces.capture.work import Flops


def _nll_loss(call: Call, setting: Setting) -> Kernel:
    """A row takes one score, its target's; on matrices one block adds them (ATen/native/cuda/NLLLoss.cu)."""
    scores, target = call.reads[:2]
    taken = float(target.numel() * scores.element_size())
    touches = [Touch(scores, False, taken, taken, "gather"), *(read(t) for t in call.reads[1:]), *(write(t) for t in call.written)]
    one_block = scores.dim() == 2 and call.written[0].numel() == 1
    grid, block = ((1, 1, 1), (_threads(target.numel()), 1, 1)) if one_block else (NO_SIZE, NO_SIZE)
    work = Flops(vector=2.0 * target.numel())
    return Kernel(call.full_name, "reduce", touches, work, opcodes="add:1,negate:1", grid=grid, block=block)


def _threads(rows: int) -> int:
    """``nll_loss_threads`` of NLLLoss.cu: the power of two nearest to a thread for sixteen rows, from a warp to a whole block."""
    return min(max(1 << round(math.log2(max(rows, 16) / 16)), 32), 1024)


def _window(call: Call) -> int:
    """Return the elements that a pooled result is made of: those of ``kernel_size``, or as many as the sizes leave."""
    data, result = call.reads[0], call.written[0]
    size = call.argument("kernel_size", None)
    if size is None:
        return -(-data.numel() // max(result.numel(), 1))
    sides = [size] if isinstance(size, int) else [int(side) for side in size]
    dimensions = int(call.name.partition("pool")[2][0])
    return math.prod(sides * dimensions if len(sides) == 1 else sides)


def _pool(call: Call, setting: Setting) -> Kernel:
    """A result looks at its window; where windows overlap, elements are asked for again."""
    data, result, window = call.reads[0], call.written[0], _window(call)
    whole = read(data)
    asked = max(float(result.numel() * window * data.element_size()), whole.unique)
    touches = [Touch(data, False, whole.unique, asked, whole.stride), *(write(t) for t in call.written)]
    opcode = "compare" if "max" in call.name else "add"
    return Kernel(call.full_name, "reduce", touches, Flops(vector=float(result.numel() * window)), opcodes=f"{opcode}:1")


def _pool_backward(call: Call, setting: Setting) -> Kernel:
    """An element adds up what the windows that it is in give it: of the data only the shape is looked at."""
    used = [call.reads[0], *(call.reads[2:] if "max" in call.name else [])]
    result = call.written[0]
    touches = [*(read(t) for t in used), write(result)]
    return Kernel(call.full_name, "elementwise", touches, Flops(vector=float(max(result.numel(), used[0].numel()))), opcodes="add:1")


def _bag(call: Call, setting: Setting) -> Kernel:
    """A bag adds up the rows of its indices."""
    table, indices = call.reads[:2]
    elements = indices.numel() * int(table.shape[-1])
    asked = float(elements * table.element_size())
    unique = min(asked, read(table).unique)
    touches = [Touch(table, False, unique, asked, "contiguous"), *(read(t) for t in call.reads[1:]), *(write(t) for t in call.written)]
    return Kernel(call.full_name, "gather_scatter", touches, Flops(vector=float(elements)), opcodes="add:1,gather:1")


def _fourier(call: Call, setting: Setting) -> Kernel:
    """5 n log2 n, as for XLA's; n is what is transformed together."""
    data, result = call.reads[0], call.written[0]
    larger: Tensor = max(data, result, key=lambda t: t.numel())
    along: Sequence[int] = call.argument("dim", [-1])
    n = math.prod(int(larger.shape[axis]) for axis in along)
    work = Flops(vector=5.0 * larger.numel() * math.log2(n) if n > 1 else 0.0)
    touches = [read(data), *(write(t) for t in call.written)]
    return Kernel(call.full_name, "other", touches, work, launch_kind="library", library="fft", opcodes="fft:1")


def _running(call: Call, setting: Setting) -> Kernel:
    """A running sum, product, maximum, ...: one operation an element that is not the first of its row."""
    data = call.reads[0]
    row = int(data.shape[int(call.argument("dim", 0))]) if data.dim() else 1
    elements = float(data.numel() - data.numel() // max(row, 1))
    opcode = {"cumsum": "add", "cumprod": "multiply", "cummax": "maximum", "cummin": "minimum"}.get(call.name.rstrip("_"), "add")
    work = Flops(vector=2 * elements, transcendental=elements) if "exp" in call.name else Flops(vector=elements)
    return Kernel(call.full_name, "reduce", [read(data), *(write(t) for t in call.written)], work, opcodes=f"{opcode}:1")


def _search(call: Call, setting: Setting) -> Kernel:
    """A binary search of each value in a sorted row."""
    row, values = call.argument("boundaries", None), call.reads[0]
    if row is None:
        row, values = call.reads[0], call.reads[-1]
    steps = float(values.numel() * int(row.shape[-1]).bit_length())
    touches = [*(read(t) for t in call.reads), *(write(t) for t in call.written)]
    return Kernel(call.full_name, "gather_scatter", touches, Flops(vector=steps), opcodes="compare:1")


def _distances(call: Call, setting: Setting) -> Kernel:
    """Of each pair of rows the differences, squared and summed (other norms: powers)."""
    result, width = call.written[0], int(call.reads[0].shape[-1])
    work = Flops(vector=3.0 * result.numel() * width, transcendental=float(result.numel()))
    touches = [*(read(t) for t in call.reads), write(result)]
    return Kernel(call.full_name, "reduce", touches, work, opcodes="add:1,multiply:1,sqrt:1,subtract:1")


RULES: dict[str, Rule] = {
    **dict.fromkeys(("cumsum", "cumprod", "cummax", "cummin", "logcumsumexp", "_logcumsumexp", "_cummax_helper"), _running),
    **dict.fromkeys(("searchsorted", "bucketize"), _search),
    **dict.fromkeys(("_cdist_forward", "_pdist_forward"), _distances),
    **dict.fromkeys(("nll_loss_forward", "nll_loss2d_forward"), _nll_loss),
    **dict.fromkeys(
        (
            "fractional_max_pool2d",
            "fractional_max_pool3d",
            "max_pool2d_with_indices",
            "max_pool3d_with_indices",
            "avg_pool2d",
            "avg_pool3d",
            "_adaptive_avg_pool2d",
            "_adaptive_avg_pool3d",
            "adaptive_max_pool2d",
            "adaptive_max_pool3d",
        ),
        _pool,
    ),
    **dict.fromkeys(
        (
            "fractional_max_pool2d_backward",
            "fractional_max_pool3d_backward",
            "max_pool2d_with_indices_backward",
            "max_pool3d_with_indices_backward",
            "avg_pool2d_backward",
            "avg_pool3d_backward",
            "_adaptive_avg_pool2d_backward",
            "_adaptive_avg_pool3d_backward",
            "adaptive_max_pool2d_backward",
            "adaptive_max_pool3d_backward",
        ),
        _pool_backward,
    ),
    **dict.fromkeys(("_embedding_bag", "_embedding_bag_forward_only"), _bag),
    **dict.fromkeys(("_fft_c2c", "_fft_r2c", "_fft_c2r"), _fourier),
}
