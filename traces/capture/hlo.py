"""XLA's optimised HLO as objects: module, computations, instructions, shapes.

A parser of the text form (https://openxla.org/xla/operation_semantics lists the instructions, and
https://github.com/openxla/xla/blob/main/xla/hlo/parser/hlo_parser.cc is the grammar's reference). Attributes are
kept as text and parsed when they are asked for, so that a module of ten thousand instructions takes a moment.
"""

import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache, cached_property, lru_cache
from typing import Any

from traces.errors import CaptureError

Index = tuple[int, ...]
"""A path into a tuple shape: () is the value itself, (1, 0) the first element of the second."""

_COMMENT = re.compile(r"/\*.*?\*/")
_BRACKET = re.compile(r'[(){}\[\]"]')
_BRACKET_OR_COMMA = re.compile(r'[(){}\[\]",]')
_NUMBERS = re.compile(r"-?\d+")
_BITS = re.compile(r"(\d+)")
_ALIAS = re.compile(r"\{([\d, ]*)\}:\s*\((\d+),\s*\{([\d, ]*)\}")
_SLICE = re.compile(r"\[(\d+):(\d+)(?::(\d+))?\]")
_WINDOW_FIELD = re.compile(r"(\w+)=(\S+)")
_TILE = re.compile(r"T\(([\d,]+)\)")
_SPACE = re.compile(r"S\((\d+)\)")
MAIN, HOST = 0, 5
_OPEN = {"(": ")", "{": "}", "[": "]"}


