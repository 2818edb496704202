"""From an ATen call to a kernel: family, work, sizes, traffic, launches.

Rules come in this order: products and convolutions, fused attention, rules that are registered (``register``), the table of
operators. A call without a rule keeps its traffic, its work is unknown, and a warning names it.
"""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import nan
from typing import Any

from torch import Tensor

from traces.capture.aten import attention, launch, operators
from traces.capture.aten.call import Call, Touch, dtype_name, fastest_axis, main_dtype, read, storage_key, touched_bytes, write
from traces.capture.work import Flops

UNKNOWN = Flops(nan, nan, nan)
NO_SIZE = (-1, -1, -1)


@dataclass(slots=True)
class Kernel:
    """One row of the kernels table, and its accesses. ``sizes`` are batch, m, n and k; ``workspace`` scratch memory, written then read."""

    name: str
    family: str
    touches: list[Touch]
    flops: Flops
    launch_kind: str = "other"
    library: str = ""
    opcodes: str = ""
    dtype: str = ""
    precision: str = ""
    launches: int = 1
    sizes: tuple[int, int, int, int] = (-1, -1, -1, -1)
    grid: tuple[int, int, int] = NO_SIZE
    block: tuple[int, int, int] = NO_SIZE
    workspace: float = 0.0


@dataclass(frozen=True)
class Setting:
    """What rules need beside the call: precision of FP32 products ('highest', or 'default' for TF32), and the GPU's
    multiprocessors and the threads that each of them holds."""

    precision: str = "highest"
    sms: int = 1
    threads_per_sm: int = 1024


Rule = Callable[[Call, Setting], Kernel]
_registered: dict[str, Rule] = {}


def register(name: str, rule: Rule) -> None:
    """Give the operator ``namespace::name`` of a library of one's own a rule."""
    _registered[name] = rule


def kernel_of(call: Call, setting: Setting, warned: set[str]) -> Kernel | None:
    """Return the kernel that a call launches; None for one that launches none (views, allocation)."""
    if not call.written or operators.operator(call.name).kind == "free":
        return None
    rule = _registered.get(str(call.func._schema.name)) or _RULES.get(call.name)
    if rule is None and call.name.startswith("_foreach_"):
        rule = _multi_tensor
    made = rule(call, setting) if rule else _tabled(call, setting, warned)
    return replace(made, dtype=made.dtype or main_dtype(made.touches))


def _tabled(call: Call, setting: Setting, warned: set[str]) -> Kernel:
    known = operators.operator(call.name)
    if known.kind == "copy":
        return _copied(call)
    if known.kind in ("gather", "scatter"):
        return _indexed(call, known)
    if call.name.rstrip("_") == "pow":
        known = _power(call, known)
    touches = _touches(call, spread=known.kind in ("elementwise", "random", "fill"))
    grid, block = _dimensions(call, setting)
    flops, launches = _flops(call, known, warned), operators.launches(call.name)
    return Kernel(call.full_name, known.family, touches, flops, opcodes=known.text(), launches=launches, grid=grid, block=block)


