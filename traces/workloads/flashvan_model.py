"""FlashVAN: an autoregressive transformer over spins (arXiv 2606.22984), from the paper's description, for real runs and for capture.

Conditionals q(s_t | s_<t) from a stack of decoder layers; the input at position t is the token of spin t - 1 (0 at the start) beside a
learned vector of the position, concatenated (equation 15). Attention has no output projection. The paper's two algorithms normalise
differently before the feed-forward part; this is algorithm 2 (normalise, then add to the residual) for training and sampling alike. The
feed-forward part's width, its activation and biases are not in the paper: four times the width, GELU, biases.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from traces.capture.aten.loops import SEGMENTS, repeat, scope, steps

FEED_FORWARD = 4
"""Width of the feed-forward part over that of the model: not in the paper, usual."""


@dataclass(frozen=True)
class Shape:
    """Sizes of the network (the paper's for all its results), how attention is computed, and the type of products.

    ``window``: each position attends to so many last ones, itself included; None: to all before. ``fused``: one kernel (flash), or two
    products, a mask and a softmax. ``dtype`` of weights and activations; what is trained stays FP32.
    """

    spins: int
    heads: int = 4
    token_width: int = 2
    position_width: int = 254
    layers: int = 2
    window: int | None = None
    fused: bool = True
    dtype: torch.dtype = torch.float32

    @property
    def width(self) -> int:
        return self.token_width + self.position_width

    @property
    def head_width(self) -> int:
        return self.width // self.heads


class Layer(nn.Module):
    """Attention, then a feed-forward part, each normalised before and added to the residual."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.norm1, self.norm2 = nn.LayerNorm(shape.width), nn.LayerNorm(shape.width)
        self.qkv = nn.Linear(shape.width, 3 * shape.width, bias=False)
        self.up = nn.Linear(shape.width, FEED_FORWARD * shape.width)
        self.down = nn.Linear(FEED_FORWARD * shape.width, shape.width)

    def forward(self, x: Tensor) -> Tensor:
        """Return x [batch, length, width] after the layer."""
        with scope("stage_attention"):
            query, key, value = self.heads(x)
            x = x + self.joined(attend(query, key, value, self.shape.window, self.shape.fused))
        return self.fed_forward(x)

    def step(self, x: Tensor, cache: tuple[Tensor, Tensor], position: int) -> Tensor:
        """Return x [batch, 1, width] after the layer; keys and values go to the cache [batch, heads, spins, head_width], in place."""
        with scope("stage_attention"):
            query, key, value = self.heads(x)
            keys, values = cache
            keys[:, :, position : position + 1] = key
            values[:, :, position : position + 1] = value
            first = max(position + 1 - self.shape.window, 0) if self.shape.window else 0
            seen = slice(first, position + 1)
            x = x + self.joined(attend_last(query, keys[:, :, seen], values[:, :, seen], self.shape.fused))
        return self.fed_forward(x)

    def heads(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return queries, keys and values [batch, heads, length, head_width]."""
        together = self.qkv(self.norm1(x)).view(*x.shape[:2], 3, self.shape.heads, self.shape.head_width)
        query, key, value = together.permute(2, 0, 3, 1, 4)
        return query, key, value

    def joined(self, attended: Tensor) -> Tensor:
        """Return heads side by side: [batch, length, width]."""
        return attended.transpose(1, 2).flatten(2)

    def fed_forward(self, x: Tensor) -> Tensor:
        """Return x after the feed-forward part."""
        with scope("stage_feed_forward"):
            added: Tensor = self.down(functional.gelu(self.up(self.norm2(x))))
            return x + added


class FlashVAN(nn.Module):
    """The network. Parameters are FP32; ``working()`` gives the copy in the type that products have."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.token = nn.Embedding(2, shape.token_width)
        self.position = nn.Parameter(torch.empty(shape.spins, shape.position_width))
        nn.init.normal_(self.position)
        self.layers = nn.ModuleList(Layer(shape) for _ in range(shape.layers))
        self.head = nn.Linear(shape.width, 2)

    def forward(self, inputs: Tensor) -> Tensor:
        """Return logits of the first spins, float32 [batch, length, 2], of inputs int64 [batch, length]: a 0, then the spins before."""
        x = self.embedded(inputs, 0)
        for layer in self.layers:
            x = layer(x)
        return self.logits(x)

    def embedded(self, inputs: Tensor, first: int) -> Tensor:
        """Return token and position side by side: [batch, length, width]; ``first`` is the position of the first input."""
        with scope("stage_embedding"):
            places = self.position[first : first + inputs.shape[1]].expand(*inputs.shape, -1)
            return torch.cat((self.token(inputs), places), dim=-1)

    def logits(self, x: Tensor) -> Tensor:
        """Return the output head's logits in FP32."""
        with scope("stage_head"):
            logits: Tensor = self.head(x).float()
            return logits

    def log_probability(self, tokens: Tensor) -> Tensor:
        """Return ln q of configurations: float32 [batch], of tokens int64 [batch, spins] (0 is spin -1)."""
        inputs = functional.pad(tokens[:, :-1], (1, 0))
        logits = torch.func.functional_call(self, self.working(), (inputs,))
        with scope("stage_head"):
            chosen: Tensor = logits.log_softmax(-1).gather(-1, tokens[..., None])
            return chosen.squeeze(-1).sum(-1)

    def working(self) -> dict[str, Tensor]:
        """Return the parameters in the type of the products: differentiable, and themselves if that is FP32."""
        return {name: parameter.to(self.shape.dtype) for name, parameter in self.named_parameters()}


def attend(query: Tensor, key: Tensor, value: Tensor, window: int | None, fused: bool) -> Tensor:
    """Return causal attention of [batch, heads, length, head_width], to the last ``window`` positions (None: all before)."""
    length = query.shape[2]
    if window is not None and window >= length:
        window = None
    if fused and window is None:
        return functional.scaled_dot_product_attention(query, key, value, is_causal=True)
    if fused and query.device.type != "cpu":
        return _flash_window(query, key, value, window or length)
    hidden = torch.ones(length, length, dtype=torch.bool, device=query.device).triu(1)
    if window is not None:
        hidden = hidden | torch.ones_like(hidden).tril(-window)
    scores = (query @ key.transpose(2, 3)) * query.shape[3] ** -0.5
    attended: Tensor = scores.masked_fill(hidden, float("-inf")).softmax(-1) @ value
    return attended


def _flash_window(query: Tensor, key: Tensor, value: Tensor, window: int) -> Tensor:
    """FlashAttention-2's local attention, which PyTorch has on GPUs below its public functions."""
    given = [t.transpose(1, 2) for t in (query, key, value)]
    length = query.shape[2]
    flash = torch.ops.aten._flash_attention_forward
    attended: Tensor = flash(*given, None, None, length, length, 0.0, True, False, window_size_left=window - 1, window_size_right=0)[0]
    return attended.transpose(1, 2)


def attend_last(query: Tensor, keys: Tensor, values: Tensor, fused: bool) -> Tensor:
    """Return attention of the last position, [batch, heads, 1, head_width], to all keys that are given."""
    if fused:
        return functional.scaled_dot_product_attention(query, keys, values)
    attended: Tensor = ((query @ keys.transpose(2, 3)) * query.shape[3] ** -0.5).softmax(-1) @ values
    return attended


def sample(model: FlashVAN, batch: int, *, cached: bool = True, segments: int = SEGMENTS) -> Tensor:
    """Draw configurations spin by spin: tokens int64 [batch, spins].

    ``cached`` keeps keys and values of the positions before (algorithm 2 of the paper); else all of them are computed again for every
    spin, as the vanilla transformer VAN does. Both draw the same spins from the same random numbers, up to rounding.
    """
    with torch.no_grad():
        tokens = torch.zeros(batch, model.shape.spins + 1, dtype=torch.int64, device=model.position.device)
        working = model.working()
        if cached:
            caches = _caches(model, batch)
            torch.func.functional_call(_Sampler(model, caches, segments), _prefixed(working), (tokens,))
        else:
            torch.func.functional_call(_Sampler(model, None, segments), _prefixed(working), (tokens,))
        return tokens[:, 1:]


def _prefixed(parameters: dict[str, Tensor]) -> dict[str, Tensor]:
    return {f"model.{name}": value for name, value in parameters.items()}


def _caches(model: FlashVAN, batch: int) -> list[tuple[Tensor, Tensor]]:
    shape = model.shape
    size = (batch, shape.heads, shape.spins, shape.head_width)
    made = [torch.empty(size, dtype=shape.dtype, device=model.position.device) for _ in range(2 * shape.layers)]
    return list(zip(made[::2], made[1::2], strict=True))


class _Sampler(nn.Module):
    """The sampling loop as a module, so that it runs with the working copy of the parameters."""

    def __init__(self, model: FlashVAN, caches: list[tuple[Tensor, Tensor]] | None, segments: int) -> None:
        super().__init__()
        self.model, self.caches, self.segments = model, caches, segments

    def forward(self, tokens: Tensor) -> None:
        """Fill tokens [batch, 1 + spins] from column 1, column 0 being the start."""

        def step(tokens: Tensor, position: int) -> Tensor:
            draw(tokens, position, self.last_logits(tokens, position))
            return tokens

        spins, window = self.model.shape.spins, self.model.shape.window
        full = min(window, spins) if window and self.caches is not None else spins
        tokens = steps(step, tokens, range(full), name="spins", segments=self.segments)
        if full < spins:  # with a full window every position has the same sizes
            repeat(step, tokens, range(full, spins), name="spins with a full window")

    def last_logits(self, tokens: Tensor, position: int) -> Tensor:
        """Return the logits of the spin at ``position``: [batch, 2]."""
        if self.caches is None:
            x = self.model.embedded(tokens[:, : position + 1], 0)
            for layer in self.model.layers:
                x = layer(x)
            return self.model.logits(x[:, -1])
        x = self.model.embedded(tokens[:, position : position + 1], position)
        for layer, cache in zip(self.model.layers, self.caches, strict=True):
            assert isinstance(layer, Layer)
            x = layer.step(x, cache, position)
        return self.model.logits(x[:, 0])


def draw(tokens: Tensor, position: int, logits: Tensor) -> None:
    """Draw the spin at ``position`` into column position + 1: of two outcomes, a Bernoulli number."""
    with scope("stage_head"):
        tokens[:, position + 1] = torch.bernoulli(logits.softmax(-1)[:, 1])
