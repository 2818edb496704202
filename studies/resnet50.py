"""ResNet-50 v1.5 on V100, T4 and A100, inference and training, beside what NVIDIA published: what convolutions are worth.

    python -m studies.resnet50

Published: NVIDIA/DeepLearningExamples, PyTorch/Classification/ConvNets/resnet50v1.5, one GPU, batch 256, with loading and the optimiser.
Ours: kernels alone, batch 128. Nobody measured a single convolution for us, and nothing is fitted to these numbers.
"""

from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import codesign as cd
from studies.printing import console, table

BATCH = 128
STAGES = ((64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2))
"""Width, blocks and stride of the first block."""


@dataclass(frozen=True)
class Run:
    """A published run: images a second. ``precision``: fp16 (parameters too), mixed (autocast to FP16) or single (TF32 where there is)."""

    gpu: str
    training: bool
    precision: str
    published: float


RUNS = (
    Run("v100-sxm2-16gb", False, "fp16", 3249),
    Run("v100-sxm2-16gb", False, "single", 1229),
    Run("t4", False, "fp16", 1190),
    Run("t4", False, "single", 426),
    Run("v100-sxm2-16gb", True, "mixed", 1200),
    Run("v100-sxm2-16gb", True, "single", 367),
    Run("a100-sxm-80gb", True, "mixed", 2470),
    Run("a100-sxm-80gb", True, "single", 938),
)


def network() -> Any:
    """Return the network (He et al., arXiv 1512.03385; v1.5 has the stride in the 3 x 3 convolution)."""
    from torch import nn

    def normed(inputs: int, outputs: int, size: int, stride: int = 1) -> Any:
        return nn.Sequential(nn.Conv2d(inputs, outputs, size, stride, size // 2, bias=False), nn.BatchNorm2d(outputs))

    class Bottleneck(nn.Module):
        def __init__(self, inputs: int, width: int, stride: int) -> None:
            super().__init__()
            narrow, spread = (normed(inputs, width, 1), normed(width, width, 3, stride)), normed(width, 4 * width, 1)
            self.branch = nn.Sequential(narrow[0], nn.ReLU(), narrow[1], nn.ReLU(), spread)
            self.direct = nn.Identity() if stride == 1 and inputs == 4 * width else normed(inputs, 4 * width, 1, stride)

        def forward(self, x: Any) -> Any:
            return (self.branch(x) + self.direct(x)).relu()

    layers, inputs = [normed(3, 64, 7, 2), nn.ReLU(), nn.MaxPool2d(3, 2, 1)], 64
    for width, blocks, stride in STAGES:
        for number in range(blocks):
            layers.append(Bottleneck(inputs, width, 1 if number else stride))
            inputs = 4 * width
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(inputs, 1000))


def captured(run: Run) -> cd.Trace:
    """Return a step of the network, captured for the run's GPU."""
    import torch

    with torch.device("meta"):
        model = network().train(run.training).to(torch.float16 if run.precision == "fp16" else torch.float32)
        images = torch.empty(BATCH, 3, 224, 224, dtype=next(model.parameters()).dtype)
        labels = torch.empty(BATCH, dtype=torch.int64)
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)

    def scores(model: Any, images: Any) -> Any:
        with torch.autocast("cuda", torch.float16) if run.precision == "mixed" else nullcontext():
            return model(images)

    def infer(model: Any, images: Any) -> Any:
        with torch.no_grad():
            return scores(model, images)

    def train(model: Any, optimiser: Any, images: Any, labels: Any) -> None:
        optimiser.zero_grad()
        loss: Any = torch.nn.functional.cross_entropy(scores(model, images), labels)
        loss.backward()
        optimiser.step()

    if run.training:
        return cd.capture(train, (model, optimiser, images, labels), target=run.gpu)
    return cd.capture(infer, (model, images), target=run.gpu)


def images_per_s(run: Run) -> float:
    """Return how many images the kernels take a second."""
    return BATCH / cd.replay(captured(run), cd.machine(run.gpu), record=False).kernel_time_s


COLUMNS = ("GPU", "what", "precision", "published, images/s", "ours", "ours / published")


def row(run: Run) -> tuple[str, ...]:
    """Return ``COLUMNS`` of a run."""
    ours, what = images_per_s(run), "training" if run.training else "inference"
    return (run.gpu, what, run.precision, f"{run.published:,.0f}", f"{ours:,.0f}", f"{ours / run.published:.2f}")


def main() -> None:
    """Print the table."""
    console().print(table(COLUMNS, map(row, RUNS)))


if __name__ == "__main__":
    main()
