"""Launch-free chains on a GPU: consecutive kernels of which each starts on a tile as soon as the one before has made it.

What joins a chain says ``arch.chains``: elementwise kernels and reductions of short rows that read their producer's tile in order;
transposes, LU, triangular solves, gathers, concatenations and full reductions break a chain. A chain has at most as many kernels as
tiles fit into the memory that an SM keeps for them. It takes

    floor + fills + product + max(together(memory, on_sm), latency)

one floor for all of it, a fill for each kernel behind the first; a product at its head first, as alone but for the result that stays
inside; of the others the sums of memory time (the longer of L2 and DRAM, without what stays inside), of time on the SMs and of
latencies, overlapping as in a kernel of as many turns as its longest grid. The time is divided over the kernels: each what it takes on
the SMs, the rest by what it would take alone. Kernels of several launches and measured ones do not join.
"""

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np

from arch import streaming
from arch.chains import Chains, chains_of, sums
from arch.energy import of_the_cap
from arch.facts import Facts, facts, once, total
from arch.gpu import GPU
from arch.gpu.given import Given
from arch.gpu.model import Model, load_latency, together
from arch.runs import runs_of
from arch.uncertainty import Trust, unvalidated
from arch.work import Bool, Float, Prices, Work

if TYPE_CHECKING:
    from arch.entry import Entry
    from traces.trace import Trace

_UNLIMITED = 1 << 30


@dataclass(frozen=True, eq=False, repr=False)
class ChainedGPU(GPU):
    """A GPU with a sequencer in each SM, the catalogue's entry ``chains``; None prices as a GPU without one."""

    chains: "Entry | None" = None

    @classmethod
    def with_(cls, gpu: GPU, chains: "Entry", **changed: Any) -> "ChainedGPU":
        """Return a GPU with a sequencer, and other values of its fields."""
        return cls(**{**{f.name: getattr(gpu, f.name) for f in fields(gpu)}, "chains": chains, **changed})

    def arrange(self, trace: "Trace", work: Work, mine: Bool) -> Prices:
        """Return the cost of every kernel where the GPU runs ``mine`` [kernels]: chains of them run as one."""
        return fused(self, trace, work, mine)

    def least(self, work: Work) -> Float:
        """Return seconds that no chain goes below: the time on the SMs of what may be in one, the price of the rest."""
        alone, on_sm = self.price(work).duration_s, self.model(work).on_sm
        streams = facts(work).family.is_("elementwise", "reduce", "gemm")
        return np.where(streams & _modelled(self.given(work), facts(work)), np.minimum(on_sm, alone), alone)

    def trust(self, work: Work) -> Trust:
        """Return how far each price can be off: nobody has measured a chain, so nothing stands behind what may be in one."""
        found, nothing = super().trust(work), unvalidated(len(work))
        streams = facts(work).family.is_("elementwise", "reduce") & _modelled(self.given(work), facts(work))
        return Trust(np.where(streams, nothing.relative, found.relative), found.validated & ~streams)

    def launch_free(self, trace: "Trace", work: Work) -> Bool:
        """Return which kernels join a chain if the GPU runs everything and chains may have any length; shape [kernels]."""
        return _behind(_chains(self, trace, work, np.ones(len(work), dtype=np.bool_), _UNLIMITED))


