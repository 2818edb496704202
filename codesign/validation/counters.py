"""Rows for the survey's profiler counters, as far as the model has what they count."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from codesign.validation.published import published
from codesign.validation.row import Row, Value, tolerance_of
from codesign.validation.steps import Step, survey_step
from codesign.validation.survey import row_of

NAMES = {
    "l2_hit": "L2 hit rate",
    "instruction_throughput": "instruction throughput over its peak",
    "sm_memory_throughput": "SM memory throughput over its peak",
    "fma_activity": "FMA activity",
    "compute_and_memory": "compute and memory throughput",
    "sm_throughput": "SM throughput",
    "tensor_cores": "tensor-core activity",
}


def rows() -> Iterator[Row]:
    """Yield a row for every counter that the survey states; None where the model has no such count."""
    survey = published()["survey"]
    table = survey["counters"]
    for counter, name in NAMES.items():
        for ansatz, value in table[counter].items():
            found = survey_step(ansatz, survey["molecule"])
            yield row_of(
                survey,
                f"counter/{counter}/{ansatz}",
                f"{survey['labels'][ansatz]}: {name}, mean over kernel time",
                ansatz,
                None if found is None else _count(counter, found),
                published=value,
                tolerance=tolerance_of(table["tolerance"], {"value": value}),
                source=table["where"],
            )
    for ansatz, number in table["low_intensity"].items():
        found = survey_step(ansatz, survey["molecule"])
        yield row_of(
            survey,
            f"counter/intensity/{ansatz}",
            f"{survey['labels'][ansatz]}: share of non-GEMM time in {_range(number)} (profiler's FLOP over DRAM bytes)",
            ansatz,
            None if found is None else _within_intensity(found, number["low"], number["high"]),
            published=f"most families in {_range(number)}",
            tolerance=tolerance_of(number["tolerance"], {}),
            source=table["where"],
        )


def _range(number: Mapping[str, float]) -> str:
    return f"{number['low']:g} to {number['high']:g} FLOP/byte"


def _within_intensity(found: Step, low: float, high: float) -> float:
    """Share of the time outside GEMM in kernels of that many FLOP a DRAM byte; kernels that move no byte are above any."""
    kernels = found.trace.kernels
    other = kernels["family"] != "gemm"
    flops = np.nan_to_num(np.asarray(kernels["flops_ncu"], dtype=np.float64))
    intensity = np.divide(flops, found.prices.dram_bytes, out=np.full(len(flops), np.inf), where=found.prices.dram_bytes > 0)
    chosen = other & (intensity >= low) & (intensity <= high)
    return float(found.seconds[chosen].sum() / found.seconds[other].sum())


def _hit_rate(found: Step) -> Value:
    """Bytes that L2 served over bytes it was asked for, kernels weighted by their time; None where the device does not know."""
    passed, read = found.prices.l2_bytes, found.prices.dram_read_bytes
    if passed is None or read is None:
        return None
    hits = 1 - np.divide(read, passed, out=np.ones_like(passed), where=passed > 0)
    return float((np.clip(hits, 0.0, 1.0) * found.seconds).sum() / found.kernel_time_s)


def _count(counter: str, found: Step) -> Value:
    """Return a counter as the model has it: a term's seconds over the kernel's, weighted by time; None if it has no such term."""
    if counter == "l2_hit":
        return _hit_rate(found)
    terms: dict[str, Any] = found.prices.terms
    makers = {
        "instruction_throughput": ("issue_s",),
        "sm_memory_throughput": ("l2_s", "dram_s"),
        "compute_and_memory": ("compute_matrix_s", "compute_vector_s", "issue_s", "l2_s", "dram_s"),
        "sm_throughput": ("compute_matrix_s", "compute_vector_s", "issue_s"),
    }
    names = [name for name in makers.get(counter, ()) if name in terms]
    if not names:
        return None
    busiest = np.maximum.reduce([np.asarray(terms[name], dtype=np.float64) for name in names])
    duration = found.prices.duration_s
    ratio = np.divide(busiest, duration, out=np.zeros_like(duration), where=duration > 0)
    return float((np.minimum(ratio, 1.0) * found.seconds).sum() / found.kernel_time_s)
