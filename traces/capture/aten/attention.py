"""Fused attention on a GPU: work, traffic and launch dimensions of PyTorch's flash and memory-efficient kernels.

Flash attention is FlashAttention-2 (Dao, arXiv 2307.08691) as PyTorch carries it
(ATen/native/transformers/cuda/flash_attn/flash_api.cpp): a block of 128 threads owns 128 rows of the query and passes over all keys
and values that its rows see; masked blocks are skipped. Where too few blocks would run, keys are split and a second kernel combines
the parts (``num_splits_heuristic``); with one row of the query the heads that share a key become its rows
(``seqlenq_ngroups_swapped``), so that keys are read once a group.
"""

import math
from dataclasses import dataclass

from traces.capture.work import Flops

QUERY_ROWS = 128
"""Rows of the query that a block owns (kBlockM of flash_fwd_launch_template.h, most head sizes)."""
SPLIT_ROWS = 64
"""The same in the kernel that splits keys."""
THREADS = 128
MAX_SPLITS = 128
VECTOR_PER_SCORE = 5.0
"""Operations a score: scale, mask or maximum, subtract, add to the row's sum, rescale."""


@dataclass(frozen=True)
class Shape:
    """Sizes of one call; ``group`` query heads share a key; ``window``: each query sees so many last keys (0: all that the mask leaves)."""

    batch: int
    heads: int
    group: int
    queries: int
    keys: int
    head_dim: int
    value_dim: int
    causal: bool = False
    window: int = 0

    @property
    def scores(self) -> float:
        """Visible pairs of query and key, all heads: under a causal mask the last query sees all keys (bottom right) or none after it."""
        return float(self.batch * self.heads * visible(self.queries, self.keys, self.causal, self.window))


@dataclass(frozen=True)
class Plan:
    """How the kernel runs: grid, splits of the keys, how often keys are read, bytes of partial results."""

    grid: tuple[int, int, int]
    splits: int
    key_reads: float
    """Elements of keys that are asked for, over elements that there are."""
    partial_bytes: float


def visible(queries: int, keys: int, causal: bool, window: int = 0) -> int:
    """Return the number of pairs that a mask leaves; a causal one lets query i see keys up to i (queries and keys start together).

    A window, of causal attention with as many keys as queries, leaves the last ``window`` of these.
    """
    if not causal:
        return queries * keys
    if 0 < window < keys:
        return visible(queries, keys, True) - visible(queries - window, keys - window, True)
    full = max(queries - keys, 0)
    rows = queries - full
    return rows * (rows + 1) // 2 + full * keys


def forward_flops(shape: Shape) -> Flops:
    """Return the work of the forward pass: two products and a softmax over the visible scores."""
    products = 2.0 * (shape.head_dim + shape.value_dim) * shape.scores
    return Flops(products, VECTOR_PER_SCORE * shape.scores, shape.scores)


def backward_flops(shape: Shape) -> Flops:
    """Return the work of the backward pass: five products (scores again, and the gradients of all operands and of the scores)."""
    products = 2.0 * (3.0 * shape.head_dim + 2.0 * shape.value_dim) * shape.scores
    return Flops(products, VECTOR_PER_SCORE * shape.scores, shape.scores)


def plan(shape: Shape, sms: int, splittable: bool = True) -> Plan:
    """Return how the forward kernel runs on a GPU with ``sms`` streaming multiprocessors."""
    queries, heads = shape.queries, shape.heads
    if queries == 1 and shape.group > 1 and splittable:
        queries, heads = shape.group, shape.heads // shape.group
    splits = _splits(shape, queries, heads, sms) if splittable else 1
    rows = SPLIT_ROWS if splits > 1 else QUERY_ROWS
    blocks = -(-queries // rows)
    seen = sum(visible_to(shape, min((b + 1) * rows, queries)) - hidden_from(shape, b * rows) for b in range(blocks))
    reads = seen / shape.keys * heads / (shape.heads // shape.group)
    if splits == 1:
        return Plan((blocks, shape.batch, heads), 1, reads, 0.0)
    partial = 4.0 * splits * shape.batch * heads * queries * (shape.value_dim + 1)
    return Plan((blocks, splits, shape.batch * heads), splits, reads, partial)


def visible_to(shape: Shape, end: int) -> int:
    """Return the keys that the rows before ``end`` see."""
    return min(shape.keys, end) if shape.causal and shape.queries > 1 else shape.keys


def hidden_from(shape: Shape, start: int) -> int:
    """Return the keys that lie before the window of the row ``start``, and of all rows after it."""
    return max(start + 1 - shape.window, 0) if shape.window else 0


def _splits(shape: Shape, queries: int, heads: int, sms: int) -> int:
    width = 256 if shape.head_dim <= 64 else 128 if shape.head_dim <= 128 else 64
    return splits(shape.batch * heads * -(-queries // SPLIT_ROWS), 2 * sms, -(-shape.keys // width))


def splits(blocks: int, slots: int, key_blocks: int) -> int:
    """Return into how many parts the keys are split: the fewest that reach 85 % of the best filling of ``slots`` (num_splits_heuristic)."""
    if blocks >= 0.8 * slots:
        return 1
    limit = min(MAX_SPLITS, slots, key_blocks)
    eligible = [n for n in range(1, limit + 1) if n == 1 or -(-key_blocks // n) != -(-key_blocks // (n - 1))]
    filled = {n: (waves := blocks * n / slots) / math.ceil(waves) for n in eligible}
    return next((n for n in eligible if filled[n] >= 0.85 * max(filled.values())), 1)
