"""Planning of collectives: a kernel of the family 'collective' on each rank's device becomes messages over links, and ends with them.

Two ways, whichever is sooner by its closed form for n ranks, messages of m bytes, latency L and bandwidth B of the slowest link:

- ring: s steps in which each rank sends to the next one what it got in the step before, s (L + m / B);
- direct: each rank sends to all others, one message after another, L + (n - 1) m / B.

=================  ==================================  =========================
collective         ring                                direct
=================  ==================================  =========================
all-reduce of b    2 (n - 1) steps of b / n            messages of b
reduce-scatter     n - 1 steps of b / n                messages of b / n
all-gather of b    n - 1 steps of b / n                messages of b / n
all-to-all of b    (not in a ring)                     messages of b / n
=================  ==================================  =========================

Then the kernel takes what the links say a collective takes beside its messages. Adding up is taken to keep pace with the links. Beside
allocations, n + 2 things for each rank are touched: what came in the last step of a ring, by parity; and what came from each other rank.
"""

from typing import TYPE_CHECKING

import numpy as np

from codesign.engine.drafting import GOES_ON, READS, Draft, World, has_room, touch, write_transfer
from codesign.engine.layout import Layout
from codesign.engine.places import Places
from codesign.engine.program import Indices, Rows
from traces.compiled import in_place
from traces.errors import MachineError, MappingError
from traces.ranks import COLLECTIVES, collective_of, held

if TYPE_CHECKING:
    from arch.machine import Machine
    from schedulers.scheduler import Mapping
    from traces.trace import Trace

NONE, RING, DIRECT = range(3)
STEPS = {"all-reduce": 2, "all-gather": 1, "reduce-scatter": 1}
"""Rounds of a ring, in which each part goes once around."""


def things(cost: Rows) -> int:
    """Return how many things beside allocations the collectives touch."""
    ranks = int(cost["ranks"].max(initial=0))
    return ranks * (ranks + 2)


def homes(trace: "Trace", machine: "Machine", mapping: "Mapping", home: Indices) -> Indices:
    """Return in which memory each allocation is at first (int32[A]): a rank's own in its device's. Without ranks: ``home``.

    Raises MappingError if tensors of ranks are offloaded.
    """
    if held(trace) == 1:
        return home
    if mapping.offload is not None:
        raise MappingError("tensors of ranks side by side cannot be offloaded; replay one rank's part, or map without offload")
    at = {memory.id: number for number, memory in enumerate(machine.memories)}
    memory = np.array([at[device.memory] for device in machine.devices], np.int32)
    first = np.full(len(home), -1, np.int32)
    first[trace.access_alias[::-1]] = memory[mapping.device[trace.accesses["kernel"][::-1]]]
    return first


def price(trace: "Trace", machine: "Machine", places: Places, cost: Rows) -> None:
    """Fill in how each collective is done, where nothing is yet; its kernel takes what its links add, and moves no bytes of its own.

    Raises
    ------
    MachineError
        If the trace holds one rank of several, or no link joins two ranks.
    MappingError
        If the ranks of a collective are not on different devices.
    """
    which = collective_of(trace)
    rows = np.flatnonzero(which >= 0)
    if not len(rows):
        return
    ranks = held(trace)
    if ranks == 1:
        raise MachineError(f"{trace.program!r} is one rank of several; replay it on as many equal GPUs, such as 'Nxh100-sxm'")
    moved = _moved(trace)
    cost["rank"][rows] = trace.kernels["stream"][rows]
    cost["ranks"][rows] = ranks
    for first in rows[::ranks].tolist():
        group = slice(first, first + ranks)
        _price_one(COLLECTIVES[which[first]], float(moved[group].max()), group, machine, places, cost)


def _moved(trace: "Trace") -> "np.ndarray[tuple[int], np.dtype[np.float64]]":
    """Return bytes of each kernel: the larger of what it reads and what it writes."""
    amount, count = np.nan_to_num(trace.accesses["bytes_unique"]), len(trace.kernels)
    writes, kernel = trace.access_writes, trace.accesses["kernel"]
    read, written = (np.bincount(kernel[mine], amount[mine], minlength=count) for mine in (~writes, writes))
    return np.maximum(read, written)


