"""Which elements of its operands a fused computation touches, how often it asks for them, and with what stride.

Demands travel from the results back to the parameters. A demand is a box of elements of an instruction, how many reads
stand behind it, and where neighbouring threads step. Slices, pads, concatenations, transposes, broadcasts, reductions
and bitcasts turn one demand into demands of their operands; a gather or a dynamic slice touches as many elements as it
takes, at positions that are not known. Demands that reach an instruction by the same chain of index maps are one: the
element is computed (and its operands are read) once for all users at that index, as XLA's emitters do.

- *unique*: elements touched, each once (the union of the boxes);
- *requested*: elements asked for, one for each demand behind them (a broadcast asks again and again);
- *stride*: 'contiguous' if neighbouring threads touch neighbouring elements, 'strided' if they step over a few,
  'transposed' if they step along a dimension that is not the fastest, 'broadcast' if all touch the same, 'gather'
  if an index array says. Neighbouring threads are neighbours in the layout of the result; in input fusions of reductions
  and transposes they are neighbours in the layout of the operand (those emitters tile).
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from math import prod

from traces.capture.boxes import Box, bounding, clipped, shifted, through_bitcast, union_volume, volume, whole
from traces.capture.hlo import Computation, Index, Instruction, Shape

LIMIT = 48
"""Demands kept apart at one instruction; more are merged into one."""

Step = tuple[int, int] | str
"""Where the next thread's element is: (dimension, distance), or 'broadcast', or 'gather'."""


@dataclass(frozen=True, slots=True)
class Demand:
    """``box`` is None where positions are unknown: then ``count`` elements, somewhere."""

    path: tuple[object, ...]
    box: Box | None
    count: float
    requested: float
    step: Step
    skips: bool = False
    """A thread takes a run of elements along faster dimensions itself."""


@dataclass(frozen=True, slots=True)
class Touched:
    """Elements of one operand or result: each once, by request, and the stride class."""

    unique: float
    requested: float
    stride: str


@dataclass(frozen=True, slots=True)
class Footprint:
    """``reads`` by parameter number, ``writes`` by index of the result."""

    reads: dict[int, Touched]
    writes: dict[Index, Touched]


def footprint(computation: Computation, hero: str = "", in_place: Iterable[tuple[Index, int]] = ()) -> Footprint:
    """Analyse a fused computation.

    Parameters
    ----------
    computation
        The fused computation.
    hero
        The opcode whose operand the threads follow, of an input fusion ('reduce', 'transpose', ...); else ''.
    in_place
        (result index, parameter number) pairs that are one buffer: a root that updates such a parameter neither reads
        nor writes the rest of it.
    """
    return _Analysis(computation, hero, dict(in_place)).run()


