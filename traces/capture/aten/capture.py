"""``capture_torch``: a PyTorch program, run on device `meta`, as a trace of the kernels that eager mode launches."""

import gc
import platform
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

from torch import Tensor, nn
from torch.utils import _pytree as pytree

from traces.capture.aten import inductor
from traces.capture.aten.arguments import to_meta
from traces.capture.aten.kernel import Setting
from traces.capture.aten.likegpu import like_cuda
from traces.capture.aten.optimisers import with_state
from traces.capture.aten.recorder import RECORDING, Recorder
from traces.capture.aten.segments import affine_defects
from traces.capture.aten.tables import assemble
from traces.capture.doubts import CaptureWarning
from traces.capture.scopes import StageRules
from traces.capture.target import CompileTarget
from traces.errors import CaptureError
from traces.trace import Trace

PRECISIONS = {None: "highest", "highest": "highest", "high": "default", "medium": "default", "default": "default"}
"""torch.set_float32_matmul_precision's names (None is PyTorch's default) and what a kernel's precision column says for FP32 products."""


_NO_CUDA = (
    *("not compiled with CUDA", "dummy base class", "Found no NVIDIA driver", "No CUDA GPUs", "requires CUDA support"),
    *("CUDA generator", "has no attribute '_cuda"),
)
"""How PyTorch says that there is no CUDA, in builds without it and on machines without a GPU."""
_NO_EAGER = ("HigherOrderOperator", "on meta device")
"""How it says that an operator takes functions (cond, while_loop), or is there when compiled only (flex_attention)."""


def capture(
    function: Callable[..., Any],
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    target: CompileTarget,
    *,
    precision: str | None,
    seed: int,
    phase: str | None,
    program: str | None,
    options: Mapping[str, Any] | None,
    stage_rules: StageRules,
) -> Trace:
    """See ``traces.capture.aten.capture_torch``."""
    if precision not in PRECISIONS:
        known = ", ".join(repr(p) for p in PRECISIONS if p)
        raise CaptureError(
            f"precision of a PyTorch program must be one of {known} (see torch.set_float32_matmul_precision), but got {precision!r}"
        )
    name = program or _name(function)
    recorder = Recorder(name, Setting(PRECISIONS[precision], target.core_count, target.threads_per_core))
    compiled = inductor.is_compiled(function)
    outputs = (_record_compiled if compiled else _record)(recorder, function, args, kwargs, target)
    manifest = _manifest(name, target, PRECISIONS[precision], seed, dict(options or {}))
    if compiled:
        manifest["captured"]["how"] = "kernels of torch.compile: Inductor's graph after fusion, without the code"
    if defects := affine_defects(recorder):
        manifest["steps"] = defects
    return assemble(recorder, outputs, phase, stage_rules, manifest)


def _record_compiled(
    recorder: Recorder, function: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any], target: CompileTarget
) -> set[int]:
    from traces.capture.aten.inductor_kernels import record

    outputs = record(recorder, inductor.lower(function, args, kwargs, target))
    recorder.finish()
    return set(outputs.values())


def _record(
    recorder: Recorder, function: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any], target: CompileTarget
) -> set[int]:
    """Run the program; return the rows of its results, and of whatever else it left behind in its arguments."""
    compiled = _has_compiled_parts(args, kwargs)
    moved = to_meta(function, args, kwargs)
    for name, tensor in moved.named:
        recorder.memory(tensor, "parameter", name)
    token = RECORDING.set(recorder)
    try:
        with _on_gpu(recorder, target, compiled) as prepared:
            result = moved.function(*prepared(moved.args), **prepared(moved.kwargs))
    except CaptureError:
        raise
    except (AssertionError, AttributeError, RuntimeError, ValueError) as error:
        if any(sign in str(error) for sign in _NO_EAGER):
            raise CaptureError(
                f"the program must be of operators that eager mode runs without data, but PyTorch says: {str(error).partition('Hint')[0]} "
                "Use torch.where, a Python loop, or scaled_dot_product_attention with a mask instead"
            ) from error
        if "process group" in str(error):
            raise CaptureError(
                f"a capture is of one device, but the program communicates (PyTorch says: {error}): capture what one rank computes; "
                "messages between ranks of a workload are options of its own (tensor_parallel, Trace.data_parallel)"
            ) from error
        if not any(sign in str(error) for sign in _NO_CUDA):
            raise
        raise CaptureError(
            f"a capture runs without a GPU, but the program calls CUDA's own interface ({error}): "
            "leave streams, events, generators and device queries out of the captured function"
        ) from error
    finally:
        RECORDING.reset(token)
    if not recorder.launches:
        _report_no_kernel(recorder.regions[0].name, bool(moved.named))
    gc.collect()  # what only a reference cycle keeps alive is no result
    _name_results(recorder, result)
    outputs = {row for row, memory in enumerate(recorder.memories) if memory.died is None}
    recorder.finish()
    return outputs


