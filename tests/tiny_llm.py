"""Language models that are small enough to run: dense, a mixture of experts, and one with learned positions."""

from dataclasses import replace

from traces.workloads.llm_shapes import model

TINY = replace(model("llama-3-8b"), name="tiny", layers=3, hidden=32, feed_forward=48, heads=4, kv_heads=2, vocabulary=50)
MIXTURE = replace(TINY, name="mixture", layers=4, experts=4, top_k=2, moe_every=2)
LEARNED = replace(
    TINY,
    name="learned",
    kv_heads=4,
    norm="layer",
    positions="learned",
    positions_up_to=32,
    activation="relu",
    gated=False,
    bias=True,
    tied=True,
)
SETTINGS = {
    "batch": 2,
    "prompt": 5,
    "tokens": 4,
    "prefill": "yes",
    "weights": "fp16",
    "attention": "flash",
    "segments": 8,
    "routing": "uniform",
    "seed": 0,
}


def linear_parameters(shape, experts):
    """Weights of the linear layers of all blocks, with so many experts of each mixture."""
    attention = 2 * shape.hidden**2 + 2 * shape.hidden * shape.kv_heads * shape.head_dim
    part = (3 if shape.gated else 2) * shape.hidden * shape.feed_forward
    mixtures = shape.layers // shape.moe_every if shape.moe_every else 0
    return shape.layers * attention + (shape.layers - mixtures) * part + mixtures * experts * part
