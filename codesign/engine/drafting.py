"""Planning, the compiled part: a program being written, operation by operation, and what is known of where everything is."""

from typing import Any, NamedTuple

import numpy as np

from codesign.engine.places import Places
from codesign.engine.program import (
    CHANGE,
    ISSUES,
    LONGEST_PS,
    LOOP,
    OPERATION,
    PS,
    ROUND_TRIP,
    TRANSFER,
    USE,
    WAITS,
    Indices,
    Ints,
    Rows,
)  # fmt: skip
from traces.compiled import compiled, in_place, inlined

OPS, USES, TOUCHES, CHANGES, LOOPS, HEADS, STATUS, WHERE, ISSUING, ON, EVICTED, LANE = range(12)
"""Places in ``Draft.size``: how many of each are written; the error and the kernel it is about; whether the launch being
written still has to be issued, and the queue it is for; how many evictions are written; the stream of the kernel being written."""

FINE, FULL, NO_WAY, BAD_TIME = range(4)
ALONE = 1
"""A change of memory at every instance."""
CHUNK_BYTES = 1 << 20
"""Transfers that go over several links, or over one that several streams use, are cut into pieces of so many bytes."""

READS, WRITES, GOES_ON, AWAITS = range(4)
"""Ways to touch a copy: reading waits for the last writer; writing for it and all readers since; going on with what was begun
makes a writer that waits for nobody; awaiting waits as writing does, and leaves no mark."""
TOUCH = np.dtype([("copy", "i4"), ("how", "i4")])
"""What an operation touches: the copy of an allocation in a memory, numbered allocation * memories + memory."""
HEAD = np.dtype([("ops", "i8"), ("changes", "i8"), ("loops", "i8")])
"""At the head of a loop: how much had been written."""
COST = np.dtype(
    [
        ("device", "i8"),
        ("seconds", "f8"),
        ("bytes", "f8"),
        ("joules", "f8"),
        ("lane", "i8"),
        ("joins", "i8"),
        ("how", "i4"),
        ("ranks", "i4"),
        ("rank", "i4"),
        ("steps", "i4"),
        ("message", "f8"),
    ],
    align=True,
)
"""What the mapping makes of a kernel: its device, what one launch costs, and which of interleaved streams it is of, whether its device
starts it without a launch behind the kernel before; of a collective how it is done (see ``exchange``), of how many ranks it is which, in
how many steps, and the bytes of a message."""


class Draft(NamedTuple):
    """A program being written."""

    size: Ints
    op: Rows  # of OPERATION
    use: Rows  # of USE
    touch: Rows  # of TOUCH
    change: Rows  # of CHANGE
    loop: Rows  # of LOOP
    head: Rows  # of HEAD
    state: Ints  # [heads, A + M + 2] at each head


class World(NamedTuple):
    """Where everything is."""

    state: Ints  # [A + M + 2] places in which each allocation is valid (bits), then the mode of each memory (0 or 1 + hand-over);
    # evictions so far, modulo; launches to come for which slices are on the way
    toucher: Indices  # [A + K + B + 1] the operation written last that touches it
    memory: Ints  # [3, M] bytes taken in launch order, the most so far, and those before the first launch


def new_draft(ops: int, heads: int, state: int) -> Draft:
    """Return room for so many operations and loop heads."""
    wide = 6 * ops
    return Draft(
        np.zeros(12, np.int64), np.empty(ops, OPERATION), np.empty(wide, USE), np.empty(wide, TOUCH), np.empty(wide, CHANGE),
        np.empty(ops, LOOP), np.empty(heads, HEAD), np.empty((heads, state), np.int64),
    )  # fmt: skip