def _report_no_kernel(program: str, has_tensors: bool) -> None:
    """Raise CaptureError where a program had no tensors to compute on, warn (CaptureWarning) where it left those that it had alone."""
    if not has_tensors:
        raise CaptureError(
            "tensors must be arguments of the program or be made on device 'meta', but it has none and launched no kernel: "
            "write it as a function of its tensors and modules, and pass them in args (torch.empty(..., device='meta') will do)"
        )
    warnings.warn(
        f"{program} launches no kernel: it computes nothing of the tensors among its arguments, and what it computes of others is the "
        "host's: pass those that belong on the GPU in args",
        CaptureWarning,
        stacklevel=6,
    )


def _has_compiled_parts(args: Sequence[Any], kwargs: Mapping[str, Any]) -> bool:
    """Whether compiled modules or functions are among the arguments, or inside of modules; warn of those that a copy does not know."""
    leaves = pytree.tree_leaves((tuple(args), dict(kwargs)))
    modules = [module for leaf in leaves if isinstance(leaf, nn.Module) for module in leaf.modules()]
    if any(getattr(module, "_compiled_call_impl", None) is not None for module in modules):
        warnings.warn(
            "a module among the arguments was compiled in place (module.compile()), which its copy on meta does not know: its kernels are "
            "those of eager mode; pass torch.compile(module)",
            CaptureWarning,
            stacklevel=6,
        )
    return any(inductor.is_compiled(part) for part in (*leaves, *modules) if callable(part))


@contextmanager
def _on_gpu(recorder: Recorder, target: CompileTarget, compiled: bool) -> Iterator[Callable[[Any], Any]]:
    """Inside, programs run as on the target and are recorded; yields what makes compiled functions among their arguments run so too."""
    with ExitStack() as stack:
        choice = stack.enter_context(like_cuda(target.compute_capability))
        stack.enter_context(with_state(recorder))
        if not compiled:
            stack.enter_context(recorder)
            yield lambda value: value
            return
        from traces.capture.aten.compiled_parts import compiled_parts

        parts = stack.enter_context(compiled_parts(recorder, target, choice))
        stack.enter_context(recorder)
        yield parts.replaced


def _name_results(recorder: Recorder, result: Any) -> None:
    for path, leaf in pytree.tree_flatten_with_path(result)[0]:
        if isinstance(leaf, Tensor) and leaf.device.type == "meta":
            memory = recorder.memories[recorder.memory(leaf, "temporary")]
            if memory.kind == "temporary":
                memory.name = "output" + pytree.keystr(path)


def _name(function: Callable[..., Any]) -> str:
    named = function if hasattr(function, "__name__") else getattr(function, "func", type(function))
    return str(getattr(named, "__name__", "program"))


def _manifest(program: str, target: CompileTarget, precision: str, seed: int, options: dict[str, Any]) -> dict[str, Any]:
    return {
        "program": program,
        "target": target.id,
        "precision": precision,
        "x64": True,
        "batch": options.get("batch"),
        "options": options,
        "seed": seed,
        "versions": {"torch": version("torch"), "python": platform.python_version()},
        "captured": {
            "how": "ATen calls of eager PyTorch on device meta",
            "target": target.description,
            "date": datetime.now(UTC).date().isoformat(),
            "python": platform.python_version(),
        },
    }