class _Analysis:
    def __init__(self, computation: Computation, hero: str, in_place: dict[Index, int]) -> None:
        self.computation = computation
        self.hero = hero
        self.in_place = in_place
        self.demands: dict[str, dict[tuple[object, ...], Demand]] = {}
        self.writes: dict[Index, Touched] = {}

    def run(self) -> Footprint:
        for index, root, shape in _roots(self.computation):
            self._start(index, root, shape)
        reads: dict[int, Touched] = {}
        for instruction in reversed(self.computation.instructions.values()):
            demands = list(self.demands.pop(instruction.name, {}).values())
            if instruction.opcode == "parameter":
                reads[int(instruction.literal)] = _touched(instruction.shape, demands)
            elif demands:
                self._pass_on(instruction, _limited(demands))
        return Footprint(reads, self.writes)

    def _start(self, index: Index, root: Instruction, shape: Shape) -> None:
        """Demand a result; one that updates a buffer in place demands only the update."""
        hero = _through_views(root)
        if self.in_place.get(index) is not None and self._updates(hero, self.in_place[index]):
            self._start_update(index, hero)
            return
        self.writes[index] = Touched(shape.size, shape.size, "contiguous")
        self._demand(root, Demand(("root", shape.dims, shape.minor_to_major), whole(shape), shape.size, shape.size, _fastest(shape)))

    def _updates(self, hero: Instruction, number: int) -> bool:
        if hero.opcode not in ("dynamic-update-slice", "scatter"):
            return False
        target = _through_views(hero.operand(0))
        return target.opcode == "parameter" and int(target.literal) == number

    def _start_update(self, index: Index, hero: Instruction) -> None:
        is_scatter = hero.opcode == "scatter"
        update = hero.operand(2 if is_scatter else 1)
        size = update.shape.size
        self.writes[index] = Touched(min(size, hero.shape.size), size, "gather" if is_scatter else "contiguous")
        demand = Demand(("update", update.shape.dims), whole(update.shape), size, size, _fastest(update.shape))
        self._demand(update, demand)
        if is_scatter:
            self._scatter_indices(hero, demand)
        else:
            self._dynamic_starts(hero, 2, demand)

    def _scatter_indices(self, hero: Instruction, demand: Demand) -> None:
        indices, size = hero.operand(1), demand.count
        asked = max(size, indices.shape.size)
        self._demand(indices, Demand((*demand.path, "i"), whole(indices.shape), indices.shape.size, asked, "broadcast"))
        combined = hero.called[0]
        if any(combined.parameters[0].name in i.operands for i in combined.instructions.values()):
            old = Demand((*demand.path, "old"), None, min(size, hero.shape.size), size, "gather")
            self._demand(hero.operand(0), old)

    def _demand(self, instruction: Instruction, demand: Demand) -> None:
        if instruction.opcode in ("constant", "iota") or demand.count <= 0:
            return
        known = self.demands.setdefault(instruction.name, {})
        same = known.get(demand.path)
        if same is None or same.requested < demand.requested:
            known[demand.path] = demand

    def _pass_on(self, instruction: Instruction, demands: list[Demand]) -> None:
        rule = _RULES.get(instruction.opcode)
        if instruction.opcode in ("dynamic-slice", "dynamic-update-slice"):
            for demand in demands:
                self._dynamic_starts(instruction, 1 if instruction.opcode == "dynamic-slice" else 2, demand)
        for demand in demands:
            if rule is not None:
                for number, passed in rule(instruction, demand):
                    self._demand(instruction.operand(number), self._tiled(instruction, number, passed))
            else:
                self._pass_default(instruction, demand)

    def _tiled(self, instruction: Instruction, number: int, demand: Demand) -> Demand:
        """In an input fusion threads walk along the operand of the reduction or transpose."""
        follows = self.hero == instruction.opcode and self.hero in ("reduce", "transpose")
        if follows and demand.box is not None and demand.step != "gather":
            return replace(demand, step=_fastest(instruction.operand(number).shape), skips=False)
        return demand

    def _pass_default(self, instruction: Instruction, demand: Demand) -> None:
        """Elementwise for operands of the result's shape; anything else needs all of its operands."""
        _, result = next(instruction.shape.leaves())
        for number in range(len(instruction.operands)):
            operand = instruction.operand(number)
            if operand.shape.elements is not None or operand.shape.dims == result.dims:
                self._demand(operand, demand)
            else:
                size, path = operand.shape.size, (*demand.path, instruction.name, number)
                asked = max(size, demand.requested) if size == 1 else size
                self._demand(operand, Demand(path, whole(operand.shape), size, asked, _fastest(operand.shape)))

    def _dynamic_starts(self, instruction: Instruction, first: int, demand: Demand) -> None:
        for number in range(first, len(instruction.operands)):
            operand = instruction.operand(number)
            self._demand(operand, Demand((*demand.path, "at"), whole(operand.shape), operand.shape.size, demand.requested, "broadcast"))


def _roots(computation: Computation) -> Iterator[tuple[Index, Instruction, Shape]]:
    """Yield each result: its index, the instruction that makes it, its shape."""
    root = computation.root
    for index, shape in root.shape.leaves():
        yield index, root.operand(index[0]) if root.opcode == "tuple" else root, shape


def _through_views(instruction: Instruction) -> Instruction:
    while instruction.opcode == "bitcast":
        instruction = instruction.operand(0)
    return instruction


def _fastest(shape: Shape) -> Step:
    """Return a step to the next element in memory."""
    for dim in shape.minor_to_major:
        if shape.dims[dim] > 1:
            return dim, 1
    return "broadcast"


def _limited(demands: list[Demand]) -> list[Demand]:
    if len(demands) <= LIMIT:
        return demands
    largest = max(demands, key=lambda d: d.requested)
    requested = sum(d.requested for d in demands)
    boxes = [d.box for d in demands if d.box is not None]
    count = union_volume(boxes) + sum(d.count for d in demands if d.box is None)
    box = bounding(boxes) if boxes and volume(bounding(boxes)) == count else None
    return [replace(largest, path=("merged", len(demands)), box=box, count=count, requested=requested)]


# One rule an opcode: from a demand of the result to (operand number, demand of that operand).
Passed = Iterable[tuple[int, Demand]]


def _broadcast(instruction: Instruction, demand: Demand) -> Passed:
    dims, operand = instruction.integers("dimensions"), instruction.operand(0).shape
    box = None if demand.box is None else tuple(demand.box[d] for d in dims)
    count = volume(box) if box is not None else min(demand.count, operand.size)
    step: Step = demand.step
    if isinstance(step, tuple):
        step = (dims.index(step[0]), step[1]) if step[0] in dims else "broadcast"
    yield 0, replace(demand, path=(*demand.path, "x", dims, operand.dims), box=box, count=count, step=step)


