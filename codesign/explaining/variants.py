"""The same mapping on a changed machine, or with some kernels faster: how long the path would be, and how long a replay is."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from arch.cost import CostTable, cost_table
from codesign.engine import fast
from codesign.engine.critical import Path, critical_path
from codesign.engine.inputs import map_kernels
from codesign.engine.plan import make_plan
from codesign.engine.program import PS, Program
from codesign.engine.replaying import check_in_order
from traces.errors import CodesignError

if TYPE_CHECKING:
    from arch.machine import Machine
    from schedulers.scheduler import Mapping, Scheduler
    from traces.trace import Trace


@dataclass(frozen=True, eq=False)
class Baseline:
    """A replay and its critical path: what variants are compared with."""

    trace: "Trace"
    machine: "Machine"
    mapping: "Mapping"
    program: Program
    path: Path
    time_ps: int

    @classmethod
    def of(cls, trace: "Trace", machine: "Machine", scheduler: "str | Scheduler | Mapping") -> "Baseline":
        """Replay every launch and find the path. Errors as for `replay`; TraceError if there are too many operations."""
        mapping = map_kernels(trace, machine, scheduler)
        program = planned(trace, machine, mapping)
        run = fast.run(program, step_over=False)
        assert run.records is not None
        return cls(trace, machine, mapping, program, critical_path(program, run.records), run.time_ps)

    @property
    def rounding_s(self) -> float:
        """How far the path may be off by prices that are rounded to picoseconds."""
        return float(self.path.on_path.sum() + 1) / PS

    def time_s(self, machine: "Machine", costs: CostTable | None = None) -> float | None:
        """Return the replayed time under the same mapping on another machine or with other prices; None if it cannot run there."""
        program = self._program(machine, costs)
        return None if program is None else fast.run(program, record=False).time_ps / PS

    def both_s(self, machine: "Machine") -> tuple[float, float] | None:
        """Return the path's and the replay's time on another machine; None if its plan has other operations."""
        program = self._program(machine, None)
        if program is None or not self._alike(program):
            return None
        return self.path.length_ps(program, self.program) / PS, fast.run(program, record=False).time_ps / PS

    def faster(self, kernels: NDArray[np.bool_], factor: float) -> float | None:
        """Return the replayed time with some kernels ``factor`` times as fast; bool[kernels]."""
        costs = _prices(self.trace, self.machine, self.mapping)
        shorter = np.where(kernels, costs.duration_s / factor, costs.duration_s)
        return self.time_s(self.machine, replace(costs, duration_s=shorter))

    def _program(self, machine: "Machine", costs: CostTable | None) -> Program | None:
        try:
            return planned(self.trace, machine, self.mapping, costs)
        except CodesignError:
            return None

    def _alike(self, program: Program) -> bool:
        return len(program) == len(self.program) and all(
            np.array_equal(program[column], self.program[column]) for column in ("queue", "kind", "flags", "kernel")
        )


def _prices(trace: "Trace", machine: "Machine", mapping: "Mapping") -> CostTable:
    several = len(set(mapping.device.tolist())) > 1
    return cost_table(trace, machine, mapping.device.astype(np.int32) if several else None)


def planned(trace: "Trace", machine: "Machine", mapping: "Mapping", costs: CostTable | None = None) -> Program:
    """Return the program of a mapping, at its own prices unless others are given. Errors as for `replay`."""
    made = make_plan(trace, machine, mapping, costs if costs is not None else _prices(trace, machine, mapping))
    check_in_order(made, trace)
    return made.program
