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
    HAND_OVER, ISSUES, KERNEL, LAUNCHED, LEAVES, LONGEST_PS, PS, ROUND_TRIP, TRANSFER, WAITS, Codes, Floats, Indices, Ints,
)  # fmt: skip
from traces.compiled import compiled

OPS, USES, TOUCHES, CHANGES, LOOPS, HEADS, STATUS, WHERE, ISSUING, ON = range(10)
"""Places in ``Draft.size``: how many of each are written; the error and the kernel it is about; whether the launch being
written still has to be issued, and the queue it is for."""

FINE, FULL, NO_WAY, BAD_TIME = range(4)
ALONE = 1
"""A change of memory at every instance."""


class Draft(NamedTuple):
    """A program being written."""

    size: Ints
    queue: Indices
    duration: Ints
    gap: Ints
    flags: Codes
    slot: Indices
    kind: Codes
    kernel: Indices
    tensor: Indices
    energy: Floats
    use_start: Indices  # [ops + 1]
    use_resource: Indices
    use_bytes: Floats
    use_claim: Floats
    touch_start: Indices  # [ops + 1]
    touch: Indices  # allocation * memories + memory
    touch_writes: Codes
    change_op: Indices
    change_memory: Indices
    change_bytes: Ints
    change_at_end: Codes
    change_every: Ints
    change_tensor: Indices
    loop_first: Indices
    loop_end: Indices
    loop_count: Ints
    head_ops: Indices  # by head: what had been written
    head_changes: Indices
    head_loops: Indices
    head_state: Ints  # [heads, A + M]


class World(NamedTuple):
    """Where everything is."""

    state: Ints  # [A + M] places in which each allocation is valid (bits), then the mode of each memory (0 or 1 + hand-over)
    toucher: Indices  # [A] the operation written last that touches it
    level: Ints  # [M] bytes taken, in launch order
    peak: Ints  # [M]


class Costs(NamedTuple):
    """What the mapping makes of the kernels: device, and for one launch of each kernel seconds, bytes and joules."""

    device: Indices
    seconds: Floats
    bytes: Floats
    joules: Floats


@compiled
def new_draft(ops: int, heads: int, state: int) -> Draft:
    """Return room for so many operations and loop heads."""
    wide = 6 * ops
    return Draft(
        np.zeros(10, np.int64),
        np.empty(ops, np.int32), np.empty(ops, np.int64), np.empty(ops, np.int64), np.empty(ops, np.int8), np.empty(ops, np.int32),
        np.empty(ops, np.int8), np.empty(ops, np.int32), np.empty(ops, np.int32), np.empty(ops, np.float64),
        np.zeros(ops + 1, np.int32), np.empty(wide, np.int32), np.empty(wide, np.float64), np.empty(wide, np.float64),
        np.zeros(ops + 1, np.int32), np.empty(wide, np.int32), np.empty(wide, np.int8),
        np.empty(wide, np.int32), np.empty(wide, np.int32), np.empty(wide, np.int64), np.empty(wide, np.int8), np.empty(wide, np.int64),
        np.empty(wide, np.int32),
        np.empty(ops, np.int32), np.empty(ops, np.int32), np.empty(ops, np.int64),
        np.empty(heads, np.int32), np.empty(heads, np.int32), np.empty(heads, np.int32), np.empty((heads, state), np.int64),
    )  # fmt: skip


@compiled
def write_program(layout: Layout, places: Places, costs: Costs, memories: int, draft: Draft) -> World:
    """Fill ``draft``; ``draft.size[STATUS]`` says how it went."""
    world = new_world(layout, places, memories)
    loops = len(layout.trips)
    first_head, left = np.zeros(loops, np.int64), np.full(loops, -1, np.int64)
    at = 0
    while at < len(layout.code) and draft.size[STATUS] == FINE:
        loop = layout.a[at]
        if layout.code[at] == 0:
            for kernel in range(layout.a[at], layout.b[at]):
                if not write_kernel(kernel, layout, places, costs, draft, world):
                    return world
        elif layout.code[at] == 1:
            first_head[loop], left[loop] = draft.size[HEADS], -1
            note_head(draft, world)
        elif end_iteration(loop, first_head, left, layout, places, draft, world):
            close_loop(loop, first_head[loop], layout, places, draft, world)
        else:
            at = layout.b[at]
        at += 1
    return world


