"""The host: what issuing launches costs."""

from dataclasses import dataclass

from arch import units
from arch.entry import Entry
from traces.errors import MachineError

DEEPEST = 1 << 20
"""A queue holds at most so many launches."""


@dataclass(frozen=True)
class Host:
    """Seconds between launches, from call to start, between kernels of a command buffer, and for a round trip; queue depth."""

    launch_interval_s: float
    launch_latency_s: float
    queue_depth: int
    graph_gap_s: float
    round_trip_s: float

    def __post_init__(self) -> None:
        units.parse_fields(self, "the host", dict.fromkeys(("launch_interval_s", "launch_latency_s", "graph_gap_s", "round_trip_s"), "s"))
        times = (self.launch_interval_s, self.launch_latency_s, self.graph_gap_s, self.round_trip_s)
        if not all(0 <= seconds < float("inf") for seconds in times):
            raise MachineError(f"a host must have finite times that are not negative, but got {self}")
        if not isinstance(self.queue_depth, int) or not 1 <= self.queue_depth <= DEEPEST:
            raise MachineError(f"a host must have a queue of 1 to {DEEPEST:,} launches, a whole number, but got {self}")

    @classmethod
    def of(cls, entry: Entry) -> "Host":
        """Return the host that a catalogue entry describes."""
        return cls(entry["launch_interval"], entry["launch_latency"], round(entry["queue_depth"]), entry["graph_gap"], entry["round_trip"])