@compiled
def new_world(allocation: Rows, devices: Rows, memories: int, home: Indices, extra: int) -> World:
    """Return the world before the first launch: what exists then is at home, or (home -1) in the first device's place.

    ``extra``: how many things beside allocations are touched.
    """
    first = devices[0]
    state, memory = np.zeros(len(allocation) + memories + 2, np.int64), np.zeros((3, memories), np.int64)
    for a in range(len(allocation)):
        if allocation[a].initial:
            state[a] = 1 << (home[a] if home[a] >= 0 else first.place)
            memory[:, home[a] if home[a] >= 0 else first.memory] += allocation[a].bytes
    return World(state, np.full(len(allocation) + extra, -1, np.int32), memory)


@in_place
def write_loop(first: int, end: int, count: int, draft: Draft) -> None:
    """Let the operations ``first:end`` run ``count`` times."""
    row = draft.size[LOOPS]
    if row == len(draft.loop):
        draft.size[STATUS] = FULL
        return
    draft.loop[row].first, draft.loop[row].end, draft.loop[row].count = first, end, count
    draft.size[LOOPS] = row + 1


@inlined
def has_room(draft: Draft) -> bool:
    """Is there room for all that one operation may need?"""
    full = draft.size[OPS] + 2 > len(draft.op)
    for kind in (USES, TOUCHES, CHANGES):
        full = full or draft.size[kind] + 8 > len(draft.touch)
    if full:
        draft.size[STATUS] = FULL
    return not full


@inlined
def write_operation(
    queue: int, seconds: float, gap: int, flags: int, kind: int, kernel: int, tensor: int, joules: float, draft: Draft
) -> int:
    """Append an operation, which begins the launch if that has still to be issued; return its number."""
    i, size = draft.size[OPS], draft.size
    op = draft.op[i]
    op.duration = -1
    if 0.0 <= seconds * PS < LONGEST_PS:
        op.duration = np.int64(np.rint(seconds * PS))
    elif size[STATUS] == FINE:
        size[STATUS], size[WHERE] = BAD_TIME, kernel
    op.slot = queue
    if size[ISSUING]:
        flags |= ISSUES
        op.slot = size[ON]
        size[ISSUING] = 0
    op.queue, op.gap, op.flags, op.kind, op.kernel, op.tensor, op.energy = queue, gap, flags, kind, kernel, tensor, joules
    op.use_start = op.use_end = size[USES]
    op.touch_start = op.touch_end = size[TOUCHES]
    op.dep_start = op.dep_end = 0
    size[OPS] = i + 1
    return int(i)


@inlined
def queue_of(device: int, places: Places, draft: Draft) -> int:
    """Return the queue of a device for the stream of the kernel being written."""
    lane, devices = draft.size[LANE], len(places.device)
    return int(device if lane == 0 else devices + places.streams * len(places.channel) + (lane - 1) * devices + device)


@in_place
def write_wait(duration: int, draft: Draft) -> None:
    """Append a round trip of the host."""
    i = write_operation(-1, duration / PS, 0, WAITS, ROUND_TRIP, -1, -1, 0.0, draft)
    draft.op[i].duration, draft.op[i].slot = duration, 0


@inlined
def use(resource: int, moved: float, claim: float, draft: Draft) -> None:
    """Let the operation written last use a resource."""
    u, op = draft.size[USES], draft.op[draft.size[OPS] - 1]
    if op.duration > 0 and (moved > 0.0 or claim > 0.0):
        draft.use[u].resource, draft.use[u].bytes, draft.use[u].claim = resource, moved, claim
        draft.size[USES] = op.use_end = u + 1


@inlined
def touch(a: int, memory: int, how: int, draft: Draft, world: World) -> None:
    """Let the operation written last touch an allocation's copy in a memory."""
    t, i = draft.size[TOUCHES], draft.size[OPS] - 1
    if t + 8 > len(draft.touch):
        draft.size[STATUS] = FULL
        return
    draft.touch[t].copy, draft.touch[t].how = a * world.memory.shape[1] + memory, how
    draft.size[TOUCHES] = draft.op[i].touch_end = t + 1
    world.toucher[a] = i


