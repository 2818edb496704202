"""Planning, the compiled part: tensors that live in another memory between uses: fetched ahead, and evicted.

Whole allocations are followed like all others, by where they are valid. Slices are not: each launch has a buffer of its own
(number A + kernel among what is touched), filled before it and written back after it, and the allocation stays at home.
Beside these there is one thing that every kernel reads, so that a fetch can await all kernels launched before it (A + K), and
one for each write-back that may be under way (from A + K + 1 on).
"""

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from codesign.engine.drafting import (
    ALONE,
    EVICTED,
    GOES_ON,
    LOOPS,
    NO_WAY,
    OPS,
    READS,
    STATUS,
    WHERE,
    WRITES,
    Cargo,
    Draft,
    World,
    carry,
    change,
    drop_copies,
    load,
    touch,
    way_to,
)  # fmt: skip
from codesign.engine.layout import Layout
from codesign.engine.places import Places
from codesign.engine.program import Indices, Ints, Rows
from traces.compiled import in_place
from traces.errors import MappingError

if TYPE_CHECKING:
    from arch.machine import Machine
    from schedulers.tensors import Offload
    from traces.trace import Trace


class Offloading(NamedTuple):
    """What is offloaded, as arrays: A allocations, K kernels; of each kernel what it reads and writes that is not at home where it runs."""

    distance: int
    slices: bool
    stream: int  # of copies: 1, or 0 where kernels wait for them
    write_backs: int
    home: Indices  # [A] memory, -1: none
    read_start: Ints  # [K + 1]
    read: Indices
    read_bytes: Ints
    write_start: Ints  # [K + 1]
    write: Indices
    write_bytes: Ints
    window: Ints  # [distance + 1] kernels to come
    rounds: Ints  # [L] room for looking ahead
    last: Ints  # [L] is the iteration being written the loop's last?


def offloading_of(offload: "Offload", trace: "Trace", layout: Layout, places: Places, device: Indices, machine: "Machine") -> Offloading:
    """Return what ``offload`` means for kernels on these devices. Raises MappingError for slices that a hand-over would have to move."""
    home = np.full(len(layout.allocation), -1, np.int32)
    home[:] = offload.home[layout.allocation["tensor"]]
    here = places.device[device]
    needs = ~trace.access_writes if offload.slices else trace.access_needs
    reads = _away(trace, home, here["memory"], needs, offload.slices, layout)
    writes = _away(trace, home, here["memory"], trace.access_writes, offload.slices, layout)
    if offload.slices:
        _check_views(trace, machine, device, here["hand_over"] >= 0, (reads[0], writes[0]))
    loops = np.zeros(len(layout.loop), np.int64)
    stream = 0 if offload.synchronous else 1
    window = np.zeros(offload.distance + 1, np.int64)
    return Offloading(offload.distance, offload.slices, stream, offload.write_backs, home, *reads, *writes, window, loops, loops.copy())


def _away(
    trace: "Trace", home: Indices, memory: Indices, chosen: npt.NDArray[np.bool_], slices: bool, layout: Layout
) -> tuple[Ints, Indices, Ints]:
    """Return by kernel the allocations that it touches by the chosen accesses away from their home, and the bytes to move of each."""
    kernel, alias = trace.accesses["kernel"], trace.access_alias
    mine = np.flatnonzero(chosen & (home[alias] >= 0) & (home[alias] != memory[kernel]))
    pairs, at = np.unique(np.stack([kernel[mine], alias[mine]], axis=1).astype(np.int64), axis=0, return_inverse=True)
    pairs = pairs.reshape(-1, 2)
    whole = layout.allocation["bytes"][pairs[:, 1]]
    part = np.bincount(at.reshape(-1), np.nan_to_num(trace.accesses["bytes_unique"][mine]), minlength=len(pairs))
    start = np.searchsorted(pairs[:, 0], np.arange(len(trace.kernels) + 1))
    moved = np.minimum(np.ceil(part).astype(np.int64), whole) if slices else whole.astype(np.int64)
    return start.astype(np.int64), pairs[:, 1].astype(np.int32), moved


def _check_views(trace: "Trace", machine: "Machine", device: Indices, handed: npt.NDArray[np.bool_], starts: tuple[Ints, Ints]) -> None:
    moved = (np.diff(starts[0]) > 0) | (np.diff(starts[1]) > 0)
    wrong = np.flatnonzero(handed & moved)
    if len(wrong):
        row = int(wrong[0])
        raise MappingError(
            f"slices of offloaded tensors can go to devices that need no hand-over, but kernel {row} ({trace.kernels['name'][row]!r}) "
            f"is on {machine.devices[int(device[row])].id!r}: offload whole allocations (slices=False), or map it to another device"
        )


