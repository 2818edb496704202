"""Many mappings of one trace on one machine, each as fast as can be: what a search asks for."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from codesign.engine import fast
from codesign.engine.plan import make_plan
from codesign.engine.program import PS
from codesign.engine.replaying import check_in_order
from codesign.engine.timeline import energy
from schedulers.scheduler import Mapping
from traces.errors import MappingError

if TYPE_CHECKING:
    from arch.cost import CostTable
    from arch.machine import Machine
    from traces.trace import Trace


@dataclass(frozen=True)
class Evaluation:
    """Totals of one mapping: as in `Timeline`. ``peak_memory_bytes`` is that of the launches one after another."""

    time_s: float
    host_bound_s: float
    energy_j: float | None
    peak_memory_bytes: dict[str, int]


class Evaluator:
    """Prices, plans and replays mappings of ``trace`` on ``machine``, without records."""

    def __init__(self, trace: "Trace", machine: "Machine") -> None:
        self.trace = trace
        self.machine = machine

    def evaluate(self, mapping: Mapping, costs: "CostTable | None" = None) -> Evaluation:
        """Return the totals of ``mapping``; errors as for `replay`. ``costs`` are prices under this mapping, if known."""
        if not isinstance(mapping, Mapping):
            raise MappingError(f"what is evaluated must be a mapping, but got {mapping!r:.80}: make a Mapping(device, scheduler)")
        made = make_plan(self.trace, self.machine, mapping, costs)
        check_in_order(made, self.trace)
        run = fast.run(made.program, record=False)
        time = run.time_ps / PS
        peaks = dict(zip(made.program.memories, made.peak_in_order.tolist(), strict=True))
        return Evaluation(time, run.host_bound_ps / PS, energy(made.program, self.machine, time), peaks)
