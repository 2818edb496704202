"""Links between memories, and the hand-over between a GPU and PIM that share one."""

from dataclasses import dataclass, replace

from arch import units
from traces.errors import MachineError

_RATES = ("bandwidth", "reverse_bandwidth", "duplex_bandwidth", "pageable_bandwidth")


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
        units.parse_fields(self, f"the link {self.id!r}", dict.fromkeys(_RATES, "B/s") | {"latency_s": "s", "collective_s": "s"})
        for name in _RATES:
            value = getattr(self, name)
            if value is not None and not 0 < value < float("inf"):
                raise MachineError(f"the link {self.id!r} must have a finite {name.replace('_', ' ')} above zero, but got {value} B/s")
        for name, value in (("latency", self.latency_s), ("time for a collective", self.collective_s)):
            if not 0 <= value < float("inf"):
                raise MachineError(f"the {name} of the link {self.id!r} must be finite and not negative, but got {value} s")
        units.check_known(self, f"the link {self.id!r}", {"pj_per_byte": "pJ/B"})
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
        if not self.layout_bandwidth > 0 or not 0 <= self.closed_fraction <= 1 or min(self.mode_switch_s, self.flush_s) < 0:
            raise MachineError(
                f"a hand-over to {self.device!r} must have a layout bandwidth above zero, a closed fraction from 0 to 1 and times that "
                f"are not negative, but got {self}"
            )
        units.check_known(self, f"the hand-over to {self.device!r}", {"pj_per_byte": "pJ/B"})
