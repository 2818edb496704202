"""From thunks to launches: every kernel that the host launches, in order, and the loops around them.

- A loop whose trip count XLA knows runs its body that often; its condition is never evaluated on the device
  (XLA's while thunk counts on the host), so the condition's kernels do not launch. Its condition is 'host'.
- A loop of unknown trip count n evaluates its condition n + 1 times, each time followed by a copy of the result to
  the host, except inside a command buffer. It is written as the first evaluation, then n times body and condition.
- A conditional runs one branch. The trace takes the branch with the most launches (of equals, the one whose results
  take the most bytes) and the manifest names it: an upper bound, and the only static answer.
- A sequence is its members. A dynamic-slice fusion is one row that launches as often as it has members.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field

from traces.capture.hlo import Computation, Instruction, Module
from traces.capture.scopes import clean
from traces.capture.thunks import Thunk
from traces.errors import CaptureError, nearest

log = logging.getLogger("traces")

TripCounts = int | Mapping[str, int] | None


@dataclass(slots=True)
class Launch:
    """One row of the kernels table to be: a thunk and the HLO instruction it comes from."""

    instruction: Instruction
    thunk: Thunk
    region: int
    command_buffer: int = -1
    launches: int = 1


@dataclass(slots=True)
class Region:
    """A node of the trace's tree; launches ``first`` to ``end`` (excluded)."""

    parent: int
    kind: str
    name: str
    trip_count: int = 1
    condition: str = "host"
    first: int = 0
    end: int = 0
    loop: Instruction | None = None


@dataclass(slots=True)
class Schedule:
    """Launches in order, regions, and which branch of each conditional the launches follow."""

    launches: list[Launch] = field(default_factory=list)
    regions: list[Region] = field(default_factory=list)
    branches: dict[str, Computation] = field(default_factory=dict)
    skipped: set[str] = field(default_factory=set)
    """Loops that run no iteration."""


class Scheduler:
    """Walks a thunk tree once and fills a Schedule."""

    def __init__(self, module: Module, trip_counts: TripCounts, program: str) -> None:
        self.module = module
        self.trips = _TripCounts(trip_counts)
        self.result = Schedule(regions=[Region(-1, "sequence", program)])
        self.region = 0
        self.buffer = -1
        self.buffers = 0

    def run(self, thunks: list[Thunk]) -> Schedule:
        """Return the schedule. Raises CaptureError for a loop of unknown trip count."""
        self._sequence(thunks)
        self.result.regions[0].end = len(self.result.launches)
        self.trips.check(self.module)
        return self.result

    def _sequence(self, thunks: list[Thunk]) -> None:
        for thunk in thunks:
            if thunk.kind == "kWhile":
                self._loop(thunk)
            elif thunk.kind == "kConditional":
                self._conditional(thunk)
            elif thunk.kind == "kCommandBuffer":
                self._command_buffer(thunk)
            elif thunk.kind == "kDynamicSliceFusion":
                self._launch(thunk, max(1, sum(1 for _ in thunk.leaves())))
            elif thunk.groups:
                self._sequence(thunk.groups.get("children", []))
            elif thunk.instruction and thunk.kind not in _SILENT:
                self._launch(thunk, 1)

    def _launch(self, thunk: Thunk, launches: int) -> None:
        instruction = self._instruction(thunk)
        self.result.launches.append(Launch(instruction, thunk, self.region, self.buffer, launches))

    def _instruction(self, thunk: Thunk) -> Instruction:
        found = self.module.by_name.get(thunk.instruction)
        if found is None:
            raise CaptureError(
                f"each launch must come from an HLO instruction, but thunk {thunk.id} ({thunk.kind}) names {thunk.instruction!r}, "
                "which the module does not have: is this jax version supported?"
            )
        return found

    def _command_buffer(self, thunk: Thunk) -> None:
        outer, self.buffer = self.buffer, self.buffers
        self.buffers += 1
        self._sequence(thunk.groups.get("children", []))
        self.buffer = outer

    def _loop(self, thunk: Thunk) -> None:
        loop = self._instruction(thunk)
        trips, body = self.trips.of(loop), thunk.groups.get("body", [])
        condition = [] if loop.trip_count is not None else thunk.groups.get("condition", [])
        self._sequence(condition)
        if trips == 0:
            self.result.skipped.add(loop.name)
            return
        decided = "device" if condition and self.buffer < 0 else "host"
        region = Region(self.region, "loop", loop.name, trips, decided, len(self.result.launches), loop=loop)
        outer, self.region = self.region, len(self.result.regions)
        self.result.regions.append(region)
        self._sequence(body)
        self._sequence(condition)
        region.end, self.region = len(self.result.launches), outer

    def _conditional(self, thunk: Thunk) -> None:
        if not thunk.groups:
            return
        role = max(thunk.groups, key=lambda r: self._weight(thunk.groups[r]))
        group = thunk.groups[role]
        first = next((leaf.instruction for t in group for leaf in [t, *t.leaves()] if leaf.instruction), "")
        if first:
            self.result.branches[thunk.instruction] = self.module.by_name[first].computation
        log.warning("conditional %s: the trace takes %s, the branch with the most launches", thunk.instruction, role)
        self._sequence(group)

    def _weight(self, group: list[Thunk]) -> tuple[int, int]:
        """Return how many launches a branch holds, and the bytes of their results."""
        leaves = [leaf for thunk in group for leaf in thunk.leaves()]
        return len(leaves), sum(self._instruction(leaf).shape.bytes for leaf in leaves if leaf.instruction)


