"""Compiled modules in a program that is not: the graphs that AOTAutograd makes of their forward and backward pass, as Inductor fuses them.

A call of a compiled module is traced on `meta` and split as ``torch.compile`` splits it; what the backward pass needs is kept or computed
again as its partitioner decides. Each graph is lowered when it runs, and its kernels take their place among those of eager mode.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor, nn
from torch.fx import GraphModule
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import _disable_current_modes

from traces.capture.aten.inductor import is_compiled, lowered, original
from traces.capture.aten.inductor_kernels import record
from traces.capture.aten.likegpu import Choice
from traces.capture.aten.recorder import Recorder
from traces.capture.target import CompileTarget
from traces.errors import CaptureError


class Parts:
    """Runs compiled modules and functions for a recorder."""

    def __init__(self, recorder: Recorder, target: CompileTarget, choice: Choice) -> None:
        self.recorder, self.target, self.choice = recorder, target, choice
        self.ran: list[range] = []
        """The launches of each graph."""

    def call(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Return what ``function(*args, **kwargs)`` returns, its kernels recorded as compiled ones. Raises CaptureError."""
        state = dict((*function.named_parameters(), *function.named_buffers())) if isinstance(function, nn.Module) else {}
        leaves, tree = pytree.tree_flatten((state, args, kwargs))
        tensors = [leaf for leaf in leaves if isinstance(leaf, Tensor)]

        def flat(*given: Tensor) -> Any:
            fresh = iter(given)
            own, some, named = pytree.tree_unflatten([next(fresh) if isinstance(leaf, Tensor) else leaf for leaf in leaves], tree)
            return torch.func.functional_call(function, own, some, named) if isinstance(function, nn.Module) else function(*some, **named)

        try:
            with _disable_current_modes(), patch.object(self.choice, "compiled", True):
                return self._compiled(flat)(*tensors)
        except CaptureError:
            raise
        except Exception as error:
            first = str(error).strip().partition("\n")[0][:300]
            raise CaptureError(
                f"AOTAutograd cannot trace the compiled {getattr(function, '__name__', type(function).__name__)!r} without data "
                f"({type(error).__name__}: {first}): capture it without torch.compile"
            ) from error

    def replaced(self, value: Any) -> Any:
        """Return a pytree in which compiled functions run as ours; modules are caught where they are called."""

        def one(leaf: Any) -> Any:
            if not is_compiled(leaf) or isinstance(leaf, nn.Module):
                return leaf
            return lambda *args, **kwargs: self.call(original(leaf), *args, **kwargs)

        return pytree.tree_map(one, value)

    def _compiled(self, flat: Callable[..., Any]) -> Callable[..., Any]:
        from torch._functorch.aot_autograd import aot_function
        from torch._functorch.partitioners import min_cut_rematerialization_partition
        from torch._inductor.decomposition import select_decomp_table

        made: Callable[..., Any] = aot_function(
            flat,
            self._graph,
            self._graph,
            partition_fn=min_cut_rematerialization_partition,
            decompositions=select_decomp_table(),
            keep_inference_input_mutations=True,
        )
        return made

    def _graph(self, gm: GraphModule, example_inputs: Any) -> Callable[[list[Any]], Any]:
        """Return what runs one graph: on `meta` for its results, and recorded as Inductor's kernels."""

        def run(args: list[Any]) -> Any:
            with _disable_current_modes(), torch._C.DisableTorchFunction(), torch.no_grad():  # 'cuda' means CUDA to Inductor
                results = gm(*args)
                self._record(gm, args, results)
            args.clear()  # what autograd kept for this graph alone is freed
            return results

        run._boxed_call = True  # type: ignore[attr-defined]
        return run

    def _record(self, graph: GraphModule, args: list[Any], results: Any) -> None:
        tensors = [arg for arg in args if isinstance(arg, Tensor)]
        if len(tensors) != len(args):
            raise CaptureError(
                "a compiled module must be of fixed sizes, but takes numbers that its graph depends on: capture it uncompiled"
            )
        copied = GraphModule(graph, deepcopy(graph.graph))
        own = lowered(copied, [("", tensor) for tensor in tensors], self.target)
        first = len(self.recorder.launches)
        rows = record(self.recorder, own, f"graph{len(self.ran)}.")
        self.ran.append(range(first, len(self.recorder.launches)))
        scope, backward = self.recorder.scope()
        for launch in self.recorder.launches[first:]:
            launch.region, launch.scope, launch.backward = self.recorder.region, scope, backward
        for name, result in zip(own.graph.get_output_names(), (r for r in results if isinstance(r, Tensor)), strict=False):
            if name in rows:
                self.recorder.adopt(result, rows[name])

    def free_early(self) -> None:
        """Let what died with a graph die after the graph's last launch that touches it: Inductor's code frees its inputs as it goes."""
        for launches in self.ran:
            last = {access.memory: place + 1 for place in launches for access in self.recorder.launches[place].accesses}
            for row, end in last.items():
                if self.recorder.memories[row].died == launches.stop:
                    self.recorder.memories[row].died = end


@contextmanager
def compiled_parts(recorder: Recorder, target: CompileTarget, choice: Choice) -> Iterator[Parts]:
    """Inside, compiled modules run as ``Parts`` has it."""
    from torch._dynamo.eval_frame import OptimizedModule

    parts = Parts(recorder, target, choice)
    with patch.object(OptimizedModule, "__call__", lambda module, *args, **kwargs: parts.call(original(module), *args, **kwargs)):
        yield parts
    parts.free_early()