def _transpose(instruction: Instruction, demand: Demand) -> Passed:
    dims = instruction.integers("dimensions")
    box, step = demand.box, demand.step
    if box is not None:
        box = tuple(box[dims.index(d)] for d in range(len(dims)))
    if isinstance(step, tuple):
        step = (dims[step[0]], step[1])
    yield 0, replace(demand, path=(*demand.path, "t", dims), box=box, step=step)


def _slice(instruction: Instruction, demand: Demand) -> Passed:
    slices, step = instruction.slices, demand.step
    box = demand.box
    if box is not None:
        box = tuple(range(s + r.start * k, s + (r.stop - 1) * k + 1, r.step * k) for r, (s, _, k) in zip(box, slices, strict=True))
    if isinstance(step, tuple):
        step = (step[0], step[1] * slices[step[0]][2])
    yield 0, replace(demand, path=(*demand.path, "s", tuple(slices)), box=box, step=step)


def _part(demand: Demand, box: Box, path: tuple[object, ...]) -> Demand:
    """Return the part of a demand that falls into a box of another place."""
    assert demand.box is not None
    size = volume(box)
    return replace(demand, path=(*demand.path, *path), box=box, count=size, requested=demand.requested * size / max(1, volume(demand.box)))


def _share(demand: Demand, share: float, path: tuple[object, ...]) -> Demand:
    """Return a share of a demand whose positions are not known."""
    return replace(demand, path=(*demand.path, *path), count=demand.count * share, requested=demand.requested * share)


def _pad(instruction: Instruction, demand: Demand) -> Passed:
    padding, operand = instruction.padding, instruction.operand(0).shape
    path = ("p", tuple(padding))
    if demand.box is None or any(interior for _, _, interior in padding):
        passed = _share(demand, operand.size / max(1, instruction.shape.size), path)
        yield 0, passed if demand.box is None else replace(passed, box=whole(operand), count=operand.size)
        return
    pairs = zip(demand.box, padding, operand.dims, strict=True)
    yield 0, _part(demand, tuple(clipped(shifted(r, -low), 0, n) for r, (low, _, _), n in pairs), path)


def _concatenate(instruction: Instruction, demand: Demand) -> Passed:
    dim, offset = instruction.integers("dimensions")[0], 0
    for number in range(len(instruction.operands)):
        operand = instruction.operand(number).shape
        if demand.box is None:
            yield number, _share(demand, operand.size / max(1, instruction.shape.size), ("c", dim, offset))
        else:
            box = list(demand.box)
            box[dim] = clipped(shifted(box[dim], -offset), 0, operand.dims[dim])
            yield number, _part(demand, tuple(box), ("c", dim, offset))
        offset += operand.dims[dim]


def _reverse(instruction: Instruction, demand: Demand) -> Passed:
    dims, box = instruction.integers("dimensions"), demand.box
    if box is not None:
        sizes = instruction.shape.dims
        box = tuple(range(n - 1 - r[-1], n - r[0], r.step) if d in dims else r for d, (r, n) in enumerate(zip(box, sizes, strict=True)))
    yield 0, replace(demand, path=(*demand.path, "v", dims), box=box)


def _reduce(instruction: Instruction, demand: Demand) -> Passed:
    dims, count = instruction.integers("dimensions"), len(instruction.operands) // 2
    for number in range(count):
        shape = instruction.operand(number).shape
        yield number, _reduced(demand, shape, dims)
    for number in range(count, 2 * count):
        yield number, Demand((*demand.path, "init"), (), 1, demand.requested, "broadcast")


def _reduced(demand: Demand, shape: Shape, dims: tuple[int, ...]) -> Demand:
    kept, step, box = [d for d in range(len(shape.dims)) if d not in dims], demand.step, demand.box
    if box is not None:
        inner = iter(box)
        box = tuple(range(n) if d in dims else next(inner) for d, n in enumerate(shape.dims))
    skips = demand.skips
    if isinstance(step, tuple):
        step = (kept[step[0]], step[1])
        skips = skips or any(shape.strides[d] < shape.strides[step[0]] for d in dims)
    times, path = prod(shape.dims[d] for d in dims), (*demand.path, "r", dims)
    return Demand(path, box, demand.count * times, demand.requested * times, step, skips)


def _reduce_window(instruction: Instruction, demand: Demand) -> Passed:
    window = prod(int(n) for n in instruction.window["size"])
    for number in range(len(instruction.operands)):
        shape = instruction.operand(number).shape
        asked = demand.requested * window if shape.dims else demand.requested
        path = (*demand.path, "w", instruction.name)
        yield number, replace(demand, path=path, box=whole(shape), count=shape.size, requested=asked)


