"""What Inductor (torch.compile) would launch on a GPU that is not there: its graph after lowering and fusion.

The function is traced to ATen on `meta`, moved to fake CUDA tensors and handed to Inductor, which takes the GPU's properties from the
target; after it has fused, before it writes Triton, it is stopped. So fusion is Inductor's own decision, code is not made. Written for
torch 2.13, whose private functions are replaced while it runs (``_pretending``).
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor, nn
from torch.fx import GraphModule
from torch.utils import _pytree as pytree

from traces.capture.aten.arguments import Moved, to_meta
from traces.capture.aten.likegpu import like_cuda
from traces.capture.target import CompileTarget
from traces.errors import CaptureError


@dataclass(frozen=True)
class Lowered:
    """Inductor's nodes in order after fusion, its graph, the program's inputs in the graph's order, and the GPU they are for."""

    nodes: list[Any]
    graph: Any
    inputs: list[tuple[str, Tensor]]
    target: CompileTarget


def is_compiled(function: Any) -> bool:
    """Tell whether a function or module is what ``torch.compile`` returned."""
    return hasattr(function, "_torchdynamo_orig_callable") or hasattr(function, "_orig_mod")


def original(function: Any) -> Callable[..., Any]:
    """Return what was given to ``torch.compile``."""
    inner: Callable[..., Any] = getattr(function, "_orig_mod", None) or function._torchdynamo_orig_callable
    return inner


def lower(function: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any], target: CompileTarget) -> Lowered:
    """Lower and fuse ``function(*args, **kwargs)`` for the target. Raises CaptureError if Inductor cannot.

    Of gradients those that the function itself takes (``torch.func.grad``) are part of its graph.
    """
    moved = to_meta(original(function), args, kwargs)
    flat = _flattened(moved)
    try:
        with torch.no_grad():
            traced = _traced(flat, moved, target)
    except Exception as error:
        raise _refused(error) from error
    return lowered(traced, moved.named, target)


def lowered(traced: GraphModule, inputs: list[tuple[str, Tensor]], target: CompileTarget) -> Lowered:
    """Lower and fuse a graph of ATen calls on `meta`, which is changed. Raises CaptureError if Inductor cannot."""
    from torch._inductor import compile_fx, config
    from torch._subclasses.fake_tensor import FakeTensorMode

    stopped = _Stopped()
    changed = config.patch(fx_graph_cache=False, compile_threads=1, fallback_random=True)
    with torch.no_grad(), _pretending(target, stopped), changed:
        try:
            with FakeTensorMode() as mode:
                fakes = [torch.empty_strided(t.shape, t.stride(), dtype=t.dtype, device="cuda") for _, t in inputs]
                _move_to_cuda(traced, fakes, mode)
                compile_fx.compile_fx_inner(traced, fakes)
        except Exception as error:
            if stopped.scheduler is None:
                raise _refused(error) from error
    assert stopped.scheduler is not None
    return Lowered(list(stopped.scheduler.nodes), stopped.graph, inputs, target)


def _refused(error: Exception) -> CaptureError:
    first = str(error).strip().partition("\n")[0][:300]
    remedy = "capture the function without torch.compile"
    if "backward() called inside" in first:
        remedy = "capture a plain function that takes the compiled part as an argument, and call backward() there"
    return CaptureError(f"Inductor cannot lower the program without a GPU ({type(error).__name__}: {first}): {remedy}")


def _traced(flat: Callable[..., list[Tensor]], moved: Moved, target: CompileTarget) -> GraphModule:
    """Return the program as a graph of ATen calls on `meta`: autograd on CUDA tensors, fake ones too, would need CUDA itself."""
    from torch._inductor.decomposition import select_decomp_table
    from torch.fx.experimental.proxy_tensor import make_fx

    with like_cuda(target.compute_capability) as choice:
        choice.compiled = True
        traced: GraphModule = make_fx(torch.func.functionalize(flat), decomposition_table=select_decomp_table())(
            *(t for _, t in moved.named)
        )
    return traced


