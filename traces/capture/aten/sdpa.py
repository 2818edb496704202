"""Calls of fused attention as kernels."""

from torch import Tensor

from traces.capture.aten import attention
from traces.capture.aten.call import Call, Touch, dtype_name, read, touched_bytes, write
from traces.capture.aten.kernel import Kernel, Rule, Setting


def _attention_shape(call: Call, query: Tensor, key: Tensor, value: Tensor) -> attention.Shape:
    """Sizes of [batch, heads, length, width], or of [batch, length, heads, width] as `_flash_attention_forward` takes them."""
    if _rows_first(call):
        query, key, value = (t.transpose(1, 2) for t in (query, key, value))
    batch, heads, queries, width = (int(n) for n in query.shape)
    window = int(call.argument("window_size_left", None) or -1) + 1
    causal = bool(call.argument("is_causal", False))
    shape = (batch, heads, heads // int(key.shape[1]), queries, int(key.shape[2]), width, int(value.shape[3]))
    return attention.Shape(*shape, causal, window)


def _rows_first(call: Call) -> bool:
    return call.name.startswith("_flash_attention")


def _attention(call: Call, setting: Setting) -> Kernel:
    """The forward pass of fused attention: one kernel, or two where the keys are split."""
    query, key, value = call.args[:3]
    flash = "flash" in call.name
    shape = _attention_shape(call, query, key, value)
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
    shape = _attention_shape(call, query, key, value)
    results = [t for t in call.fresh if t.numel()]
    asked = -(-shape.queries // attention.QUERY_ROWS)
    rows = 1 if _rows_first(call) else 2
    touches = [
        Touch(t, False, touched_bytes(t), touched_bytes(t) * (asked if t.dim() == 4 and t.shape[rows] == shape.queries else 1))
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


RULES: dict[str, Rule] = {
    "_scaled_dot_product_flash_attention": _attention,
    "_flash_attention_forward": _attention,
    "_flash_attention_backward": _attention_backward,
    "_scaled_dot_product_efficient_attention": _attention,
    "_scaled_dot_product_flash_attention_backward": _attention_backward,
    "_scaled_dot_product_efficient_attention_backward": _attention_backward,
}