def without_slices(layout: Layout, off: Offloading) -> Layout:
    """Return the layout without the accesses that go to buffers of their own."""
    if not off.slices:
        return layout
    kernel = layout.kernel.copy()
    reads = _without(kernel, "read", layout.reads, off.read_start, off.read)
    reads = _without(kernel, "read", reads, off.write_start, off.write)  # a slice that is updated needs no rest
    writes = _without(kernel, "write", layout.writes, off.write_start, off.write)
    return layout._replace(kernel=kernel, reads=reads, writes=writes)


def _without(kernel: Rows, mode: str, items: Indices, start: Ints, away: Indices) -> Indices:
    count = len(kernel)
    rows = np.repeat(np.arange(count), kernel[f"{mode}_end"] - kernel[f"{mode}_start"])
    wide = np.int64(max(items.max(initial=0), away.max(initial=0)) + 1)
    keep = ~np.isin(rows * wide + items, np.repeat(np.arange(count), np.diff(start)) * wide + away)
    bounds = np.searchsorted(rows[keep], np.arange(count + 1))
    kernel[f"{mode}_start"], kernel[f"{mode}_end"] = bounds[:-1], bounds[1:]
    return items[keep]


@in_place
def look_ahead(at: int, kernel: int, layout: Layout, off: Offloading) -> int:
    """Fill the window with the kernels that are launched after ``kernel``, on stretch ``at`` of the tape; return how many there are.

    At the end of a loop it goes on with the next iteration, if there is one, but never to the same kernel again.
    """
    tape, window, rounds = layout.tape, off.window, off.rounds
    rounds[:] = 0
    count, begin = 0, kernel + 1
    while at < len(tape):
        row = tape[at]
        if row.code == 0:
            for k in range(max(begin, row.a), row.b):
                if count == len(window) or k == kernel:
                    return count
                window[count] = k
                count += 1
        elif row.code == 1:
            rounds[row.a] = layout.loop[row.a].trips
        elif rounds[row.a] > 1 or (rounds[row.a] == 0 and not off.last[row.a]):
            rounds[row.a] = max(0, rounds[row.a] - 1)
            at = row.b
        begin = 0
        at += 1
    return count


@in_place
def before_kernel(kernel: int, layout: Layout, places: Places, cost: Rows, off: Offloading, draft: Draft, world: World) -> None:
    """Fetch the slices that a kernel needs now, if they are not on the way."""
    if off.slices:
        ahead = len(world.state) - 1
        if world.state[ahead] == 0:
            fetch_slices(kernel, -1, layout, places, cost, off, draft, world)
        else:
            world.state[ahead] -= 1


@in_place
def touch_launch(kernel: int, memory: int, layout: Layout, off: Offloading, draft: Draft, world: World) -> None:
    """Let the launch written last read what shows that it has ended, and wait for buffers and for write-backs that are too many."""
    base, kernels = len(layout.allocation), len(layout.kernel)
    touch(base + kernels, 0, READS, draft, world)
    counter = world.state[len(world.state) - 2]
    writes = off.write_start[kernel + 1] - off.write_start[kernel]
    for n in range(min(writes, off.write_backs)):
        touch(base + kernels + 1 + (counter + n) % off.write_backs, 0, READS, draft, world)
    if off.slices:
        if off.read_start[kernel + 1] > off.read_start[kernel]:
            touch(base + kernel, memory, READS, draft, world)
        if writes > 0:
            touch(base + kernel, memory, WRITES, draft, world)
        need_until_its_end(kernel, off, draft, world)


@in_place
def need_until_its_end(kernel: int, off: Offloading, draft: Draft, world: World) -> None:
    """Let what the launch written last has in its buffers be released, at home, with it at the earliest.

    What filled a buffer may lie in the iteration before, whose loop runs more or less often.
    """
    launch = np.int32(draft.size[OPS] - 1)
    for r in range(off.read_start[kernel], off.read_start[kernel + 1]):
        world.toucher[off.read[r]] = launch
    for w in range(off.write_start[kernel], off.write_start[kernel + 1]):
        world.toucher[off.write[w]] = launch