def _move_to_cuda(traced: GraphModule, fakes: list[Tensor], mode: Any) -> None:
    """Let every call of the graph make its tensors on CUDA, and know their shapes and types."""
    from torch.fx.passes.fake_tensor_prop import FakeTensorProp

    meta, cuda = torch.device("meta"), torch.device("cuda", 0)
    for node in traced.graph.nodes:
        node.args, node.kwargs = pytree.tree_map(lambda value: cuda if value == meta else value, (node.args, node.kwargs))
    traced.recompile()
    FakeTensorProp(traced, mode).propagate(*fakes)


def _flattened(moved: Moved) -> Callable[..., list[Tensor]]:
    """Return the program as a function of its tensors alone."""
    leaves = pytree.tree_leaves((moved.args, moved.kwargs))
    if any(isinstance(leaf, nn.Module | torch.optim.Optimizer) for leaf in leaves):
        raise CaptureError(
            "a compiled program takes tensors, but was given a module or an optimiser: compile the module itself, and capture a plain "
            "function that takes torch.compile(module); its forward and backward passes are captured as compiled"
        )
    function = moved.function

    def flat(*tensors: Tensor) -> list[Tensor]:
        given = {id(meta): fake for (_, meta), fake in zip(moved.named, tensors, strict=True)}
        args, kwargs = pytree.tree_map(lambda leaf: given.get(id(leaf), leaf), (moved.args, moved.kwargs))
        if isinstance(function, nn.Module):
            state = {name: given[id(t)] for name, t in (*function.named_parameters(), *function.named_buffers())}
            result = torch.func.functional_call(function, state, args, kwargs)
        else:
            result = function(*args, **kwargs)
        return [leaf for leaf in pytree.tree_leaves(result) if isinstance(leaf, Tensor)]

    return flat


class _Stopped:
    """Takes the scheduler where it would write code, and ends the compilation."""

    class End(Exception):
        pass

    def __init__(self) -> None:
        self.scheduler: Any = None
        self.graph: Any = None

    def __call__(self, scheduler: Any, *_: Any, **__: Any) -> None:
        from torch._inductor.virtualized import V

        self.scheduler, self.graph = scheduler, V.graph
        raise self.End


@contextmanager
def _pretending(target: CompileTarget, stopped: _Stopped) -> Iterator[None]:
    """Let Inductor find the target where it asks for a GPU, and Triton where it asks for that."""
    from torch._inductor import codecache, compile_fx, scheduler
    from torch._inductor.runtime.hints import DeviceProperties

    major, minor = target.compute_capability
    properties = DeviceProperties(
        type="cuda",
        index=0,
        multi_processor_count=target.core_count,
        cc=10 * major + minor,
        major=major,
        regs_per_multiprocessor=target.registers_per_core,
        max_threads_per_multi_processor=target.threads_per_core,
        max_threads_per_block=target.threads_per_block,
        warp_size=target.threads_per_warp,
    )
    with ExitStack() as stack:
        for owner, name, value in (
            (scheduler.Scheduler, "codegen", lambda self, *args, **kwargs: stopped(self)),
            (scheduler, "has_triton", lambda *_: True),
            (compile_fx, "_check_triton_bf16_support", lambda graph: None),  # asks a GPU; before sm_80 it computes in FP32
            (DeviceProperties, "create", classmethod(lambda cls, device: properties)),
            (codecache.CacheBase, "get_system", staticmethod(lambda: {"hash": "none"})),
            (Tensor, "copy_", lambda *given: torch.ops.aten.copy_.default(*given)),  # the method looks for CUDA itself
            (torch.cuda, "get_device_properties", lambda *_: properties),
            (torch.cuda, "get_device_capability", lambda *_: target.compute_capability),
            (torch.cuda, "current_device", lambda: 0),
        ):
            stack.enter_context(patch.object(owner, name, value))
        yield
