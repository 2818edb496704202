"""The host: what issuing launches costs."""

from dataclasses import dataclass

from arch.entry import Entry
from arch.units import Amount, settle

DEEPEST = 1 << 20
"""A queue holds at most so many launches."""
_AMOUNTS = {
    **dict.fromkeys(("launch_interval_s", "launch_latency_s", "graph_gap_s", "round_trip_s"), Amount("s")),
    "queue_depth": Amount("1", positive=True, most=DEEPEST, whole=True),
}


@dataclass(frozen=True)
class Host:
    """Seconds between launches, from call to start, between kernels of a command buffer, and for a round trip; queue depth."""

    launch_interval_s: float
    launch_latency_s: float
    queue_depth: int
    graph_gap_s: float
    round_trip_s: float

    def __post_init__(self) -> None:
        settle(self, "the host", _AMOUNTS)

    @classmethod
    def of(cls, entry: Entry) -> "Host":
        """Return the host that a catalogue entry describes."""
        return cls(entry["launch_interval"], entry["launch_latency"], round(entry["queue_depth"]), entry["graph_gap"], entry["round_trip"])
