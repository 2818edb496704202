"""Cut points in launch order: the best mapping under the serial hand-over model, by dynamic programming."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import numpy.typing as npt

from schedulers.per_trace import once_a_trace
from schedulers.scheduler import Mapping, Scheduler, first_accepting
from schedulers.serial_model import HandOverTerms, hand_over_terms
from traces.errors import MappingError

if TYPE_CHECKING:
    from arch.cost import CostTable
    from arch.machine import Machine
    from schedulers.live_cuts import LiveCuts
    from traces.trace import Trace

Float = npt.NDArray[np.float64]
Int = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Partition:
    """An optimal mapping under the serial hand-over model and what it costs there, in seconds."""

    mapping: Mapping
    serial_s: float


@dataclass(frozen=True)
class CutPoints(Scheduler):
    """Switch devices where that pays: optimal under the serial hand-over model (``schedulers.serial_model``).

    A heuristic for replay wherever the machine overlaps devices or keeps copies that stay valid, for the model knows neither.
    ``bytes_weight``, from 0 to 1, is the share of the live bytes that a hand-over is charged for: below 1 the mapping is no longer
    optimal under the model, but may replay faster where most of what is live has a valid copy on the other side already.
    """

    name: ClassVar[str] = "cut-points"
    exact: ClassVar[bool] = True
    bytes_weight: float = 1.0

    def __post_init__(self) -> None:
        if not 0 <= self.bytes_weight <= 1:
            raise MappingError(f"`0 <= bytes_weight <= 1` must hold, but got bytes_weight={self.bytes_weight}")

    def schedule(self, trace: Trace, machine: Machine, costs: CostTable) -> Mapping:
        """Return the mapping; raise MappingError if every device refuses a kernel."""
        return partition(trace, machine, costs, self.bytes_weight).mapping


def partition(trace: Trace, machine: Machine, costs: CostTable, bytes_weight: float = 1.0) -> Partition:
    """Return the mapping of least ``serial_cost`` and that cost; ``costs`` are warm prices (``cost_table(trace, machine)``).

    With a ``bytes_weight`` below 1 both are those of a model in which only that share of the live bytes moves. Takes time linear in
    kernel rows, independent of trip counts. Raises MappingError if every device refuses a kernel.
    """
    from schedulers.least_cost import least_cost
    from schedulers.live_cuts import live_cuts

    first_accepting(trace, machine, costs)  # raises where no device takes a kernel, which no path through the cuts would show
    run_s = np.where(costs.refusal == 0, costs.duration_s * trace.executions, np.inf)
    events, depth = program_events(trace)
    terms = hand_over_terms(machine).weighted(bytes_weight)
    seconds, device = least_cost(*events, depth, run_s, cut_costs(live_cuts(trace), terms))
    model = "the serial hand-over model" + ("" if bytes_weight == 1 else f" with {bytes_weight:.3g} of the live bytes")
    mapping = Mapping(device, CutPoints.name, f"{seconds:.9g} s under {model}")
    return Partition(mapping, float(seconds))


def mapping_cost(trace: Trace, machine: Machine, costs: CostTable, mapping: Mapping) -> float:
    """Return ``serial_cost`` of a mapping without unrolling loops. Raises MappingError if it does not fit."""
    from schedulers.live_cuts import live_cuts

    device = mapping.check(trace, machine, costs).device
    moves = cut_costs(live_cuts(trace), hand_over_terms(machine))
    first, end = trace.regions["first_kernel"], trace.regions["end_kernel"]
    loops = np.flatnonzero(first < end)
    rows = np.arange(len(device))
    run = (costs.duration_s[device, rows] * trace.executions).sum()
    forward = moves[rows, np.concatenate([[0], device[:-1]]), device].sum()
    back = moves[len(device) + loops, device[end[loops] - 1], device[first[loops]]].sum()
    return float(run + forward + back)


def cut_costs(cuts: LiveCuts, terms: HandOverTerms) -> Float:
    """Return the seconds that all passes of each cut cost from device to device, float64[C, D, D]."""
    shares = (cuts.passes, cuts.passes_with_bytes, cuts.moved_bytes)
    return sum(
        (np.multiply.outer(share, term) for share, term in zip(shares, (terms.fixed_s, terms.latency_s, terms.s_per_byte), strict=True)),
        start=np.zeros(()),
    )


@once_a_trace
def program_events(trace: Trace) -> tuple[tuple[Int, Int, Int, Int], int]:
    """Return the events (op, row, entry cut, back cut) of ``least_cost``, and how deeply loops nest."""
    from schedulers.least_cost import ENTER, LEAVE, RUN

    regions, kernels = trace.regions, len(trace.kernels)
    depth = np.zeros(len(regions), dtype=np.int64)
    events = [(row, 1, 0, RUN, row, row, 0) for row in range(kernels)]
    for r in range(len(regions)):
        first, end, parent = int(regions["first_kernel"][r]), int(regions["end_kernel"][r]), int(regions["parent"][r])
        loops = first < end and regions["trip_count"][r] > 1
        depth[r] = (depth[parent] if parent >= 0 else 0) + loops
        if loops:
            events.append((first, 0, r, ENTER, 0, 0, 0))
            events.append((end - 1, 2, -r, LEAVE, first, first, kernels + r))
    ordered = np.array(sorted(events), dtype=np.int64).reshape(-1, 7)
    op, row, entry, back = np.ascontiguousarray(ordered[:, 3:].T)
    return (op, row, entry, back), int(depth.max(initial=0))
