"""What a scheduler is, and what it makes: a mapping from the kernels of a trace to the devices of a machine."""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Mapping as Dictionary
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import numpy.typing as npt

from schedulers.tensors import Offload
from traces.errors import MappingError, nearest

if TYPE_CHECKING:
    from arch.cost import CostTable
    from arch.machine import Machine
    from traces.trace import Trace


@dataclass(frozen=True, eq=False)
class Mapping:
    """On which device each kernel row of a trace runs, in all of its executions.

    ``device`` is int32[K]: an index into ``machine.devices``. ``scheduler`` names the policy that made it, ``note`` says what that
    policy knows about it. ``offload`` says which tensors live elsewhere between uses.
    Raises MappingError if ``device`` is not a vector of indices.
    """

    device: npt.NDArray[np.integer[Any]]
    scheduler: str
    note: str = ""
    offload: Offload | None = None

    def __post_init__(self) -> None:
        given = np.asarray(self.device)
        whole = given.ndim == 1 and (given.dtype.kind in "iu" or not given.size)
        if not whole:
            raise MappingError(f"a mapping must be one device index a kernel, but got dtype {given.dtype} of shape {given.shape}")
        if given.size and given.min() < 0:
            raise MappingError(f"a device index must not be negative, but kernel {int(given.argmin())} has {int(given.min())}")
        device = given.astype(np.int32)
        device.setflags(write=False)
        object.__setattr__(self, "device", device)

    def __len__(self) -> int:
        return len(self.device)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Mapping) and np.array_equal(self.device, other.device) and self.offload == other.offload

    def __hash__(self) -> int:
        return hash((self.device.tobytes(), self.offload))

    def check(self, trace: Trace, machine: Machine, costs: CostTable | None = None) -> Mapping:
        """Return the mapping itself if it fits; raise MappingError naming the kernel, the device and the reason if not.

        Without ``costs`` (the machine's cost table) it is not checked that every device accepts its kernels.
        """
        self._check_range(trace, machine)
        if self.offload is not None:
            self.offload.check(trace, machine)
        if costs is not None:
            self._check_refusals(trace, machine, costs)
        return self

    def _check_range(self, trace: Trace, machine: Machine) -> None:
        kernels, devices = len(trace.kernels), len(machine.devices)
        if len(self) != kernels:
            raise MappingError(f"a mapping must have one device for each of the trace's {kernels} kernels, but got {len(self)}")
        if kernels and self.device.max() >= devices:
            row = int(self.device.argmax())
            raise MappingError(
                f"a device index must be below {devices} (machine {machine.id!r} has {', '.join(d.id for d in machine.devices)}), "
                f"but kernel {row} ({trace.kernels['name'][row]!r}) has {int(self.device[row])}"
            )

    def _check_refusals(self, trace: Trace, machine: Machine, costs: CostTable) -> None:
        if not costs.refusal.any():
            return
        codes = costs.refusal[self.device, np.arange(len(self))]
        refused = np.flatnonzero(codes)
        if refused.size:
            row = int(refused[0])
            message = refusal_message(trace, machine, costs, int(self.device[row]), row, more=refused.size - 1)
            raise MappingError(f"{message}; map it to a device that takes it ('cut-points' does), on a machine that has one ('...+cpu')")

    def to_dict(self) -> dict[str, Any]:
        """Return a compact form for JSON: runs of equal devices as [device, length] pairs in launch order."""
        starts = np.flatnonzero(np.diff(self.device, prepend=-1))
        lengths = np.diff(starts, append=len(self))
        runs = [[int(d), int(n)] for d, n in zip(self.device[starts], lengths, strict=True)]
        offload = {} if self.offload is None else {"offload": self.offload.to_dict()}
        return {"scheduler": self.scheduler, "note": self.note, "kernels": len(self), "runs": runs} | offload

    @classmethod
    def from_dict(cls, data: Dictionary[str, Any]) -> Mapping:
        """Return the mapping that ``to_dict`` wrote; raise MappingError if it is not one."""
        try:
            runs = np.asarray(data["runs"], dtype=np.int64).reshape(-1, 2)
            offload = None if data.get("offload") is None else Offload.from_dict(data["offload"])
            mapping = cls(np.repeat(runs[:, 0], runs[:, 1]), str(data["scheduler"]), str(data.get("note", "")), offload)
            kernels = int(data["kernels"])
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            if isinstance(error, MappingError):
                raise
            needed = "'scheduler', 'kernels' and 'runs' of [device, length]"
            raise MappingError(f"a mapping must have {needed}, but got {data!r:.200}") from error
        if len(mapping) != kernels:
            raise MappingError(f"the runs of a mapping must add up to its {kernels} kernels, but they make {len(mapping)}")
        return mapping

    def __repr__(self) -> str:
        counts = ", ".join(f"{n} on device {d}" for d, n in enumerate(np.bincount(self.device)) if n)
        return f"Mapping({self.scheduler}: {counts or 'no kernels'})"


class Scheduler(ABC):
    """A policy: decides, before the program runs, on which device each kernel runs.

    A policy is a frozen dataclass whose fields are its parameters, all with defaults, registered as an entry point of
    ``codesign.schedulers``. ``exact`` says whether it is optimal under the semantics that its documentation names.
    """

    name: ClassVar[str]
    exact: ClassVar[bool] = False

    @abstractmethod
    def schedule(self, trace: Trace, machine: Machine, costs: CostTable) -> Mapping:
        """Return a mapping that passes ``Mapping.check(trace, machine, costs)``; raise MappingError if there is none."""


def refusal_message(trace: Trace, machine: Machine, costs: CostTable, device: int, row: int, more: int = 0) -> str:
    """Return the sentence that says why ``device`` (an index) does not take kernel ``row``."""
    kernel, reason = trace.kernels["name"][row], costs.reasons[device][costs.refusal[device, row]]
    others = f" ({more} more like it)" if more else ""
    return f"device {machine.devices[device].id!r} cannot run kernel {row} ({kernel!r}): {reason}{others}"


def first_accepting(trace: Trace, machine: Machine, costs: CostTable) -> npt.NDArray[np.int32]:
    """Return for each kernel the index of the first device that accepts it; raise MappingError naming a kernel that none does."""
    by_all = np.flatnonzero((costs.refusal != 0).all(axis=0))
    if by_all.size:
        row, devices = int(by_all[0]), range(len(machine.devices))
        reasons = "; ".join(refusal_message(trace, machine, costs, device, row, more=by_all.size - 1) for device in devices)
        raise MappingError(f"some device of a machine must accept every kernel, but {reasons}; add one that does (a GPU takes all)")
    return costs.first_accepting


def create(kind: type[Scheduler], **parameters: Any) -> Scheduler:
    """Return the policy of class ``kind`` with these parameters; an unknown one is a MappingError with the nearest names."""
    known: list[str] = [f.name for f in dataclasses.fields(kind)] if dataclasses.is_dataclass(kind) else []
    for name in parameters:
        if name not in known:
            raise MappingError(f"scheduler {kind.name!r} has no parameter {name!r}; {nearest(name, known) if known else 'it has none'}")
    return kind(**parameters)
