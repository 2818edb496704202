"""Alias sets and lifetimes of tensors, from the schedule.

Values share an allocation (one alias set) if a loop carries one into the other, if the program donates a parameter to an
output, or if a launch writes one over the other: its operand, which ends there, and its result have the same bytes in XLA's
buffer assignment. A set lives from the first launch that touches it to the last; through the whole of a loop if it
exists before the loop and is touched in it, or is carried around it. Results are reserved earlier: XLA allocates them before the
first launch, and may keep other values there until they are written.
"""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from traces.capture.buffers import Buffers
from traces.capture.hlo import Instruction
from traces.capture.schedule import Region, Schedule
from traces.capture.values import Value, Values

Ints = NDArray[np.int64]


class AliasSets:
    """Disjoint sets of values (union-find)."""

    def __init__(self) -> None:
        self._parent: dict[Value, Value] = {}

    def find(self, value: Value) -> Value:
        """Return the set's representative."""
        while (above := self._parent.get(value, value)) != value:
            self._parent[value] = self._parent.get(above, above)
            value = above
        return value

    def union(self, one: Value, other: Value) -> None:
        """Make two values one allocation."""
        one, other = self.find(one), self.find(other)
        if one != other:
            self._parent[other] = one

    def numbers(self, values: Iterable[Value]) -> list[int]:
        """Return a number for each value's set, from 0 in order of appearance."""
        seen: dict[Value, int] = {}
        return [seen.setdefault(self.find(v), len(seen)) for v in values]


def alias_sets(values: Values, schedule: Schedule, buffers: Buffers) -> AliasSets:
    """Return which values are one allocation."""
    sets = AliasSets()
    for region in schedule.regions:
        if region.loop is not None:
            for before, after in values.carried(region.loop):
                sets.union(before, after)
    outputs = dict(zip([i for i, _ in values.module.entry.root.shape.leaves()], values.outputs(), strict=True))
    for output, (number, index) in values.module.input_output_alias.items():
        sets.union((values.module.entry.parameters[number].name, index), outputs[output])
    for launch in schedule.launches:
        for operand, result in _in_place(launch.instruction, values, buffers):
            sets.union(operand, result)
    return sets


def _in_place(instruction: Instruction, values: Values, buffers: Buffers) -> Iterable[tuple[Value, Value]]:
    """Yield (operand, result) of an instruction that have the same bytes of memory."""
    operands = [instruction.operand(number) for number in range(len(instruction.operands))]
    before = [values.resolve(operand, index) for operand in operands for index, _ in operand.shape.leaves()]
    places = {place: value for value in before if (place := buffers.place.get(value)) is not None}
    for index, _ in instruction.shape.leaves():
        result = values.resolve(instruction, index)
        place = buffers.place.get(result)
        if place in places and place is not None:
            yield places[place], result


def lifetimes(set_of: Ints, launch: Ints, carried: dict[int, set[int]], regions: list[Region], sets: int) -> tuple[Ints, Ints]:
    """Return the first and the last launch of each alias set; -1 for a set that no launch touches.

    Parameters
    ----------
    set_of, launch
        The alias set and the launch of each access.
    carried
        From the row of a loop region to the alias sets that it carries.
    regions, sets
        The regions in their order (outer before inner), and the number of alias sets.
    """
    first = np.full(sets, np.iinfo(np.int64).max)
    last = np.full(sets, -1)
    np.minimum.at(first, set_of, launch)
    np.maximum.at(last, set_of, launch)
    for row in reversed(range(len(regions))):
        region = regions[row]
        if region.kind != "loop" or region.first == region.end:
            continue
        inside = np.unique(set_of[(launch >= region.first) & (launch < region.end)])
        around = np.array(sorted(carried.get(row, set())), dtype=np.int64)
        outlives = np.union1d(inside[(first[inside] < region.first) | (last[inside] >= region.end)], around)
        last[outlives] = np.maximum(last[outlives], region.end - 1)
        first[around] = np.minimum(first[around], region.first)
    first[last < 0] = -1
    return first, last


def reserved(first: Ints, last: Ints, allocations: dict[int, set[int]], outputs: set[int]) -> Ints:
    """Return first launches in which a result's memory is taken as soon as nothing else is there.

    Parameters
    ----------
    first, last
        First and last launch of each alias set that touch it; -1 for a set that no launch touches.
    allocations
        Which alias sets live in each of the compiler's allocations.
    outputs
        The alias sets of the program's results.
    """
    earlier = first.copy()
    for inside in allocations.values():
        for number in sorted(inside & outputs):
            others = [other for other in inside if other != number]
            if first[number] >= 0 and all(last[other] < first[number] for other in others):
                earlier[number] = max((last[other] + 1 for other in others), default=0)
    return earlier