@compiled
def new_world(layout: Layout, places: Places, memories: int) -> World:
    """Return the world before the first launch: what exists then is in the first device's place."""
    allocations = len(layout.bytes)
    world = World(
        np.zeros(allocations + memories, np.int64),
        np.full(allocations, -1, np.int32),
        np.zeros(memories, np.int64),
        np.zeros(memories, np.int64),
    )
    for a in range(allocations):
        if layout.initial[a]:
            world.state[a] = 1 << places.place[0]
            world.level[places.memory[places.place[0]]] += layout.bytes[a]
    world.peak[:] = world.level
    return world


@compiled
def note_head(draft: Draft, world: World) -> None:
    """Keep the state at the head of a loop."""
    head = draft.size[HEADS]
    if head == len(draft.head_ops):
        draft.size[STATUS] = FULL
        return
    draft.head_ops[head], draft.head_changes[head], draft.head_loops[head] = draft.size[OPS], draft.size[CHANGES], draft.size[LOOPS]
    draft.head_state[head] = world.state
    draft.size[HEADS] = head + 1


@compiled
def end_iteration(loop: int, first_head: Ints, left: Ints, layout: Layout, places: Places, draft: Draft, world: World) -> bool:
    """A body has been written; return whether the loop is complete, else another body has to be written."""
    if layout.asks[loop] and not has_room(draft):
        return True
    if layout.asks[loop]:
        write_wait(places.round_trip, draft)
    if left[loop] >= 0:
        left[loop] -= 1
        return left[loop] == 0
    written = draft.size[HEADS] - first_head[loop]
    if written == layout.trips[loop]:
        return True
    for back in range(written, 0, -1):
        head = draft.size[HEADS] - back
        if same_state(draft.head_state[head], world.state):
            left[loop] = repeat(head, back, layout.trips[loop] - (written - back), first_head[loop], draft, world)
            return left[loop] == 0
    note_head(draft, world)
    return False


@compiled
def same_state(a: Ints, b: Ints) -> bool:
    """Are they equal?"""
    for i in range(len(a)):  # noqa: SIM110 (compiled code has no generator for all())
        if a[i] != b[i]:
            return False
    return True


@compiled
def repeat(head: int, period: int, iterations: int, first_head: int, draft: Draft, world: World) -> int:
    """Make a loop of the bodies from ``head`` on, ``period`` of them, to run ``iterations`` in all; return how many do not fit into it."""
    count, rest = iterations // period, iterations % period
    while period == 1 and head > first_head and same_bodies(head - 1, head, draft):
        drop_last_body(head, draft, world)
        head -= 1
        count += 1
    if count > 1 and draft.size[OPS] > draft.head_ops[head]:
        write_loop(draft.head_ops[head], draft.size[OPS], count, draft)
    return rest


@compiled
def same_bodies(a: int, b: int, draft: Draft) -> bool:
    """Are the last two bodies the same operations, touches, changes of memory and loops?"""
    start, middle, end = draft.head_ops[a], draft.head_ops[b], draft.size[OPS]
    shift = middle - start
    if end - middle != shift or draft.size[CHANGES] - draft.head_changes[b] != draft.head_changes[b] - draft.head_changes[a]:
        return False
    if draft.size[LOOPS] - draft.head_loops[b] != draft.head_loops[b] - draft.head_loops[a]:
        return False
    for i in range(start, middle):
        if not same_operation(i, i + shift, draft):
            return False
    for c in range(draft.head_changes[a], draft.head_changes[b]):
        if not same_change(c, c + draft.head_changes[b] - draft.head_changes[a], shift, draft):
            return False
    for k in range(draft.head_loops[a], draft.head_loops[b]):
        other = k + draft.head_loops[b] - draft.head_loops[a]
        if draft.loop_first[k] + shift != draft.loop_first[other] or draft.loop_end[k] + shift != draft.loop_end[other]:
            return False
        if draft.loop_count[k] != draft.loop_count[other]:
            return False
    return True