@in_place
def after_kernel(at: int, kernel: int, layout: Layout, places: Places, cost: Rows, off: Offloading, draft: Draft, world: World) -> None:
    """After a kernel: write back or drop what is not needed soon, and fetch what is."""
    count, gate = look_ahead(at, kernel, layout, off), len(layout.allocation) + len(layout.kernel)
    if off.slices:
        leave_slices(kernel, layout, places, cost, off, draft, world)
        ahead = len(world.state) - 1
        for n in range(world.state[ahead], count):
            if reads_what_comes(n, layout, off):
                break
            fetch_slices(off.window[n], gate, layout, places, cost, off, draft, world)
            world.state[ahead] = n + 1
        return
    for r in range(off.read_start[kernel], off.read_start[kernel + 1]):
        evict(off.read[r], count, layout, places, off, draft, world)
    for w in range(off.write_start[kernel], off.write_start[kernel + 1]):
        evict(off.write[w], count, layout, places, off, draft, world)
    for n in range(count):
        place = places.device[cost[off.window[n]].device].place
        for r in range(off.read_start[off.window[n]], off.read_start[off.window[n] + 1]):
            if not written_before(off.read[r], n, layout, off):
                fetch(off.read[r], place, gate, layout, places, off, draft, world)


@in_place
def reads_what_comes(n: int, layout: Layout, off: Offloading) -> bool:
    """Does kernel ``n`` of the window read what a kernel before it there has still to write?"""
    for r in range(off.read_start[off.window[n]], off.read_start[off.window[n] + 1]):  # noqa: SIM110
        if written_before(off.read[r], n, layout, off):
            return True
    return False


@in_place
def needed_soon(a: int, count: int, off: Offloading) -> bool:
    """Does one of the kernels to come touch the allocation away from its home?"""
    for n in range(count):
        k = off.window[n]
        for r in range(off.read_start[k], off.read_start[k + 1]):
            if off.read[r] == a:
                return True
        for w in range(off.write_start[k], off.write_start[k + 1]):
            if off.write[w] == a:
                return True
    return False


@in_place
def written_before(a: int, count: int, layout: Layout, off: Offloading) -> bool:
    """Does one of the next ``count`` kernels write the allocation, wherever that is?"""
    for n in range(count):
        row = layout.kernel[off.window[n]]
        for w in range(row.write_start, row.write_end):
            if layout.writes[w] == a:
                return True
        for w in range(off.write_start[off.window[n]], off.write_start[off.window[n] + 1]):
            if off.write[w] == a:
                return True
    return False


@in_place
def evict(a: int, count: int, layout: Layout, places: Places, off: Offloading, draft: Draft, world: World) -> None:
    """Leave the allocation at home only, unless it is needed soon: write it back if it is not valid there, release its other copies."""
    home, state = off.home[a], world.state
    if state[a] == 0 or state[a] == 1 << home or needed_soon(a, count, off):
        return
    if not state[a] >> home & 1:
        way = way_to(a, home, layout.allocation, places, state)
        if way < 0 or places.hop[places.way[way].hop_start] < 0:  # it would take a hand-over: it stays
            return
        cargo = load(a, layout.allocation[a].bytes, off.stream, off.stream > 0, -1, -1, WRITES, True)
        write_back(cargo, way, layout, places, off, draft, world)
    drop_copies(a, home, layout.allocation, places.memory, draft, world)
    state[a] = 1 << home
    draft.size[EVICTED] += 1


@in_place
def write_back(cargo: Cargo, way: int, layout: Layout, places: Places, off: Offloading, draft: Draft, world: World) -> None:
    """Append the transfers of a write-back; the last operation tells later kernels that it has ended."""
    gate, counter = len(layout.allocation) + len(layout.kernel), len(world.state) - 2
    if not carry(cargo, way, layout.allocation, places, draft, world):
        return
    touch(gate + 1 + world.state[counter], 0, WRITES, draft, world)
    world.state[counter] = (world.state[counter] + 1) % off.write_backs
    if off.stream == 0:
        touch(gate, 0, WRITES, draft, world)


@in_place
def fetch(a: int, place: int, gate: int, layout: Layout, places: Places, off: Offloading, draft: Draft, world: World) -> None:
    """Append the transfers that bring an allocation towards a place, once all kernels before have ended."""
    way = way_to(a, place, layout.allocation, places, world.state)
    if way >= 0 and places.hop[places.way[way].hop_start] >= 0:
        cargo = load(a, layout.allocation[a].bytes, off.stream, off.stream > 0, gate, -1, WRITES, False)
        carry(cargo, way, layout.allocation, places, draft, world)


