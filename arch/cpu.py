"""The price of a kernel on a CPU: a roofline over all cores.

duration = floor + max(compute_matrix, compute_vector, transcendental, solver, cache, dram), where

- ``compute_matrix``: multiply-adds of products over what a large product reaches; a core computes whole register tiles
  (``gemm_tile_m`` x ``gemm_tile_n``), and the busiest core has ceil(tiles / cores) of them;
- ``compute_vector``: other arithmetic, one operation a lane, pipe and clock (half of the multiply-add peak);
- ``transcendental``: vectorised polynomials of ``transcendental_flops`` each;
- ``solver``: LU and triangular solves, a matrix a core: the busiest core has ceil(batch / cores) of them;
- ``cache``, ``dram``: bytes asked for over the last level's bandwidth, and those that it does not hold (``arch.traffic``, whose
  granule is a cache line here) over what DRAM reaches, reads and writes each at their own rate.
"""

from dataclasses import dataclass

import numpy as np

from arch.device import Device
from arch.entry import Entry
from arch.facts import NEED_MATRIX, SOLVERS, Facts, facts, itemsize, once, total
from arch.memory import Memory
from arch.pipes import pipe_of
from arch.refusing import unknown_work
from arch.traffic import Caches, Traffic, traffic
from arch.work import Bool, Float, Prices, Refusals, Work


@dataclass(frozen=True, eq=False, repr=False)
class CPU(Device):
    """A CPU of the catalogue that works in ``dram``."""

    entry: Entry
    dram: Memory
    id: str
    memory: str
    static_watts: float | None = None
    area_mm2: float | None = None
    price_usd: float | None = None
    hypothetical: bool = False
    not_modelled: tuple[str, ...] = ()
    kind: str = "cpu"

    @classmethod
    def of(cls, entry: Entry, dram: Memory) -> "CPU":
        """Return the CPU that a catalogue entry describes, with its memory."""
        power, area, price = (entry.get(key) for key in ("static_power", "die_area", "price"))
        return cls(entry, dram, entry.id, dram.id, power, area, price, entry.hypothetical, entry.not_modelled)

    def peak_flops(self, dtype: str) -> float:
        """Return multiply-adds a second on the vector pipes, counted twice, for an XLA type; infinite where it has no pipe."""
        entry, pipe = self.entry, pipe_of(dtype)
        if not pipe:
            return float("inf")
        lanes = entry["vector_bits"] / 8 / max(itemsize(pipe), itemsize("f32"))  # halves are computed as singles
        return 2 * entry["cores"] * entry["clock"] * entry["fma_pipes"] * lanes

    def price(self, work: Work) -> Prices:
        """Return the cost of every kernel. Raises MachineError naming a kernel whose work is unknown."""
        return once(work, (self, work.cold.tobytes()), lambda: _price(self, work))

    def refuse(self, work: Work) -> Refusals:
        """Refuse only kernels of a dtype that the pipes do not have."""
        missing = facts(work).dtype.where(lambda dtype: not pipe_of(dtype))
        return Refusals(missing.astype(np.int8), ("", "dtype without arithmetic"))


def _price(cpu: CPU, work: Work) -> Prices:
    known, entry = facts(work), cpu.entry
    if known.unknown.any():
        raise unknown_work(cpu.id, work, known.unknown)
    moved = _moved(work, known, entry["line_bytes"], entry["last_level_cache"], entry["cores"])
    terms = _compute_terms(cpu, known)
    terms["cache_s"] = moved.l2_bytes / entry["cache_bandwidth"]
    terms["dram_s"], dram = _dram(cpu, work, known, moved)
    floor = known.launches * entry["kernel_floor"]
    never = np.where(cpu.refuse(work).code != 0, np.inf, 0.0)
    duration = floor + np.maximum.reduce(list(terms.values())) + never
    joules = {name: values + never for name, values in _energy(cpu, known, moved.l2_bytes, dram).items()}
    energy = np.sum(list(joules.values()), axis=0)
    terms = {**{name: values + never for name, values in terms.items()}, "floor_s": floor}
    return Prices(duration, dram + never, energy, terms, energy_terms=joules)


