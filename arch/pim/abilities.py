"""What PIM units can execute: library calls, dtypes, opcodes and operands that they refuse, by the reason."""

from dataclasses import dataclass

import numpy as np

from arch.entry import Entry, Opcodes
from arch.facts import Facts, facts, once
from arch.opcodes import Demand, demand
from arch.refusing import Reasons
from arch.text import Text
from arch.work import Bool, Float, Int, Refusals, Work

_SCALAR_BYTES = 8
"""An operand of one element travels with the command."""


@dataclass(frozen=True, eq=False)
class Abilities:
    """What does not depend on a device's parameters, only on its opcode table; arrays of shape [kernels].

    ``per_vector`` and ``per_transcendental`` are commands an operation.
    """

    refusals: Refusals
    per_vector: Float
    per_transcendental: Float


def abilities(entry: Entry, work: Work) -> Abilities:
    """Return what the units of an entry can do of a trace; worked out once a trace."""
    return once(work, (entry, "abilities"), lambda: _make(entry.opcodes, work))


def _make(table: Opcodes, work: Work) -> Abilities:
    known, kernels = facts(work), work.kernels
    asked, which = _demands(table, work)
    product = known.family.is_("gemm")
    reasons = Reasons(len(kernels))
    reasons.add(known.unknown, "work unknown")
    attention = fused(work) & known.dtype.isin(_with(table, "attention"))
    calls = known.library & ~product & ~attention
    _refuse_calls(reasons, calls, Text.of(kernels, "library"), known.family)
    reasons.add(known.triton, "triton kernel")
    for dtype in sorted(set(known.dtype.values) - set(table.commands)):
        reasons.add(known.dtype.is_(dtype), f"dtype {dtype or 'unknown'}")
    _refuse_operands(reasons, table, known, _own(work, attention))
    _refuse_opcodes(reasons, table, work, asked, which)
    vector = np.array([d.per_vector for d in asked], dtype=np.float64)[which]
    special = np.array([d.per_transcendental for d in asked], dtype=np.float64)[which]
    return Abilities(reasons.done(), vector, special)


def fused(work: Work) -> Bool:
    """Return which kernels are fused attention of a library, forwards, whose sizes are known (bool[kernels])."""
    known = facts(work)
    sized = np.minimum.reduce([known.batch, known.m, known.n, known.k]) > 0
    return np.asarray(Text.of(work.kernels, "library").is_("flash_attention") & sized, dtype=np.bool_)


def _with(table: Opcodes, opcode: str) -> set[str]:
    """The types for which units have an opcode."""
    return {dtype for dtype, commands in table.commands.items() if opcode in commands}


def _demands(table: Opcodes, work: Work) -> tuple[list[Demand], Int]:
    """The demands of all distinct computations, and which of them each kernel has."""
    which, pairs = Text.of(work.kernels, "opcodes").pairs(Text.of(work.kernels, "dtype"))
    return [demand(opcodes, table, dtype) for opcodes, dtype in pairs], which


def _refuse_calls(reasons: Reasons, calls: Bool, library: Text, family: Text) -> None:
    """Calls of closed routines, by the routine's name, or the family where that is not known."""
    for name in sorted({library.values[c] for c in set(library.code[calls].tolist())} - {""}):
        reasons.add(calls & library.is_(name), f"library call {name}")
    for name in sorted({family.values[c] for c in set(family.code[calls].tolist())}):
        reasons.add(calls & family.is_(name), f"library call {name}")


def _own(work: Work, attention: Bool) -> Bool:
    """Return which operands of fused attention, in FP32, the units need not take (bool[accesses]).

    Statistics that it writes beside its result come from the softmax unit; a workspace, where a GPU that cuts keys into parts adds them
    up, is the GPU's alone.
    """
    known = facts(work)
    scratch = Text.of(work.tensors, "kind").at(work.accesses["tensor"]).is_("workspace")
    own: Bool = attention[known.owner] & known.tensor_dtype.is_("f32") & (known.writes | scratch)
    return own


def _refuse_operands(reasons: Reasons, table: Opcodes, known: Facts, own: Bool) -> None:
    """Operands of another type, and ones of which nobody knows before where they lie; transposed ones are laid out anew."""
    kernels = len(reasons.code)
    masks = any("select" in commands for commands in table.commands.values())
    allowed = {"", *table.commands} | ({"pred"} if masks else set())  # of unknown type: the kernel's
    large = (known.unique > _SCALAR_BYTES) & ~own
    for dtype in sorted(set(known.tensor_dtype.values) - allowed):
        reasons.add(_any(known, large & known.tensor_dtype.is_(dtype), kernels), f"operand dtype {dtype or 'unknown'}")
    other = ~known.family.is_("gemm")
    reasons.add(other & _any(known, known.stride.is_("gather"), kernels), "gather operand")


def _any(known: Facts, chosen: Bool, kernels: int) -> Bool:
    """Kernels with at least one operand that is chosen."""
    return np.bincount(known.owner, weights=chosen, minlength=kernels) > 0


def _refuse_opcodes(reasons: Reasons, table: Opcodes, work: Work, asked: list[Demand], which: Int) -> None:
    known, opcodes = facts(work), Text.of(work.kernels, "opcodes")
    dots = _with(table, "dot")
    product = known.family.is_("gemm")
    reasons.add(product & ~known.dtype.isin(dots), "opcode dot")
    checked = ~(product & known.library) & ~Text.of(work.kernels, "launch_kind").is_("copy", "memset")
    for missing in sorted({d.missing for d in asked} - {""}):
        reasons.add(checked & np.array([d.missing == missing for d in asked], dtype=np.bool_)[which], f"opcode {missing}")
    reasons.add(checked & opcodes.is_(""), "opcodes unknown")