_SILENT = frozenset({"kReplicaId", "kPartitionId", "kWaitForStreams", "kHostSendDone", "kHostRecvDone", "kAsyncDone", "kCopyDone"})
"""Thunks that launch nothing on the device."""


class _TripCounts:
    """Answers how often a loop runs: the compiler's count, else the user's."""

    def __init__(self, given: TripCounts) -> None:
        self.given = given
        self.used: set[str] = set()

    def of(self, loop: Instruction) -> int:
        known, given = loop.trip_count, self._given(loop)
        if known is not None:
            if given is not None and isinstance(self.given, Mapping) and given != known:
                where = f"{loop.name} ({clean(loop.op_name)})"
                raise CaptureError(f"the loop {where} runs {known} times, but trip_counts says {given}: leave it out")
            return known
        if given is None:
            where = f"{loop.name} (scope {clean(loop.op_name) or 'unknown'})"
            raise CaptureError(
                f"the trip count of every loop must be known, but the compiler does not know that of {where}: "
                f"pass trip_counts={{{loop.name!r}: N}}, trip_counts={{'part/of/its/scope': N}}, or trip_counts=N for all such loops"
            )
        if given < 0:
            raise CaptureError(f"`trip count >= 0` must hold, but trip_counts gives {given} for {loop.name}")
        return given

    def _given(self, loop: Instruction) -> int | None:
        if self.given is None or isinstance(self.given, int):
            return self.given
        for key, count in self.given.items():
            if key == loop.name or f"/{key.strip('/')}/" in f"/{clean(loop.op_name)}/":
                self.used.add(key)
                return int(count)
        return None

    def check(self, module: Module) -> None:
        if not isinstance(self.given, Mapping):
            return
        loops = [i.name for i in module.by_name.values() if i.opcode == "while"]
        for key in self.given:
            if key not in self.used:
                hint = nearest(key, loops) if loops else "the program has no loop"
                raise CaptureError(f"each key of trip_counts must name a loop or a part of its scope, but {key!r} does neither; {hint}")


def schedule(module: Module, thunks: list[Thunk], trip_counts: TripCounts, program: str) -> Schedule:
    """Return the launches and regions of a program. Raises CaptureError for a loop of unknown trip count."""
    return Scheduler(module, trip_counts, program).run(thunks)
