"""What a profiler saw: kernel launches with times and streams."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from traces.table import Values

Ints = NDArray[np.int64]

PS_PER_NS, PS_PER_US, PS_PER_S = 1_000, 1_000_000, 1_000_000_000_000

KERNEL, COPY, MEMSET = "other", "copy", "memset"
"""What a launch is, as launch kinds of the schema: nobody but the compiler knows more about a kernel than that it is one."""


class ProfileWarning(UserWarning):
    """Something in a profile that its reader should know."""


@dataclass(frozen=True, eq=False)
class Launches:
    """Kernels, copies and memory sets that a device ran: arrays of one length, in any order.

    ``start_ns`` is by the profiler's clock, -1 if not known; ``duration_ps`` is -1 if not measured; ``stream`` and ``device``
    are -1 if not known. ``columns`` are further columns of the kernels table (grid_x, registers, scope, ...).
    """

    name: list[str]
    kind: list[str]
    start_ns: Ints
    duration_ps: Ints
    stream: Ints
    device: Ints
    columns: dict[str, Values] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.name)

    def rows(self, pick: NDArray[Any]) -> "Launches":
        """Return the launches of some rows, in the order given."""
        take = [int(i) for i in pick]
        return Launches(
            name=[self.name[i] for i in take],
            kind=[self.kind[i] for i in take],
            start_ns=self.start_ns[take],
            duration_ps=self.duration_ps[take],
            stream=self.stream[take],
            device=self.device[take],
            columns={name: [values[i] for i in take] for name, values in self.columns.items()},
        )


@dataclass(frozen=True)
class Operands:
    """Tensors that the launches touch, where a format tells: the columns of the tensors and accesses tables.

    Kernels are rows of the profile's launches, which must then be in the order of the trace.
    """

    tensors: dict[str, list[Any]]
    accesses: dict[str, list[Any]]


@dataclass(frozen=True, eq=False)
class Profile:
    """All that a trace is made of. ``depends`` are pairs (launch, launch it waits for) beyond the order of each stream."""

    format: str
    path: str
    launches: Launches
    device_name: str = ""
    facts: dict[str, Any] = field(default_factory=dict)
    """What the profiler says about the device: sm_count, memory_bytes, compute_capability."""
    depends: Ints = field(default_factory=lambda: np.zeros((0, 2), np.int64))
    operands: Operands | None = None
    remarks: tuple[str, ...] = ()
    copies_are_kernels: bool = False
    """Whether copies and memory sets belong to the program, as in a trace that we wrote."""
    instead: str = ""
    """Of a file without launches, what it holds."""
