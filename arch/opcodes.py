"""Which fused computations a PIM unit can execute, and how many commands an element they take."""

from dataclasses import dataclass

from arch.entry import Opcodes
from traces.capture.work import TRANSCENDENTAL

_MOVES = ("gather", "scatter", "sort", "transpose", "reverse", "reduce-window", "concatenate", "pad", "dynamic-update-slice")
"""Named first among unsupported opcodes: an architect asks for the movement before the arithmetic."""


@dataclass(frozen=True)
class Demand:
    """What a fused computation asks of a unit: ``missing`` is the first opcode it lacks, '' if none."""

    missing: str
    per_vector: float
    """Commands an element for each vector operation, on average over the computation."""
    per_transcendental: float


def demand(text: str, table: Opcodes, dtype: str) -> Demand:
    """Return the demand of 'opcode:count,...' on units that execute ``table`` for ``dtype``."""
    counts = _parse(text)
    known = table.commands.get(dtype, {})
    missing = sorted((op for op in counts if op not in known and op not in table.free), key=_rank)
    costs = {op: known.get(op, 0.0) for op in counts}
    return Demand(
        missing[0] if missing else "",
        _mean({op: n for op, n in counts.items() if op not in TRANSCENDENTAL and costs[op] > 0}, costs),
        _mean({op: n for op, n in counts.items() if op in TRANSCENDENTAL}, costs),
    )


def _parse(text: str) -> dict[str, int]:
    pairs = (item.rpartition(":") for item in text.split(",") if item)
    return {name: int(count) for name, _, count in pairs}


def _rank(opcode: str) -> tuple[bool, str]:
    return opcode not in _MOVES, opcode


def _mean(counts: dict[str, int], costs: dict[str, float]) -> float:
    total = sum(counts.values())
    return sum(n * costs[op] for op, n in counts.items()) / total if total else 1.0