def _bitcast(instruction: Instruction, demand: Demand) -> Passed:
    seen, stored = instruction.shape, instruction.operand(0).shape
    path = (*demand.path, "b", seen.dims, seen.minor_to_major, stored.dims, stored.minor_to_major)
    if seen.size != stored.size:  # between types of different width
        yield 0, replace(demand, path=path, box=whole(stored), count=stored.size, requested=demand.requested * stored.size / seen.size)
        return
    box = None if demand.box is None else through_bitcast(demand.box, seen, stored)
    yield 0, replace(demand, path=path, box=box, step=_step_through(demand.step, seen, stored))


def _step_through(step: Step, seen: Shape, stored: Shape) -> Step:
    if not isinstance(step, tuple):
        return step
    distance = step[1] * seen.strides[step[0]]
    for dim in reversed(stored.minor_to_major):
        stride = stored.strides[dim]
        if stored.dims[dim] > 1 and stride <= max(1, abs(distance)):
            return dim, max(1, abs(distance) // stride)
    return _fastest(stored)


def _dynamic_slice(instruction: Instruction, demand: Demand) -> Passed:
    if demand.box is None:
        yield 0, replace(demand, path=(*demand.path, "d", instruction.name))
        return
    yield 0, replace(demand, path=(*demand.path, "d", *instruction.operands), box=None, count=volume(demand.box))


def _dynamic_update_slice(instruction: Instruction, demand: Demand) -> Passed:
    update, shape = instruction.operand(1).shape, instruction.shape
    share = update.size / max(1, shape.size)
    asked = max(update.size, demand.requested * share)
    yield 0, replace(_share(demand, 1 - share, ("u",)), box=None)
    yield 1, replace(demand, path=(*demand.path, "n"), box=whole(update), count=update.size, requested=asked)


def _gather(instruction: Instruction, demand: Demand) -> Passed:
    operand, indices = instruction.operand(0).shape, instruction.operand(1).shape
    window = instruction.integers("offset_dims")
    step: Step = "gather"
    if isinstance(demand.step, tuple) and demand.step[0] in window:
        collapsed = {*instruction.integers("collapsed_slice_dims"), *instruction.integers("operand_batching_dims")}
        dims = [d for d in range(len(operand.dims)) if d not in collapsed]
        step = (dims[window.index(demand.step[0])], demand.step[1])
    path = (*demand.path, "g", *instruction.operands)
    yield 0, replace(demand, path=path, box=None, count=min(operand.size, demand.count), step=step)
    along = "broadcast" if isinstance(step, tuple) else _fastest(indices)
    yield 1, Demand((*path, "i"), whole(indices), indices.size, max(indices.size, demand.requested), along)


def _dot(instruction: Instruction, demand: Demand) -> Passed:
    for number, key in ((0, "lhs_contracting_dims"), (1, "rhs_contracting_dims")):
        shape = instruction.operand(number).shape
        inner = prod(shape.dims[d] for d in instruction.integers(key))
        path = (*demand.path, "dot", number)
        yield number, Demand(path, whole(shape), shape.size, demand.requested * inner, _fastest(shape))


def _convolution(instruction: Instruction, demand: Demand) -> Passed:
    for number in (0, 1):
        shape = instruction.operand(number).shape
        yield number, Demand((*demand.path, "convolution", number), whole(shape), shape.size, shape.size, _fastest(shape))


_RULES: dict[str, Callable[[Instruction, Demand], Passed]] = {
    "broadcast": _broadcast,
    "transpose": _transpose,
    "slice": _slice,
    "pad": _pad,
    "concatenate": _concatenate,
    "reverse": _reverse,
    "reduce": _reduce,
    "reduce-window": _reduce_window,
    "bitcast": _bitcast,
    "reshape": _bitcast,
    "dynamic-slice": _dynamic_slice,
    "dynamic-update-slice": _dynamic_update_slice,
    "gather": _gather,
    "dot": _dot,
    "convolution": _convolution,
}


def _touched(shape: Shape, demands: list[Demand]) -> Touched:
    if not demands:
        return Touched(0, 0, "contiguous")
    boxes = [d.box for d in demands if d.box is not None]
    unique = min(shape.size, union_volume(boxes) + sum(d.count for d in demands if d.box is None))
    largest = max(demands, key=lambda d: d.requested)
    return Touched(unique, sum(d.requested for d in demands), _stride(shape, largest))


def _stride(shape: Shape, demand: Demand) -> str:
    """Name how neighbouring threads step through an operand."""
    if not isinstance(demand.step, tuple):
        return demand.step if shape.size > 1 else "broadcast"
    dim, distance = demand.step
    box = demand.box or whole(shape)
    faster = [d for d in shape.minor_to_major[: shape.minor_to_major.index(dim)] if shape.dims[d] > 1]
    if not faster:
        return "contiguous" if distance == 1 else "strided"
    if demand.skips or all(len(box[d]) == 1 for d in faster):
        return "strided"
    return "transposed"
