"""A PyTorch program of one's own, captured for two GPUs that need not be there, and replayed: a training step of a small transformer.

`python docs/examples/own_torch.py` prints what a step would take, and where the time would go.
"""

import torch
from rich import print
from torch import nn
from torch.nn import functional

import codesign as cd


class Block(nn.Module):
    """Attention and a feed-forward part, each added to the residual."""

    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x):
        """Return x [batch, length, width] after the block."""
        batch, length, width = x.shape
        parts = self.qkv(self.norm1(x)).view(batch, length, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        attended = functional.scaled_dot_product_attention(*parts, is_causal=True)
        x = x + self.out(attended.transpose(1, 2).reshape(batch, length, width))
        return x + self.down(functional.gelu(self.up(self.norm2(x))))


def step(model, optimizer, x, target):
    """Train once: nothing here knows of codesign."""
    loss = functional.mse_loss(model(x), target)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss


def timelines(gpus=("a5000", "h200")):
    """Return a replay of the step for each GPU, by name; the model is made without memory."""
    with torch.device("meta"):
        model = nn.Sequential(*(Block(512, 8) for _ in range(4))).to(torch.bfloat16)
        x = torch.empty(32, 1024, 512, dtype=torch.bfloat16)
    optimizer = torch.optim.AdamW(model.parameters())
    traces = {gpu: cd.capture(step, (model, optimizer, x, x.clone()), target=gpu) for gpu in gpus}
    return {gpu: cd.replay(trace, cd.machine(gpu)) for gpu, trace in traces.items()}


if __name__ == "__main__":
    for gpu, timeline in timelines().items():
        print(f"{gpu}: {1e3 * timeline.time_s:.2f} ms a step, {timeline.launches} launches")
        for by in ("phase", "family"):
            print("  " + ", ".join(f"{name} {share:.0%}" for name, share in timeline.shares(by).items()))
