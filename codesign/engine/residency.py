"""Planning, the compiled part: walk the trace, follow where every allocation is valid, and write down operations.

Where an allocation is valid is a set of places, one bit each; a memory of in-memory PIM has a mode (whose view is on).
Both are the state. A loop's body is written once for every state found at its head, until one is found again: then the
bodies from there on repeat, and become a loop of the program.
"""

from typing import NamedTuple

import numpy as np

from codesign.engine.layout import Layout
from codesign.engine.places import Places
from codesign.engine.program import (
    CHANGE,
    HAND_OVER,
    ISSUES,
    KERNEL,
    LAUNCHED,
    LEAVES,
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
from traces.compiled import compiled, in_place

OPS, USES, TOUCHES, CHANGES, LOOPS, HEADS, STATUS, WHERE, ISSUING, ON = range(10)
"""Places in ``Draft.size``: how many of each are written; the error and the kernel it is about; whether the launch being
written still has to be issued, and the queue it is for."""

FINE, FULL, NO_WAY, BAD_TIME = range(4)
ALONE = 1
"""A change of memory at every instance."""

TOUCH = np.dtype([("copy", "i4"), ("writes", "i4")])
"""What an operation reads or writes: the copy of an allocation in a memory, numbered allocation * memories + memory."""
HEAD = np.dtype([("ops", "i8"), ("changes", "i8"), ("loops", "i8")])
"""At the head of a loop: how much had been written."""
COST = np.dtype([("device", "i8"), ("seconds", "f8"), ("bytes", "f8"), ("joules", "f8")])
"""What the mapping makes of a kernel: its device, and what one launch costs."""


class Draft(NamedTuple):
    """A program being written."""

    size: Ints
    op: Rows  # of OPERATION
    use: Rows  # of USE
    touch: Rows  # of TOUCH
    change: Rows  # of CHANGE
    loop: Rows  # of LOOP
    head: Rows  # of HEAD
    state: Ints  # [heads, A + M] at each head


class World(NamedTuple):
    """Where everything is."""

    state: Ints  # [A + M] places in which each allocation is valid (bits), then the mode of each memory (0 or 1 + hand-over)
    toucher: Indices  # [A] the operation written last that touches it
    memory: Ints  # [2, M] bytes taken in launch order, and the most so far


def new_draft(ops: int, heads: int, state: int) -> Draft:
    """Return room for so many operations and loop heads."""
    wide = 6 * ops
    return Draft(
        np.zeros(10, np.int64), np.empty(ops, OPERATION), np.empty(wide, USE), np.empty(wide, TOUCH), np.empty(wide, CHANGE),
        np.empty(ops, LOOP), np.empty(heads, HEAD), np.empty((heads, state), np.int64),
    )  # fmt: skip


def new_world(layout: Layout, places: Places, memories: int) -> World:
    """Return the world before the first launch: what exists then is in the first device's place."""
    state = np.zeros(len(layout.allocation) + memories, np.int64)
    initial = layout.allocation["initial"] != 0
    state[: len(initial)][initial] = 1 << places.device[0]["place"]
    memory = np.zeros((2, memories), np.int64)
    memory[:, places.device[0]["memory"]] = layout.allocation["bytes"][initial].sum()
    return World(state, np.full(len(initial), -1, np.int32), memory)


@compiled
def write_program(layout: Layout, places: Places, cost: Rows, draft: Draft, world: World) -> None:
    """Fill ``draft``; ``draft.size[STATUS]`` says how it went."""
    loops = len(layout.loop)
    first_head, left = np.zeros(loops, np.int64), np.full(loops, -1, np.int64)
    at = 0
    while at < len(layout.tape) and draft.size[STATUS] == FINE:
        code, loop = layout.tape[at].code, layout.tape[at].a
        if code == 0:
            for kernel in range(loop, layout.tape[at].b):
                if not write_kernel(kernel, layout, places, cost, draft, world):
                    return
        elif code == 1:
            first_head[loop], left[loop] = draft.size[HEADS], -1
            note_head(draft, world)
        elif end_iteration(loop, first_head, left, layout.loop, places.round_trip, draft, world):
            close_loop(loop, first_head[loop], layout, places, draft, world)
        else:
            at = layout.tape[at].b
        at += 1


@in_place
def note_head(draft: Draft, world: World) -> None:
    """Keep the state at the head of a loop."""
    head = draft.size[HEADS]
    if head == len(draft.head):
        draft.size[STATUS] = FULL
        return
    draft.head[head].ops, draft.head[head].changes, draft.head[head].loops = draft.size[OPS], draft.size[CHANGES], draft.size[LOOPS]
    for i in range(len(world.state)):
        draft.state[head, i] = world.state[i]
    draft.size[HEADS] = head + 1


@in_place
def end_iteration(loop: int, first_head: Ints, left: Ints, loops: Rows, round_trip: int, draft: Draft, world: World) -> bool:
    """A body has been written; return whether the loop is complete, else another body has to be written."""
    if loops[loop].asks and not has_room(draft):
        return True
    if loops[loop].asks:
        write_wait(round_trip, draft)
    if left[loop] >= 0:
        left[loop] -= 1
        return bool(left[loop] == 0)
    written = draft.size[HEADS] - first_head[loop]
    if written == loops[loop].trips:
        return True
    for back in range(written, 0, -1):
        head = draft.size[HEADS] - back
        if same_state(draft.state[head], world.state):
            left[loop] = repeat(head, back, loops[loop].trips - (written - back), first_head[loop], draft, world)
            return bool(left[loop] == 0)
    note_head(draft, world)
    return False


@in_place
def same_state(a: Ints, b: Ints) -> bool:
    """Are they equal?"""
    for i in range(len(a)):  # noqa: SIM110 (compiled code has no generator for all())
        if a[i] != b[i]:
            return False
    return True


@in_place
def repeat(head: int, period: int, iterations: int, first_head: int, draft: Draft, world: World) -> int:
    """Make a loop of the bodies from ``head`` on, ``period`` of them, to run ``iterations`` in all; return how many do not fit into it."""
    count, rest = iterations // period, iterations % period
    while period == 1 and head > first_head and same_bodies(head - 1, head, draft):
        drop_last_body(head, draft, world)
        head -= 1
        count += 1
    if count > 1 and draft.size[OPS] > draft.head[head].ops:
        write_loop(draft.head[head].ops, draft.size[OPS], count, draft)
    return rest


@in_place
def same_bodies(a: int, b: int, draft: Draft) -> bool:
    """Are the last two bodies the same operations, touches, changes of memory and loops?"""
    start, middle, end = draft.head[a].ops, draft.head[b].ops, draft.size[OPS]
    shift = middle - start
    if end - middle != shift or draft.size[CHANGES] - draft.head[b].changes != draft.head[b].changes - draft.head[a].changes:
        return False
    if draft.size[LOOPS] - draft.head[b].loops != draft.head[b].loops - draft.head[a].loops:
        return False
    for i in range(start, middle):
        if not same_operation(i, i + shift, draft):
            return False
    for c in range(draft.head[a].changes, draft.head[b].changes):
        if not same_change(c, c + draft.head[b].changes - draft.head[a].changes, shift, draft):
            return False
    for k in range(draft.head[a].loops, draft.head[b].loops):
        other = k + draft.head[b].loops - draft.head[a].loops
        if draft.loop[k].first + shift != draft.loop[other].first or draft.loop[k].end + shift != draft.loop[other].end:
            return False
        if draft.loop[k].count != draft.loop[other].count:
            return False
    return True


@in_place
def same_operation(i: int, j: int, draft: Draft) -> bool:
    """Are two operations equal in all that is written of them?"""
    a, b = draft.op[i], draft.op[j]
    uses, touches = a.use_end - a.use_start, a.touch_end - a.touch_start
    same = a.queue == b.queue and a.duration == b.duration and a.gap == b.gap and a.flags == b.flags and a.slot == b.slot
    same = same and a.kind == b.kind and a.kernel == b.kernel and a.tensor == b.tensor
    if not same or uses != b.use_end - b.use_start or touches != b.touch_end - b.touch_start:
        return False
    for t in range(touches):
        c, d = draft.touch[a.touch_start + t], draft.touch[b.touch_start + t]
        if c.copy != d.copy or c.writes != d.writes:
            return False
    for u in range(uses):
        e, f = draft.use[a.use_start + u], draft.use[b.use_start + u]
        if e.resource != f.resource or e.bytes != f.bytes or e.claim != f.claim:
            return False
    return True


@in_place
def same_change(c: int, d: int, shift: int, draft: Draft) -> bool:
    """Are two changes of memory equal, ``shift`` operations apart?"""
    same = draft.change[c].op + shift == draft.change[d].op and draft.change[c].memory == draft.change[d].memory
    same = same and draft.change[c].bytes == draft.change[d].bytes and draft.change[c].at_end == draft.change[d].at_end
    return bool(same and draft.change[c].every == draft.change[d].every)


@in_place
def drop_last_body(head: int, draft: Draft, world: World) -> None:
    """Take back the body written from ``head`` on: the one before it is the same."""
    first = draft.head[head].ops
    shift = draft.size[OPS] - first
    for a in range(len(world.toucher)):
        if world.toucher[a] >= first:
            world.toucher[a] -= shift
    draft.size[OPS], draft.size[CHANGES], draft.size[LOOPS] = first, draft.head[head].changes, draft.head[head].loops
    draft.size[USES], draft.size[TOUCHES] = draft.op[first].use_start, draft.op[first].touch_start
    draft.size[HEADS] = head


@in_place
def close_loop(loop: int, first_head: int, layout: Layout, places: Places, draft: Draft, world: World) -> None:
    """The loop is complete: forget its heads, release what ends with it."""
    draft.size[HEADS] = first_head
    for d in range(layout.loop[loop].dies_start, layout.loop[loop].dies_end):
        release(layout.loop_dies[d], layout.allocation, places.memory, draft, world)


@in_place
def write_loop(first: int, end: int, count: int, draft: Draft) -> None:
    """Let the operations ``first:end`` run ``count`` times."""
    row = draft.size[LOOPS]
    if row == len(draft.loop):
        draft.size[STATUS] = FULL
        return
    draft.loop[row].first, draft.loop[row].end, draft.loop[row].count = first, end, count
    draft.size[LOOPS] = row + 1


@in_place
def has_room(draft: Draft) -> bool:
    """Is there room for all that one operation may need?"""
    full = draft.size[OPS] + 2 > len(draft.op)
    for kind in (USES, TOUCHES, CHANGES):
        full = full or draft.size[kind] + 8 > len(draft.touch)
    if full:
        draft.size[STATUS] = FULL
    return not full


@in_place
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


@in_place
def write_wait(duration: int, draft: Draft) -> None:
    """Append a round trip of the host."""
    i = write_operation(-1, duration / PS, 0, WAITS, ROUND_TRIP, -1, -1, 0.0, draft)
    draft.op[i].duration, draft.op[i].slot = duration, 0


@in_place
def use(resource: int, moved: float, claim: float, draft: Draft) -> None:
    """Let the operation written last use a resource."""
    u, op = draft.size[USES], draft.op[draft.size[OPS] - 1]
    if op.duration > 0 and (moved > 0.0 or claim > 0.0):
        draft.use[u].resource, draft.use[u].bytes, draft.use[u].claim = resource, moved, claim
        draft.size[USES] = op.use_end = u + 1


@in_place
def touch(a: int, memory: int, writes: bool, draft: Draft, world: World) -> None:
    """Let the operation written last read or write an allocation's copy in a memory."""
    t, i = draft.size[TOUCHES], draft.size[OPS] - 1
    if t + 8 > len(draft.touch):
        draft.size[STATUS] = FULL
        return
    draft.touch[t].copy, draft.touch[t].writes = a * world.memory.shape[1] + memory, writes
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


@in_place
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
    i, every = world.toucher[a], 1
    for k in range(draft.size[LOOPS]):
        if draft.loop[k].first <= i < draft.loop[k].end:
            every *= draft.loop[k].count
    if i >= 0:
        for memory in range(world.memory.shape[1]):
            if holds(world.state[a], memory, places):
                change(i, memory, allocation[a].tensor, -allocation[a].bytes, True, every, draft, world)
    world.state[a] = 0


@in_place
def write_kernel(kernel: int, layout: Layout, places: Places, cost: Rows, draft: Draft, world: World) -> bool:
    """Append a kernel with all that has to happen before it; return False if that cannot be."""
    row, size, device = layout.kernel[kernel], draft.size, cost[kernel].device
    size[ISSUING], size[ON] = 1, device
    joins = row.joins == 1 and cost[kernel - 1].device == device
    if joins:
        size[ISSUING] = 0
    if not all_there(
        row.read_start, row.read_end, device, layout.reads, places.device, world.state, len(layout.allocation)
    ) and not bring_inputs(row.read_start, row.read_end, places.device[device].place, layout, places, draft, world):
        return False
    write_launches(kernel, joins, layout, places, cost, draft, world)
    for d in range(row.dies_start, row.dies_end):
        release(layout.row_dies[d], layout.allocation, places.memory, draft, world)
    return bool(size[STATUS] == FINE)


@in_place
def all_there(first: int, end: int, device: int, reads: Indices, devices: Rows, state: Ints, modes: int) -> bool:
    """Are all inputs valid where the device reads them, and is its memory in its mode?"""
    here = devices[device]
    if here.hand_over >= 0 and state[modes + here.memory] != 1 + here.hand_over:
        return False
    for r in range(first, end):  # noqa: SIM110 (compiled code has no generator for all())
        if state[reads[r]] != 0 and not state[reads[r]] >> here.place & 1:
            return False
    return True


@in_place
def write_launches(kernel: int, joins: bool, layout: Layout, places: Places, cost: Rows, draft: Draft, world: World) -> None:
    """Append the launches of one kernel entry: the first, and a loop of the others where they differ from it in how they are issued."""
    launches, buffered, first_issues = layout.kernel[kernel].launches, layout.kernel[kernel].buffered, draft.size[ISSUING]
    issue_others = 1 - buffered
    if launches == 1 or (first_issues == issue_others and joins == (buffered == 1)):
        write_launch(kernel, joins, launches, layout, places, cost, draft, world)
        return
    write_launch(kernel, joins, 1, layout, places, cost, draft, world)
    draft.size[ISSUING] = issue_others
    write_launch(kernel, buffered == 1, launches - 1, layout, places, cost, draft, world)


@in_place
def write_launch(kernel: int, member: bool, times: int, layout: Layout, places: Places, cost: Rows, draft: Draft, world: World) -> None:
    """Append one launch, to run ``times`` times, with its uses, touches and changes of memory."""
    if not has_room(draft):
        return
    row, price, state = layout.kernel[kernel], cost[kernel], world.state
    device = places.device[price.device]
    gap, flags = (places.gap, LAUNCHED) if member else (0, LAUNCHED | LEAVES)
    i = write_operation(price.device, price.seconds, gap, flags, KERNEL, kernel, -1, price.joules, draft)
    use(device.memory, price.bytes if device.shares else 0.0, device.claim, draft)
    for r in range(row.read_start, row.read_end):
        a = layout.reads[r]
        if state[a] == 0:  # nothing has written it: it comes to be where it is first needed
            take(a, device.memory, times, layout.allocation, places.memory, draft, world)
            state[a] = 1 << device.place
        touch(a, device.memory, False, draft, world)
    for w in range(row.write_start, row.write_end):
        a = layout.writes[w]
        if state[a] == 1 << device.place:
            touch(a, device.memory, True, draft, world)
        else:
            overwrite(a, device.place, times, layout.allocation, places.memory, draft, world)
    if times > 1:
        write_loop(i, i + 1, times, draft)


@in_place
def overwrite(a: int, place: int, times: int, allocation: Rows, places: Indices, draft: Draft, world: World) -> None:
    """The operation written last writes the allocation: it is valid in ``place`` only, copies elsewhere are dropped."""
    here, i = places[place], draft.size[OPS] - 1
    take(a, here, times, allocation, places, draft, world)
    for memory in range(world.memory.shape[1]):
        if memory != here and holds(world.state[a], memory, places):
            touch(a, memory, True, draft, world)
            change(i, memory, allocation[a].tensor, -allocation[a].bytes, False, times, draft, world)
    touch(a, here, True, draft, world)
    world.state[a] = 1 << place


@in_place
def bring_inputs(first: int, end: int, place: int, layout: Layout, places: Places, draft: Draft, world: World) -> bool:
    """Append what makes inputs ``first:end`` valid in ``place``: hand-overs out of other views, transfers, a hand-over into this one."""
    for r in range(first, end):
        if way_to(layout.reads[r], place, layout.allocation, places, world.state) == -2:
            draft.size[STATUS], draft.size[WHERE] = NO_WAY, place
            return False
    for h in range(len(places.switch)):
        hand_out(h, first, end, place, layout, places, draft, world)
    for r in range(first, end):
        move(layout.reads[r], place, layout, places, draft, world)
    for h in range(len(places.switch)):
        if places.switch[h].place == place:
            hand_in(h, first, end, layout, places, draft, world)
    return bool(draft.size[STATUS] == FINE)


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


@in_place
def hand_out(h: int, first: int, end: int, place: int, layout: Layout, places: Places, draft: Draft, world: World) -> None:
    """Append one hand-over from the view of PIM ``h`` to its memory's own, for all inputs that have to leave that way."""
    moved, count = 0.0, 0
    for r in range(first, end):
        way = way_to(layout.reads[r], place, layout.allocation, places, world.state)
        if way >= 0 and leaves_by(h, way, places):
            moved += layout.allocation[layout.reads[r]].bytes
            count += 1
    if count == 0 or not has_room(draft):
        return
    write_hand_over(h, moved, places, draft)
    memory = places.switch[h].memory
    for r in range(first, end):
        way = way_to(layout.reads[r], place, layout.allocation, places, world.state)
        if way >= 0 and leaves_by(h, way, places):
            touch(layout.reads[r], memory, True, draft, world)
            world.state[layout.reads[r]] |= 1 << memory
    world.state[len(layout.allocation) + memory] = 0


@in_place
def leaves_by(h: int, way: int, places: Places) -> bool:
    """Does the way begin in the view of PIM ``h``?"""
    return bool(way // len(places.memory) == places.switch[h].place and places.hop[places.way[way].hop_start] == -1 - h)


@in_place
def hand_in(h: int, first: int, end: int, layout: Layout, places: Places, draft: Draft, world: World) -> None:
    """Append one hand-over into the view of PIM ``h``, if inputs are not valid there or the memory is in another mode."""
    place, memory, moved, count = places.switch[h].place, places.switch[h].memory, 0.0, 0
    for r in range(first, end):
        a = layout.reads[r]
        if world.state[a] != 0 and not world.state[a] >> place & 1:
            moved += layout.allocation[a].bytes
            count += 1
    mode = len(layout.allocation) + memory
    if (count == 0 and world.state[mode] == 1 + h) or not has_room(draft):
        return
    write_hand_over(h, moved, places, draft)
    for r in range(first, end):
        a = layout.reads[r]
        if world.state[a] != 0 and not world.state[a] >> place & 1:
            touch(a, memory, True, draft, world)
            world.state[a] |= 1 << place
    world.state[mode] = 1 + h


@in_place
def write_hand_over(h: int, moved: float, places: Places, draft: Draft) -> None:
    """Append a hand-over of so many bytes, on the PIM's queue."""
    switch = places.switch[h]
    joules = moved * switch.pj / PS if moved > 0.0 else 0.0
    write_operation(switch.device, switch.fixed + moved * switch.per_byte, 0, 0, HAND_OVER, -1, -1, joules, draft)
    use(switch.memory, 0.0, switch.closed, draft)


@in_place
def move(a: int, place: int, layout: Layout, places: Places, draft: Draft, world: World) -> None:
    """Append the transfers along links that bring an allocation towards ``place``; a hand-over at the end is left to do."""
    way = way_to(a, place, layout.allocation, places, world.state)
    if way < 0:
        return
    for k in range(places.way[way].hop_start, places.way[way].hop_end):
        if places.hop[k] >= 0 and has_room(draft):
            write_transfer(a, places.hop[k], layout.allocation, places, draft, world)


@in_place
def write_transfer(a: int, direction: int, allocation: Rows, places: Places, draft: Draft, world: World) -> None:
    """Append the transfer of an allocation over one direction of a link."""
    moved, channel = float(allocation[a].bytes), places.channel[direction]
    source, target, seconds = channel.source, channel.target, channel.latency + moved * channel.per_byte
    joules = moved * channel.pj / PS if moved > 0.0 else 0.0
    write_operation(len(places.device) + direction, seconds, 0, 0, TRANSFER, -1, allocation[a].tensor, joules, draft)
    use(source, moved, 0.0, draft)
    use(target, moved, 0.0, draft)
    if channel.duplex >= 0:
        use(channel.duplex, moved, 0.0, draft)
    touch(a, source, False, draft, world)
    take(a, target, ALONE, allocation, places.memory, draft, world)
    touch(a, target, True, draft, world)
    world.state[a] |= 1 << target
