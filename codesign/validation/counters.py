"""Rows for the survey's profiler counters, under the profiler's conditions: base clock, cold caches."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from codesign.validation.profiler import Profile, profile
from codesign.validation.published import published
from codesign.validation.row import Row, tolerance_of
from codesign.validation.steps import survey_name
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
    """Yield a row for every counter that the survey states; None where no trace is recorded."""
    survey = published()["survey"]
    table = survey["counters"]
    for counter, name in NAMES.items():
        for ansatz, value in table[counter].items():
            found = _profile(survey, ansatz)
            yield row_of(
                survey,
                f"counter/{counter}/{ansatz}",
                f"{survey['labels'][ansatz]}: {name}, mean of the hundred hottest kernels",
                ansatz,
                None if found is None else found.mean(COUNTERS[counter](found)),
                published=value,
                tolerance=tolerance_of(table["tolerance"], {"value": value}),
                source=table["where"],
            )
    for ansatz, number in table["low_intensity"].items():
        found = _profile(survey, ansatz)
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


def _profile(survey: dict[str, Any], ansatz: str) -> Profile | None:
    return profile(survey_name(ansatz, survey["molecule"]))


def _range(number: Mapping[str, float]) -> str:
    return f"{number['low']:g} to {number['high']:g} FLOP/byte"


def _within_intensity(found: Profile, low: float, high: float) -> float:
    """Share of the time outside GEMM in kernels of that many FLOP a DRAM byte; kernels that move no byte are above any."""
    kernels = found.trace.kernels
    other = kernels["family"] != "gemm"
    flops = np.nan_to_num(np.asarray(kernels["flops_ncu"], dtype=np.float64))
    intensity = np.divide(flops, found.prices.dram_bytes, out=np.full(len(flops), np.inf), where=found.prices.dram_bytes > 0)
    chosen = other & (intensity >= low) & (intensity <= high)
    return float(found.seconds[chosen].sum() / found.seconds[other].sum())


COUNTERS: Mapping[str, Callable[[Profile], NDArray[np.float64]]] = {
    "l2_hit": lambda found: found.hits,
    "instruction_throughput": lambda found: found.instructions,
    "sm_memory_throughput": lambda found: found.sm_memory,
    "fma_activity": lambda found: found.fma,
    "compute_and_memory": lambda found: found.memory,
    "sm_throughput": lambda found: np.maximum(found.instructions, found.sm_memory),
    "tensor_cores": lambda found: found.tensor,
}