def _moved(work: Work, known: Facts, *cache: float) -> Traffic:
    """Bytes through a cache, given by the bytes of its lines, its capacity and the cores around it; no blocks share lines."""
    line, capacity, cores = cache
    blocks, threads = np.full(len(work), np.inf), np.ones(len(work))
    return once(work, ("cpu traffic", *cache), lambda: traffic(known, Caches(line, np.inf, capacity, cores), blocks, threads))


def _compute_terms(cpu: CPU, known: Facts) -> dict[str, Float]:
    entry, solver = cpu.entry, known.family.isin(SOLVERS)
    peak = known.dtype.number(cpu.peak_flops)
    product = (known.family.isin(NEED_MATRIX) | (known.flops_matrix > 0)) & ~solver
    batches = np.maximum(known.batch, 1.0)
    turns = np.ceil(batches / entry["cores"]) * entry["cores"] / batches
    unit = np.fmax(known.dtype.number(lambda dtype: entry.group("matrix_flops").get(dtype, 0.0)), peak)
    return {
        "compute_matrix_s": np.where(product, known.flops_matrix * _padding(entry, known) / (unit * entry["gemm_efficiency"]), 0.0),
        "compute_vector_s": 2 * known.flops_vector / peak,
        "transcendental_s": known.flops_transcendental * entry["transcendental_flops"] / peak,
        "solver_s": np.where(solver, known.flops_matrix * turns / (peak * entry["solver_efficiency"]), 0.0),
    }


def _padding(entry: Entry, known: Facts) -> Float:
    """Work of the busiest core over its fair share: register tiles are computed whole. 1 where the shape is not known."""
    rows, columns = np.ceil(known.m / entry["gemm_tile_m"]), np.ceil(known.n / entry["gemm_tile_n"])
    tiles = np.maximum(known.batch, 1.0) * rows * columns
    useful = np.maximum(known.batch, 1.0) * known.m * known.n
    done = np.ceil(tiles / entry["cores"]) * entry["cores"] * entry["gemm_tile_m"] * entry["gemm_tile_n"]
    shaped: Bool = (known.m > 0) & (known.n > 0)
    return np.where(shaped, done / np.where(shaped, useful, 1.0), 1.0)


def _dram(cpu: CPU, work: Work, known: Facts, moved: Traffic) -> tuple[Float, Float]:
    """Seconds on the memory's bus, and bytes."""
    if work.cold.any():
        read, written = _read_and_written(known, moved, np.where(work.cold, 1.0, 1.0 - moved.resident))
    else:
        read, written = once(work, ("cpu dram", moved), lambda: _read_and_written(known, moved, 1.0 - moved.resident))
    memory = cpu.dram
    seconds = read / (memory.read_bandwidth or memory.bandwidth) + written / (memory.write_bandwidth or memory.bandwidth)
    return seconds, read + written


def _read_and_written(known: Facts, moved: Traffic, missed: Float) -> tuple[Float, Float]:
    """Bytes by kernel of what the cache does not hold (``missed``, a share of each operand); what is not listed, in halves."""
    kernels, of_access = len(known.launches), moved.cold_bytes * missed
    read = total(known.owner, np.where(known.writes, 0.0, of_access), kernels) + moved.extra_dram / 2
    written = total(known.owner, np.where(known.writes, of_access, 0.0), kernels) + moved.extra_dram / 2
    return read, written


def _energy(cpu: CPU, known: Facts, cache_bytes: Float, dram: Float) -> dict[str, Float]:
    """Joules by term: arithmetic of the pipes by type, the last level of cache, and DRAM; NaN where the catalogue lacks a constant."""
    entry, per_flop = cpu.entry, cpu.entry.group("energy_per_flop")
    of_dram = cpu.dram.pj_per_byte
    of_dtype = known.dtype.number(lambda dtype: per_flop.get(pipe_of(dtype), np.nan))
    return {
        "compute_matrix_j": known.flops_matrix * of_dtype,
        "compute_vector_j": known.flops_vector * of_dtype,
        "transcendental_j": known.flops_transcendental * entry["transcendental_flops"] * of_dtype,
        "cache_j": cache_bytes * entry.or_nan("cache_energy_per_byte"),
        "dram_j": dram * (np.nan if of_dram is None else of_dram * 1e-12),
    }
