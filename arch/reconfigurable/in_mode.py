"""Kernels on a reconfigurable array in one of its modes: seconds of each kind of work, memory bytes, joules."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from arch import arrays
from arch.entry import Entry
from arch.facts import SOLVERS, Facts, facts, itemsize, total
from arch.pipes import pipe_of
from arch.refusing import unknown_work
from arch.traffic import buffered_share
from arch.work import Bool, Float, Work


@dataclass(frozen=True)
class Mode:
    """One configuration of the array."""

    name: str
    array: arrays.Array
    vector_lanes: float
    transcendental_lanes: float
    buffer_bytes: float
    memory_bandwidth: float
    bits: float
    """Width of its operands: wider types cannot run in it, narrower ones run as fast."""


def mode_of(entry: Entry, name: str, memory_bandwidth: float) -> Mode:
    """Return a mode of a catalogue entry, with the device's memory of ``memory_bandwidth`` B/s."""
    return Mode(
        name=name,
        array=arrays.Array(entry[f"engines.{name}"], entry[f"rows.{name}"], entry[f"columns.{name}"], entry[f"step_cycles.{name}"]),
        vector_lanes=entry[f"vector_lanes.{name}"],
        transcendental_lanes=entry[f"transcendental_lanes.{name}"],
        buffer_bytes=entry[f"buffer.{name}"],
        memory_bandwidth=memory_bandwidth * entry[f"bandwidth_share.{name}"],
        bits=entry[f"bits.{name}"],
    )


def bits_of(dtype: str) -> float:
    """Return the bits that a mode's operands must have for a type: complex numbers are computed as real ones, integers as 32 bits at most.

    Types narrower than a byte take one; what is no number, such as a token, takes more than any mode has.
    """
    if dtype == "pred" or dtype.startswith(("f8", "f4")):
        return 8.0
    pipe = pipe_of(dtype)
    return 8 * min(itemsize(dtype), itemsize(pipe)) if pipe else np.inf


@dataclass(frozen=True, eq=False)
class InMode:
    """Every kernel in one mode; shapes [kernels], and [accesses] for ``bytes_of``. NaN where the mode cannot run it."""

    terms: dict[str, Float]
    compute: Float
    bytes_of: Float
    """Memory bytes of each access."""
    extra: Float
    """Memory bytes of operands that are not listed, and those that a product reads again."""

    def memory(self, known: Facts, moved: Bool | None = None) -> Float:
        """Return the memory bytes of each kernel, of the accesses ``moved`` only if given."""
        counted = self.bytes_of if moved is None else np.where(moved, self.bytes_of, 0.0)
        return total(known.owner, counted, len(self.extra)) + self.extra


def in_mode(entry: Entry, mode: Mode, work: Work, cold: Bool) -> InMode:
    """Return every kernel in one mode. Raises MachineError naming a kernel whose work is unknown."""
    known = facts(work)
    if known.unknown.any():
        raise unknown_work(entry.id, work, known.unknown)
    terms = compute_s(entry, mode, known)
    missed = np.where(cold, 1.0, 1.0 - buffered_share(known.unique, known.reuse, mode.buffer_bytes))
    granule = np.maximum(entry["access_bytes"] / known.itemsize, 1.0)
    sparse = known.stride.is_("strided", "gather")
    moved = np.where(sparse, np.minimum(known.unique * granule, known.tensor_bytes), known.unique) * missed
    product = known.family.is_("gemm") & (known.k > 0)
    size = known.dtype.number(itemsize)
    again = np.maximum(known.batch, 1.0) * arrays.product_bytes(known.m, known.n, known.k, size, mode.buffer_bytes)
    extra = np.where(known.has_accesses, 0.0, known.bytes_unique) + np.where(product, again, 0.0)
    return InMode(terms, np.maximum.reduce(list(terms.values())), moved, extra)


def compute_s(entry: Entry, mode: Mode, known: Facts) -> dict[str, Float]:
    """Return seconds of each kind of work in a mode, shape [kernels]; NaN where its operands are too narrow."""
    clock, batch = entry["clock"], np.maximum(known.batch, 1.0)
    solver = known.family.isin(SOLVERS)
    shaped = (known.m > 0) & (known.n > 0) & (known.k > 0)
    m, n, k = (np.where(shaped, size, 1.0) for size in (known.m, known.n, known.k))
    useful = known.flops_matrix / 2 / mode.array.macs
    cycles = np.where(shaped, np.maximum(arrays.product_cycles(mode.array, batch, m, n, k), useful), useful)
    rows = np.maximum(known.m, 0.0)
    lu = np.where(known.family.is_("lu"), arrays.lu_cycles(mode.array, batch, np.where(solver, rows, 0.0)), 0.0)
    solve = arrays.triangular_cycles(mode.array, batch, np.where(solver, rows, 0.0), known.n)
    too_wide = np.where(known.dtype.number(bits_of) > mode.bits, np.nan, 0.0)
    found = {
        "compute_matrix_s": np.where((known.flops_matrix > 0) & ~solver, cycles, 0.0),
        "compute_vector_s": known.flops_vector / mode.vector_lanes,
        "transcendental_s": known.flops_transcendental / mode.transcendental_lanes,
        "solver_s": np.where(known.family.is_("triangular_solve"), solve, lu),
    }
    return {name: value / clock + too_wide for name, value in found.items()}


def energy(entry: Entry, known: Facts, moved: Float) -> dict[str, Float]:
    """Return dynamic joules by term: arithmetic by type, operands once through a buffer, memory; NaN where a constant is unknown."""
    per_flop = entry.group("energy_per_flop")
    of_dtype = known.dtype.number(lambda dtype: _of_type(per_flop, dtype))
    asked = total(known.owner, known.requested, len(moved)) + np.where(known.has_accesses, 0.0, known.bytes_unique)
    return {
        "compute_matrix_j": known.flops_matrix * of_dtype,
        "compute_vector_j": known.flops_vector * of_dtype,
        "transcendental_j": known.flops_transcendental * entry["transcendental_energy_flops"] * of_dtype,
        "buffer_j": asked * entry.or_nan("buffer_energy_per_byte"),
        "dram_j": moved * entry.or_nan("memory_energy_per_byte"),
    }


def _of_type(per_flop: Mapping[str, float], dtype: str) -> float:
    """The number of a type, that of the pipe which computes it where it has none of its own; NaN if neither is known."""
    return per_flop.get(dtype, per_flop.get(pipe_of(dtype), np.nan))