def _price_one(name: str, moved: float, group: slice, machine: "Machine", places: Places, cost: Rows) -> None:
    devices, ranks = cost["device"][group], group.stop - group.start
    if len(set(devices.tolist())) < ranks:
        raise MappingError(
            f"the {ranks} ranks of a collective must be on different devices, but kernel {group.start} has {devices.tolist()}"
        )
    peers = places.peer.reshape(len(places.device), -1)[np.ix_(devices, devices)]
    ring = np.roll(peers, -1, axis=1).diagonal()
    every = peers[~np.eye(ranks, dtype=bool)]
    share = moved / ranks
    found = []
    if name in STEPS and (ring >= 0).all():
        steps = STEPS[name] * (ranks - 1)
        found.append((steps * _seconds(places, ring, share), RING, steps, share))
    if (every >= 0).all():
        message = moved if name == "all-reduce" else share
        found.append((_seconds(places, every, (ranks - 1) * message), DIRECT, ranks - 1, message))
    if not found:
        raise MachineError(
            f"a collective needs links between its ranks, but {machine.id!r} has not one from each device to the next: add Links"
        )
    _, cost["how"][group], cost["steps"][group], cost["message"][group] = min(found)
    used = {machine.links[number // 2].collective_s for number in every.tolist() if number >= 0}
    cost["seconds"][group], cost["bytes"][group], cost["joules"][group] = max(used), 0.0, 0.0


def _seconds(places: Places, directions: Indices, moved: float) -> float:
    channel = places.channel[directions]
    return float((channel["latency"] + moved * channel["per_byte"]).max())


@in_place
def write_messages(kernel: int, layout: Layout, places: Places, cost: Rows, draft: Draft, world: World) -> None:
    """Append all messages of a collective whose rank 0 is ``kernel``, the ranks' rows being the next ones."""
    ranks, wide = cost[kernel].ranks, cost[kernel].ranks + 2
    things = len(layout.allocation)
    for step in range(cost[kernel].steps):
        for rank in range(ranks):
            to = (rank + 1) % ranks if cost[kernel].how == RING else (rank + 1 + step) % ranks
            if not has_room(draft):
                return
            write_message(kernel + rank, kernel + to, step == 0, places, cost, draft)
            here = places.device[cost[kernel + rank].device].memory
            if step == 0 or cost[kernel].how == DIRECT:
                for r in range(layout.kernel[kernel + rank].read_start, layout.kernel[kernel + rank].read_end):
                    touch(layout.reads[r], here, READS, draft, world)
            if cost[kernel].how == RING:
                if step > 0:
                    touch(things + rank * wide + step % 2, 0, READS, draft, world)
                touch(things + to * wide + (step + 1) % 2, 0, GOES_ON, draft, world)
            else:
                if step > 0:
                    touch(things + rank * wide, 0, READS, draft, world)
                touch(things + rank * wide, 0, GOES_ON, draft, world)
                touch(things + to * wide + 2 + rank, 0, GOES_ON, draft, world)


@in_place
def write_message(source: int, target: int, first: bool, places: Places, cost: Rows, draft: Draft) -> None:
    """Append one message from the rank of kernel ``source`` to that of ``target``; direct ones after the first have no latency."""
    direction = places.peer[cost[source].device * len(places.device) + cost[target].device]
    begins = bool(first or cost[source].how == RING)
    write_transfer(0, direction, cost[source].message, begins, -1, places, draft)


@in_place
def await_messages(kernel: int, layout: Layout, cost: Rows, draft: Draft, world: World) -> None:
    """Let the kernel written last, a rank's part of a collective, wait for what the rank got and, in a ring, sent last."""
    row = cost[kernel]
    mine = len(layout.allocation) + row.rank * (row.ranks + 2)
    if row.how == RING:
        touch(mine + row.steps % 2, 0, READS, draft, world)
        return
    touch(mine, 0, READS, draft, world)
    for other in range(row.ranks):
        if other != row.rank:
            touch(mine + 2 + other, 0, READS, draft, world)
