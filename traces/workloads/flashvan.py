"""FlashVAN: transformers that sample spin glasses (arXiv 2606.22984), one training step or the drawing of samples alone.

The program is ours, written from the paper's description; what the paper leaves open (batch, width of the feed-forward part, learning rate,
types of the vanilla baseline) is named where it is chosen. Phases: sampling, refinement, energy, forward, gradient, optimizer.
"""

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from traces.capture.aten.loops import SEGMENTS
from traces.workloads.torch_program import TorchProgram
from traces.workloads.workload import Conflict, Limit, Option, Program, Value, Workload

if TYPE_CHECKING:
    from torch import Tensor

    from traces.workloads.flashvan_model import FlashVAN, Shape
    from traces.workloads.flashvan_spins import Glass

SIZES = {"sk": 256, "ea2d": 16, "ea3d": 10}
"""Default sizes: the paper's for SK (figure 2d) and 3D (figure 4b); in 2D as many spins as SK has."""
BETA = 0.5
"""Inverse temperature of the paper's free energies of SK; no kernel depends on it."""
DISTILLATION = 1.0
"""The weight w of equation (10): not in the paper; no kernel depends on it."""

OPTIONS = (
    Option("model", "sk", "Sherrington-Kirkpatrick, Edwards-Anderson in two or three dimensions", choices=("sk", "ea2d", "ea3d")),
    Option("size", 0, "spins of sk, side of a lattice; 0: 256 spins, sides of 16 and of 10", at_least=0),
    Option("boundary", "open", "of lattices", choices=("open", "periodic")),
    Option("batch", 512, "configurations drawn a step (the paper does not say how many)"),
    Option("program", "train", "a training step, or the sampling and the energies alone", choices=("train", "sample")),
    Option("attention", "flash", "FlashAttention-2, or two products, a mask and a softmax (vanilla)", choices=("flash", "vanilla")),
    Option("sampling", "kv-cache", "keys and values kept, or the whole prefix again for every spin", choices=("kv-cache", "full")),
    Option("window", "full", "attention to all spins before, or to the last row (2D) or layer (3D)", choices=("full", "local")),
    Option("precision", "bf16", "of weights and activations; what is trained, and logits, are FP32", choices=("bf16", "fp32")),
    Option("optimizer", "muon", "Muon (matrices of layers; AdamW for the rest), or Adam", choices=("muon", "adam")),
    Option("sweeps", 0, "Metropolis sweeps that refine what was sampled; with them the loss distils (equation 10)", at_least=0),
    Option("heads", 4, "attention heads"),
    Option("layers", 2, "decoder layers"),
    Option("position_width", 254, "of the positional embedding; the token's is 2"),
    Option("segments", SEGMENTS, "loops that stand for the spins of the sampling loop, each with the sizes of its middle"),
)

CONFLICTS = (
    Conflict({"model": "sk", "window": "local"}, "every spin couples to all others", "choose window=full, or a lattice"),
    Conflict({"model": "sk", "boundary": "periodic"}, "it has no boundary", "choose boundary=open, or a lattice"),
    Conflict(
        {"boundary": "periodic", "window": "local"},
        "the first row stays in the Markov boundary until the end, so a window over the last row is not exact",
        "choose window=full or boundary=open",
    ),
    Conflict(
        {"attention": "flash", "precision": "fp32"},
        "FlashAttention-2 takes 16-bit types",
        "choose precision=bf16 or attention=vanilla",
    ),
    Conflict({"precision": "bf16"}, "it has no products in BF16", "choose precision=fp32 and attention=vanilla", before=(8, 0)),
)


def shape_of(settings: Mapping[str, Value]) -> "tuple[Glass, Shape]":
    """Return the spin glass and the network's sizes that the options select."""
    import torch

    from traces.workloads.flashvan_model import Shape
    from traces.workloads.flashvan_spins import glass

    kind = str(settings["model"])
    system = glass(kind, int(settings["size"]) or SIZES[kind], settings["boundary"] == "periodic")
    return system, Shape(
        system.spins,
        heads=int(settings["heads"]),
        position_width=int(settings["position_width"]),
        layers=int(settings["layers"]),
        window=system.row if settings["window"] == "local" else None,
        fused=settings["attention"] == "flash",
        dtype=torch.bfloat16 if settings["precision"] == "bf16" else torch.float32,
    )