def fused(gpu: ChainedGPU, trace: "Trace", work: Work, mine: Bool) -> Prices:
    """Return the cost of every kernel where the GPU runs ``mine`` [kernels] in the order of the program."""
    prices, entry = gpu.price(work), _unit(gpu)
    chains = _chains(gpu, trace, work, mine, int(entry["buffer"] // entry["tile"]))
    inside = chains.length > 1
    if not inside.any():
        return prices
    known, alone = facts(work), gpu.model(work)
    stage = _stages(gpu, work, known, alone, chains)
    new = _chained(gpu, known, alone, stage, chains)
    terms = {**prices.terms, **{name: np.where(inside, of_chain, prices.terms[name]) for name, of_chain in stage.terms.items()}}
    duration = np.where(inside, new, prices.duration_s)
    energy = _energy(gpu, alone, stage, prices, inside, duration)
    return Prices(
        duration,
        np.where(inside, stage.dram, prices.dram_bytes),
        np.sum(list(energy.values()), axis=0),
        terms,
        np.where(inside, stage.l2_bytes, alone.l2_bytes),
        None if prices.dram_read_bytes is None else np.minimum(prices.dram_read_bytes, stage.dram),
        energy,
        _behind(chains),
    )


def _unit(gpu: ChainedGPU) -> "Entry":
    assert gpu.chains is not None
    return gpu.chains


def _modelled(given: Given, known: Facts) -> Bool:
    """Kernels whose price is the model's own, of one launch."""
    modelled: Bool = given.modelled & (known.launches == 1)
    return modelled


def _chains(gpu: ChainedGPU, trace: "Trace", work: Work, mine: Bool, most: int) -> Chains:
    known, runs = facts(work), once(work, "runs", lambda: runs_of(trace))
    return chains_of(trace, known, runs, mine & _modelled(gpu.given(work), known), _unit(gpu)["tile"], most, _opens_buffer(work))


def _opens_buffer(work: Work) -> Bool:
    """Kernels with which a command buffer begins: the host issues it, so they are not started from the chip."""
    buffer = work.kernels["command_buffer"]
    opens = buffer >= 0
    opens[1:] &= buffer[1:] != buffer[:-1]
    return np.asarray(opens, dtype=np.bool_)


def _behind(chains: Chains) -> Bool:
    """Kernels that are not the first of their chain."""
    behind = np.zeros(len(chains.of_kernel), dtype=np.bool_)
    behind[1:] = chains.of_kernel[1:] == chains.of_kernel[:-1]
    return behind


@dataclass(frozen=True, eq=False)
class _Stages:
    """Every kernel as a part of its chain; arrays of shape [kernels]."""

    dram: Float
    l2_bytes: Float
    inner: Float
    """Bytes that it takes over from a kernel of its chain."""
    terms: dict[str, Float]
    alone: Float
    """Seconds without a floor that it would take by itself, with what stays inside the chain already there."""


def _stages(gpu: ChainedGPU, work: Work, known: Facts, model: Model, chains: Chains) -> _Stages:
    entry, kernels = gpu.entry, len(model.floor)
    missed = np.where(work.cold, 1.0, 1.0 - model.resident)
    dram = total(known.owner, np.where(chains.internal, 0.0, model.cold_bytes * missed), kernels) + model.extra_dram
    kept = total(known.owner, np.where(chains.internal, model.passing, 0.0), kernels)
    l2_bytes = np.where(model.tiled, model.l2_bytes, np.maximum(model.l2_bytes - kept, 0.0))
    waits = ~known.has_accesses | (total(known.owner, np.where(known.writes | chains.internal, 0.0, 1.0), kernels) > 0)
    terms = {
        "dram_s": dram / streaming.dram_rate(entry, gpu.dram_bandwidth),
        "l2_s": l2_bytes / (entry["l2_bandwidth"] * entry["l2_efficiency"]),
        "latency_s": np.where(waits, model.rounds * load_latency(entry, dram), 0.0),
        "floor_s": np.where(_behind(chains), _unit(gpu)["stage_fill"], model.floor),
    }
    body = np.maximum(together(entry, model, terms["dram_s"], terms["l2_s"]), terms["latency_s"])
    inner = total(known.owner, np.where(chains.internal & ~known.writes, known.unique, 0.0), kernels)
    return _Stages(dram, l2_bytes, inner, terms, body)


def _chained(gpu: ChainedGPU, known: Facts, model: Model, stage: _Stages, chains: Chains) -> Float:
    """Seconds of every kernel as a part of its chain."""
    product, terms = known.family.is_("gemm"), stage.terms
    streams = ~product
    on_sm = np.where(streams, model.on_sm, 0.0)
    memory = np.maximum(*(sums(chains, np.where(streams, terms[name], 0.0)) for name in ("dram_s", "l2_s")))
    longest = np.zeros(len(product))
    np.maximum.at(longest, chains.of_kernel, np.where(streams, model.turns, 0.0))
    overlapped = streaming.overlapped(gpu.entry, memory, sums(chains, on_sm), longest[chains.of_kernel])
    body = np.maximum(overlapped, sums(chains, np.where(streams, terms["latency_s"], 0.0)))
    rest = np.maximum(body - sums(chains, on_sm), 0.0)
    own = np.where(streams, np.maximum(stage.alone - model.on_sm, 0.0), 0.0)
    weight, count = sums(chains, own), sums(chains, streams.astype(np.float64))
    share = np.where(weight > 0, own / np.where(weight > 0, weight, 1.0), streams / np.maximum(count, 1.0))
    return np.asarray(terms["floor_s"] + np.where(product, stage.alone, on_sm + rest * share), dtype=np.float64)


def _energy(gpu: ChainedGPU, model: Model, stage: _Stages, prices: Prices, inside: Bool, duration: Float) -> dict[str, Float]:
    """Joules by term: less DRAM and L2, and what is handed on through tile memory; of kernels in no chain, as alone."""
    terms = {**model.energy, "l2_j": stage.l2_bytes * gpu.entry.or_nan("l2_energy_per_byte")}
    terms["dram_j"] = stage.dram * gpu.entry.or_nan("dram_energy_per_byte")
    terms["tiles_j"] = np.where(stage.inner > 0, stage.inner * _unit(gpu).or_nan("buffer_energy_per_byte"), 0.0)
    terms["cap_j"] = of_the_cap(gpu.entry, gpu.static_watts, np.sum(list(terms.values()), axis=0), duration)
    return {name: np.where(inside, of_chain, prices.energy_terms.get(name, 0.0)) for name, of_chain in terms.items()}
