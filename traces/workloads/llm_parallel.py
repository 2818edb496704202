"""A language model on several GPUs: which part of it a rank has, and what ranks tell each other.

Tensor parallelism (Shoeybi et al., Megatron-LM, arXiv 1909.08053): queries, keys, values and the wide layers of the feed-forward part
are split by columns, so that a rank has some heads and some of the width; the layers after them by rows, whose partial sums are added up
over all ranks: twice a layer. Heads that share a key stay together; where there are fewer keys than ranks, each rank has a copy of its
key. The vocabulary of embedding and output is split too: one more sum, and the logits are gathered.

Expert parallelism (Lepikhin et al., GShard, arXiv 2006.16668): every rank has some experts and, of all else, its own part of the batch.
Tokens go to their experts and back, an all-to-all each.

Both on the same ranks (vLLM's --enable-expert-parallel): attention is split by heads, experts stay whole and each rank has some of them.
Every rank knows all tokens, so none is sent: what the rank's experts make of them is added up over all ranks, once a mixture.

A trace is what the rank with the most tokens for its experts does; ranks with fewer wait for it in every layer.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cache
from typing import Any

import torch
from torch import Tensor

from traces.errors import CaptureError
from traces.workloads.llm_shapes import ModelShape


@dataclass(frozen=True)
class Part(ModelShape):
    """What one rank has of a model: sizes are the rank's. ``tensor`` and ``expert`` ranks share the model, this is number ``rank``."""

    whole_heads: int = 0
    whole_experts: int = 0
    expert_width: int = 0
    """The width of an expert's feed-forward part; ``feed_forward`` is that of layers without experts."""
    tensor: int = 1
    expert: int = 1
    rank: int = 0

    @property
    def head_dim(self) -> int:
        return self.hidden // self.whole_heads

    @property
    def sequences_over(self) -> int:
        """Ranks that each have their own part of the batch."""
        return self.expert if self.tensor == 1 else 1

    @property
    def first_expert(self) -> int:
        """The number of the rank's first expert in the model."""
        return self.rank * self.experts if self.expert > 1 else 0

    @property
    def first_token(self) -> int:
        """The first token of the rank's part of the vocabulary."""
        return self.rank * self.vocabulary if self.tensor > 1 else 0


