"""Training of FlashVAN: the score-function gradient, annealing, local Monte Carlo refinement with self-distillation, Muon or Adam.

Equation numbers are those of arXiv 2606.22984.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from traces.capture.aten.loops import SEGMENTS, repeat, scope
from traces.workloads.flashvan_model import FlashVAN, sample
from traces.workloads.flashvan_spins import Glass, checkerboard, energy, fields

LEARNING_RATE = 1e-3
"""Not in the paper; Muon's updates are scaled to the size of AdamW's (RMS alignment, as the paper says), so one rate serves both."""
WEIGHT_DECAY = 1e-4
"""Not in the paper, which says that Muon has weight decay."""


@dataclass(frozen=True)
class Step:
    """What a training step does: configurations drawn, sampling with a cache or without, Monte Carlo sweeps and the weight w of (10)."""

    batch: int
    cached: bool = True
    sweeps: int = 0
    distillation: float = 0.0
    segments: int = SEGMENTS


def optimizers(model: FlashVAN, kind: str, rate: float = LEARNING_RATE) -> list[torch.optim.Optimizer]:
    """Return Adam for all parameters, or Muon for the layers' matrices and AdamW for the rest (embeddings, norms, biases, head)."""
    if kind == "adam":
        return [torch.optim.Adam(model.parameters(), lr=rate)]
    hidden = [p for p in model.layers.parameters() if p.dim() == 2]
    others = [p for p in model.parameters() if all(p is not h for h in hidden)]
    return [
        torch.optim.Muon(hidden, lr=rate, weight_decay=WEIGHT_DECAY, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(others, lr=rate, weight_decay=WEIGHT_DECAY),
    ]


def to_spins(tokens: Tensor, like: Tensor) -> Tensor:
    """Return +1 and -1 of tokens 1 and 0, in the type of ``like``."""
    return tokens.to(like.dtype) * 2 - 1


def step(
    model: FlashVAN,
    optimizers: list[torch.optim.Optimizer],
    couplings: Tensor,
    beta: float,
    *,
    glass: Glass,
    plan: Step,
) -> tuple[Tensor, Tensor]:
    """Train once: draw, refine, and follow the gradient (10), or (19) without refinement; parameters and optimisers change in place.

    Returns L = beta E + ln q [batch], whose mean over beta estimates the variational free energy if nothing was refined; and energies.
    """
    tokens = draw(model, couplings, beta, glass, plan)
    with scope("phase_energy"), torch.no_grad():
        energies = energy(glass, couplings, to_spins(tokens, couplings))
    log_q = model.log_probability(tokens)
    with scope("stage_loss"):
        with torch.no_grad():
            losses = beta * energies + log_q.detach()
            advantage = losses - losses.mean() - plan.distillation
        loss = (advantage * log_q).mean()
    for optimizer in optimizers:
        optimizer.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    for optimizer in optimizers:
        optimizer.step()
    return losses, energies


def draw(model: FlashVAN, couplings: Tensor, beta: float, glass: Glass, plan: Step) -> Tensor:
    """Return configurations as tokens [batch, spins]: sampled, then refined by ``plan.sweeps`` Metropolis sweeps."""
    with scope("phase_sampling"):
        tokens = sample(model, plan.batch, cached=plan.cached, segments=plan.segments)
    if not plan.sweeps:
        return tokens
    with scope("phase_refinement"), torch.no_grad():
        spins = refine(glass, couplings, to_spins(tokens, couplings), beta, plan.sweeps)
        return (spins > 0).long()


def refine(glass: Glass, couplings: Tensor, spins: Tensor, beta: float, sweeps: int) -> Tensor:
    """Return spins [batch, n] after Metropolis sweeps: even and odd sites of a lattice in turn, one site after the other of sk."""
    if glass.kind == "sk":
        return _refine_one_by_one(couplings, spins.clone(), beta, sweeps)
    even = checkerboard(glass, spins.device)

    def sweep(lattice: Tensor, _: int) -> Tensor:
        for sites in (even, ~even):
            flips = accepted(lattice * fields(glass, couplings, lattice), beta) & sites
            lattice = torch.where(flips, -lattice, lattice)
        return lattice

    return repeat(sweep, spins.view(-1, *glass.sides), range(sweeps), name="sweeps").flatten(1)


def _refine_one_by_one(couplings: Tensor, spins: Tensor, beta: float, sweeps: int) -> Tensor:
    def update(spins: Tensor, site: int) -> Tensor:
        spin = spins[:, site]
        flips = accepted(spin * (spins @ couplings[site]), beta)
        spins[:, site] = torch.where(flips, -spin, spin)
        return spins

    def sweep(spins: Tensor, _: int) -> Tensor:
        return repeat(update, spins, range(spins.shape[1]), name="sites")

    return repeat(sweep, spins, range(sweeps), name="sweeps")


def accepted(aligned: Tensor, beta: float) -> Tensor:
    """Return which flips Metropolis accepts, given spin times local field: the energy would grow by twice that."""
    return torch.rand_like(aligned) < torch.exp(-2 * beta * aligned)


def temperatures(start: float, warm_up: int, points: int, at_each: int) -> Iterator[float]:
    """Yield the temperature of each training step: ``start`` while warming up, then down in equal steps (20), the last above zero."""
    for index in range(warm_up + points * at_each):
        done = max(index - warm_up, 0) // at_each
        yield start * (1 - done / points)
