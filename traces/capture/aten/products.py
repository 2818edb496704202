"""Matrix products and convolutions: library calls with their sizes."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from traces.capture.aten.call import Call, Touch, dtype_name, read, write
from traces.capture.aten.kernel import Kernel, Rule, Setting
from traces.capture.work import Flops, multiply_add
from traces.errors import CaptureError


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
    if left.dtype != right.dtype:  # a GPU refuses them, device meta does not
        raise CaptureError(
            f"the operands of {call.full_name} must be of one type, but are {left.dtype} and {right.dtype}: convert one, or use "
            "torch.autocast"
        )
    added = call.reads[:-2]
    batch = int(left.shape[0]) if left.dim() == 3 else 1
    m, k = (1, int(left.shape[0])) if left.dim() == 1 else (int(left.shape[-2]), int(left.shape[-1]))
    n = int(right.shape[-1]) if right.dim() == left.dim() and right.dim() > 1 else 1
    flops = Flops(multiply_add(dtype_name(left.dtype)) * batch * m * n * k, float(batch * m * n) if added or call.mutated else 0.0)
    touches = [
        *(read(t) for t in (*added, left, right)),
        *([] if call.out_variant else (read(t) for t in call.mutated)),
        *(write(t) for t in call.written),
    ]
    opcodes = "add:1,dot:1" if flops.vector else "dot:1"
    return _library(call, "gemm", touches, flops, (batch, m, n, k), setting, opcodes=opcodes)


def _low_precision(call: Call, setting: Setting) -> Kernel:
    """Products of 8-bit and 4-bit numbers (`_int_mm`, `_scaled_mm`, ...); a scale is one operation an element, a bias too."""
    left, result = call.reads[0], call.written[0]
    m, n, k = left.numel() // int(left.shape[-1]), int(result.shape[-1]), int(left.shape[-1])
    touches = [*(read(t) for t in call.reads), *(write(t) for t in call.written)]
    flops = Flops(
        2.0 * m * n * k, float(result.numel() * (len(call.reads) > 2) + result.numel() * (call.argument("bias", None) is not None))
    )
    return _library(call, "gemm", touches, flops, (1, m, n, k), setting, dtype=dtype_name(left.dtype))


def _grouped(call: Call, setting: Setting) -> Kernel:
    """`_grouped_mm`: rows, or columns, of one operand are split among groups, by offsets that only the run knows: all together here."""
    left, right, result = call.reads[0], call.reads[1], call.written[0]
    ends = call.argument("offs", None)
    groups = int(ends.numel()) if ends is not None else int(left.shape[0])
    rows, n, k = result.numel() // int(result.shape[-1]), int(result.shape[-1]), int(left.shape[-1])
    if left.dim() == right.dim() == 2:  # the summed dimension is split
        k = k // groups
    touches = [*(read(t) for t in call.reads), *(write(t) for t in call.written)]
    m = rows // groups
    return _library(call, "gemm", touches, Flops(2.0 * rows * n * k), (groups, m, n, k), setting, dtype=dtype_name(left.dtype))


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


RULES: dict[str, Rule] = {
    **dict.fromkeys(
        ("mm", "addmm", "bmm", "baddbmm", "mv", "addmv", "dot", "addmm_", "baddbmm_", "addmv_", "vdot", "_addmm_activation"), _product
    ),
    **dict.fromkeys(("_int_mm", "_scaled_mm", "_weight_int8pack_mm", "_weight_int4pack_mm"), _low_precision),
    **dict.fromkeys(("_grouped_mm", "_scaled_grouped_mm"), _grouped),
    "convolution": _convolution,
    "convolution_backward": _convolution_backward,
}
