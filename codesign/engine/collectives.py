"""Collectives between several devices as operations on links: what expert and tensor parallelism send.

Each function adds operations to a program that go with the next launch (`ProgramBuilder.operation`), and returns for each rank the
operations after which it has its result. ``links[i]`` is the queue of the link from rank i to the next one (a ring), or
``links[i][j]`` that from rank i to rank j.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from codesign.engine.builder import ProgramBuilder
from traces.errors import MachineError


@dataclass(frozen=True)
class Wire:
    """One direction of a link: the queue, bytes a second, seconds a message; and a resource whose bytes it moves, if that is shared."""

    queue: str
    bandwidth: float
    latency_s: float
    shared: str | None = None

    def __post_init__(self) -> None:
        if not 0 < self.bandwidth < float("inf") or not 0 <= self.latency_s < float("inf"):
            raise MachineError(f"a link must have a finite bandwidth above zero and a latency of at least 0 s, but got {self}")

    def send(self, builder: ProgramBuilder, nbytes: float, after: Sequence[int]) -> int:
        """Add a message; return its operation."""
        uses = {self.shared: nbytes} if self.shared is not None and nbytes > 0 else None
        return builder.operation(self.queue, self.latency_s + nbytes / self.bandwidth, after=after, uses=uses)


def reduce_scatter(builder: ProgramBuilder, ring: Sequence[Wire], nbytes: float, after: Sequence[int]) -> list[int]:
    """Add a ring reduce-scatter of ``nbytes`` on every rank: n - 1 steps of an n-th each; ``after[i]`` makes rank i's input."""
    return _rounds(builder, ring, nbytes, list(after), len(ring) - 1)


def all_gather(builder: ProgramBuilder, ring: Sequence[Wire], nbytes: float, after: Sequence[int]) -> list[int]:
    """Add a ring all-gather whose result has ``nbytes`` on every rank: n - 1 steps of an n-th each."""
    return _rounds(builder, ring, nbytes, list(after), len(ring) - 1)


def all_reduce(builder: ProgramBuilder, ring: Sequence[Wire], nbytes: float, after: Sequence[int]) -> list[int]:
    """Add a ring all-reduce of ``nbytes`` on every rank: a reduce-scatter and an all-gather, 2 (n - 1) steps of an n-th each.

    Adding up is not a kernel of its own: it is taken to keep pace with the links.
    """
    return _rounds(builder, ring, nbytes, list(after), 2 * (len(ring) - 1))


def all_to_all(builder: ProgramBuilder, links: Sequence[Sequence[Wire | None]], nbytes: float, after: Sequence[int]) -> list[list[int]]:
    """Add an all-to-all in which every rank has ``nbytes`` in all and sends an n-th to each other; return what each rank waits for.

    Rank i sends to i + 1, i + 2, ... in turn, so that no rank is sent to by all at once.
    """
    ranks = len(links)
    _check(ranks, after)
    if any(len(row) != ranks for row in links):
        raise MachineError(
            f"an all-to-all needs a row of {ranks} links from each of its {ranks} ranks, but got {[len(row) for row in links]}"
        )
    received: list[list[int]] = [[] for _ in range(ranks)]
    for shift in range(1, ranks):
        for rank in range(ranks):
            to = (rank + shift) % ranks
            wire = links[rank][to]
            if wire is None:
                raise MachineError(f"an all-to-all needs a link from every rank to every other, but there is none from {rank} to {to}")
            received[to].append(wire.send(builder, nbytes / ranks, [after[rank]]))
    return received


def _rounds(builder: ProgramBuilder, ring: Sequence[Wire], nbytes: float, ready: list[int], steps: int) -> list[int]:
    """Add ``steps`` rounds in which every rank sends an n-th to the next one, when the one before it has sent."""
    _check(len(ring), ready)
    for _ in range(steps):
        sent = [wire.send(builder, nbytes / len(ring), [ready[rank]]) for rank, wire in enumerate(ring)]
        ready = [sent[rank - 1] for rank in range(len(ring))]
    return ready


def _check(ranks: int, after: Sequence[int]) -> None:
    if ranks < 2 or len(after) != ranks:
        raise MachineError(
            f"a collective must have at least two ranks and one operation before it for each, but got {ranks} and {len(after)}"
        )