@compiled
def same_operation(i: int, j: int, draft: Draft) -> bool:
    """Are two operations equal in all that is written of them?"""
    same = draft.queue[i] == draft.queue[j] and draft.duration[i] == draft.duration[j] and draft.gap[i] == draft.gap[j]
    same = same and draft.flags[i] == draft.flags[j] and draft.slot[i] == draft.slot[j] and draft.kernel[i] == draft.kernel[j]
    same = same and draft.kind[i] == draft.kind[j] and draft.tensor[i] == draft.tensor[j]
    uses, touches = draft.use_start[i + 1] - draft.use_start[i], draft.touch_start[i + 1] - draft.touch_start[i]
    same = same and uses == draft.use_start[j + 1] - draft.use_start[j] and touches == draft.touch_start[j + 1] - draft.touch_start[j]
    if not same:
        return False
    for t in range(touches):
        a, b = draft.touch_start[i] + t, draft.touch_start[j] + t
        if draft.touch[a] != draft.touch[b] or draft.touch_writes[a] != draft.touch_writes[b]:
            return False
    for u in range(uses):
        a, b = draft.use_start[i] + u, draft.use_start[j] + u
        if draft.use_resource[a] != draft.use_resource[b] or draft.use_bytes[a] != draft.use_bytes[b]:
            return False
        if draft.use_claim[a] != draft.use_claim[b]:
            return False
    return True


@compiled
def same_change(c: int, d: int, shift: int, draft: Draft) -> bool:
    """Are two changes of memory equal, ``shift`` operations apart?"""
    same = draft.change_op[c] + shift == draft.change_op[d] and draft.change_memory[c] == draft.change_memory[d]
    same = same and draft.change_bytes[c] == draft.change_bytes[d] and draft.change_at_end[c] == draft.change_at_end[d]
    return same and draft.change_every[c] == draft.change_every[d]


@compiled
def drop_last_body(head: int, draft: Draft, world: World) -> None:
    """Take back the body written from ``head`` on: the one before it is the same."""
    first = draft.head_ops[head]
    shift = draft.size[OPS] - first
    for a in range(len(world.toucher)):
        if world.toucher[a] >= first:
            world.toucher[a] -= shift
    draft.size[OPS], draft.size[CHANGES], draft.size[LOOPS] = first, draft.head_changes[head], draft.head_loops[head]
    draft.size[USES], draft.size[TOUCHES] = draft.use_start[first], draft.touch_start[first]
    draft.size[HEADS] = head


@compiled
def close_loop(loop: int, first_head: int, layout: Layout, places: Places, draft: Draft, world: World) -> None:
    """The loop is complete: forget its heads, release what ends with it."""
    draft.size[HEADS] = first_head
    for d in range(layout.loop_dies_start[loop], layout.loop_dies_start[loop + 1]):
        release(layout.loop_dies[d], layout, places, draft, world)


@compiled
def write_loop(first: int, end: int, count: int, draft: Draft) -> None:
    """Let the operations ``first:end`` run ``count`` times."""
    row = draft.size[LOOPS]
    if row == len(draft.loop_first):
        draft.size[STATUS] = FULL
        return
    draft.loop_first[row], draft.loop_end[row], draft.loop_count[row] = first, end, count
    draft.size[LOOPS] = row + 1


@compiled
def has_room(draft: Draft) -> bool:
    """Is there room for all that one operation may need?"""
    full = draft.size[OPS] + 2 > len(draft.queue)
    for kind in (USES, TOUCHES, CHANGES):
        full = full or draft.size[kind] + 8 > len(draft.touch)
    if full:
        draft.size[STATUS] = FULL
    return not full


@compiled
def write_operation(queue: int, seconds: float, gap: int, flags: int, kind: int, kernel: int, tensor: int, joules: float, draft: Draft) -> int:
    """Append an operation, which begins the launch if that has still to be issued; return its number."""
    i = draft.size[OPS]
    duration = np.int64(-1)
    if 0.0 <= seconds * PS < LONGEST_PS:
        duration = np.int64(np.rint(seconds * PS))
    elif draft.size[STATUS] == FINE:
        draft.size[STATUS], draft.size[WHERE] = BAD_TIME, kernel
    draft.slot[i] = queue
    if draft.size[ISSUING]:
        flags |= ISSUES
        draft.slot[i] = draft.size[ON]
        draft.size[ISSUING] = 0
    draft.queue[i], draft.duration[i], draft.gap[i], draft.flags[i] = queue, duration, gap, flags
    draft.kind[i], draft.kernel[i], draft.tensor[i], draft.energy[i] = kind, kernel, tensor, joules
    draft.use_start[i + 1], draft.touch_start[i + 1] = draft.size[USES], draft.size[TOUCHES]
    draft.size[OPS] = i + 1
    return i


