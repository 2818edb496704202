"""What a fusion is about: the operations that make its results, and the one that its threads follow."""

from traces.capture.hlo import Computation, Instruction
from traces.families import tiled_hero


def results(computation: Computation) -> list[tuple[str, int]]:
    """Return (opcode, bytes) of what makes each result of a fused computation."""
    root = computation.root
    makers = [root.operand(i) for i in range(len(root.operands))] if root.opcode == "tuple" else [root]
    return [(_maker(i).opcode, i.shape.bytes) for i in makers]


def _maker(instruction: Instruction) -> Instruction:
    """Look through bitcasts, conversions and copies that keep the layout at what makes a result."""
    while _is_view(instruction) and instruction.operand(0).opcode not in ("parameter", "constant"):
        instruction = instruction.operand(0)
    return instruction


def _is_view(instruction: Instruction) -> bool:
    if instruction.opcode == "copy":
        return instruction.shape.minor_to_major == instruction.operand(0).shape.minor_to_major
    return instruction.opcode in ("bitcast", "convert")


def is_triton(fusion: Instruction) -> bool:
    """Tell whether XLA hands a fusion to Triton (softmax and the like), which loads tiles."""
    config = fusion.backend_config.get("fusion_backend_config", {}) if "__triton" in fusion.text else {}
    return str(config.get("kind", "")).startswith("__triton")


def hero(fusion: Instruction) -> str:
    """Return the opcode whose operand an input fusion's threads follow; '' for fusions that follow their result."""
    if fusion.attributes.get("kind") != "kInput" and not is_triton(fusion):
        return ""
    computation = fusion.called_by("calls")
    return tiled_hero([opcode for opcode, _ in results(computation)], {i.opcode for i in computation.instructions.values()})
