"""Seconds that the SMs of a GPU need for a kernel, by term, apart from memory and load latencies."""

from dataclasses import dataclass

import numpy as np

from arch import attention_calls, solvers
from arch.entry import Entry
from arch.facts import Facts, facts, once
from arch.gpu.geometry import Geometry
from arch.gpu.kinds import Kinds, Units, kinds
from arch.library_calls import calls
from arch.pipes import vector_peak
from arch.work import Bool, Float, Work


@dataclass(frozen=True, eq=False)
class OnSM:
    """What the SMs need; shapes [kernels]."""

    terms: dict[str, Float]
    """Seconds of the busiest SM: arithmetic, special functions, issue, solvers, L1."""
    tiled: Bool
    """Library calls of unknown grid and FlashAttention, whose terms overlap as ``arch.gemm`` says."""
    apart: Float
    """Share of the bytes that move before or behind all else: by kernels around attention's backward pass."""
    l2_bytes: Float
    extra_s: Float
    """Seconds that nothing overlaps: starts, and adding up the parts of a split product."""
    again_bytes: Float
    """What DRAM serves again because L2 does not keep it between waves of a product's tiles, or passes of a factorisation."""


def on_sm(entry: Entry, work: Work, units: Units, geometry: Geometry) -> OnSM:
    """Return what a trace's kernels need of the SMs of a GPU."""
    found, known = kinds(work), facts(work)
    matrix, l2_bytes, extra, again = _products(entry, work, units, geometry)
    tiled, apart = _attention(entry, found, matrix, extra)
    l1_rate = entry["l1_bytes_per_clock"] * entry["sm_count"] * entry["clock"]
    terms = {
        "compute_matrix_s": matrix,
        **_vector_terms(entry, known, geometry, found.wide),
        "solver_s": _solvers(entry, work, found),
        "l1_s": np.where(tiled, 0.0, geometry.moved.l1_bytes * geometry.share / l1_rate),
    }
    return OnSM(terms, tiled, apart, l2_bytes, extra, again)


def _products(entry: Entry, work: Work, units: Units, geometry: Geometry) -> tuple[Float, Float, Float, Float]:
    """Seconds of the matrix term, bytes through L2, seconds that nothing overlaps, and bytes that DRAM serves again.

    Library calls of unknown grid are tiled by ``arch.gemm``, each as often as its FLOP are those of its sizes (both gradients of a
    convolution are one row); blocks of known grids fall onto SMs in whole turns.
    """
    known, found = facts(work), kinds(work)
    reached = units.peak * np.where(units.tensor, entry["gemm_efficiency_matrix"], entry["gemm_efficiency_vector"])
    fill = np.where(units.tensor, 1.0, geometry.hidden)
    matrix = np.where(found.product, known.flops_matrix * geometry.share / (reached * fill), 0.0)
    l2_bytes, extra, again = geometry.moved.l2_bytes.copy(), np.zeros(len(matrix)), np.zeros(len(matrix))
    rows = found.rows
    if len(rows):
        tiled = calls(entry, work, units.calls, len(rows))
        times = np.maximum(known.flops_matrix[rows] / found.calls.flops, 1.0)
        matrix[rows] = np.maximum(times * tiled.compute_s, known.flops_matrix[rows] / units.peak[rows])
        l2_bytes[rows] = np.maximum(l2_bytes[rows], times * tiled.l2_bytes)
        extra[rows], again[rows] = times * tiled.extra_s, times * tiled.again_bytes
    over = found.passes
    if len(over.rows):
        l2_bytes[over.rows] += over.bytes
        again[over.rows] += over.from_dram(entry)
    return matrix, l2_bytes, extra, again


def _attention(entry: Entry, found: Kinds, matrix: Float, extra: Float) -> tuple[Bool, Float]:
    """Fill in the terms of fused attention; return which library calls overlap as products and the share of bytes that move apart."""
    tiled, apart = found.tiled.copy(), np.zeros(len(matrix))
    for group in attention_calls.needed(entry, found.attention):
        matrix[group.rows], extra[group.rows] = group.on_sm_s, group.start_s
        tiled[group.rows], apart[group.rows] = True, group.apart
    return tiled, apart


def _vector_terms(entry: Entry, known: Facts, geometry: Geometry, wide: Bool) -> dict[str, Float]:
    hidden, share = geometry.hidden, geometry.share
    lanes = known.dtype.number(vector_peak(entry.group("vector_flops"))) / 2  # one operation, not a multiply-add
    special = entry["sfu_lanes_per_sm"] * entry["sm_count"] * entry["clock"]
    special_rate = np.where(wide, 2 * lanes / entry["f64_transcendental_flops"], special)
    issue = entry["schedulers_per_sm"] * entry["warp_threads"] * entry["sm_count"] * entry["clock"]
    return {
        "compute_vector_s": known.flops_vector * share / (lanes * hidden),
        "transcendental_s": known.flops_transcendental * share / special_rate,
        "issue_s": known.instructions * share / (issue * hidden),
    }


def _solvers(entry: Entry, work: Work, found: Kinds) -> Float:
    seconds, lu, solve, rotated = np.zeros(len(found.product)), found.lu, found.solve, found.rotated
    if len(lu.rows) or len(solve.rows):
        numbers = solvers.Numbers.of(entry)
        factorised, solved = once(
            work,
            ("gpu solvers", *numbers.cycles),
            lambda: (solvers.Factorisations.of(numbers, lu.batch, lu.m), solvers.Solves.of(numbers, solve.batch, solve.m, solve.columns)),
        )
        seconds[lu.rows], seconds[solve.rows] = factorised.seconds(numbers), solved.seconds(numbers)
    if len(rotated.rows):
        seconds[rotated.rows] = solvers.rotations_s(solvers.Numbers.of(entry), rotated.batch, np.minimum(rotated.m, rotated.columns))
    return seconds
