"""The row of the kernels table for each launch: kind, family, work, launch dimensions, registers."""

import math
from collections.abc import Mapping
from typing import Any

from traces import families
from traces.capture import heroes
from traces.capture.accesses import Access
from traces.capture.hlo import Instruction
from traces.capture.library import UNKNOWN, Call, asked_precision, describe, triton_name
from traces.capture.pallas import PallasWork, work_of
from traces.capture.ptx import Entry
from traces.capture.schedule import Launch
from traces.capture.values import Values
from traces.capture.work import Flops, flops_of, instruction_flops, opcode_counts, opcodes_text

Row = dict[str, Any]

_LIBRARY_OPCODE = {
    "gemm": "dot",
    "triangular_solve": "triangular-solve",
    "potrf": "cholesky",
    "convolution": "convolution",
    "fft": "fft",
    "sort": "sort",
    "topk": "topk",
}
"""The HLO operation that a library routine stands for."""


def kernel_row(
    launch: Launch, accesses: list[Access], values: Values, entries: Mapping[str, Entry], pallas: Mapping[str, PallasWork]
) -> Row:
    """Return the columns of one launch, those of scopes and regions aside."""
    row: Row = {"name": launch.instruction.name, "launches": launch.launches, "stream": -1, "command_buffer": launch.command_buffer}
    row |= _describe(launch, pallas) | _traffic(accesses) | _dimensions(launch) | _machine_code(launch, entries)
    row["dtype"] = _dtype(accesses, values)
    if row["launch_kind"] in ("copy", "memset"):
        row["flops_ncu"] = 0.0
    return row


def hero(launch: Launch) -> Instruction:
    """Return the instruction that says what a launch does: of a dynamic-slice fusion, what it slices for."""
    if launch.thunk.kind == "kDynamicSliceFusion":
        inside = launch.instruction.called_by("calls").instructions.values()
        return next((i for i in inside if i.opcode in ("custom-call", "fusion")), launch.instruction)
    return launch.instruction


def _describe(launch: Launch, pallas: Mapping[str, PallasWork]) -> Row:
    """Return launch kind, family, library, opcodes, work and matrix sizes."""
    kind, instruction = launch.thunk.kind, hero(launch)
    if kind in ("kCopy", "kTpuMove"):
        return _plain("copy", "copy", "copy:1", Flops())
    if kind.startswith("kMem"):
        return _plain("memset", "copy", "broadcast:1", Flops())
    if name := triton_name(instruction):
        work = work_of(instruction, pallas)
        row = _plain("triton", families.triton_family(name), "", work.flops if work else UNKNOWN)
        return row | ({"precision": work.precision} if work else {})
    if instruction.opcode in ("custom-call", "fft"):
        return _library(describe(instruction), launch)
    if instruction.opcode == "fusion":
        return _fusion(instruction, "copy" if _only_copies(launch) else "fusion")
    counts = opcodes_text(opcode_counts(instruction.called[0])) if instruction.called else ""
    opcodes = ",".join(part for part in (counts, f"{instruction.opcode}:1") if part)
    family = families.fusion_family([(instruction.opcode, 1)], [instruction.opcode])
    return _plain("fusion", family, opcodes, instruction_flops(instruction))


def _only_copies(launch: Launch) -> bool:
    return launch.thunk.kind == "kDynamicSliceFusion" and all(leaf.kind == "kCopy" for leaf in launch.thunk.leaves())


def _plain(launch_kind: str, family: str, opcodes: str, flops: Flops) -> Row:
    row: Row = {"launch_kind": launch_kind, "family": family, "opcodes": opcodes, "library": "", "precision": ""}
    return row | dict.fromkeys(("batch", "m", "n", "k"), -1) | _flops(flops)


def _flops(flops: Flops) -> Row:
    return {"flops_matrix": flops.matrix, "flops_vector": flops.vector, "flops_transcendental": flops.transcendental}


def _library(call: Call, launch: Launch) -> Row:
    opcodes = f"{_LIBRARY_OPCODE.get(call.routine, 'custom-call')}:1"
    if call.routine == "gemm" and call.flops.vector:
        opcodes = "add:1," + opcodes
    row = _plain("library", families.library_family(call.routine), opcodes, call.flops)
    row |= {"library": call.routine, "precision": call.precision, "batch": call.batch, "m": call.m, "n": call.n, "k": call.k}
    return row | {"launches": max(call.launches, launch.launches)}


def _fusion(instruction: Instruction, launch_kind: str) -> Row:
    computation = instruction.called_by("calls")
    counts = opcode_counts(computation)
    family = families.fusion_family(heroes.results(computation), counts, heroes.hero(instruction))
    row = _plain(launch_kind, family, opcodes_text(counts), flops_of(computation))
    dots = [i for i in computation.instructions.values() if i.opcode == "dot"]
    return row | ({"precision": asked_precision(dots[0])} if dots else {})


def _traffic(accesses: list[Access]) -> Row:
    return {"bytes_unique": sum(a.unique for a in accesses), "bytes_requested": sum(a.requested for a in accesses)}


def _dtype(accesses: list[Access], values: Values) -> str:
    """Element type of the operand of which most is touched; of the result if there is no operand."""
    touched = [a for a in accesses if a.requested > 0]
    if not touched:
        return ""
    sizes = [(a.unique, values.shape(a.value).dtype) for a in [a for a in touched if not a.writes] or touched]
    return max(sizes, key=lambda s: (s[0], s[1][0] in "fbc"))[1]


def _dimensions(launch: Launch) -> Row:
    grid, block = launch.thunk.grid or (-1, -1, -1), launch.thunk.block or (-1, -1, -1)
    names = ("grid_x", "grid_y", "grid_z", "block_x", "block_y", "block_z")
    return dict(zip(names, (*grid, *block), strict=True))


def _machine_code(launch: Launch, entries: Mapping[str, Entry]) -> Row:
    """Return what the PTX says, for kernels that XLA generated."""
    entry, thunk = entries.get(launch.thunk.kernel), launch.thunk
    if entry is None or thunk.grid is None or thunk.block is None:
        return {"shared_bytes": thunk.shared_bytes, "registers": -1, "spill_bytes": -1, "flops_ncu": math.nan, "instructions": math.nan}
    threads = math.prod(thunk.grid) * math.prod(thunk.block)
    return {
        "shared_bytes": max(thunk.shared_bytes, 0) + entry.shared_bytes,
        "registers": entry.registers,
        "spill_bytes": entry.spill_bytes,
        "flops_ncu": float(entry.flops) * threads,
        "instructions": float(entry.instructions) * threads,
    }
