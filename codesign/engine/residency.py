"""Planning, the compiled part: walk the trace, follow where every allocation is valid, and write down operations.

Where an allocation is valid is a set of places, one bit each; a memory of in-memory PIM has a mode (whose view is on).
Both are the state. A loop's body is written once for every state found at its head, until one is found again: then the
bodies from there on repeat, and become a loop of the program.
"""

from codesign.engine.drafting import (
    CHANGES,
    FINE,
    FULL,
    HEADS,
    ISSUING,
    LANE,
    LOOPS,
    NO_WAY,
    ON,
    OPS,
    READS,
    STATUS,
    TOUCHES,
    USES,
    WHERE,
    WRITES,
    Draft,
    World,
    carry,
    change,
    has_room,
    holds,
    load,
    queue_of,
    release,
    take,
    touch,
    use,
    way_to,
    write_loop,
    write_operation,
    write_wait,
)  # fmt: skip
from codesign.engine.exchange import await_messages, write_messages
from codesign.engine.layout import Layout
from codesign.engine.offloading import Offloading, after_kernel, before_kernel, touch_launch
from codesign.engine.places import Places
from codesign.engine.program import (
    HAND_OVER,
    KERNEL,
    LAUNCHED,
    LEAVES,
    PS,
    Indices,
    Ints,
    Rows,
)  # fmt: skip
from traces.compiled import compiled, in_place, inlined


@compiled
def write_program(
    layout: Layout, places: Places, cost: Rows, off: Offloading | None, draft: Draft, world: World, first_head: Ints, left: Ints
) -> None:
    """Fill ``draft``; ``draft.size[STATUS]`` says how it went.

    Without offloading (``off`` None) what serves it is not compiled. ``first_head``, ``left`` are room: the first of the heads of each
    loop, and its iterations to go (-1: not known).
    """
    at = 0
    while at < len(layout.tape) and draft.size[STATUS] == FINE:
        code, loop = layout.tape[at].code, layout.tape[at].a
        if code == 0:
            for kernel in range(loop, layout.tape[at].b):
                if not write_kernel(kernel, layout, places, cost, off, draft, world):
                    return
                if off is not None:
                    after_kernel(at, kernel, layout, places, cost, off, draft, world)
        elif code == 1:
            first_head[loop], left[loop] = draft.size[HEADS], -1
            if off is not None:
                off.last[loop] = layout.loop[loop].trips == 1
            note_head(draft, world)
        elif end_iteration(loop, first_head, left, layout.loop, places.round_trip, off is not None, draft, world):
            close_loop(loop, first_head[loop], layout, places, draft, world)
        else:
            if off is not None:
                written = draft.size[HEADS] - first_head[loop]
                off.last[loop] = left[loop] == 1 or (left[loop] < 0 and written == layout.loop[loop].trips)
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
def end_iteration(loop: int, first_head: Ints, left: Ints, loops: Rows, round_trip: int, apart: bool, draft: Draft, world: World) -> bool:
    """A body has been written; return whether the loop is complete, else another body has to be written.

    ``apart``: the last body is written by itself, because no other follows it.
    """
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
            iterations = loops[loop].trips - (written - back) - apart
            left[loop] = repeat(head, back, iterations, first_head[loop], draft, world) + apart
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
        if c.copy != d.copy or c.how != d.how:
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


@inlined
def write_kernel(kernel: int, layout: Layout, places: Places, cost: Rows, off: Offloading | None, draft: Draft, world: World) -> bool:
    """Append a kernel with all that has to happen before it; return False if that cannot be."""
    row, size, device = layout.kernel[kernel], draft.size, cost[kernel].device
    size[LANE] = cost[kernel].lane
    size[ISSUING], size[ON] = 1, queue_of(device, places, draft)
    joins = (row.joins == 1 or cost[kernel].joins == 1) and cost[kernel - 1].device == device
    if joins or row.lockstep:
        size[ISSUING] = 0
    if not all_there(
        row.read_start, row.read_end, device, layout.reads, places.device, world.state, len(layout.allocation)
    ) and not bring_inputs(row.read_start, row.read_end, places.device[device].place, layout, places, draft, world):
        return False
    if off is not None:
        before_kernel(kernel, layout, places, cost, off, draft, world)
    if cost[kernel].ranks > 0 and cost[kernel].rank == 0:
        write_messages(kernel, layout, places, cost, draft, world)
    write_launches(kernel, joins, layout, places, cost, off, draft, world)
    for d in range(row.dies_start, row.dies_end):
        release(layout.row_dies[d], layout.allocation, places.memory, draft, world)
    return bool(size[STATUS] == FINE)


