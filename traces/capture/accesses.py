"""What each launch reads and writes: values, bytes, strides."""

from collections import Counter
from dataclasses import dataclass, replace

from traces.capture.buffers import Buffers
from traces.capture.footprint import Footprint, Touched, footprint
from traces.capture.heroes import hero, is_triton
from traces.capture.hlo import Computation, Index, Instruction, Shape, bits
from traces.capture.library import describe, workspaces
from traces.capture.schedule import Launch, Schedule
from traces.capture.values import Value, Values


@dataclass(slots=True)
class Access:
    """One launch reads or writes one value; amounts in bytes."""

    value: Value
    writes: bool
    unique: float
    requested: float
    stride: str


class Accesses:
    """Finds the accesses of launches, in order: a copy that prepares a library call changes what the call reads."""

    def __init__(self, values: Values, schedule: Schedule, buffers: Buffers) -> None:
        self.values = values
        self.schedule = schedule
        self.buffers = buffers
        self._footprints: dict[tuple[str, tuple[tuple[Index, int], ...]], Footprint] = {}
        self._kernels = {launch.instruction.name for launch in schedule.launches if launch.thunk.kind != "kCopy"}
        self._copied: dict[str, dict[int, Index]] = {}

    def of(self, launch: Launch) -> list[Access]:
        """Return the launch's accesses, reads first."""
        kind, instruction = launch.thunk.kind, launch.instruction
        if kind == "kTpuMove":
            found = self._moved(instruction)
        elif kind == "kCopy" and (instruction.opcode != "fusion" or instruction.name in self._kernels):
            found = self._copy(instruction)
        elif kind.startswith("kMem"):
            found = [self._write(instruction, index, None) for index, _ in instruction.shape.leaves()]
        elif instruction.opcode == "fusion" and not _holds_sort(instruction):
            found = self._fusion(instruction)
            if kind in ("kDynamicSliceFusion", "kCopy") or is_triton(instruction):  # offsets are read and tiles loaded once
                found = [replace(access, requested=access.unique) for access in found]
        else:
            found = self._whole(instruction)
        return _merged(found, self.values)

    def _moved(self, instruction: Instruction) -> list[Access]:
        """A TPU's transfer reads as much as it writes; that of an asynchronous one's tuple which names the source and a semaphore too."""
        index: Index = {"copy-start": (0,), "slice-start": (1,)}.get(instruction.opcode, ())
        part = instruction.shape.at(index).size if instruction.opcode == "slice-start" else None
        touched = None if part is None else Touched(part, part, "contiguous")
        return [*(self._read(instruction, n, touched) for n in range(len(instruction.operands))), self._write(instruction, index, None)]

    def _copy(self, instruction: Instruction) -> list[Access]:
        """A copy of its own, or one that makes room for an instruction that works in place."""
        operand, index = 0, next(i for i, _ in instruction.shape.leaves())
        if instruction.opcode != "copy":
            copied = self._copied.setdefault(instruction.name, {})
            pairs = [(o, i) for o, i in self._in_place_pairs(instruction) if o not in copied]
            operand, index = pairs[0] if pairs else (operand, index)
            copied[operand] = index
        return [self._read(instruction, operand, None), self._write(instruction, index, None)]

    def _in_place_pairs(self, instruction: Instruction) -> list[tuple[int, Index]]:
        """(operand, result) of equal shape that are not one buffer already."""
        pairs, used = [], set()
        for index, shape in instruction.shape.leaves():
            for number in range(len(instruction.operands)):
                operand = instruction.operand(number).shape
                if number not in used and operand.elements is None and (operand.dtype, operand.dims) == (shape.dtype, shape.dims):
                    used.add(number)
                    if not self.buffers.same_place(self.values.operand(instruction, number), self.values.resolve(instruction, index)):
                        pairs.append((number, index))
                    break
        if instruction.target == "__cublas$triangularSolve":
            return [(1, (0,))]
        return pairs

    def _fusion(self, instruction: Instruction) -> list[Access]:
        print_ = self._footprint(instruction)
        reads = [self._read(instruction, number, print_.reads.get(number)) for number in range(len(instruction.operands))]
        return reads + [self._write(instruction, index, print_.writes.get(index)) for index, _ in instruction.shape.leaves()]

    def _footprint(self, instruction: Instruction) -> Footprint:
        computation = instruction.called_by("calls")
        pairs = tuple(self._updated_in_place(instruction, computation))
        key = (computation.name, pairs)
        if key not in self._footprints:
            self._footprints[key] = footprint(computation, hero(instruction), pairs)
        return self._footprints[key]

    def _updated_in_place(self, instruction: Instruction, computation: Computation) -> list[tuple[Index, int]]:
        """(result, parameter) that are the same bytes of memory."""
        operands = [self.values.operand(instruction, number) for number in range(len(computation.parameters))]
        results = {index: self.values.resolve(instruction, index) for index, _ in instruction.shape.leaves()}
        same = self.buffers.same_place
        return [(index, n) for index, result in results.items() for n, operand in enumerate(operands) if same(operand, result)]

    def _whole(self, instruction: Instruction) -> list[Access]:
        """Library calls, sorts and Triton kernels: every operand and result as a whole, scratch memory aside."""
        scratch = workspaces(instruction)
        shares = describe(instruction).shares if instruction.opcode == "custom-call" else {}
        copied = self._copied.get(instruction.name, {})
        found = []
        for number in range(len(instruction.operands)):
            for index, shape in instruction.operand(number).shape.leaves():
                value = self.values.resolve(instruction.operand(number), index)
                if number in copied:
                    value = self.values.resolve(instruction, copied[number])
                amount = shape.bytes * shares.get(number, 1.0)
                found.append(Access(value, False, amount, amount, "contiguous"))
        for index, _ in instruction.shape.leaves():
            touched = Touched(0.0, 0.0, "contiguous") if index in scratch else None
            found.append(self._write(instruction, index, touched))
        return found

    def _read(self, instruction: Instruction, number: int, touched: Touched | None) -> Access:
        operand = instruction.operand(number)
        return _access(self.values.resolve(operand), operand.shape, False, touched)

    def _write(self, instruction: Instruction, index: Index, touched: Touched | None) -> Access:
        return _access(self.values.resolve(instruction, index), instruction.shape.at(index), True, touched)


def _holds_sort(fusion: Instruction) -> bool:
    return any(i.opcode == "sort" for i in fusion.called_by("calls").instructions.values())


def _access(value: Value, shape: Shape, writes: bool, touched: Touched | None) -> Access:
    if touched is None:
        return Access(value, writes, float(shape.bytes), float(shape.bytes), "contiguous" if shape.size > 1 or writes else "broadcast")
    width = bits(shape.dtype) / 8
    return Access(value, writes, touched.unique * width, touched.requested * width, touched.stride)


def _merged(found: list[Access], values: Values) -> list[Access]:
    """Join accesses of one value in one mode; drop operands of which nothing is read."""
    counts = Counter((a.value, a.writes) for a in found)
    merged: dict[tuple[Value, bool], Access] = {}
    for access in found:
        key = (access.value, access.writes)
        if access.requested == 0 and not access.writes:
            continue
        if key not in merged:
            merged[key] = access
        elif counts[key] > 1:
            merged[key] = _joined(merged[key], access, float(values.shape(access.value).bytes))
    return sorted(merged.values(), key=lambda a: a.writes)


def _joined(one: Access, other: Access, limit: float) -> Access:
    larger = max(one, other, key=lambda a: a.requested)
    return Access(one.value, one.writes, min(limit, one.unique + other.unique), one.requested + other.requested, larger.stride)