def sample_energies(model: "FlashVAN", couplings: "Tensor", *, glass: "Glass", plan: Any) -> "tuple[Tensor, Tensor]":
    """Return configurations (tokens int64 [batch, spins]), refined if the plan has sweeps, and their energies [batch]."""
    import torch

    from traces.capture.aten.loops import scope
    from traces.workloads.flashvan_spins import energy
    from traces.workloads.flashvan_train import draw, to_spins

    with torch.no_grad():
        tokens = draw(model, couplings, BETA, glass, plan)
        with scope("phase_energy"):
            return tokens, energy(glass, couplings, to_spins(tokens, couplings))


def _programs(settings: Mapping[str, Value]) -> list[Program]:
    from traces.capture.aten import import_torch

    import_torch("the workload 'flashvan'")
    from traces.workloads.flashvan_train import Step, step

    system, shape = shape_of(settings)
    plan = Step(
        batch=int(settings["batch"]),
        cached=settings["sampling"] == "kv-cache",
        sweeps=int(settings["sweeps"]),
        distillation=DISTILLATION if int(settings["sweeps"]) else 0.0,
        segments=int(settings["segments"]),
    )
    training = settings["program"] == "train"
    function = partial(step, beta=BETA, glass=system, plan=plan) if training else partial(sample_energies, glass=system, plan=plan)
    return [
        TorchProgram(
            name=str(settings["program"]),
            phase="",
            function=function,
            initial=partial(_initial, system, shape, str(settings["optimizer"]) if training else None),
            precision="highest",
            x64=True,
            stage_rules=(),
            doc=f"{settings['batch']} configurations of {system.spins} spins",
        )
    ]


def _initial(system: "Glass", shape: "Shape", optimizer: str | None, seed: int | None) -> tuple[Any, ...]:
    """Return model, optimisers (if any) and couplings; on `meta` optimisers have done a step, so that their state is there."""
    import torch

    from traces.workloads.flashvan_model import FlashVAN
    from traces.workloads.flashvan_train import optimizers

    torch_device = torch.device("meta" if seed is None else "cpu")
    with torch.random.fork_rng(devices=[]), torch_device:
        torch.manual_seed(seed or 0)
        model = FlashVAN(shape)
    couplings = system.couplings(seed or 0).to(torch_device)
    if optimizer is None:
        return model, couplings
    made = optimizers(model, optimizer)
    if seed is None:
        _started(model, made)
    return model, made, couplings


def _started(model: "FlashVAN", optimizers: list[Any]) -> None:
    for parameter in model.parameters():
        parameter.grad = parameter.detach().clone()
    for optimizer in optimizers:
        optimizer.step()
        optimizer.zero_grad()


LIMITS = (
    Limit(
        "(position_width + 2) / heads is a multiple of 8",
        lambda s: (s["position_width"] + 2) % (8 * s["heads"]) == 0,
        "heads share the width, and attention kernels take rows of 16 bytes",
        "choose position_width=254 with 4 heads",
    ),
    Limit(
        "sweeps = 0, or model=sk, or boundary=open, or size is even",
        lambda s: s["sweeps"] == 0 or s["model"] == "sk" or s["boundary"] == "open" or (s["size"] or SIZES[s["model"]]) % 2 == 0,
        "local Monte Carlo updates even and odd sites in turn, so a periodic lattice needs even sides",
        "choose boundary=open",
    ),
)

FLASHVAN = Workload(
    name="flashvan",
    framework="torch",
    description="FlashVAN: an autoregressive transformer that samples spin glasses; a training step",
    source="ours; arXiv 2606.22984",
    options=OPTIONS,
    build=_programs,
    conflicts=CONFLICTS,
    limits=LIMITS,
    packages=("torch",),
)