@in_place
def change(i: int, memory: int, tensor: int, taken: int, at_end: bool, every: int, draft: Draft, world: World) -> None:
    """Take or release memory with operation ``i``."""
    c = draft.size[CHANGES]
    if taken == 0:
        return
    if c + 8 > len(draft.change):
        draft.size[STATUS] = FULL
        return
    row, level = draft.change[c], world.memory
    row.op, row.memory, row.bytes, row.at_end, row.every, row.tensor = i, memory, taken, at_end, every, tensor
    draft.size[CHANGES] = c + 1
    level[0, memory] += taken
    level[1, memory] = max(level[1, memory], level[0, memory])


@inlined
def holds(valid: int, memory: int, places: Indices) -> bool:
    """Is any of the places (bits) a view of the memory? ``places``: the memory of each."""
    for p in range(len(places)):  # noqa: SIM110 (compiled code has no generator for any())
        if places[p] == memory and valid >> p & 1:
            return True
    return False


@in_place
def take(a: int, memory: int, every: int, allocation: Rows, places: Indices, draft: Draft, world: World) -> None:
    """With the operation written last, take room for a copy in a memory that has none."""
    if not holds(world.state[a], memory, places):
        change(draft.size[OPS] - 1, memory, allocation[a].tensor, allocation[a].bytes, False, every, draft, world)


@in_place
def release(a: int, allocation: Rows, places: Indices, draft: Draft, world: World) -> None:
    """Release all copies when the operation written last that touched the allocation has ended, in its last instance."""
    drop_copies(a, -1, allocation, places, draft, world)
    world.state[a] = 0


@in_place
def drop_copies(a: int, keep: int, allocation: Rows, places: Indices, draft: Draft, world: World) -> None:
    """Release the copies in all memories but ``keep`` when the operation written last that touched them has ended."""
    i, every = world.toucher[a], 1
    for k in range(draft.size[LOOPS]):
        if draft.loop[k].first <= i < draft.loop[k].end:
            every *= draft.loop[k].count
    if i >= 0:
        for memory in range(world.memory.shape[1]):
            if memory != keep and holds(world.state[a], memory, places):
                change(i, memory, allocation[a].tensor, -allocation[a].bytes, True, every, draft, world)


@in_place
def way_to(a: int, place: int, allocation: Rows, places: Places, state: Ints) -> int:
    """Return the number of the fastest way that brings the allocation to ``place`` (-1: it is there; -2: there is none)."""
    count = len(places.memory)
    if state[a] == 0 or state[a] >> place & 1:
        return -1
    best, least = -2, np.inf
    for source in range(count):
        if state[a] >> source & 1:
            way = places.way[source * count + place]
            seconds = way.fixed + allocation[a].bytes * way.per_byte
            if seconds < least:
                best, least = source * count + place, seconds
    return best


class Cargo(NamedTuple):
    """What a transfer moves: an allocation's copies, or (``buffer`` >= 0) a part of it into a buffer."""

    allocation: int
    moved: int  # bytes
    stream: int  # 0: on demand, 1: the copy stream
    cut: bool  # into chunks, even on one link
    gate: int  # what it awaits first (-1: nothing)
    buffer: int  # -1: the allocation's own copies
    how: int  # WRITES, or GOES_ON to fill a buffer further
    outward: bool  # out of the buffer


@in_place
def load(a: int, moved: int, stream: int, cut: bool, gate: int, buffer: int, how: int, outward: bool) -> Cargo:
    """Return the cargo, its numbers of one type each, so that what takes it is compiled once."""
    wide: Any = np.int64
    return Cargo(wide(a), wide(moved), wide(stream), bool(cut), wide(gate), wide(buffer), wide(how), bool(outward))


