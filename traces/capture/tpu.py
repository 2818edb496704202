"""What a TPU runs: instructions of the scheduled HLO that libtpu's compiler makes, with its own estimates.

A TPU executes one program, without launches of its own for each instruction: here every instruction that works is one row, in the order
of the schedule, all in one command buffer. Instructions on scalars run on the scalar core and are left out, as are those that only name
things. Trip counts of loops come from their conditions, since the compiler does not annotate them.
"""

from collections.abc import Iterator

from traces.capture.hlo import Computation, Instruction, Module
from traces.capture.loops import counted
from traces.capture.thunks import Thunk

SILENT = frozenset(
    {
        *("parameter", "constant", "tuple", "get-tuple-element", "bitcast", "after-all", "add-dependency", "optimization-barrier"),
        *("partition-id", "replica-id", "copy-done", "async-done", "async-update", "slice-done", "domain"),
    }
)
"""Instructions that name values, or wait for one that began earlier."""

MERGES = frozenset({"ConcatBitcast"})
"""Custom calls that name several transfers' targets, which lie beside each other, as one array: no cycles."""

NO_WORK = frozenset({"AllocateBuffer", "Sharding", "AssumeGatherIndicesInBound"})
"""Custom calls that only name memory or facts."""

KINDS = frozenset({"kTpuMove", "kTpu"})
"""Kinds of thunk that are made here."""

NONE = 2**62
"""Estimates from here on are the compiler's way to say that it has none."""


def thunks(module: Module) -> list[Thunk]:
    """Return the instructions of a TPU's program as a tree, and note the trip counts of its loops in the module."""
    module.trip_counts |= {i.name: trips for i in module.by_name.values() if i.opcode == "while" and (trips := counted(i)) is not None}
    return [Thunk(-1, "kCommandBuffer", 0, groups={"children": list(_sequence(module.entry))})]


def _sequence(computation: Computation) -> Iterator[Thunk]:
    for instruction in computation.instructions.values():
        if instruction.opcode == "call":
            yield from _sequence(instruction.called[0])
        elif instruction.opcode == "while":
            parts = {role: list(_sequence(instruction.called_by(role))) for role in ("condition", "body")}
            yield _thunk(instruction, "kWhile", parts)
        elif instruction.opcode == "conditional":
            yield _thunk(instruction, "kConditional", {f"branch_{n}": list(_sequence(c)) for n, c in enumerate(instruction.called)})
        elif works(instruction):
            yield _thunk(instruction, "kTpuMove" if is_move(instruction) else "kTpu", {})


def _thunk(instruction: Instruction, kind: str, groups: dict[str, list[Thunk]]) -> Thunk:
    return Thunk(-1, kind, 0, instruction=instruction.name, groups=groups)


def works(instruction: Instruction) -> bool:
    """Say whether an instruction is a row: it has a cost of the compiler's, or touches arrays."""
    if instruction.opcode in SILENT or instruction.target in NO_WORK:
        return False
    if cycles(instruction) is not None:
        return True
    shapes = [leaf for i in (instruction, *_operands(instruction)) for _, leaf in i.shape.leaves()]
    return any(shape.size > 1 for shape in shapes)


def _operands(instruction: Instruction) -> list[Instruction]:
    return [instruction.operand(n) for n in range(len(instruction.operands))]


def is_move(instruction: Instruction) -> bool:
    """Say whether an instruction moves bytes and keeps their layout: between HBM and the chip (asynchronously), or a plain copy."""
    if instruction.opcode in ("copy-start", "slice-start") or instruction.target in MERGES:
        return True
    return instruction.opcode == "copy" and instruction.shape.minor_to_major == instruction.operand(0).shape.minor_to_major


def cycles(instruction: Instruction) -> float | None:
    """Return the compiler's own estimate of an instruction's cycles, None where it has none."""
    if instruction.target in MERGES:
        return 0.0
    window = instruction.backend_config.get("window_config")
    text = window.get("estimated_cycles") if isinstance(window, dict) else None
    value = int(text) if isinstance(text, str) and text.isdigit() else -1
    return float(value) if 0 <= value < NONE else None
