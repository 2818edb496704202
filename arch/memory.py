"""Memories: what holds tensors."""

from dataclasses import dataclass

from traces.errors import MachineError


@dataclass(frozen=True)
class Memory:
    """A memory of a machine: capacity in bytes, bandwidth in bytes a second, energy in pJ a byte, static power in watts."""

    id: str
    capacity_bytes: int
    bandwidth: float
    pj_per_byte: float | None = None
    static_watts: float | None = None

    def __post_init__(self) -> None:
        if not self.capacity_bytes > 0 or not 0 < self.bandwidth < float("inf"):
            raise MachineError(
                f"the memory {self.id!r} must have a capacity and a finite bandwidth above zero, "
                f"but got {self.capacity_bytes} bytes and {self.bandwidth} B/s"
            )
