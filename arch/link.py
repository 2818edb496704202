"""Links between memories, and the hand-over between a GPU and PIM that share one."""

from dataclasses import dataclass, replace

from arch.units import Amount, settle
from traces.errors import MachineError

_AMOUNTS = {
    "bandwidth": Amount("B/s", positive=True),
    **dict.fromkeys(("reverse_bandwidth", "duplex_bandwidth", "pageable_bandwidth"), Amount("B/s", positive=True, optional=True)),
    **dict.fromkeys(("latency_s", "collective_s"), Amount("s")),
    "pj_per_byte": Amount("pJ/B", optional=True),
}
_HAND_OVER = {
    **dict.fromkeys(("mode_switch_s", "flush_s"), Amount("s")),
    "layout_bandwidth": Amount("B/s", positive=True),
    "closed_fraction": Amount("1", most=1.0),
    "pj_per_byte": Amount("pJ/B", optional=True),
}


@dataclass(frozen=True)
class Link:
    """A link that can be used in both directions, each with a queue of its own.

    ``source`` and ``target`` are memory ids, ``bandwidth`` is bytes a second from source to target, ``reverse_bandwidth`` from
    target to source (None: the same), ``duplex_bandwidth`` of both together (None: their sum), ``pageable_bandwidth`` that of
    copies from memory that is not pinned (None: the same), ``latency_s`` is added to every transfer, ``collective_s`` is what a
    collective over such links takes beside its messages. All may be texts with a unit.
    """

    id: str
    source: str
    target: str
    bandwidth: float
    duplex_bandwidth: float | None
    latency_s: float
    pj_per_byte: float | None = None
    reverse_bandwidth: float | None = None
    pageable_bandwidth: float | None = None
    collective_s: float = 0.0

    def __post_init__(self) -> None:
        for name in ("id", "source", "target"):
            if not isinstance(getattr(self, name), str) or not getattr(self, name):
                raise MachineError(f"{name} of a link must be a text, a name, but got {getattr(self, name)!r}")
        settle(self, f"the link {self.id!r}", _AMOUNTS)
        if self.source == self.target:
            raise MachineError(f"the link {self.id!r} must join two memories, but both ends are {self.source!r}")

    @property
    def bandwidths(self) -> tuple[float, float]:
        """Bytes a second from source to target, and back."""
        return self.bandwidth, self.bandwidth if self.reverse_bandwidth is None else self.reverse_bandwidth

    def pageable(self) -> "Link":
        """Return the link as copies from memory that is not pinned find it."""
        if self.pageable_bandwidth is None:
            return self
        forward, back = (min(rate, self.pageable_bandwidth) for rate in self.bandwidths)
        return replace(self, bandwidth=forward, reverse_bandwidth=back)


@dataclass(frozen=True)
class HandOver:
    """What it costs to pass data between a GPU and the PIM that sits in its memory, in either direction.

    Duration: ``mode_switch_s`` + ``flush_s`` + bytes / ``layout_bandwidth``; ``closed_fraction`` of the memory's channels is
    closed to the GPU meanwhile and while PIM computes.
    """

    device: str
    memory: str
    mode_switch_s: float
    flush_s: float
    layout_bandwidth: float
    closed_fraction: float
    pj_per_byte: float | None = None

    def __post_init__(self) -> None:
        settle(self, f"the hand-over to {self.device!r}", _HAND_OVER)
