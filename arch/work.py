"""What passes between a trace and a device: the work to be priced, its prices, and what the device refuses."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from traces.table import Table

if TYPE_CHECKING:
    from traces.trace import Trace

Float = NDArray[np.float64]
Bool = NDArray[np.bool_]
Int = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Work:
    """What a price depends on: the kernels of a trace, their operands, and how far back each operand was touched.

    ``reuse_distance`` is bytes, shape [accesses], inf at a first touch; ``cold`` says which operands another device wrote
    last, shape [accesses].
    """

    kernels: Table
    accesses: Table
    access_offsets: Int
    reuse_distance: Float
    cold: Bool
    tensors: Table
    target: str = ""

    @classmethod
    def of(cls, trace: "Trace", cold: Bool | None = None) -> "Work":
        """Return the work of a trace; without ``cold`` every operand was written on the device itself."""
        if cold is None:
            cold = np.zeros(len(trace.accesses), dtype=np.bool_)
        return cls(trace.kernels, trace.accesses, trace.access_offsets, trace.reuse_distance_bytes, cold, trace.tensors, trace.target)

    def __len__(self) -> int:
        return len(self.kernels)

    def rows(self, kernels: Sequence[int]) -> "Work":
        """Return the work of some kernels alone, in the order given."""
        pick = np.asarray(kernels, dtype=np.int64)
        starts, ends = self.access_offsets[pick], self.access_offsets[pick + 1]
        taken = np.concatenate([np.arange(a, b) for a, b in zip(starts, ends, strict=True)] or [np.zeros(0, np.int64)]).astype(np.int64)
        offsets = np.concatenate([[0], np.cumsum(ends - starts)]).astype(np.int64)
        accesses = _subset(self.accesses, taken, {"kernel": np.repeat(np.arange(len(pick)), ends - starts)})
        return replace(
            self,
            kernels=_subset(self.kernels, pick, {}),
            accesses=accesses,
            access_offsets=offsets,
            reuse_distance=self.reuse_distance[taken],
            cold=self.cold[taken],
        )


def _subset(table: Table, rows: Int, changed: dict[str, Any]) -> Table:
    return Table.build(table.kind, {name: changed.get(name, values[rows]) for name, values in table.decoded().items()})


@dataclass(frozen=True, eq=False)
class Prices:
    """What one execution of each kernel entry costs, without launch and host time; arrays of shape [kernels].

    ``energy_j`` is dynamic and NaN where unknown; ``terms`` explain the duration, in seconds, and ``energy_terms`` add up to the
    energy, in joules, where the device knows them apart. A kernel that the device refuses costs infinitely much. ``l2_bytes`` is what
    passes a cache before memory and ``dram_read_bytes`` what it reads from there, where the device knows: 1 - read / passed is the
    hit rate that a profiler shows.
    """

    duration_s: Float
    dram_bytes: Float
    energy_j: Float
    terms: dict[str, Float]
    l2_bytes: Float | None = None
    dram_read_bytes: Float | None = None
    energy_terms: dict[str, Float] = field(default_factory=dict)
    """Joules by what they are spent on, adding up to ``energy_j``, where the device knows."""
    joined: Bool | None = None
    """Which kernels the device starts itself when the kernel before has ended, without a launch [kernels]; None: none."""


@dataclass(frozen=True, eq=False)
class Refusals:
    """Which kernels a device cannot run: ``reasons[code[k]]`` is why, '' (code 0) if it can; code has shape [kernels]."""

    code: NDArray[np.int8]
    reasons: tuple[str, ...] = ("",)

    def reason(self, kernel: int) -> str:
        """Return why a kernel is refused, '' if it is not."""
        return self.reasons[int(self.code[kernel])]
