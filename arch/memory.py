"""Memories: what holds tensors."""

from dataclasses import dataclass

import numpy as np

from arch.entry import Entry
from arch.units import Amount, settle
from traces.errors import MachineError

_AMOUNTS = {
    "capacity_bytes": Amount("B", positive=True, whole=True),
    "bandwidth": Amount("B/s", positive=True),
    **dict.fromkeys(("read_bandwidth", "write_bandwidth"), Amount("B/s", positive=True, optional=True)),
    "latency_s": Amount("s"),
    "pj_per_byte": Amount("pJ/B", optional=True),
    "static_watts": Amount("W", optional=True),
    "refresh_watts": Amount("W"),
    "price_usd": Amount("USD", optional=True),
}
ROLES = ("device", "dram", "ssd")


@dataclass(frozen=True)
class Memory:
    """A memory of a machine: capacity in bytes, bandwidths in bytes a second, energy in pJ a byte, static power in watts.

    ``bandwidth`` is what reads and writes share; ``read_bandwidth`` and ``write_bandwidth`` limit one direction where it reaches
    less (None: ``bandwidth``). Capacity, bandwidths and latency may be texts with a unit. ``role`` is 'device' (works beside a
    device), 'dram' (the host's) or 'ssd'.
    """

    id: str
    capacity_bytes: int
    bandwidth: float
    pj_per_byte: float | None = None
    static_watts: float | None = None
    read_bandwidth: float | None = None
    write_bandwidth: float | None = None
    latency_s: float = 0.0
    role: str = "device"
    price_usd: float | None = None
    refresh_watts: float = 0.0
    """Of ``static_watts``, what is known to refresh cells."""

    def __post_init__(self) -> None:
        if not isinstance(self.id, str) or not self.id:
            raise MachineError(f"the id of a memory must be a text, a name, but got {self.id!r}")
        settle(self, f"the memory {self.id!r}", _AMOUNTS)
        for name in ("read_bandwidth", "write_bandwidth"):
            value = getattr(self, name)
            if value is not None and value > self.bandwidth:
                raise MachineError(
                    f"`0 < {name} <= bandwidth` must hold for the memory {self.id!r}, but got {value} of {self.bandwidth} B/s"
                )
        if self.role not in ROLES:
            raise MachineError(f"the role of the memory {self.id!r} must be one of {', '.join(ROLES)}, but got {self.role!r}")


def reached(entry: Entry, direction: str, request_bytes: float) -> float:
    """Return the bandwidth (B/s) of a catalogue memory for requests of one size.

    Parameters
    ----------
    direction
        'read' or 'write'.
    request_bytes
        Between sizes that the catalogue knows, time a request is interpolated linearly in bytes (a fixed cost and a cost a byte);
        below the smallest it is that of the smallest, and above the largest the streaming bandwidth holds.
    """
    streaming = entry[f"{direction}_bandwidth"]
    if "request_bytes" not in entry.numbers or f"request_{direction}_bandwidth" not in entry.numbers:
        return streaming
    sizes, rates = np.array(entry.list("request_bytes")), np.array(entry.list(f"request_{direction}_bandwidth"))
    if len(sizes) != len(rates) or np.any(np.diff(sizes) <= 0) or rates.max() > streaming:
        raise MachineError(
            f"{entry.id}: request_bytes must ascend, request_{direction}_bandwidth have as many values, none above {direction}_bandwidth, "
            f"but got {sizes.tolist()} and {rates.tolist()}"
        )
    if request_bytes >= sizes[-1]:
        return streaming if request_bytes > sizes[-1] else float(rates[-1])
    return float(request_bytes / np.interp(request_bytes, sizes, sizes / rates))