@compiled
def write_wait(duration: int, draft: Draft) -> None:
    """Append a round trip of the host."""
    i = write_operation(-1, duration / PS, 0, WAITS, ROUND_TRIP, -1, -1, 0.0, draft)
    draft.duration[i], draft.slot[i] = duration, 0


@compiled
def use(resource: int, moved: float, claim: float, draft: Draft) -> None:
    """Let the operation written last use a resource."""
    u, i = draft.size[USES], draft.size[OPS] - 1
    if draft.duration[i] > 0 and (moved > 0.0 or claim > 0.0):
        draft.use_resource[u], draft.use_bytes[u], draft.use_claim[u] = resource, moved, claim
        draft.size[USES] = draft.use_start[i + 1] = u + 1


@compiled
def touch(a: int, memory: int, writes: bool, draft: Draft, world: World) -> None:
    """Let the operation written last read or write an allocation's copy in a memory."""
    t, i = draft.size[TOUCHES], draft.size[OPS] - 1
    if t + 8 > len(draft.touch):
        draft.size[STATUS] = FULL
        return
    draft.touch[t], draft.touch_writes[t] = a * len(world.level) + memory, writes
    draft.size[TOUCHES] = draft.touch_start[i + 1] = t + 1
    world.toucher[a] = i


@compiled
def change(op: int, memory: int, a: int, taken: int, at_end: bool, every: int, layout: Layout, draft: Draft, world: World) -> None:
    """Take or release memory with an operation."""
    if taken == 0:
        return
    c = draft.size[CHANGES]
    if c + 8 > len(draft.change_op):
        draft.size[STATUS] = FULL
        return
    draft.change_op[c], draft.change_memory[c], draft.change_bytes[c] = op, memory, taken
    draft.change_at_end[c], draft.change_every[c], draft.change_tensor[c] = at_end, every, layout.tensor[a]
    draft.size[CHANGES] = c + 1
    world.level[memory] += taken
    world.peak[memory] = max(world.peak[memory], world.level[memory])


@compiled
def holds(a: int, memory: int, places: Places, world: World) -> bool:
    """Is the allocation valid in any view of the memory?"""
    for p in range(len(places.memory)):
        if places.memory[p] == memory and world.state[a] >> p & 1:
            return True
    return False


@compiled
def take(a: int, memory: int, every: int, layout: Layout, places: Places, draft: Draft, world: World) -> None:
    """With the operation written last, take room for a copy in a memory that has none."""
    if not holds(a, memory, places, world):
        change(draft.size[OPS] - 1, memory, a, layout.bytes[a], False, every, layout, draft, world)


@compiled
def release(a: int, layout: Layout, places: Places, draft: Draft, world: World) -> None:
    """Release all copies when the operation written last that touched the allocation has ended, in its last instance."""
    op = world.toucher[a]
    every = 1
    for k in range(draft.size[LOOPS]):
        if draft.loop_first[k] <= op < draft.loop_end[k]:
            every *= draft.loop_count[k]
    if op >= 0:
        for memory in range(len(world.level)):
            if holds(a, memory, places, world):
                change(op, memory, a, -layout.bytes[a], True, every, layout, draft, world)
    world.state[a] = 0


@compiled
def write_kernel(kernel: int, layout: Layout, places: Places, costs: Costs, draft: Draft, world: World) -> bool:
    """Append a kernel with all that has to happen before it; return False if that cannot be."""
    device = costs.device[kernel]
    draft.size[ISSUING], draft.size[ON] = 1, device
    joins = layout.joins[kernel] == 1 and costs.device[kernel - 1] == device
    if joins:
        draft.size[ISSUING] = 0
    if not bring_inputs(kernel, places.place[device], layout, places, draft, world):
        return False
    write_launches(kernel, device, joins, layout, places, costs, draft, world)
    for d in range(layout.row_dies_start[kernel], layout.row_dies_start[kernel + 1]):
        release(layout.row_dies[d], layout, places, draft, world)
    return draft.size[STATUS] == FINE