@in_place
def fetch_slices(kernel: int, gate: int, layout: Layout, places: Places, cost: Rows, off: Offloading, draft: Draft, world: World) -> None:
    """Append the transfers that fill the buffer of a kernel."""
    buffer, here, how = len(layout.allocation) + kernel, places.device[cost[kernel].device], WRITES
    for r in range(off.read_start[kernel], off.read_start[kernel + 1]):
        a, moved = off.read[r], off.read_bytes[r]
        way = off.home[a] * len(places.memory) + here.memory
        if not passable(way, here.memory, places, draft):
            return
        first = draft.size[OPS]
        carry(load(a, moved, off.stream, off.stream > 0, gate, buffer, how, False), way, layout.allocation, places, draft, world)
        if world.state[a] == 0:  # nothing has written it: it comes to be at home
            change(first, off.home[a], layout.allocation[a].tensor, layout.allocation[a].bytes, False, ALONE, draft, world)
            world.state[a] = 1 << off.home[a]
        leave_between(a, moved, way, layout.allocation, places, draft, world)
        how = GOES_ON


@in_place
def passable(way: int, memory: int, places: Places, draft: Draft) -> bool:
    """Is there a way?"""
    if places.way[way].fixed == np.inf:
        draft.size[STATUS], draft.size[WHERE] = NO_WAY, memory
        return False
    return True


@in_place
def leave_between(a: int, moved: int, way: int, allocation: Rows, places: Places, draft: Draft, world: World) -> None:
    """Release the buffers in the memories on the way, once the last piece has left them."""
    for k in range(places.way[way].hop_start, places.way[way].hop_end - 1):
        change(draft.size[OPS] - 1, places.channel[places.hop[k]].target, allocation[a].tensor, -moved, True, ALONE, draft, world)


@in_place
def leave_slices(kernel: int, layout: Layout, places: Places, cost: Rows, off: Offloading, draft: Draft, world: World) -> None:
    """Release what a kernel has read, and write back what it has written."""
    here = places.device[cost[kernel].device]
    buffer, done = len(layout.allocation) + kernel, world.toucher[len(layout.allocation) + len(layout.kernel)]
    for r in range(off.read_start[kernel], off.read_start[kernel + 1]):
        release_buffer(done, here.memory, layout.allocation[off.read[r]].tensor, off.read_bytes[r], draft, world)
    for w in range(off.write_start[kernel], off.write_start[kernel + 1]):
        a, moved = off.write[w], off.write_bytes[w]
        way = here.memory * len(places.memory) + off.home[a]
        if not passable(way, off.home[a], places, draft):
            return
        change(done, here.memory, layout.allocation[a].tensor, moved, False, launches_of(done, draft), draft, world)
        if dies_with(a, kernel, layout):
            release_buffer(done, here.memory, layout.allocation[a].tensor, moved, draft, world)
            continue
        cargo = load(a, moved, off.stream, off.stream > 0, -1, buffer, WRITES, True)
        write_back(cargo, way, layout, places, off, draft, world)
        leave_between(a, moved, way, layout.allocation, places, draft, world)
        change(draft.size[OPS] - 1, here.memory, layout.allocation[a].tensor, -moved, True, ALONE, draft, world)
        draft.size[EVICTED] += 1


@in_place
def dies_with(a: int, kernel: int, layout: Layout) -> bool:
    """Does nothing need the allocation after this kernel?"""
    for d in range(layout.kernel[kernel].dies_start, layout.kernel[kernel].dies_end):  # noqa: SIM110
        if layout.row_dies[d] == a:
            return True
    return False


@in_place
def launches_of(i: int, draft: Draft) -> int:
    """Return how many instances of an operation are one execution of its kernel: loops that have been written around it."""
    every = 1
    for k in range(draft.size[LOOPS]):
        if draft.loop[k].first <= i < draft.loop[k].end:
            every *= draft.loop[k].count
    return every


@in_place
def release_buffer(i: int, memory: int, tensor: int, moved: int, draft: Draft, world: World) -> None:
    """Release a buffer when operation ``i`` has ended, in its last instance."""
    change(i, memory, tensor, -moved, True, launches_of(i, draft), draft, world)