@in_place
def carry(cargo: Cargo, way: int, allocation: Rows, places: Places, draft: Draft, world: World) -> bool:
    """Append the transfers along the links of a way; hand-overs at its ends are left to do. Return False if there is no room."""
    first, end = links_of(way, places)
    pieces = 1
    if (cargo.cut or end - first > 1) and cargo.moved > CHUNK_BYTES:
        pieces = (cargo.moved + CHUNK_BYTES - 1) // CHUNK_BYTES
    size = min(cargo.moved, CHUNK_BYTES) if pieces > 1 else cargo.moved
    if not carry_piece(cargo, first, end, size, True, allocation, places, draft, world):
        return False
    begin = draft.size[OPS]
    if pieces > 2:
        if not carry_piece(cargo, first, end, size, False, allocation, places, draft, world):
            return False
        if pieces > 3:
            write_loop(begin, draft.size[OPS], pieces - 2, draft)
    return pieces == 1 or carry_piece(cargo, first, end, cargo.moved - (pieces - 1) * size, False, allocation, places, draft, world)


@in_place
def links_of(way: int, places: Places) -> tuple[int, int]:
    """Return where the links of a way begin and end among its hops."""
    first, end = places.way[way].hop_start, places.way[way].hop_end
    while first < end and places.hop[first] < 0:
        first += 1
    while first < end and places.hop[end - 1] < 0:
        end -= 1
    return first, end


@in_place
def carry_piece(
    cargo: Cargo, first: int, end: int, size: int, begins: bool, allocation: Rows, places: Places, draft: Draft, world: World
) -> bool:
    """Append one piece of a transfer, over each of its links; the first piece has the latency and takes the memory."""
    for k in range(first, end):
        if not has_room(draft):
            return False
        write_piece(cargo, places.hop[k], size, begins, allocation, places, draft)
        if begins and k == first and cargo.gate >= 0:
            touch(cargo.gate, 0, AWAITS, draft, world)
        touch_ends(cargo, k == first, k == end - 1, begins, places.channel[places.hop[k]], allocation, places.memory, draft, world)
    return True


@in_place
def write_piece(cargo: Cargo, direction: int, size: int, begins: bool, allocation: Rows, places: Places, draft: Draft) -> None:
    """Append the operation that moves a piece over one direction of a link."""
    write_transfer(cargo.stream, direction, float(size), begins, allocation[cargo.allocation].tensor, places, draft)


@in_place
def write_transfer(stream: int, direction: int, moved: float, begins: bool, tensor: int, places: Places, draft: Draft) -> None:
    """Append an operation that moves bytes over one direction of a link on a stream of copies; with its latency where it ``begins``."""
    channel = places.channel[direction]
    seconds = (channel.latency if begins else 0.0) + moved * channel.per_byte
    joules = moved * channel.pj / PS if moved > 0.0 else 0.0
    queue = len(places.device) + stream * len(places.channel) + direction
    write_operation(queue, seconds, 0, 0, TRANSFER, -1, tensor, joules, draft)
    use(channel.source, moved * channel.reading, 0.0, draft)
    use(channel.target, moved * channel.writing, 0.0, draft)
    if channel.duplex >= 0:
        use(channel.duplex, moved, 0.0, draft)


@in_place
def touch_ends(
    cargo: Cargo, leaves: bool, arrives: bool, begins: bool, channel: Any, allocation: Rows, places: Indices, draft: Draft, world: World
) -> None:
    """Let the piece written last read where it comes from and write where it goes to."""
    a, buffer = cargo.allocation, cargo.buffer
    source = a if buffer < 0 or (leaves and not cargo.outward) else buffer
    target = a if buffer < 0 or (arrives and cargo.outward) else buffer
    touch(source, channel.source, READS, draft, world)
    if begins and target == a:
        take(a, channel.target, ALONE, allocation, places, draft, world)
        world.state[a] |= 1 << channel.target
    elif begins:
        change(draft.size[OPS] - 1, channel.target, allocation[a].tensor, cargo.moved, False, ALONE, draft, world)
    touch(target, channel.target, cargo.how if begins else GOES_ON, draft, world)