@compiled
def write_launches(
    kernel: int, device: int, joins: bool, layout: Layout, places: Places, costs: Costs, draft: Draft, world: World
) -> None:
    """Append the launches of one kernel entry: the first, and a loop of the others where they differ from it in how they are issued."""
    launches, first_issues = layout.launches[kernel], draft.size[ISSUING]
    gap, flags = (places.gap, LAUNCHED) if joins else (0, LAUNCHED | LEAVES)
    other_gap, other_flags = (places.gap, LAUNCHED) if layout.buffered[kernel] else (0, LAUNCHED | LEAVES)
    issue_others = 0 if layout.buffered[kernel] else 1
    alike = first_issues == issue_others and flags == other_flags
    times = launches if alike else 1
    write_launch(kernel, device, gap, flags, times, layout, places, costs, draft, world)
    if times < launches:
        draft.size[ISSUING] = issue_others
        write_launch(kernel, device, other_gap, other_flags, launches - 1, layout, places, costs, draft, world)


@compiled
def write_launch(
    kernel: int, device: int, gap: int, flags: int, times: int, layout: Layout, places: Places, costs: Costs, draft: Draft, world: World
) -> None:
    """Append one launch, to run ``times`` times, with its uses, touches and changes of memory."""
    if not has_room(draft):
        return
    place = places.place[device]
    memory = places.memory[place]
    i = write_operation(device, costs.seconds[kernel], gap, flags, KERNEL, kernel, -1, costs.joules[kernel], draft)
    use(memory, costs.bytes[kernel] if places.shares[device] else 0.0, places.claim[device], draft)
    for r in range(layout.read_start[kernel], layout.read_start[kernel + 1]):
        a = layout.reads[r]
        if world.state[a] == 0:  # nothing has written it: it comes to be where it is first needed
            take(a, memory, times, layout, places, draft, world)
            world.state[a] = 1 << place
        touch(a, memory, False, draft, world)
    for w in range(layout.write_start[kernel], layout.write_start[kernel + 1]):
        overwrite(layout.writes[w], place, times, layout, places, draft, world)
    if times > 1:
        write_loop(i, i + 1, times, draft)


@compiled
def overwrite(a: int, place: int, times: int, layout: Layout, places: Places, draft: Draft, world: World) -> None:
    """The operation written last writes the allocation: it is valid in ``place`` only, copies elsewhere are dropped."""
    here, op = places.memory[place], draft.size[OPS] - 1
    take(a, here, times, layout, places, draft, world)
    for memory in range(len(world.level)):
        if memory != here and holds(a, memory, places, world):
            touch(a, memory, True, draft, world)
            change(op, memory, a, -layout.bytes[a], False, times, layout, draft, world)
    touch(a, here, True, draft, world)
    world.state[a] = 1 << place


@compiled
def bring_inputs(kernel: int, place: int, layout: Layout, places: Places, draft: Draft, world: World) -> bool:
    """Append what makes a kernel's inputs valid in ``place``: hand-overs out of other views, transfers, a hand-over into this one."""
    first, end = layout.read_start[kernel], layout.read_start[kernel + 1]
    for h in range(len(places.switch)):
        if not hand_out(h, first, end, place, layout, places, draft, world):
            return False
    for r in range(first, end):
        if not move(layout.reads[r], place, layout, places, draft, world):
            return False
    for h in range(len(places.switch)):
        if places.switch_place[h] == place:
            hand_in(h, first, end, layout, places, draft, world)
    return draft.size[STATUS] == FINE


@compiled
def way_to(a: int, place: int, layout: Layout, places: Places, world: World) -> int:
    """Return the number of the fastest way that brings the allocation to ``place`` (-1: it is there; -2: there is none)."""
    count = len(places.memory)
    if world.state[a] == 0 or world.state[a] >> place & 1:
        return -1
    best, least = -2, np.inf
    for source in range(count):
        if world.state[a] >> source & 1:
            seconds = places.way_fixed[source * count + place] + layout.bytes[a] * places.way_per_byte[source * count + place]
            if seconds < least:
                best, least = source * count + place, seconds
    return best


