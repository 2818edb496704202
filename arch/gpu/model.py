"""What the model says of every kernel on a GPU: SMs, memory and latencies together."""

from dataclasses import dataclass
from functools import reduce

import numpy as np

from arch import gemm, streaming
from arch.energy import kernel_terms
from arch.entry import Entry
from arch.facts import facts, once
from arch.gpu.geometry import FromDram, geometry
from arch.gpu.kinds import kinds, units
from arch.gpu.terms import OnSM, on_sm
from arch.pipes import pipe_of
from arch.work import Bool, Float, Int, Work


@dataclass(frozen=True, eq=False)
class Model:
    """All that does not depend on which operands are cold; shapes [kernels] where nothing else is said."""

    terms: dict[str, Float]
    """Seconds; those of DRAM and of latencies depend on which operands are cold."""
    floor: Float
    on_sm: Float
    """The longest of the terms of an SM: arithmetic, issue, L1, solvers."""
    turns: Float
    rounds: Float
    """As in ``Geometry``."""
    tiled: Bool
    apart: Float
    """As in ``OnSM``."""
    products: Int
    """The tiled kernels, shape [such kernels]."""
    l2_bytes: Float
    extra_dram: Float
    """DRAM bytes beside those of listed operands."""
    warm: FromDram
    """If no operand is cold."""
    cold_bytes: Float
    resident: Float
    passing: Float
    """As in ``Traffic``; shape [accesses]."""
    energy: dict[str, Float]
    """Joules by term, without DRAM."""
    joules: Float
    """Their sum."""

    def from_dram(self, work: Work) -> FromDram:
        """Return the bytes that DRAM serves of each kernel's operands."""
        if not work.cold.any():
            return self.warm
        return FromDram.of(facts(work), self.cold_bytes * np.where(work.cold, 1.0, 1.0 - self.resident))


@dataclass(frozen=True, eq=False)
class Modelled:
    """What kernels take with their DRAM traffic known; shapes [kernels]."""

    duration_s: Float
    dram_s: Float
    latency_s: Float


def model(entry: Entry, work: Work) -> Model:
    """Return what the model says of a trace on a GPU of the catalogue; it is kept with the trace."""
    return once(work, ("gpu model", entry), lambda: make_model(entry, work))


def make_model(entry: Entry, work: Work) -> Model:
    """Return what the model says of a trace on a GPU of the catalogue, without keeping it."""
    known, shape, served = facts(work), geometry(entry, work), units(entry, work)
    needed, moved = on_sm(entry, work, served, shape), shape.moved
    energy = _energy(entry, work, served.energy, needed.l2_bytes)
    terms = _terms(entry, known.launches, needed)
    return Model(
        terms=terms,
        floor=terms["floor_s"],
        on_sm=reduce(np.maximum, needed.terms.values()),
        turns=shape.turns,
        rounds=np.where(needed.tiled, known.launches * entry["gemm_stages"], shape.rounds),
        tiled=needed.tiled,
        apart=needed.apart,
        products=np.flatnonzero(needed.tiled),
        l2_bytes=needed.l2_bytes,
        extra_dram=moved.extra_dram + needed.again_bytes,
        warm=shape.warm,
        cold_bytes=moved.cold_bytes,
        resident=moved.resident,
        passing=moved.passing,
        energy=energy,
        joules=reduce(np.add, energy.values()),
    )


def _terms(entry: Entry, launches: Float, needed: OnSM) -> dict[str, Float]:
    return {
        **needed.terms,
        "l2_s": needed.l2_bytes / (entry["l2_bandwidth"] * entry["l2_efficiency"]),
        "floor_s": launches * entry["kernel_floor"] + needed.extra_s,
    }


def _energy(entry: Entry, work: Work, per_matrix_flop: Float, l2_bytes: Float) -> dict[str, Float]:
    """Dynamic joules without DRAM by term; NaN where the catalogue lacks a constant."""
    known, vector = facts(work), entry.group("vector_energy_per_flop")
    per_op = known.dtype.number(lambda dtype: vector.get(pipe_of(dtype), np.nan))
    return kernel_terms(entry, known, per_op, per_matrix_flop, kinds(work).product, l2_bytes)


def modelled(entry: Entry, dram_bandwidth: float, found: Model, dram: Float) -> Modelled:
    """Return what kernels take that move ``dram`` bytes, shape [kernels], from a memory of ``dram_bandwidth`` B/s."""
    dram_s = dram / streaming.dram_rate(entry, dram_bandwidth)
    latency_s = found.rounds * load_latency(entry, dram)
    longest = np.maximum(together(entry, found, dram_s, found.terms["l2_s"]), latency_s)
    return Modelled(found.floor + longest, dram_s, latency_s)


def load_latency(entry: Entry, dram: Float) -> Float:
    """Return the seconds of a load of kernels that move ``dram`` bytes: L2's where none comes from DRAM; shape [kernels]."""
    return np.where(dram > 0, max(entry["dram_latency"], entry["l2_latency"]), entry["l2_latency"])


def together(entry: Entry, found: Model, dram_s: Float, l2_s: Float) -> Float:
    """Return what memory and the SMs take together: of compiled kernels, by turns; of library products, as their model says."""
    seconds = streaming.overlapped(entry, np.maximum(dram_s, l2_s), found.on_sm, found.turns)
    rows = found.products
    if len(rows):
        apart, from_dram = found.apart[rows], dram_s[rows]
        on_chip = np.maximum(found.on_sm[rows], l2_s[rows])
        seconds[rows] = gemm.together(entry["gemm_sharpness"], on_chip, from_dram * (1.0 - apart)) + from_dram * apart
    return seconds
