"""Published shapes of language models (llm_models.toml), and what they imply in closed form."""

import tomllib
from dataclasses import dataclass, fields
from functools import cache
from importlib.resources import files

from traces.errors import CaptureError, nearest


@dataclass(frozen=True)
class ModelShape:
    """A decoder-only transformer; sizes are counts of elements, see the table for the rest."""

    name: str
    description: str
    source: str
    published_parameters: float
    layers: int
    hidden: int
    feed_forward: int
    heads: int
    kv_heads: int
    vocabulary: int
    positions_up_to: int
    norm: str
    positions: str
    activation: str
    gated: bool
    bias: bool
    tied: bool
    experts: int
    top_k: int
    moe_every: int
    post_norms: bool

    @property
    def head_dim(self) -> int:
        return self.hidden // self.heads

    @property
    def period(self) -> int:
        """Layers that repeat together: with a mixture in every other layer, two."""
        return max(self.moe_every, 1)

    @property
    def width(self) -> int:
        """Of all queries together."""
        return self.heads * self.head_dim

    @property
    def kv_width(self) -> int:
        return self.kv_heads * self.head_dim


@cache
def models() -> dict[str, ModelShape]:
    """Return all models by name."""
    table = tomllib.loads(files("traces.workloads").joinpath("llm_models.toml").read_text())
    known = {field.name for field in fields(ModelShape)} - {"name"}
    for name, row in table.items():
        if set(row) != known:
            differs = sorted(set(row) ^ known)
            raise CaptureError(
                f"the model {name!r} in llm_models.toml must have exactly the keys {sorted(known)}, but differs in {differs}"
            )
    return {name: ModelShape(name=name, **row) for name, row in table.items()}


def model(name: str) -> ModelShape:
    """Return one model. Raises CaptureError with the nearest names."""
    if name not in models():
        raise CaptureError(f"there is no model {name!r}; {nearest(name, models())}")
    return models()[name]