@compiled
def hand_out(h: int, first: int, end: int, place: int, layout: Layout, places: Places, draft: Draft, world: World) -> bool:
    """Append one hand-over from the view of PIM ``h`` to its memory's own, for all inputs that have to leave that way."""
    moved, count = 0.0, 0
    for r in range(first, end):
        way = way_to(layout.reads[r], place, layout, places, world)
        if way == -2:
            draft.size[STATUS], draft.size[WHERE] = NO_WAY, place
            return False
        if way >= 0 and leaves_by(h, way, places):
            moved += layout.bytes[layout.reads[r]]
            count += 1
    if count == 0:
        return True
    if not has_room(draft):
        return False
    write_hand_over(h, moved, places, draft)
    memory = places.memory[places.switch_place[h]]
    for r in range(first, end):
        way = way_to(layout.reads[r], place, layout, places, world)
        if way >= 0 and leaves_by(h, way, places):
            touch(layout.reads[r], memory, True, draft, world)
            world.state[layout.reads[r]] |= 1 << memory
    world.state[len(layout.bytes) + memory] = 0
    return True


@compiled
def leaves_by(h: int, way: int, places: Places) -> bool:
    """Does the way begin in the view of PIM ``h``?"""
    return way // len(places.memory) == places.switch_place[h] and places.hop[places.hop_start[way]] == -1 - h


@compiled
def hand_in(h: int, first: int, end: int, layout: Layout, places: Places, draft: Draft, world: World) -> None:
    """Append one hand-over into the view of PIM ``h``, if inputs are not valid there or the memory is in another mode."""
    place = places.switch_place[h]
    memory, moved, count = places.memory[place], 0.0, 0
    for r in range(first, end):
        a = layout.reads[r]
        if world.state[a] != 0 and not world.state[a] >> place & 1:
            moved += layout.bytes[a]
            count += 1
    mode = len(layout.bytes) + memory
    if (count == 0 and world.state[mode] == 1 + h) or not has_room(draft):
        return
    write_hand_over(h, moved, places, draft)
    for r in range(first, end):
        a = layout.reads[r]
        if world.state[a] != 0 and not world.state[a] >> place & 1:
            touch(a, memory, True, draft, world)
            world.state[a] |= 1 << place
    world.state[mode] = 1 + h


@compiled
def write_hand_over(h: int, moved: float, places: Places, draft: Draft) -> None:
    """Append a hand-over of so many bytes, on the PIM's queue."""
    joules = moved * places.switch_pj[h] / PS if moved > 0.0 else 0.0
    seconds = places.switch[h] + moved * places.layout[h]
    write_operation(places.switch_device[h], seconds, 0, 0, HAND_OVER, -1, -1, joules, draft)
    use(places.memory[places.switch_place[h]], 0.0, places.closed[h], draft)


@compiled
def move(a: int, place: int, layout: Layout, places: Places, draft: Draft, world: World) -> bool:
    """Append the transfers along links that bring an allocation towards ``place``; a hand-over at the end is left to do."""
    way = way_to(a, place, layout, places, world)
    if way == -2:
        draft.size[STATUS], draft.size[WHERE] = NO_WAY, place
        return False
    if way < 0:
        return True
    for hop in places.hop[places.hop_start[way] : places.hop_start[way + 1]]:
        if hop >= 0:
            if not has_room(draft):
                return False
            write_transfer(a, hop, layout, places, draft, world)
    return True


@compiled
def write_transfer(a: int, link: int, layout: Layout, places: Places, draft: Draft, world: World) -> None:
    """Append the transfer of an allocation over one direction of a link."""
    moved = float(layout.bytes[a])
    source, target = places.source[link], places.target[link]
    joules = moved * places.pj[link] / PS if moved > 0.0 else 0.0
    write_operation(link, places.latency[link] + moved * places.per_byte[link], 0, 0, TRANSFER, -1, layout.tensor[a], joules, draft)
    use(source, moved, 0.0, draft)
    use(target, moved, 0.0, draft)
    if places.duplex[link] >= 0:
        use(places.duplex[link], moved, 0.0, draft)
    touch(a, source, False, draft, world)
    take(a, target, ALONE, layout, places, draft, world)
    touch(a, target, True, draft, world)
    world.state[a] |= 1 << target
