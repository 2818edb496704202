"""Launch dimensions of the reductions that Inductor writes, by its own heuristics for Triton.

Inductor leaves the size of a tile to rules that look at the numbers of results and of elements of each, and at whether the latter are
neighbours in memory. Where these leave several sizes to be timed on the GPU, the one meant for the order of the memory is taken.
Elementwise kernels have no dimensions here: theirs follow from the bytes that they write.
"""

from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import torch

from traces.capture.aten.inductor import Lowered
from traces.capture.aten.kernel import NO_SIZE
from traces.capture.aten.launch import WARP, Grid
from traces.capture.target import CompileTarget


def of_reduction(node: Any, lowered: Lowered) -> tuple[Grid, Grid]:
    """Return grid and block of a node of Inductor's graph after fusion; ``NO_SIZE`` where it reduces nothing."""
    from torch._inductor.codegen.simd_kernel_features import SIMDKernelFeatures
    from torch._inductor.virtualized import V

    results, reduced = (int(number) for number in node.group[1])
    if reduced == 1 or not any(part.is_reduction() for part in node.get_nodes()):
        return NO_SIZE, NO_SIZE
    with V.set_graph_handler(lowered.graph):
        tile = _tile(SIMDKernelFeatures(list(node.get_nodes()), *node.group[1]), results, reduced, lowered.target)
    return (-(-results // tile.kwargs["XBLOCK"]), 1, 1), (WARP * tile.num_warps, 1, 1)


@dataclass
class _Tile:
    """What a block does; stands in for Triton's configurations, which need Triton."""

    kwargs: dict[str, int]
    """Sides: XBLOCK results, and elements of each."""
    num_warps: int
    num_stages: int
    dynamic_scale_rblock: bool


def _tile(features: Any, results: int, reduced: int, target: CompileTarget) -> _Tile:
    from torch._inductor.choices import InductorChoices
    from torch._inductor.runtime import triton_heuristics
    from torch._inductor.runtime.hints import ReductionHint
    from torch._inductor.runtime.runtime_utils import next_power_of_2

    hint = features.get_reduction_hint()
    sizes = {"x": next_power_of_2(results), "r0_": next_power_of_2(reduced)}
    loads = sum(features.buffer_read_counts().values())
    told = {"reduction_hint": hint, "num_load": loads, "num_reduction": len(features.reduction_nodes()), "num_store": 1}
    device = {"device": SimpleNamespace(major=target.compute_capability[0], warp_size_or_default=WARP)}
    rules: Any = triton_heuristics
    with patch.object(rules, "InductorConfig", _Tile), patch.object(torch.cuda, "is_available", lambda: True):
        if InductorChoices.should_use_persistent_reduction(features, False):
            return list[_Tile](rules._persistent_reduction_configs(sizes, hint, told, device))[-1]
        contiguous, *others = list[_Tile](rules._reduction_configs(size_hints=sizes, inductor_meta=told, triton_meta=device))
    return others[0] if others and hint == ReductionHint.DEFAULT else contiguous