@inlined
def all_there(first: int, end: int, device: int, reads: Indices, devices: Rows, state: Ints, modes: int) -> bool:
    """Are all inputs valid where the device reads them, and is its memory in its mode?"""
    here = devices[device]
    if here.hand_over >= 0 and state[modes + here.memory] != 1 + here.hand_over:
        return False
    for r in range(first, end):  # noqa: SIM110 (compiled code has no generator for all())
        if state[reads[r]] != 0 and not state[reads[r]] >> here.place & 1:
            return False
    return True


@inlined
def write_launches(
    kernel: int, joins: bool, layout: Layout, places: Places, cost: Rows, off: Offloading | None, draft: Draft, world: World
) -> None:
    """Append the launches of one kernel entry: the first, and a loop of the others where they differ from it in how they are issued."""
    launches, buffered, first_issues = layout.kernel[kernel].launches, layout.kernel[kernel].buffered, draft.size[ISSUING]
    issue_others = 0 if layout.kernel[kernel].lockstep else 1 - buffered
    if launches == 1 or layout.kernel[kernel].lockstep or (first_issues == issue_others and joins == (buffered == 1)):
        write_launch(kernel, joins, launches, layout, places, cost, off, draft, world)
        return
    write_launch(kernel, joins, 1, layout, places, cost, off, draft, world)
    draft.size[ISSUING] = issue_others
    write_launch(kernel, buffered == 1, launches - 1, layout, places, cost, off, draft, world)


@inlined
def write_launch(
    kernel: int,
    member: bool,
    times: int,
    layout: Layout,
    places: Places,
    cost: Rows,
    off: Offloading | None,
    draft: Draft,
    world: World,
) -> None:
    """Append one launch, to run ``times`` times, with its uses, touches and changes of memory."""
    if not has_room(draft):
        return
    row, price, state = layout.kernel[kernel], cost[kernel], world.state
    device = places.device[price.device]
    gap, flags = (places.gap, LAUNCHED) if member else (0, LAUNCHED | LEAVES)
    if price.joins == 1:
        gap = 0
    if row.lockstep:
        gap, flags = 0, LAUNCHED
    i = write_operation(queue_of(price.device, places, draft), price.seconds, gap, flags, KERNEL, kernel, -1, price.joules, draft)
    use(device.memory, price.bytes if device.shares else 0.0, device.claim, draft)
    if places.lanes > 1 and device.hand_over >= 0:  # the memory's mode may have been changed on another stream
        touch(len(world.toucher) - 1, device.memory, READS, draft, world)
    if off is not None:
        touch_launch(kernel, device.memory, layout, off, draft, world)
    if price.ranks > 0:
        await_messages(kernel, layout, cost, draft, world)
    for r in range(row.read_start, row.read_end):
        a = layout.reads[r]
        if state[a] == 0:  # nothing has written it: it comes to be where it is first needed
            take(a, device.memory, times, layout.allocation, places.memory, draft, world)
            state[a] = 1 << device.place
        touch(a, device.memory, READS, draft, world)
    for w in range(row.write_start, row.write_end):
        a = layout.writes[w]
        if state[a] == 1 << device.place:
            touch(a, device.memory, WRITES, draft, world)
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
            touch(a, memory, WRITES, draft, world)
            change(i, memory, allocation[a].tensor, -allocation[a].bytes, False, times, draft, world)
    touch(a, here, WRITES, draft, world)
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
    write_hand_over(h, moved, places, draft, world)
    memory = places.switch[h].memory
    for r in range(first, end):
        way = way_to(layout.reads[r], place, layout.allocation, places, world.state)
        if way >= 0 and leaves_by(h, way, places):
            touch(layout.reads[r], memory, WRITES, draft, world)
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
    write_hand_over(h, moved, places, draft, world)
    for r in range(first, end):
        a = layout.reads[r]
        if world.state[a] != 0 and not world.state[a] >> place & 1:
            touch(a, memory, WRITES, draft, world)
            world.state[a] |= 1 << place
    world.state[mode] = 1 + h


@in_place
def write_hand_over(h: int, moved: float, places: Places, draft: Draft, world: World) -> None:
    """Append a hand-over of so many bytes, on the PIM's queue."""
    switch = places.switch[h]
    joules = moved * switch.pj / PS if moved > 0.0 else 0.0
    queue = queue_of(switch.device, places, draft)
    write_operation(queue, switch.fixed + moved * switch.per_byte, 0, 0, HAND_OVER, -1, -1, joules, draft)
    use(switch.memory, 0.0, switch.closed, draft)
    if places.lanes > 1:
        touch(len(world.toucher) - 1, switch.memory, WRITES, draft, world)


@in_place
def move(a: int, place: int, layout: Layout, places: Places, draft: Draft, world: World) -> None:
    """Append the transfers along links that bring an allocation towards ``place``; a hand-over at the end is left to do."""
    way = way_to(a, place, layout.allocation, places, world.state)
    if way < 0:
        return
    cargo = load(a, layout.allocation[a].bytes, 0, places.streams > 1, -1, -1, WRITES, False)
    carry(cargo, way, layout.allocation, places, draft, world)
