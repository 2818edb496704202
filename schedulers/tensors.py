"""What a mapping says of tensors: which live in which memory between uses, and how they come and go."""

from __future__ import annotations

from collections.abc import Mapping as Dictionary
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from traces.errors import MappingError

if TYPE_CHECKING:
    from arch.machine import Machine
    from traces.trace import Trace


@dataclass(frozen=True, eq=False)
class Offload:
    """Tensors that live in another memory than the one where kernels need them.

    Parameters
    ----------
    home
        int32[T]: for each tensor row of the trace an index into ``machine.memories``; -1: it stays where it is used. Of tensors
        that are one allocation, the largest counts.
    distance
        A tensor is fetched as soon as the kernel has ended that is ``distance`` kernels before the one that precedes its use: it
        travels beside ``distance`` kernels. It is evicted when none of the next ``distance`` + 1 kernels needs it. 1 is double
        buffering; 0 fetches between two kernels.
    slices
        Move only the bytes that a kernel touches (into a buffer of that size, for each launch anew) instead of whole allocations.
    synchronous
        Kernels wait for every copy, in either direction; ``distance`` must be 0.
    pinned
        Host memory is pinned: copies run at the link's full bandwidth.
    write_backs
        Most copies towards home that may be under way when a kernel starts that makes another necessary.

    Raises
    ------
    MappingError
        If a value is out of its range.
    """

    home: npt.NDArray[np.integer[Any]]
    distance: int = 1
    slices: bool = False
    synchronous: bool = False
    pinned: bool = True
    write_backs: int = 2

    def __post_init__(self) -> None:
        home = np.asarray(self.home)
        if home.ndim != 1 or (home.dtype.kind not in "iu" and home.size) or home.min(initial=-1) < -1:
            raise MappingError(f"home must be one memory index or -1 a tensor, but got dtype {home.dtype} of shape {home.shape}")
        home = home.astype(np.int32)
        home.setflags(write=False)
        object.__setattr__(self, "home", home)
        if not 0 <= self.distance <= 4096 or not 1 <= self.write_backs <= 4096:
            rule = "`0 <= distance <= 4096` and `1 <= write_backs <= 4096`"
            raise MappingError(f"{rule} must hold, but got distance={self.distance} and write_backs={self.write_backs}")
        if self.synchronous and self.distance:
            raise MappingError(f"synchronous copies fetch nothing ahead: `distance == 0` must hold, but got {self.distance}")

    def check(self, trace: Trace, machine: Machine) -> None:
        """Raise MappingError if there is not one memory of the machine a tensor."""
        if len(self.home) != len(trace.tensors):
            raise MappingError(f"home must have one entry for each of the trace's {len(trace.tensors)} tensors, but got {len(self.home)}")
        if self.home.max(initial=-1) >= len(machine.memories):
            row = int(self.home.argmax())
            known = ", ".join(m.id for m in machine.memories)
            raise MappingError(
                f"a memory index must be below {len(machine.memories)} (machine {machine.id!r} has {known}), "
                f"but the tensor {trace.tensors['name'][row]!r} has {int(self.home[row])}"
            )

    def to_dict(self) -> dict[str, Any]:
        """Return a compact form for JSON: runs of equal homes as [memory, length] pairs."""
        starts = np.flatnonzero(np.diff(self.home, prepend=-2))
        lengths = np.diff(starts, append=len(self.home))
        runs = [[int(m), int(n)] for m, n in zip(self.home[starts], lengths, strict=True)]
        return {"home": runs} | {name: getattr(self, name) for name in OPTIONS}

    @classmethod
    def from_dict(cls, data: Dictionary[str, Any]) -> Offload:
        """Return what ``to_dict`` wrote. Raises MappingError."""
        try:
            runs = np.asarray(data["home"], dtype=np.int64).reshape(-1, 2)
            return cls(np.repeat(runs[:, 0], runs[:, 1]), **{name: data[name] for name in OPTIONS})
        except (KeyError, TypeError, ValueError) as error:
            raise MappingError(f"an offload must have 'home' (runs) and {', '.join(OPTIONS)}, but got {data!r:.200}") from error

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Offload) and self.to_dict() == other.to_dict()

    def __hash__(self) -> int:
        return hash((self.home.tobytes(), *(getattr(self, name) for name in OPTIONS)))


OPTIONS = ("distance", "slices", "synchronous", "pinned", "write_backs")
