"""Inference of language models: prefill and greedy decoding, dense and mixtures of experts, weights of 16 to 2 bits.

One program: the prompt of ``batch`` sequences (phase prefill), then ``tokens`` decoding steps (phase decode), on one GPU that holds the
whole model, as large as that may be. Nothing is allocated: parameters are on device `meta`. Which expert gets how many tokens is drawn from
a seed, once for all layers of a phase; a real router would ask the host for it in every layer (`nonzero`), which is left out.
"""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from traces.capture.aten.loops import SEGMENTS
from traces.workloads.llm_shapes import ModelShape, model, models
from traces.workloads.torch_program import TorchProgram
from traces.workloads.workload import Limit, Option, Program, Value, Workload

if TYPE_CHECKING:
    from torch import Tensor

    from traces.workloads.llm_parallel import Part, Routing

SOURCE = "ours; shape from "

_COMMON = (
    Option("batch", 8, "sequences that are decoded together"),
    Option("prompt", 512, "tokens of each prompt"),
    Option("tokens", 128, "decoding steps; 0: prefill only", at_least=0),
    Option("prefill", "yes", "whether the trace has the prefill; without it the cache holds the prompt already", choices=("yes", "no")),
    Option(
        "weights", "fp16", "type of the linear layers' weights; activations and cache are fp16", choices=("fp16", "int8", "int4", "ternary")
    ),
    Option(
        "attention",
        "flash",
        "one kernel; two products and a softmax, which other devices may run; or these, while decoding in single precision on the CPU",
        choices=("flash", "unfused", "host"),
    ),
    Option("segments", SEGMENTS, "loops that stand for the decoding steps, each with the sizes of its middle"),
    Option("tensor_parallel", 1, "GPUs that share every product and the heads; the trace is one rank's"),
)
_MIXTURE = (
    Option("routing", "uniform", "probability of the experts: equal, or 1 / rank (Zipf)", choices=("uniform", "zipf")),
    Option("seed", 0, "of the draw of experts", at_least=0),
    Option("expert_parallel", 1, "GPUs that share the experts, the busiest traced; with tensor_parallel=1 each has its part of the batch"),
)


def histogram(shape: ModelShape, tokens: int, routing: str, seed: int) -> list[list[int]]:
    """Return, for each expert, the tokens (0 to tokens - 1) that choose it; each token draws ``top_k`` different experts."""
    weight = 1.0 / np.arange(1, shape.experts + 1) if routing == "zipf" else np.ones(shape.experts)
    noise = np.random.default_rng(seed).gumbel(size=(tokens, shape.experts))
    chosen = np.argsort(-(np.log(weight) + noise), axis=1)[:, : shape.top_k]  # Gumbel's trick: draws without replacement
    return [np.flatnonzero((chosen == expert).any(axis=1)).tolist() for expert in range(shape.experts)]


