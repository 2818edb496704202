"""Which value each instruction reads: tuples, bitcasts, loops and branches make no tensors of their own.

A value is the array that one instruction writes, at one index of its (tuple) shape. Inside a loop's body a carried
array is the value it had before the loop: both are one allocation, which the alias sets say.
"""

from collections.abc import Iterator

from traces.capture.hlo import Computation, Index, Instruction, Module, Shape
from traces.capture.schedule import Schedule

Value = tuple[str, Index]
"""(name of the instruction that writes it, index into its shape)."""


class Values:
    """Resolves operands to values."""

    def __init__(self, module: Module, schedule: Schedule) -> None:
        self.module = module
        self.schedule = schedule
        self._callers = _callers(module)
        self._known: dict[Value, Value] = {}

    def resolve(self, instruction: Instruction, index: Index = ()) -> Value:
        """Return the value that an instruction hands on at an index of its shape."""
        key = (instruction.name, index)
        if key not in self._known:
            step = self._step(instruction, index)
            self._known[key] = key if step is None else self.resolve(*step)
        return self._known[key]

    def shape(self, value: Value) -> Shape:
        """Return the shape in which a value was written."""
        return self.module.by_name[value[0]].shape.at(value[1])

    def operand(self, instruction: Instruction, number: int) -> Value:
        """Return the value of an operand that is an array."""
        return self.resolve(instruction.operand(number))

    def _step(self, instruction: Instruction, index: Index) -> tuple[Instruction, Index] | None:
        """Return where an instruction takes the value from, None if it makes it."""
        opcode = instruction.opcode
        if opcode == "tuple":
            return instruction.operand(index[0]), index[1:]
        if opcode == "get-tuple-element":
            return instruction.operand(0), (int(instruction.attributes["index"]), *index)
        if opcode in ("copy-done", "slice-done") and instruction.operand(0).shape.elements is not None:
            return instruction.operand(0), (0 if opcode == "copy-done" else 1, *index)
        if opcode in ("bitcast", "optimization-barrier", "copy-done", "async-done"):
            return instruction.operand(0), index
        if opcode == "add-dependency":
            return instruction.operand(0), index
        if opcode == "parameter":
            return self._step_to_caller(instruction, index)
        if opcode == "while":
            return self._after_loop(instruction, index)
        if opcode == "conditional" and instruction.name in self.schedule.branches:
            return self.schedule.branches[instruction.name].root, index
        if opcode == "call":
            return instruction.called[0].root, index
        return None

    def _after_loop(self, loop: Instruction, index: Index) -> tuple[Instruction, Index]:
        if loop.name in self.schedule.skipped:
            return loop.operand(0), index
        return loop.called_by("body").root, index

    def _step_to_caller(self, parameter: Instruction, index: Index) -> tuple[Instruction, Index] | None:
        caller = self._callers.get(parameter.computation.name)
        if caller is None:
            return None
        if caller.opcode == "while":
            return caller.operand(0), index
        if caller.opcode == "conditional":
            return caller.operand(1 + caller.called.index(parameter.computation)), index
        return caller.operand(int(parameter.literal)), index

    def carried(self, loop: Instruction) -> Iterator[tuple[Value, Value]]:
        """Yield, for each array a loop carries, its value before the loop and after an iteration."""
        for index, _ in loop.shape.leaves():
            yield self.resolve(loop.operand(0), index), self.resolve(loop.called_by("body").root, index)

    def outputs(self) -> list[Value]:
        """Return the values of the program's results, in order."""
        root = self.module.entry.root
        return [self.resolve(root, index) for index, _ in root.shape.leaves()]


def _callers(module: Module) -> dict[str, Instruction]:
    """Return who calls each computation that runs as a sequence of launches (XLA gives each a single caller)."""
    callers: dict[str, Instruction] = {}
    todo: list[Computation] = [module.entry]
    while todo:
        for instruction in todo.pop().instructions.values():
            if instruction.opcode in ("while", "conditional", "call"):
                for computation in instruction.called:
                    callers[computation.name] = instruction
                    todo.append(computation)
    return callers
