"""Do the ranks of a language model together compute what one GPU does, and say what they tell each other?"""

import threading
from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the extra torch")

import codesign as cd
from tests.targets import A5000
from tests.tiny_llm import LEARNED, MIXTURE, SETTINGS, TINY, linear_parameters
from traces.errors import CaptureError
from traces.ranks import ranks_of
from traces.workloads import llm, llm_model, llm_weights
from traces.workloads.llm_parallel import busiest, part_of, routing_of
from traces.workloads.llm_shapes import model


class Meeting:
    """Collectives between threads, one a rank."""

    def __init__(self, ranks, monkeypatch):
        self.ranks, self.barrier, self.brought = ranks, threading.Barrier(ranks, timeout=60), [None] * ranks
        self.local = threading.local()
        monkeypatch.setattr(llm_model, "all_reduce", lambda x: sum(self.exchange(x)))
        monkeypatch.setattr(llm_model, "all_gather", lambda x, ranks: torch.cat(self.exchange(x), dim=-1))
        monkeypatch.setattr(llm_model, "all_to_all", self.all_to_all)

    def exchange(self, x):
        self.brought[self.local.rank] = x
        self.barrier.wait()
        found = list(self.brought)
        self.barrier.wait()
        return found

    def all_to_all(self, x, sends, gets):
        parts = [own.split(list(to))[self.local.rank] for own, to in self.exchange((x, sends))]
        assert [len(part) for part in parts] == list(gets)
        return torch.cat(parts)

    def run(self, function):
        """Run function(rank) on every rank; return the results."""
        results = [None] * self.ranks

        def on(rank):
            self.local.rank = rank
            results[rank] = function(rank)

        threads = [threading.Thread(target=on, args=(rank,)) for rank in range(self.ranks)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return results


def of_rank(weights, shape, ranks, rank):
    """A rank's part of whole weights: columns of query, key, value, gate and up are rows here, rows of out and down columns."""

    def cut(name, tensor, dim):
        return tensor.chunk(ranks, dim=dim)[rank] if dim is not None else tensor

    def layer_part(name, layer):
        rows = name in ("query", "key", "value", "gate", "up")
        dims = {"weight": 1 if rows else 2, "bias": 1 if rows else None}
        return {key: cut(name, tensor, dims[key]) for key, tensor in layer.items()}

    split = dict(weights)
    for name in ("embedding", "head"):
        if name in weights:
            whole = weights[name]
            missing = -whole.shape[0] % ranks
            split[name] = torch.nn.functional.pad(whole, (0, 0, 0, missing)).chunk(ranks)[rank]
    split["layers"] = [
        {
            name: {part: layer_part(part, inner) for part, inner in value.items()}
            if name == "forward"
            else layer_part(name, value)
            if "norm" not in name
            else value
            for name, value in layer.items()
        }
        for layer in weights["layers"]
    ]
    return split


@pytest.mark.parametrize(
    ("shape", "ranks"), [(TINY, 2), (LEARNED, 2), (replace(TINY, vocabulary=52), 4)], ids=["tiny", "learned", "copied keys"]
)
def test_tensor_parallel_ranks_say_what_one_gpu_says(shape, ranks, monkeypatch):
    shape = replace(shape, vocabulary=shape.vocabulary + shape.vocabulary % ranks)
    weights = llm_weights.weights(shape, "fp16", llm_weights.normal(3, torch.float32))
    tokens = torch.arange(6).view(2, 3) % shape.vocabulary
    rope = llm_model.angles(shape, 8, torch.float32) if shape.positions == "rope" else None

    def hidden(weights, shape):
        """The last token of each sequence, and what has been written to the cache of keys."""
        size = (shape.layers, 1, 2, shape.kv_heads, 8, shape.head_dim)
        cache = {name: torch.zeros(size) for name in ("keys", "values")}
        with torch.no_grad():
            token = llm_model.forward(weights, cache, tokens, llm_model._place(0, 3, rope, None), shape)
        return token, cache["keys"]

    whole, keys = hidden(weights, shape)
    parts = [part_of(shape, ranks, 1, rank) for rank in range(ranks)]
    copies = ranks // shape.kv_heads if ranks > shape.kv_heads else 1
    split = [of_rank(weights, shape, ranks, rank) for rank in range(ranks)]
    if copies > 1:
        for rank, own in enumerate(split):
            for layer, source in zip(own["layers"], weights["layers"], strict=True):
                for name in ("key", "value"):
                    layer[name] = {k: v.chunk(shape.kv_heads, dim=1)[rank // copies] for k, v in source[name].items()}
    found = Meeting(ranks, monkeypatch).run(lambda rank: hidden(split[rank], parts[rank]))
    for rank, (token, part_keys) in enumerate(found):
        assert torch.equal(token, whole)
        torch.testing.assert_close(part_keys, keys.chunk(max(ranks // copies, 1), dim=3)[rank // copies], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("ranks", [2, 4])
def test_expert_parallel_ranks_say_what_one_gpu_says(ranks, monkeypatch):
    shape = MIXTURE
    weights = llm_weights.weights(shape, "fp16", llm_weights.normal(0, torch.float32))
    layer = torch.utils._pytree.tree_map(lambda leaf: leaf[0], weights["layers"][1])
    x = torch.randn(4 * ranks, 1, shape.hidden, generator=torch.Generator().manual_seed(1))
    whole = llm_model._mixture(x, layer, None, shape)
    best = torch.softmax(x[:, 0] @ layer["router"]["weight"].T, -1).topk(shape.top_k).indices
    chosen = [(best == expert).any(-1).nonzero()[:, 0].tolist() for expert in range(shape.experts)]

    def on(rank):
        part = part_of(shape, 1, ranks, rank)
        own = {**layer, "experts": layer["experts"][rank * part.experts : (rank + 1) * part.experts]}
        return llm_model._mixture(x[4 * rank : 4 * rank + 4], own, routing_of(part, chosen, 4, x), part)

    torch.testing.assert_close(torch.cat(Meeting(ranks, monkeypatch).run(on)), whole, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("together", [False, True], ids=["products", "products and experts"])
def test_ranks_that_share_products_say_of_a_mixture_what_one_gpu_says(together, monkeypatch):
    shape, ranks = MIXTURE, 2
    weights = llm_weights.weights(shape, "fp16", llm_weights.normal(0, torch.float32))
    layer = torch.utils._pytree.tree_map(lambda leaf: leaf[0], weights["layers"][1])
    x = torch.randn(6, 1, shape.hidden, generator=torch.Generator().manual_seed(1))
    best = torch.softmax(x[:, 0] @ layer["router"]["weight"].T, -1).topk(shape.top_k).indices
    choice = [(best == expert).any(-1).nonzero()[:, 0] for expert in range(shape.experts)]

    def columns_of(expert, rank):
        return {name: {"weight": of["weight"].chunk(ranks, dim=int(name == "down"))[rank]} for name, of in expert.items()}

    def on(rank):
        part = part_of(shape, ranks, ranks if together else 1, rank)
        own = layer["experts"][part.first_expert : part.first_expert + part.experts]
        assert len(own) == (shape.experts // ranks if together else shape.experts)
        return llm_model._mixture(x, {**layer, "experts": own if together else [columns_of(expert, rank) for expert in own]}, choice, part)

    whole = llm_model._mixture(x, layer, None, shape)
    for found in Meeting(ranks, monkeypatch).run(on):
        torch.testing.assert_close(found, whole, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("experts", "each"), [(1, 8), (4, 2)])
def test_ranks_that_share_products_add_a_mixture_up_once(experts, each):
    trace = decoded("mixtral-8x7b", tensor_parallel=4, expert_parallel=experts)
    assert ranks_of(trace) == 4
    reduce = trace.kernels["opcodes"] == "all-reduce:1"
    assert trace.executions[reduce].sum() == 4 * (2 * 32 + 1)
    held = np.char.find(trace.tensors["name"].astype(str), "experts") >= 0
    assert trace.tensors["bytes"][held].sum() == 2 * 32 * 2 * 3 * 4096 * 14336, "a fourth of eight experts: as slices, or two whole"
    assert len({name.partition("experts")[2][2:5] for name in trace.tensors["name"][held].astype(str)}) == each
    assert cd.replay(trace, cd.machine("4xh100-sxm")).time_s > 0


def test_the_busiest_rank_has_the_most_tokens():
    assert busiest(MIXTURE, 2, [[0], [1], [0, 1], [2]]) == 1


def decoded(name, **settings):
    return llm.WORKLOADS[name].capture(A5000, **{"batch": 16, "prompt": 300, "tokens": 4, "prefill": "no", "segments": 1, **settings})


@pytest.fixture(scope="module")
def eight():
    return decoded("llama-3-70b", tensor_parallel=8)


def of(trace, mask, column):
    return float(np.sum((trace.executions * np.nan_to_num(trace.kernels[column]))[mask]))


def test_a_rank_does_an_nth_of_all_products(eight):
    """Linear layers, attention and output: all of them are split, none is done twice."""
    shape = model("llama-3-70b")
    keys = sum(range(301, 305))
    linear = 2 * 16 * 4 * (linear_parameters(shape, 0) + shape.hidden * shape.vocabulary)
    attention = 4 * 16 * shape.heads * shape.head_dim * shape.layers * keys
    found = of(eight, np.ones(len(eight.kernels), bool), "flops_matrix")
    assert found == pytest.approx((linear + attention) / 8, rel=1e-9)


def test_a_rank_tells_the_others_twice_a_layer_and_twice_a_step(eight):
    shape = model("llama-3-70b")
    collective = eight.kernels["family"] == "collective"
    reduce = collective & (eight.kernels["opcodes"] == "all-reduce:1")
    gather = collective & (eight.kernels["opcodes"] == "all-gather:1")
    assert eight.executions[reduce].sum() == 4 * (2 * shape.layers + 1)
    assert eight.executions[gather].sum() == 4
    kernel, moved = eight.accesses["kernel"], eight.accesses["bytes_unique"]
    reads = ~eight.access_writes & reduce[kernel]
    assert set(moved[reads].tolist()) == {16 * shape.hidden * 2}
    assert set(moved[eight.access_writes & gather[kernel]].tolist()) == {16 * shape.vocabulary * 2}
    assert ranks_of(eight) == 8


def test_a_rank_holds_an_nth_of_weights_and_cache(eight):
    """Norms are on every rank; they are a millionth."""
    weights = np.char.startswith(eight.tensors["name"].astype(str), "weights[")
    held = eight.tensors["bytes"][weights].sum()
    assert held == pytest.approx(2 * model("llama-3-70b").published_parameters / 8, rel=1e-3)
    cache = np.isin(eight.tensors["name"], ["cache['keys']", "cache['values']"])
    assert eight.tensors["bytes"][cache].sum() == 2 * 80 * 16 * 1 * 304 * 128 * 2


def test_eight_gpus_decode_together_and_each_holds_its_part(eight):
    timeline = cd.replay(eight, cd.machine("8xh100-sxm"))
    assert set(timeline.peak_memory_bytes) == {f"h100-sxm-memory-{i}" for i in range(8)}
    assert len(set(timeline.peak_memory_bytes.values())) == 1
    assert 17.6e9 < timeline.peak_memory_bytes["h100-sxm-memory-3"] < 20e9
    busy = timeline.devices["h100-sxm-3"]["busy_s"] / 4
    weights = 2 * model("llama-3-70b").published_parameters / 8 / 3.35e12
    assert weights < busy < 3 * weights, "a step reads all weights once; small kernels and collectives are the rest"


def test_expert_parallel_ranks_send_tokens_there_and_back():
    trace = decoded("mixtral-8x7b", expert_parallel=4)
    meets = np.flatnonzero(trace.kernels["family"] == "collective")
    assert set(trace.kernels["opcodes"][meets]) == {"all-to-all:1"}
    assert trace.executions[meets].sum() == 4 * 2 * 32
    drawn = llm.histogram(model("mixtral-8x7b"), 16, "uniform", 0)
    most = max(sum(map(len, drawn[2 * rank : 2 * rank + 2])) for rank in range(4))
    kernel, moved = trace.accesses["kernel"], trace.accesses["bytes_unique"]
    sizes = [set(moved[(kernel == row)].tolist()) for row in meets]
    assert sizes[0] == {4 * 2 * 4096 * 2, most * 4096 * 2} == sizes[1], "4 tokens to 2 experts each; what comes for the busiest rank's"
    experts = np.char.find(trace.tensors["name"].astype(str), "experts") >= 0
    assert trace.tensors["bytes"][experts].sum() == 2 * 32 * 2 * 3 * 4096 * 14336, "two of eight experts, 32 layers, 16 bits"
    assert cd.replay(trace, cd.machine("4xh100-sxm")).time_s > 0


@pytest.mark.parametrize(
    ("name", "given", "message"),
    [
        ("llama-3-70b", {"tensor_parallel": 3}, "`tensor_parallel divides 64` must hold .* got tensor_parallel=3"),
        ("mixtral-8x7b", {"tensor_parallel": 2, "expert_parallel": 4}, "those that share the experts"),
        ("mixtral-8x7b", {"expert_parallel": 3, "batch": 6}, "`expert_parallel divides 8` must hold"),
        ("mixtral-8x7b", {"expert_parallel": 4, "batch": 6}, "`expert_parallel divides batch` must hold .* got batch=6, expert_parallel=4"),
    ],
)
def test_what_cannot_be_split_is_refused(name, given, message):
    with pytest.raises(CaptureError, match=message):
        llm.WORKLOADS[name].programs(**given)


def test_one_rank_is_the_whole_model():
    whole = llm_weights.weights(TINY, "fp16", llm_weights.normal(1))
    part = llm_weights.weights(part_of(TINY), "fp16", llm_weights.normal(1))
    leaves = [torch.utils._pytree.tree_leaves(tree) for tree in (whole, part)]
    assert all(torch.equal(a, b) for a, b in zip(*leaves, strict=True))
    assert llm.arguments(TINY, SETTINGS)[1]["keys"].shape == (3, 1, 2, 2, 9, 8)