def part_of(shape: ModelShape, tensor: int = 1, expert: int = 1, rank: int = 0) -> Part:
    """Return what a rank has of a model. Raises CaptureError if it cannot be split so."""
    if tensor > 1 and expert not in (1, tensor):
        raise CaptureError(
            f"expert_parallel must be 1 or tensor_parallel where both share the model, but got tensor_parallel={tensor}, "
            f"expert_parallel={expert}"
        )
    for name, size in (("heads", shape.heads), ("feed_forward", shape.feed_forward)):
        if size % tensor:
            raise CaptureError(f"tensor_parallel must divide the {size} {name} of {shape.name!r}, but got {tensor}")
    if shape.kv_heads % tensor and tensor % shape.kv_heads:
        raise CaptureError(
            f"tensor_parallel must divide the {shape.kv_heads} heads of keys of {shape.name!r} or be a multiple, but got {tensor}"
        )
    if expert > 1 and (not shape.experts or shape.experts % expert):
        raise CaptureError(f"expert_parallel must divide the {shape.experts} experts of {shape.name!r}, but got {expert}")
    own = {field.name: getattr(shape, field.name) for field in fields(ModelShape)}
    own |= {"heads": shape.heads // tensor, "kv_heads": max(shape.kv_heads // tensor, 1), "feed_forward": shape.feed_forward // tensor}
    own |= {"vocabulary": -(-shape.vocabulary // tensor), "experts": shape.experts // expert}
    width = shape.feed_forward if expert > 1 else own["feed_forward"]
    return Part(**own, whole_heads=shape.heads, whole_experts=shape.experts, expert_width=width, tensor=tensor, expert=expert, rank=rank)


@dataclass(frozen=True)
class Routing:
    """Where a rank's tokens go.

    ``order`` (int64 [tokens * top_k]) lists its pairs of token and choice, as token * top_k + choice, by expert; ``back`` is its inverse.
    ``counts`` are the tokens that each of its own experts gets, ``sends`` and ``gets`` those to and from each rank. ``arrange`` (int64
    [tokens got]) brings what comes, rank by rank, into the order of the rank's experts; ``restore`` is its inverse.
    """

    order: Tensor
    back: Tensor
    counts: tuple[int, ...]
    sends: tuple[int, ...]
    gets: tuple[int, ...]
    arrange: Tensor
    restore: Tensor


def routing_of(part: Part, chosen: Sequence[Sequence[int]], tokens: int, like: Tensor) -> Routing:
    """Return the routing of a rank; ``chosen`` lists for each expert of the model the tokens that choose it (``tokens`` of each rank)."""
    own = range(part.rank * part.experts, (part.rank + 1) * part.experts)

    def from_rank(expert: int, rank: int) -> list[int]:
        return [token - rank * tokens for token in chosen[expert] if token // tokens == rank]

    mine = [from_rank(expert, part.rank) for expert in range(part.whole_experts)]
    seen = [0] * tokens
    order = []
    for tokens_of_expert in mine:
        for token in tokens_of_expert:
            order.append(token * part.top_k + seen[token])
            seen[token] += 1
    sends = tuple(sum(len(mine[rank * part.experts + e]) for e in range(part.experts)) for rank in range(part.expert))
    comes = [[len(from_rank(expert, rank)) for expert in own] for rank in range(part.expert)]
    starts = [sum(map(sum, comes[:rank])) + sum(comes[rank][:e]) for rank in range(part.expert) for e in range(part.experts)]
    arrange = [
        starts[rank * part.experts + e] + i for e in range(part.experts) for rank in range(part.expert) for i in range(comes[rank][e])
    ]
    counts = tuple(sum(comes[rank][e] for rank in range(part.expert)) for e in range(part.experts))
    index = [_indices(rows, like) for rows in (order, _inverse(order), arrange, _inverse(arrange))]
    return Routing(index[0], index[1], counts, sends, tuple(map(sum, comes)), index[2], index[3])


def busiest(shape: ModelShape, ranks: int, chosen: Sequence[Sequence[int]]) -> int:
    """Return the rank whose experts get the most tokens."""
    each = shape.experts // ranks
    return max(range(ranks), key=lambda rank: sum(map(len, chosen[rank * each : (rank + 1) * each])))


def _inverse(order: Sequence[int]) -> list[int]:
    back = [0] * len(order)
    for place, row in enumerate(order):
        back[row] = place
    return back


def _indices(rows: Sequence[int], like: Tensor) -> Tensor:
    return torch.tensor(list(rows), dtype=torch.int64).to(like.device)


def all_reduce(x: Tensor) -> Tensor:
    """Return the sum of all ranks' x."""
    summed: Tensor = _operators()["all_reduce"](x)
    return summed


def all_gather(x: Tensor, ranks: int) -> Tensor:
    """Return all ranks' x [rows, columns] beside each other: [rows, ranks * columns]."""
    gathered: Tensor = _operators()["all_gather_into_tensor"](x, ranks)
    return gathered.view(ranks, x.shape[0], -1).transpose(0, 1).reshape(x.shape[0], -1)


def all_to_all(x: Tensor, sends: Sequence[int], gets: Sequence[int]) -> Tensor:
    """Send ``sends[i]`` rows of x [sum of sends, columns] to rank i; return the ``gets[i]`` rows that came from each rank."""
    got: Tensor = _operators()["all_to_all_single"](x, list(sends), list(gets))
    return got


def _all_reduce(x: Tensor) -> Tensor:
    summed = x.clone()
    torch.distributed.all_reduce(summed)
    return summed


def _all_gather(x: Tensor, ranks: int) -> Tensor:
    gathered = x.new_empty((ranks * x.shape[0], *x.shape[1:]))
    torch.distributed.all_gather_into_tensor(gathered, x.contiguous())
    return gathered


def _all_to_all(x: Tensor, sends: list[int], gets: list[int]) -> Tensor:
    got = x.new_empty((sum(gets), *x.shape[1:]))
    torch.distributed.all_to_all_single(got, x.contiguous(), gets, sends)
    return got


@cache
def _operators() -> dict[str, Any]:
    """Register the collectives with PyTorch, once."""
    shapes: dict[str, tuple[Any, Any]] = {
        "all_reduce": (_all_reduce, torch.empty_like),
        "all_gather_into_tensor": (_all_gather, lambda x, ranks: x.new_empty((ranks * x.shape[0], *x.shape[1:]))),
        "all_to_all_single": (_all_to_all, lambda x, sends, gets: x.new_empty((sum(gets), *x.shape[1:]))),
    }
    made = {}
    for name, (function, shape) in shapes.items():
        made[name] = torch.library.custom_op(f"codesign::{name}", function, mutates_args=())
        made[name].register_fake(shape)
    return made
