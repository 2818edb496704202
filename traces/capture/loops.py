"""How often a while loop runs, read from its condition: a counter that starts at a constant, steps by one, and is compared with another."""

from traces.capture.hlo import Instruction

_VIEWS = ("copy", "bitcast", "convert", "copy-done", "reshape", "broadcast", "optimization-barrier")
"""What hands a scalar on unchanged."""


def counted(loop: Instruction) -> int | None:
    """Return how often a loop runs, None if that cannot be read.

    The condition must be ``counter < limit`` (or <=, >, >=, !=), the counter an element of the loop's tuple that begins at a constant and
    to which the body adds a constant; the limit a constant, or an element that begins at one and is carried on unchanged.
    """
    compare = _through(loop.called_by("condition").root)
    compare = _inner(compare) if compare.opcode == "fusion" else compare
    if compare.opcode != "compare" or len(compare.operands) != 2:
        return None
    left, right = (_element(compare.operand(n), loop) for n in (0, 1))
    direction = compare.attributes.get("direction", "")
    if isinstance(left, int) and isinstance(right, _Counter):
        left, right, direction = right, left, _TURNED.get(direction, direction)
    if not isinstance(left, _Counter) or not isinstance(right, int):
        return None
    return _trips(left.start, left.step, right, direction)


class _Counter:
    def __init__(self, start: int, step: int) -> None:
        self.start, self.step = start, step


_TURNED = {"LT": "GT", "GT": "LT", "LE": "GE", "GE": "LE"}


def _trips(start: int, step: int, limit: int, direction: str) -> int | None:
    """Return how many values the counter takes while the comparison holds."""
    if direction in ("LE", "GE"):
        limit, direction = (limit + 1, "LT") if direction == "LE" else (limit - 1, "GT")
    if direction == "NE":
        direction = "LT" if step > 0 else "GT"
        if (limit - start) % step:
            return None
    if (direction, step > 0) not in (("LT", True), ("GT", False)):
        return None
    return max(0, -((start - limit) // step))


def _inner(fusion: Instruction) -> Instruction:
    """Return what makes a fusion's result."""
    return _through(fusion.called_by("calls").root)


def _through(instruction: Instruction) -> Instruction:
    while instruction.opcode in _VIEWS:
        instruction = instruction.operand(0)
    return instruction


def _element(instruction: Instruction, loop: Instruction) -> "int | _Counter | None":
    """Return what a scalar of the condition is: a constant, or the loop's counter."""
    found = _through(instruction)
    if found.opcode == "parameter" and found.computation.name != loop.called_by("condition").name:
        found = _argument(found, loop)
    if found.opcode == "constant":
        return _whole(found)
    if found.opcode != "get-tuple-element" or found.operand(0).opcode != "parameter":
        return None
    place = int(found.attributes["index"])
    start, step = _initial(loop, place), _step(loop, place)
    if start is None or step is None:
        return None
    return start if step == 0 else _Counter(start, step)


def _argument(parameter: Instruction, loop: Instruction) -> Instruction:
    """Return what the condition gives to the fused computation of its comparison."""
    fusion = _through(loop.called_by("condition").root)
    return _through(fusion.operand(int(parameter.literal)))


def _whole(constant: Instruction) -> int | None:
    text = constant.literal.strip().split(" ")[-1]
    return int(text) if text.lstrip("-").isdigit() else None


def _initial(loop: Instruction, place: int) -> int | None:
    before = _through(loop.operand(0))
    if before.opcode != "tuple":
        return None
    made = _through(before.operand(place))
    return _whole(made) if made.opcode == "constant" else None


def _step(loop: Instruction, place: int) -> int | None:
    """Return what the body adds to an element: a constant, 0 if it hands it on."""
    root = _through(loop.called_by("body").root)
    if root.opcode != "tuple":
        return None
    return _added(_through(root.operand(place)), place)


def _added(made: Instruction, place: int) -> int | None:
    if made.opcode == "fusion":
        return _added_in_fusion(made, place)
    if _is_element(made, place):
        return 0
    if made.opcode not in ("add", "subtract"):
        return None
    left, right = (_through(made.operand(n)) for n in (0, 1))
    if made.opcode == "add" and left.opcode == "constant":
        left, right = right, left
    step = _constant(right)
    return None if step is None or not _is_element(left, place) else step if made.opcode == "add" else -step


def _constant(instruction: Instruction) -> int | None:
    return _whole(instruction) if instruction.opcode == "constant" else None


def _added_in_fusion(fusion: Instruction, place: int) -> int | None:
    made = _inner(fusion)
    if made.opcode not in ("add", "subtract"):
        return None
    sides = [_through(made.operand(n)) for n in (0, 1)]
    outside = [_through(fusion.operand(int(s.literal))) if s.opcode == "parameter" else s for s in sides]
    steps = [_constant(side) for side in outside]
    if steps[1] is not None and _is_element(outside[0], place):
        return steps[1] if made.opcode == "add" else -steps[1]
    return steps[0] if made.opcode == "add" and steps[0] is not None and _is_element(outside[1], place) else None


def _is_element(instruction: Instruction, place: int) -> bool:
    return (
        instruction.opcode == "get-tuple-element"
        and instruction.operand(0).opcode == "parameter"
        and int(instruction.attributes["index"]) == place
    )
