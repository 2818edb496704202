"""Rows for the survey's memory: which of its runs fit an RTX A5000, under three allocators."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import Any

from codesign.validation.published import published
from codesign.validation.row import Row, Tolerance
from codesign.validation.steps import Step, survey_step
from codesign.validation.survey import row_of

FITS, EXCEEDS = "fits", "out of memory"
TASKS = ("inference", "training")


@dataclass(frozen=True)
class Allocator:
    """How much memory a program takes, and of how much: ``count`` is the trace's own count, ``share`` of the device is usable."""

    name: str
    doc: str
    count: str
    share: float


def allocators(survey: dict[str, Any]) -> tuple[Allocator, ...]:
    """Return the three allocators that the rows state."""
    part = survey["memory"]["preallocated"]
    whole, arena = "live_peak_bytes", "compiler_allocated_bytes"
    return (
        Allocator("liveness", "bytes alive at once, the whole device", whole, 1.0),
        Allocator("arena", "XLA's arena, the whole device", arena, 1.0),
        Allocator("arena-75", f"XLA's arena, {100 * part:.0f} % of the device", arena, part),
    )


def rows() -> Iterator[Row]:
    """Yield a row for every ansatz, molecule, task and allocator, and the margins of the runs that the survey saw fail."""
    survey = published()["survey"]
    capacity = _capacity(survey["gpu"])
    for by, task, ansatz, molecule in product(allocators(survey), TASKS, survey["ansatze"], survey["molecules"]):
        sampler = survey["recorded"].get(ansatz, "")
        variant = f"{sampler}-training" if task == "training" else sampler
        size = needed(survey_step(ansatz, molecule, variant=variant), by)
        yield _cell(survey, by, task, ansatz, molecule, size, capacity)
    yield from _margins(survey, capacity)


def _capacity(gpu: str) -> float:
    from arch.building import machine

    return float(machine(gpu).memories[0].capacity_bytes)


def needed(step: Step | None, allocator: Allocator) -> float | None:
    """Return the bytes of a step: of the program that needs the most. None where it is not recorded or not known."""
    if step is None:
        return None
    counts = [program.get(allocator.count) for program in step.trace.manifest.get("memory", {}).values()]
    known = [float(count) for count in counts if count is not None]
    return max(known) if known and len(known) == len(counts) else None


def _cell(survey: dict[str, Any], by: Allocator, task: str, ansatz: str, molecule: str, size: float | None, capacity: float) -> Row:
    said = EXCEEDS if f"{ansatz}-{molecule}" in survey["memory"]["out_of_memory"] else FITS
    return row_of(
        survey,
        f"memory/{by.name}/{task}/{ansatz}/{molecule}",
        f"{survey['labels'][ansatz]}, {molecule}, {task}: on A5000 ({by.doc})",
        ansatz,
        None if size is None else FITS if size <= by.share * capacity else EXCEEDS,
        published=said,
        tolerance=said,
        source=survey["memory"]["where"],
        note="" if size is None else f"{size / 1e9:.2f} GB of {by.share * capacity / 1e9:.2f}",
    )


def _margins(survey: dict[str, Any], capacity: float) -> Iterator[Row]:
    """How much of the usable memory the two runs need that the survey saw fail: above one is out of memory."""
    for cell in survey["memory"]["out_of_memory"]:
        ansatz, molecule = cell.split("-")
        for by in allocators(survey):
            size = needed(survey_step(ansatz, molecule), by)
            yield row_of(
                survey,
                f"memory-margin/{by.name}/{ansatz}/{molecule}",
                f"{survey['labels'][ansatz]}, {molecule}, inference: bytes needed over bytes usable ({by.doc})",
                ansatz,
                None if size is None else size / (by.share * capacity),
                published="> 1",
                tolerance=Tolerance(low=1.0) if molecule == survey["molecules"][-1] else None,
                source=survey["memory"]["where"],
            )