def arguments(shape: ModelShape, settings: Mapping[str, Value], make: Any = None) -> tuple[Any, ...]:
    """Return the arguments of ``llm_model.generate``: on `meta`, or real ones where ``make`` makes real weights."""
    import torch

    from traces.workloads.llm_model import angles
    from traces.workloads.llm_parallel import Part
    from traces.workloads.llm_weights import ACTIVATIONS, on_meta, weights

    prompt, tokens = int(settings["prompt"]), int(settings["tokens"])
    shape = shape if isinstance(shape, Part) else _part(shape, settings)
    batch = int(settings["batch"]) // shape.sequences_over
    made = weights(shape, str(settings["weights"]), make or on_meta)
    like = made["embedding"]
    length = prompt + tokens
    size = (shape.layers // shape.period, shape.period, batch, shape.kv_heads, length, shape.head_dim)
    cache = {name: torch.zeros(size, dtype=like.dtype, device=like.device) for name in ("keys", "values")}
    given = prompt if settings["prefill"] == "yes" else 1
    first = torch.arange(batch * given, device=like.device).view(batch, given) % shape.vocabulary
    rope = tuple(t.to(like.device) for t in angles(shape, length, like.dtype)) if shape.positions == "rope" else None
    assert make is not None or like.dtype == ACTIVATIONS
    return made, cache, first, rope, _choice(shape, batch * given, settings, like), _choice(shape, batch, settings, like)


def _choice(shape: "Part", tokens: int, settings: Mapping[str, Value], like: "Tensor") -> "list[Tensor] | Routing | None":
    import torch

    from traces.workloads.llm_parallel import routing_of

    if not shape.whole_experts:
        return None
    drawn = _drawn(model_of(shape), tokens * shape.sequences_over, settings)
    if shape.sequences_over > 1:
        return routing_of(shape, drawn, tokens, like)
    return [torch.tensor(rows, dtype=torch.int64).to(like.device) for rows in drawn]


def _drawn(shape: ModelShape, tokens: int, settings: Mapping[str, Value]) -> list[list[int]]:
    return histogram(shape, tokens, str(settings["routing"]), int(settings["seed"]))


def model_of(part: "Part") -> ModelShape:
    """Return a shape with the experts of the whole model."""
    return replace(part, experts=part.whole_experts)


def _part(shape: ModelShape, settings: Mapping[str, Value]) -> "Part":
    """Return what the trace's rank has of the model: of experts, the one that decodes for the most tokens."""
    from traces.workloads.llm_parallel import busiest, part_of

    tensor, expert = int(settings.get("tensor_parallel", 1)), int(settings.get("expert_parallel", 1))
    part = part_of(shape, tensor, expert)
    return part if expert == 1 else replace(part, rank=busiest(shape, expert, _drawn(shape, int(settings["batch"]), settings)))


def _programs(name: str, settings: Mapping[str, Value]) -> list[Program]:
    from traces.capture.aten import import_torch

    import_torch(f"the workload {name!r}")
    from traces.workloads.llm_model import generate

    shape = model(name)
    part = _part(shape, settings)
    function = partial(
        generate,
        shape=part,
        prompt_length=int(settings["prompt"]),
        tokens=int(settings["tokens"]),
        prefill=settings["prefill"] == "yes",
        fused=settings["attention"] == "flash",
        on_host=settings["attention"] == "host",
        segments=int(settings["segments"]),
    )
    return [
        TorchProgram(
            name="generate",
            phase="",
            function=function,
            initial=partial(_initial, part, settings),
            precision="highest",
            x64=True,
            stage_rules=(),
            doc=f"{settings['batch']} sequences, {settings['prompt']} + {settings['tokens']} tokens, {settings['weights']} weights",
        )
    ]


def _initial(shape: "Part", settings: Mapping[str, Value], seed: int | None) -> tuple[Any, ...]:
    if seed is None:
        return arguments(shape, settings)
    from traces.workloads.llm_weights import normal

    return arguments(shape, settings, normal(seed))


def _limits(shape: ModelShape) -> tuple[Limit, ...]:
    """Return what the counts of a model's options must hold."""
    found = [
        Limit(
            "tokens >= 1, or prefill=yes", lambda s: s["tokens"] >= 1 or s["prefill"] == "yes", "nothing would run", "choose prefill=yes"
        ),
        Limit(
            f"tensor_parallel divides {shape.heads}",
            lambda s: shape.heads % s["tensor_parallel"] == 0 and shape.feed_forward % s["tensor_parallel"] == 0,
            f"each GPU has as many of the {shape.heads} heads, and as much of the feed-forward part",
            "choose tensor_parallel=2",
        ),
    ]
    if shape.positions == "learned":
        found.append(
            Limit(
                f"prompt + tokens <= {shape.positions_up_to}",
                lambda s: s["prompt"] + s["tokens"] <= shape.positions_up_to,
                "positions are learned up to there",
                "choose fewer",
            )
        )
    return (*found, *_limits_of_experts(shape)) if shape.experts else tuple(found)


def _limits_of_experts(shape: ModelShape) -> tuple[Limit, ...]:
    return (
        Limit(
            f"expert_parallel divides {shape.experts}",
            lambda s: shape.experts % s["expert_parallel"] == 0,
            f"each GPU has as many of the {shape.experts} experts",
            "choose expert_parallel=2",
        ),
        Limit(
            "expert_parallel divides batch",
            lambda s: s["tensor_parallel"] > 1 or s["batch"] % s["expert_parallel"] == 0,
            "each GPU has as many sequences, unless they share the products as well",
            "choose another batch",
        ),
        Limit(
            "expert_parallel is 1 or tensor_parallel, or tensor_parallel is 1",
            lambda s: s["tensor_parallel"] == 1 or s["expert_parallel"] in (1, s["tensor_parallel"]),
            "the GPUs that share the products are those that share the experts",
            "choose expert_parallel=1",
        ),
    )


def _workload(shape: ModelShape) -> Workload:
    return Workload(
        name=shape.name,
        framework="torch",
        description=f"{shape.description}: prefill and decode",
        source=SOURCE + shape.source,
        options=(*_COMMON, *_MIXTURE) if shape.experts else _COMMON,
        build=partial(_programs, shape.name),
        limits=_limits(shape),
        packages=("torch",),
    )


WORKLOADS = {name: _workload(shape) for name, shape in models().items()}

LLAMA_2_7B = WORKLOADS["llama-2-7b"]
LLAMA_2_13B = WORKLOADS["llama-2-13b"]
LLAMA_2_70B = WORKLOADS["llama-2-70b"]
LLAMA_3_8B = WORKLOADS["llama-3-8b"]
LLAMA_3_70B = WORKLOADS["llama-3-70b"]
OPT_6_7B = WORKLOADS["opt-6.7b"]
OPT_30B = WORKLOADS["opt-30b"]
OPT_66B = WORKLOADS["opt-66b"]
OPT_175B = WORKLOADS["opt-175b"]
MIXTRAL_8X7B = WORKLOADS["mixtral-8x7b"]
GLAM = WORKLOADS["glam"]
GROK_1 = WORKLOADS["grok-1"]