def _dimensions(call: Call, setting: Setting) -> tuple[launch.Grid, launch.Grid]:
    """Grid and block where PyTorch's sources fix them."""
    rule = operators.launch_rule(call.name)
    if not rule or not call.reads or not call.reads[0].numel():
        return NO_SIZE, NO_SIZE
    data, result = call.reads[0], call.written[0]
    if rule == "norms":
        return launch.rows(data.numel() // int(data.shape[-1]))
    dims = _argument(call, "dim", None)
    dims = [dims] if isinstance(dims, int) else list(dims or range(data.dim()))
    fastest = fastest_axis(data)
    along = fastest is None or fastest in {d % data.dim() for d in dims}
    return launch.reduction(result.numel(), data.numel() // max(result.numel(), 1), along, setting.sms, setting.threads_per_sm)


def _flops(call: Call, known: operators.Operator, warned: set[str]) -> Flops:
    if not known.kind:
        if call.full_name not in warned:
            warned.add(call.full_name)
            message = f"the operator {call.full_name} has no rule for its FLOP: its work is unknown (null) in the trace"
            warnings.warn(message, stacklevel=2)
        return UNKNOWN
    result = max((t.numel() for t in call.written), default=0)
    operand = max((t.numel() for t in (*call.reads, *call.mutated)), default=0)
    return known.flops(result, operand, _row(call))


def _row(call: Call) -> int:
    """Elements that are sorted together: a row along the last dimension (`dim` of sorts is nearly always that)."""
    return int(call.reads[0].shape[-1]) if call.reads and call.reads[0].dim() else 1


def _power(call: Call, known: operators.Operator) -> operators.Operator:
    exponent = call.args[1] if len(call.args) > 1 else None
    return operators.powers(float(exponent)) if isinstance(exponent, int | float) else known


def _touches(call: Call, *, spread: bool) -> list[Touch]:
    """Every operand as a whole; where the kernel is elementwise (``spread``), operands are broadcast to the result."""
    like = max(call.written, key=lambda t: t.numel()) if spread else None
    touches = [read(t, like) for t in call.reads]
    if not call.out_variant and not (call.mutated and operators.overwrites(call.name)):
        touches += [read(t, like) for t in call.mutated]
    return [*touches, *(write(t) for t in call.written)]


def _copied(call: Call) -> Kernel:
    """A conversion of type is elementwise; a change of layout a transposition; the rest a copy of bytes."""
    if not call.reads:
        return Kernel(call.full_name, "copy", [write(t) for t in call.written], Flops(), launch_kind="copy", opcodes="copy:1")
    source, result = call.reads[-1], call.written[0]
    touches = [read(source, result), write(result)]
    if source.dtype != result.dtype:
        return Kernel(call.full_name, "elementwise", touches, Flops(vector=result.numel()), opcodes="convert:1")
    if touches[0].stride in ("transposed", "strided"):
        return Kernel(call.full_name, "transpose", touches, Flops(), opcodes="transpose:1")
    if touches[0].stride == "broadcast" and result.numel() > 1:
        return Kernel(call.full_name, "elementwise", touches, Flops(), opcodes="broadcast:1")
    whole = source.is_contiguous() and result.is_contiguous()
    return Kernel(call.full_name, "copy", touches, Flops(), launch_kind="copy" if whole else "other", opcodes="copy:1")


def _indexed(call: Call, known: operators.Operator) -> Kernel:
    """Gathers touch as much of their table as they take, scatters as much of their result as they are given."""
    if known.kind == "gather":
        table, rest = call.reads[0], call.reads[1:]
        result = call.written[0]
        taken = min(touched_bytes(table), float(result.numel() * table.element_size()))
        stride = "contiguous" if _whole_rows(table, result) else "gather"
        touches = [
            Touch(table, False, taken, float(result.numel() * table.element_size()), stride),
            *(read(t) for t in rest),
            write(result),
        ]
        return Kernel(call.full_name, known.family, touches, Flops(), opcodes=known.text())
    values = call.reads[-1] if call.reads else call.written[0]
    target = call.written[0]
    given = float(values.numel() * target.element_size())
    unique = min(given, touched_bytes(target))
    stride = "contiguous" if _whole_rows(target, values) else "gather"
    touches = [read(t) for t in call.reads if not call.fresh or storage_key(t) != storage_key(target)]
    if "add" in known.opcodes:
        touches.append(Touch(target, False, unique, given, stride))
    touches.append(
        Touch(target, True, touched_bytes(target), touched_bytes(target)) if call.fresh else Touch(target, True, unique, given, stride)
    )
    return Kernel(call.full_name, known.family, touches, known.flops(0, values.numel()), opcodes=known.text())


def _whole_rows(table: Tensor, taken: Tensor) -> bool:
    """Whether an index takes whole rows: the last dimensions agree."""
    return bool(table.dim() > 1 and taken.dim() and table.shape[-1] == taken.shape[-1])


def _multi_tensor(call: Call, setting: Setting) -> Kernel:
    """`_foreach_` operators: one launch for many tensors (multi_tensor_apply)."""
    known = operators.operator(call.name)
    if call.name.startswith("_foreach_pow"):
        known = _power(call, known)
    lists = [value for value in call.args if isinstance(value, list | tuple) and value and isinstance(value[0], Tensor)]
    sizes = [t.numel() for t in call.written]
    launches = operators.multi_tensor_launches(len(lists) + bool(call.fresh), sizes)
    touches = _touches(call, spread=False)
    work = known.flops(sum(sizes), sum(t.numel() for t in (lists[0] if lists else []))) if known.kind not in ("", "copy") else Flops()
    family = "elementwise" if known.kind == "copy" else known.family
    return Kernel(call.full_name, family, touches, work if known.kind else UNKNOWN, opcodes=known.text(), launches=launches)


def _library(call: Call, routine: str, touches: list[Touch], flops: Flops, sizes: Sequence[int], setting: Setting, **more: Any) -> Kernel:
    batch, m, n, k = sizes
    dtype = dtype_name(call.reads[-1].dtype)
    precision = setting.precision if dtype in ("f32", "c64") else "default"
    fields: dict[str, Any] = {
        "launch_kind": "library",
        "library": routine,
        "dtype": dtype,
        "precision": precision,
        "opcodes": "dot:1",
    } | more
    return Kernel(call.full_name, "gemm", touches, flops, sizes=(batch, m, n, k), **fields)


def _product(call: Call, setting: Setting) -> Kernel:
    """`mm`, `bmm`, `mv`, `dot`, and with an addition `addmm`, `baddbmm`, `addmv`."""
    left, right = call.reads[-2:]
    added = call.reads[:-2]
    batch = int(left.shape[0]) if left.dim() == 3 else 1
    m, k = (1, int(left.shape[0])) if left.dim() == 1 else (int(left.shape[-2]), int(left.shape[-1]))
    n = int(right.shape[-1]) if right.dim() == left.dim() and right.dim() > 1 else 1
    flops = Flops(2.0 * batch * m * n * k, float(batch * m * n) if added or call.mutated else 0.0)
    touches = [
        *(read(t) for t in (*added, left, right)),
        *([] if call.out_variant else (read(t) for t in call.mutated)),
        *(write(t) for t in call.written),
    ]
    opcodes = "add:1,dot:1" if flops.vector else "dot:1"
    return _library(call, "gemm", touches, flops, (batch, m, n, k), setting, opcodes=opcodes)


def _convolution(call: Call, setting: Setting) -> Kernel:
    """Convolutions as the product that they are (implicit GEMM): m outputs, n channels, k weights of one output."""
    data, weight, groups = call.reads[0], call.reads[1], int(call.args[8])
    result, channels = call.fresh[0], int(weight.shape[0])
    m, k = result.numel() // channels, weight.numel() // channels
    touches = [*(read(t) for t in call.reads), write(result)]
    flops = Flops(_counted(call), float(result.numel()) if len(call.reads) > 2 else 0.0)
    tf32 = replace(setting, precision="default")  # torch.backends.cudnn.allow_tf32 is on unless it is switched off
    return _library(call, "convolution", touches, flops, (groups, m, channels // groups, k), tf32, dtype=dtype_name(data.dtype))


def _convolution_backward(call: Call, setting: Setting) -> Kernel:
    """The gradients of data and weight: a kernel each."""
    touches = [*(read(t) for t in call.reads), *(write(t) for t in call.fresh)]
    tf32 = replace(setting, precision="default")
    grad, data, weight = call.reads[:3]
    k = weight.numel() // int(weight.shape[0])
    sizes = (int(call.args[9]), grad.numel() // int(weight.shape[0]), int(weight.shape[0]), k)
    return _library(
        call, "convolution", touches, Flops(_counted(call)), sizes, tf32, launches=min(2, len(call.fresh)), dtype=dtype_name(data.dtype)
    )


def _counted(call: Call) -> float:
    from torch.utils.flop_counter import flop_registry

    return float(flop_registry[call.func._overloadpacket](*call.args, **call.kwargs, out_val=call.out))


def _attention_shape(query: Tensor, key: Tensor, value: Tensor, causal: bool) -> attention.Shape:
    batch, heads, queries, width = (int(n) for n in query.shape)
    return attention.Shape(batch, heads, heads // int(key.shape[1]), queries, int(key.shape[2]), width, int(value.shape[3]), causal)


def _argument(call: Call, name: str, default: Any) -> Any:
    names = [argument.name for argument in call.func._schema.arguments]
    if name in call.kwargs:
        return call.kwargs[name]
    return call.args[names.index(name)] if name in names and names.index(name) < len(call.args) else default


def _attention(call: Call, setting: Setting) -> Kernel:
    """The forward pass of fused attention: one kernel, or two where the keys are split."""
    query, key, value = call.args[:3]
    flash = "flash" in call.name
    shape = _attention_shape(query, key, value, bool(_argument(call, "is_causal", False)))
    plan = attention.plan(shape, setting.sms, splittable=flash)
    keys = [Touch(t, False, touched_bytes(t), touched_bytes(t) * plan.key_reads) for t in (key, value)]
    others = [read(t) for t in call.reads if all(t is not given for given in (query, key, value))]
    results = [t for t in call.fresh[:2] if t.numel()]
    return Kernel(
        call.full_name,
        "attention",
        [read(query), *keys, *others, *(write(t) for t in results)],
        attention.forward_flops(shape),
        launch_kind="library",
        library="flash_attention" if flash else "efficient_attention",
        opcodes="attention:1",
        dtype=dtype_name(query.dtype),
        precision="default" if query.dtype.itemsize == 2 else setting.precision,
        launches=2 if plan.splits > 1 else 1,
        sizes=(shape.batch * shape.heads, shape.queries, shape.keys, shape.head_dim),
        grid=plan.grid,
        block=(attention.THREADS, 1, 1),
        workspace=plan.partial_bytes,
    )


def _attention_backward(call: Call, setting: Setting) -> Kernel:
    """The backward pass: a kernel that prepares the rows' sums, the main one, one that converts the query's gradient."""
    query, key, value = call.args[1:4]
    shape = _attention_shape(query, key, value, bool(_argument(call, "is_causal", False)))
    results = [t for t in call.fresh if t.numel()]
    asked = -(-shape.queries // attention.QUERY_ROWS)
    touches = [
        Touch(t, False, touched_bytes(t), touched_bytes(t) * (asked if t.dim() == 4 and t.shape[2] == shape.queries else 1))
        for t in call.reads
        if t.numel()
    ]
    return Kernel(
        call.full_name,
        "attention",
        [*touches, *(write(t) for t in results)],
        attention.backward_flops(shape),
        launch_kind="library",
        library="flash_attention_backward" if "flash" in call.name else "efficient_attention_backward",
        opcodes="attention:1",
        dtype=dtype_name(query.dtype),
        precision="default" if query.dtype.itemsize == 2 else setting.precision,
        launches=3 if "flash" in call.name else 1,
        sizes=(shape.batch * shape.heads, shape.queries, shape.keys, shape.head_dim),
        grid=(-(-shape.keys // attention.QUERY_ROWS), shape.batch, shape.heads),
        block=(2 * attention.THREADS, 1, 1),
        workspace=4.0 * query.numel(),
    )


_RULES: dict[str, Rule] = {
    **dict.fromkeys(("mm", "addmm", "bmm", "baddbmm", "mv", "addmv", "dot", "addmm_", "baddbmm_", "addmv_"), _product),
    "convolution": _convolution,
    "convolution_backward": _convolution_backward,
    "_scaled_dot_product_flash_attention": _attention,
    "_scaled_dot_product_efficient_attention": _attention,
    "_scaled_dot_product_flash_attention_backward": _attention_backward,
    "_scaled_dot_product_efficient_attention_backward": _attention_backward,
}