@dataclass(frozen=True, slots=True)
class Shape:
    """An array shape with its layout (``minor_to_major``), or a tuple of shapes (``elements``)."""

    dtype: str
    dims: tuple[int, ...] = ()
    minor_to_major: tuple[int, ...] = ()
    elements: "tuple[Shape, ...] | None" = None
    tile: tuple[int, ...] = ()
    """Tiles of the layout: a TPU stores its fastest dimensions in whole ones."""
    space: int = 0
    """Memory space of the layout: 0 is the device's main memory, 5 the host's, the others of a TPU are on the chip."""

    @property
    def stored_bytes(self) -> int:
        """Bytes that the array takes in memory: with the rest of its last tiles."""
        if not self.tile or len(self.dims) < len(self.tile):
            return self.bytes
        dims = list(self.dims)
        for dim, whole in zip(self.minor_to_major, reversed(self.tile), strict=False):
            dims[dim] = -(-dims[dim] // whole) * whole
        return -(-math.prod(dims) * bits(self.dtype) // 8)

    @property
    def on_chip(self) -> bool:
        """Whether the compiler keeps the array on the chip (a TPU's vector memory), where it is no DRAM traffic."""
        return self.space not in (MAIN, HOST)

    @property
    def size(self) -> int:
        """Number of elements of an array."""
        return math.prod(self.dims)

    @property
    def bytes(self) -> int:
        """Bytes of the array, or of all arrays of the tuple (pointers to them not counted)."""
        if self.elements is not None:
            return sum(element.bytes for element in self.elements)
        return -(-self.size * bits(self.dtype) // 8)

    def leaves(self, prefix: Index = ()) -> "Iterator[tuple[Index, Shape]]":
        """Yield every array with its index."""
        if self.elements is None:
            yield prefix, self
        else:
            for i, element in enumerate(self.elements):
                yield from element.leaves((*prefix, i))

    def at(self, index: Index) -> "Shape":
        """Return the shape at an index."""
        shape = self
        for i in index:
            if shape.elements is None:
                raise CaptureError(f"index {index} must point into a tuple, but the shape is {self}")
            shape = shape.elements[i]
        return shape

    @property
    def strides(self) -> tuple[int, ...]:
        """Elements between neighbours along each dimension, from the layout."""
        steps, step = [0] * len(self.dims), 1
        for dim in self.minor_to_major:
            steps[dim] = step
            step *= self.dims[dim]
        return tuple(steps)


@cache
def bits(dtype: str) -> int:
    """Bits of one element in memory: 'f32' 32, 'pred' 8, 'token' 0."""
    if dtype == "pred":
        return 8
    found = _BITS.search(dtype)
    return int(found.group(1)) if found else 0


@dataclass(slots=True)
class Instruction:
    """One instruction: ``literal`` is what stands in the parentheses of a constant or a parameter."""

    name: str
    shape: Shape
    opcode: str
    operands: tuple[str, ...]
    literal: str
    text: str
    computation: "Computation" = field(repr=False)
    _attributes: dict[str, str] | None = field(default=None, repr=False)

    @property
    def attributes(self) -> dict[str, str]:
        """The attributes after the operands, as text."""
        if self._attributes is None:
            self._attributes = dict(_assignments(self.text))
        return self._attributes

    def operand(self, number: int) -> "Instruction":
        """Return the instruction that makes an operand."""
        return self.computation.instructions[self.operands[number]]

    def integers(self, key: str) -> tuple[int, ...]:
        """Return a list attribute such as ``dimensions={0,2}``; () where it is absent."""
        return tuple(int(n) for n in _NUMBERS.findall(self.attributes.get(key, "")))

    @property
    def op_name(self) -> str:
        """The path of named scopes that the instruction came from; '' if unknown."""
        metadata = self.attributes.get("metadata", "")
        return _quoted(metadata, 'op_name="')

    @property
    def target(self) -> str:
        """The target of a custom call."""
        return self.attributes.get("custom_call_target", "").strip('"')

    @property
    def backend_config(self) -> dict[str, Any]:
        """The backend's own attributes; {} where there are none that are JSON."""
        text = self.attributes.get("backend_config", "")
        try:
            value = json.loads(json.loads(text) if text.startswith('"') else text) if text else {}
        except json.JSONDecodeError:
            return {}
        return value if isinstance(value, dict) else {}

    @property
    def called(self) -> "list[Computation]":
        """The computations that this one calls, in the order of the text."""
        names: list[str] = []
        for key in ("calls", "to_apply", "condition", "body", "branch_computations", "true_computation", "false_computation"):
            text = self.attributes.get(key, "")
            names += [name.strip().lstrip("%") for name in text.strip("{}").split(",") if name.strip()]
        known = self.computation.module.computations
        return [known[name] for name in names]

    def called_by(self, key: str) -> "Computation":
        """Return the computation that one attribute names (``body``, ``condition``, ``calls``, ``to_apply``)."""
        return self.computation.module.computations[self.attributes[key].lstrip("%")]

    @property
    def slices(self) -> list[tuple[int, int, int]]:
        """(start, limit, stride) of each dimension of a slice."""
        return [(int(a), int(b), int(c or 1)) for a, b, c in _SLICE.findall(self.attributes["slice"])]

    @property
    def padding(self) -> list[tuple[int, int, int]]:
        """(low, high, interior) of each dimension of a pad."""
        parts = [[int(n) for n in part.split("_")] for part in self.attributes["padding"].split("x")]
        return [(p[0], p[1], p[2] if len(p) > 2 else 0) for p in parts]

    @property
    def window(self) -> dict[str, list[str]]:
        """The fields of a window attribute, one text a dimension: size, stride, pad, lhs_dilate, rhs_dilate."""
        return {key: value.split("x") for key, value in _WINDOW_FIELD.findall(self.attributes.get("window", "").strip("{}"))}

    @property
    def trip_count(self) -> int | None:
        """How often a while loop runs, where the compiler knows."""
        known = self.backend_config.get("known_trip_count")
        return int(known["n"]) if known else self.computation.module.trip_counts.get(self.name)


@dataclass(slots=True)
class Computation:
    """Instructions by name, in the order they are scheduled."""

    name: str
    module: "Module" = field(repr=False)
    instructions: dict[str, Instruction] = field(default_factory=dict, repr=False)
    root_name: str = ""

    @property
    def root(self) -> Instruction:
        """The instruction whose value the computation returns."""
        return self.instructions[self.root_name]

    @property
    def parameters(self) -> list[Instruction]:
        """The parameters by number."""
        found = [i for i in self.instructions.values() if i.opcode == "parameter"]
        return sorted(found, key=lambda i: int(i.literal))


@dataclass
class Module:
    """A whole program."""

    name: str
    header: dict[str, str]
    computations: dict[str, Computation] = field(default_factory=dict, repr=False)
    entry_name: str = ""
    trip_counts: dict[str, int] = field(default_factory=dict, repr=False)
    """Of loops that the compiler does not annotate, what their conditions say (``traces.capture.tpu`` fills it)."""

    @property
    def entry(self) -> Computation:
        """Where the program starts."""
        return self.computations[self.entry_name]

    @property
    def input_output_alias(self) -> dict[Index, tuple[int, Index]]:
        """Which output (index) is written over which parameter (number, index)."""
        text = self.header.get("input_output_alias", "")
        return {_index(out): (int(number), _index(inner)) for out, number, inner in _ALIAS.findall(text)}

    @cached_property
    def by_name(self) -> dict[str, Instruction]:
        """All instructions of all computations: names are unique in a module."""
        return {name: i for computation in self.computations.values() for name, i in computation.instructions.items()}


def parse(text: str) -> Module:
    """Parse the text of a module, as XLA prints or dumps it.

    Raises
    ------
    CaptureError
        If the text is not a scheduled HLO module with an entry computation.
    """
    module = Module("", {})
    current: Computation | None = None
    for line in text.splitlines():
        if current is not None:
            if line.startswith("}"):
                current = None
            elif line.startswith("  "):
                _add_instruction(current, line)
        elif line.startswith("HloModule "):
            name, _, rest = line[len("HloModule ") :].partition(",")
            module.name, module.header = name.strip(), dict(_assignments(rest))
        elif line.endswith("{"):
            current = _add_computation(module, line)
    if not module.entry_name:
        raise CaptureError("the compiler's HLO text must hold an ENTRY computation, but none was found: is this jax version supported?")
    return module


def _add_computation(module: Module, line: str) -> Computation:
    is_entry = line.startswith("ENTRY ")
    name = line.removeprefix("ENTRY ").split(" ", 1)[0].lstrip("%")
    module.computations[name] = computation = Computation(name, module)
    if is_entry:
        module.entry_name = name
    return computation


def _add_instruction(computation: Computation, line: str) -> None:
    text = line.strip()
    is_root = text.startswith("ROOT ")
    name, _, rest = text.removeprefix("ROOT ").partition(" = ")
    if "/*" in rest:
        rest = _COMMENT.sub("", rest)
    end = _shape_end(rest)
    opening = rest.index("(", end)
    closing = _closing(rest, opening)
    opcode, inside = rest[end:opening].strip(), rest[opening + 1 : closing]
    named = opcode not in ("constant", "parameter", "iota")
    operands = tuple(part.rsplit(" ", 1)[-1].lstrip("%") for part in _split(inside)) if named else ()
    name = name.lstrip("%")
    computation.instructions[name] = Instruction(
        name, parse_shape(rest[:end]), opcode, operands, "" if named else inside, rest[closing + 1 :], computation
    )
    if is_root:
        computation.root_name = name


def _shape_end(text: str) -> int:
    """Return where the shape at the start of a text ends."""
    if text.startswith("("):
        return _closing(text, 0) + 1
    return text.index(" ")


@lru_cache(maxsize=65536)
def parse_shape(text: str) -> Shape:
    """Parse 'f32[8,128]{1,0}' or '(f32[8]{0}, s32[])'."""
    text = text.strip()
    if text.startswith("("):
        return Shape("tuple", elements=tuple(parse_shape(part) for part in _split(text[1:-1])))
    dtype, _, rest = text.partition("[")
    dims_text, _, layout = rest.partition("]")
    dims = tuple(int(d.lstrip("<=")) for d in dims_text.split(",") if d)
    order = layout.strip("{}").split(":", 1)[0]
    minor_to_major = tuple(int(d) for d in order.split(",") if d.strip().isdigit())
    space = _SPACE.search(layout) if "S(" in layout else None
    order_or_default = minor_to_major if len(minor_to_major) == len(dims) else tuple(reversed(range(len(dims))))
    tile = _TILE.search(layout) if "T(" in layout else None
    tiles = tuple(int(n) for n in tile.group(1).split(",")) if tile else ()
    return Shape(dtype, dims, order_or_default, None, tiles, int(space.group(1)) if space else MAIN)


def _closing(text: str, opening: int) -> int:
    """Return where the bracket that opens at a position closes; quoted text counts as one thing."""
    depth, position = 0, opening
    while True:
        found = _BRACKET.search(text, position)
        if found is None:
            raise CaptureError(f"brackets of the HLO text must match, but one never closes: {text[opening : opening + 80]!r}")
        character, position = found.group(), found.end()
        if character == '"':
            position = _end_of_quote(text, position)
        elif character in _OPEN:
            depth += 1
        else:
            depth -= 1
            if depth == 0:
                return position - 1


def _end_of_quote(text: str, start: int) -> int:
    end = text.index('"', start)
    while text[end - 1] == "\\":
        end = text.index('"', end + 1)
    return end + 1


def _split(text: str) -> list[str]:
    """Split at the commas outside of brackets and quotes."""
    parts, start, depth, position = [], 0, 0, 0
    while found := _BRACKET_OR_COMMA.search(text, position):
        character, position = found.group(), found.end()
        if character == '"':
            position = _end_of_quote(text, position)
        elif character in _OPEN:
            depth += 1
        elif character != ",":
            depth -= 1
        elif depth == 0:
            parts.append(text[start : position - 1].strip())
            start = position
    parts.append(text[start:].strip())
    return [part for part in parts if part]


def _assignments(text: str) -> Iterator[tuple[str, str]]:
    for part in _split(text):
        key, equals, value = part.partition("=")
        yield key.strip(), value.strip() if equals else ""


def _quoted(text: str, key: str) -> str:
    start = text.find(key)
    if start < 0:
        return ""
    start += len(key)
    return text[start : _end_of_quote(text, start) - 1]


def _index(text: str) -> Index:
    return tuple(int(n) for n in _NUMBERS.findall(text))
