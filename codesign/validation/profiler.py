"""What Nsight Compute would count: kernels at the base clock with cold caches, and how busy their units are.

Nsight Compute locks the clock to its base and empties all caches before each kernel, unless told otherwise (``--clock-control base``,
``--cache-control all``: its documentation, 'Clock Control' and 'Cache Control'); Nsight Systems, which measures durations, does neither.
The counters that the survey names are these metrics of its sections SpeedOfLight and MemoryWorkloadAnalysis, as fractions of a peak:

- instruction throughput, ``sm__instruction_throughput``: the busiest of instruction issue and the pipes of an SM;
- SM memory throughput, ``sm__memory_throughput`` ('Mem Pipes Busy'): what passes an SM's load/store unit and L1;
- SM throughput, ``sm__throughput``: the larger of the two;
- compute and memory throughput, ``gpu__compute_memory_throughput`` ('Memory Throughput'): the busiest of L1, L2 and DRAM;
- L2 hit rate, ``lts__t_sector_hit_rate``: reads that DRAM does not serve, and all writes, over everything asked for.

A pipe that works at its peak without a pause is 1; what a kernel waits for keeps no unit busy.
"""

from dataclasses import dataclass, replace
from functools import cache, cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from codesign.validation.steps import Step

if TYPE_CHECKING:
    from arch.gpu import GPU

Float = NDArray[np.float64]
HOT = 100
"""Kernels whose counters the survey averages ('top-100 SM utilization', section III-F)."""


@dataclass(frozen=True, eq=False)
class Profile(Step):
    """A step under the profiler. Fractions are of a peak, by kernel; float64[kernels]."""

    gpu: "GPU"

    @cached_property
    def tensor_flops(self) -> Float:
        """FLOP of products on tensor cores, tiles' padding included."""
        return _executed(self, tensor=True)

    @cached_property
    def vector_flops(self) -> Float:
        """FLOP of products on the vector pipes, tiles' padding included."""
        return _executed(self, tensor=False)

    @cached_property
    def tensor(self) -> Float:
        return self._of(self.tensor_flops, self.gpu.entry["matrix_flops.tf32"])

    @cached_property
    def fma(self) -> Float:
        """The pipes of multiply-adds: those of products, and the other arithmetic of the HLO, one result a lane."""
        other = np.nan_to_num(np.asarray(self.trace.kernels["flops_vector"], dtype=np.float64))
        return self._of(self.vector_flops + 2 * other, self.gpu.entry["vector_flops.f32"])

    @cached_property
    def issue(self) -> Float:
        """Instructions where the PTX tells them; of products on the vector pipes the multiply-adds and what stands beside them."""
        entry = self.gpu.entry
        peak = entry["schedulers_per_sm"] * entry["warp_threads"] * entry["sm_count"] * entry["clock"]
        counted = np.nan_to_num(np.asarray(self.trace.kernels["instructions"], dtype=np.float64))
        straight = np.where(self.trace.kernels["family"] == "slice_concat", 0.0, counted)
        return self._of(straight + self.vector_flops / 2 / entry["gemm_issue_share"], peak)

    @cached_property
    def instructions(self) -> Float:
        busiest: Float = np.maximum.reduce([self.issue, self.fma, self.tensor, self._term("transcendental_s")])
        return busiest

    @cached_property
    def sm_memory(self) -> Float:
        """L1; of library calls, whose shared memory is not known, what L2 sends."""
        entry = self.gpu.entry
        rate = entry["l1_bytes_per_clock"] * entry["sm_count"] * entry["clock"]
        busiest: Float = np.maximum(self._term("l1_s"), self._of(self._l2_bytes, rate))
        return busiest

    @cached_property
    def memory(self) -> Float:
        entry = self.gpu.entry
        dram = self._of(self.prices.dram_bytes, self.gpu.dram_bandwidth)
        busiest: Float = np.maximum.reduce([dram, self._of(self._l2_bytes, entry["l2_bandwidth"]), self._term("l1_s")])
        return busiest

    @cached_property
    def hits(self) -> Float:
        passed, read = self._l2_bytes, self.prices.dram_read_bytes
        missed = np.zeros(len(passed)) if read is None else read
        hits: Float = np.clip(1 - np.divide(missed, passed, out=np.ones_like(passed), where=passed > 0), 0.0, 1.0)
        return hits

    def mean(self, fraction: Float) -> float:
        """Return the mean of a counter over the hundred kernels that take most of the time: the survey's 'top-100'."""
        return float(fraction[np.argsort(-self.seconds, kind="stable")[:HOT]].mean())

    @property
    def _l2_bytes(self) -> Float:
        return np.zeros(len(self.seconds)) if self.prices.l2_bytes is None else self.prices.l2_bytes

    def _of(self, amount: Float, peak: float) -> Float:
        """An amount over what the unit could do in the kernel's time."""
        return np.clip(amount / (self.prices.duration_s * peak), 0.0, 1.0)

    def _term(self, name: str) -> Float:
        return np.clip(self.prices.terms[name] / self.prices.duration_s, 0.0, 1.0)


@cache
def profile(name: str) -> Profile | None:
    """Return the recorded trace of that name on its own target as Nsight Compute would run it; None if none is recorded."""
    from arch.work import Work
    from traces.recordings import load_recorded, recorded_traces

    if name not in recorded_traces():
        return None
    trace = load_recorded(name)
    gpu = at_base_clock(trace.target)
    work = Work.of(trace)
    cold = replace(work, cold=np.ones(len(work.accesses), dtype=np.bool_))
    return Profile(trace, gpu.price(cold), gpu)


def at_base_clock(name: str) -> "GPU":
    """Return a GPU of the catalogue at its base clock."""
    from arch.building import machine
    from arch.registered import find

    return machine(name).with_(clock_hz=find(name)["base_clock"]).gpu


def _executed(found: Profile, tensor: bool) -> Float:
    """FLOP of products that the wanted kind of unit executes: of library calls, whole tiles; of what XLA compiled, the products'."""
    from arch.facts import facts
    from arch.gpu.kinds import units
    from arch.work import Work

    work = Work.of(found.trace)
    known, served = facts(work), units(found.gpu.entry, work)
    mine = (served.tensor == tensor) & (known.flops_matrix > 0)
    flops = np.where(mine, known.flops_matrix, 0.0)
    for name in np.unique(served.names[mine]):
        rows = np.flatnonzero(mine & (served.names == name))
        flops[rows] = np.maximum(flops[rows], _whole_tiles(found, str(name), rows))
    return flops


def _whole_tiles(found: Profile, unit: str, rows: NDArray[np.int64]) -> Float:
    """FLOP with the tiles' padding of library products of known shape, 0 of others; shape [rows]."""
    from arch import gemm
    from arch.facts import facts
    from arch.gemm_library import library
    from arch.gpu.kinds import products
    from arch.work import Work

    known, flops = facts(Work.of(found.trace)), np.zeros(len(found.seconds))
    shaped = rows[(known.k[rows] > 0) & (known.m[rows] > 0) & known.library[rows]]
    if len(shaped):
        work, tiles = products(known, shaped), library(found.gpu.entry, unit, tuned=True)
        flops[shaped] = gemm.plan(tiles, work, gemm.resident(found.gpu.entry, work)).executed_flops
    return flops[rows]
