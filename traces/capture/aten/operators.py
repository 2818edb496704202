"""The table of ATen operators (operators.toml): what an operator computes, named without overloads."""

import tomllib
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from traces.capture.work import TRANSCENDENTAL, Flops, opcodes_text

FAMILY_OF_KIND = {
    "elementwise": "elementwise",
    "fill": "elementwise",
    "reduce": "reduce",
    "rows": "reduce",
    "random": "other",
    "sort": "sort",
    "gather": "gather_scatter",
    "scatter": "gather_scatter",
    "slice": "slice_concat",
    "copy": "copy",
    "other": "other",
}
PHILOX_OPERATIONS = 25
"""Integer operations for one random number: see the table."""


@dataclass(frozen=True)
class Operator:
    """``kind`` is a section of the table, '' for an operator that it does not hold."""

    kind: str
    opcodes: tuple[str, ...] = ()

    @property
    def family(self) -> str:
        return FAMILY_OF_KIND.get(self.kind, "other")

    def text(self) -> str:
        """Return the opcodes column: 'add:1,multiply:2'."""
        more = ("rng-bit-generator",) if self.kind == "random" else ()
        return opcodes_text(Counter((*self.opcodes, *more)))

    def flops(self, result: int, operand: int, row: int = 1) -> Flops:
        """Return the work for ``result`` elements of the largest result, ``operand`` of the largest operand, ``row`` in a sorted row."""
        if self.kind in ("elementwise", "random"):
            philox = PHILOX_OPERATIONS * result if self.kind == "random" else 0.0
            return _arithmetic(self.opcodes).times(result) + Flops(vector=philox)
        if self.kind == "reduce":
            return _arithmetic(self.opcodes).times(max(operand - result, 0))
        if self.kind == "rows":
            return _arithmetic(self.opcodes).times(operand)
        if self.kind == "sort":
            return Flops(vector=float(operand * (row - 1).bit_length()))
        return Flops(vector=float(operand)) if self.kind == "scatter" and "add" in self.opcodes else Flops()


def _arithmetic(opcodes: Iterable[str]) -> Flops:
    counts = [opcode in TRANSCENDENTAL for opcode in opcodes]
    return Flops(vector=float(counts.count(False)), transcendental=float(counts.count(True)))


def operator(name: str) -> Operator:
    """Return what the operator ``name`` ('add', 'add_', '_foreach_add_', without overload) does."""
    return _table().get(plain(name), Operator(""))


def plain(name: str) -> str:
    """Return the name of the functional variant on one tensor."""
    table = _table()
    for form in (name, name.removesuffix("_"), name.removeprefix("_foreach_").removesuffix("_")):
        if form in table:
            return form
    return name.removesuffix("_")


def powers(exponent: float) -> Operator:
    """Return what pow computes for a constant exponent (ATen/native/cuda/PowKernel.cu has these special cases)."""
    special = {
        0.5: ("sqrt",),
        -0.5: ("rsqrt",),
        1.0: (),
        2.0: ("multiply",),
        3.0: ("multiply", "multiply"),
        -1.0: ("divide",),
        -2.0: ("multiply", "divide"),
    }
    return Operator("elementwise", special.get(float(exponent), ("power",)))


def overwrites(name: str) -> bool:
    """Tell whether the in-place variant does not read what it writes to."""
    return plain(name) in set(_sections()["overwrites"]["names"])


def launch_rule(name: str) -> str:
    """Return which rule of ``launch.py`` holds for an operator: 'reductions', 'norms', or ''."""
    return next((rule for rule, names in _sections()["launch"].items() if plain(name) in names), "")


def launches(name: str) -> int:
    """Return how many kernels an operator launches."""
    return int(_sections()["launches"].get(plain(name), 1))


def multi_tensor_grid(sizes: Iterable[int]) -> tuple[tuple[int, int, int], tuple[int, int, int]]:
    """Return grid and block of a ``_foreach_`` operator on tensors of ``sizes`` elements: a block a chunk, up to a launch."""
    rule = _sections()["multi_tensor"]
    chunks = sum(-(-size // int(rule["chunk"])) for size in sizes)
    return (min(max(chunks, 1), int(rule["blocks"])), 1, 1), (int(rule["threads"]), 1, 1)


def multi_tensor_launches(lists: int, sizes: Iterable[int]) -> int:
    """Return how many kernels a ``_foreach_`` operator on ``lists`` lists of tensors of ``sizes`` elements launches."""
    rule = _sections()["multi_tensor"]
    sizes = list(sizes)
    limit = int(rule["tensors"][min(lists, len(rule["tensors"])) - 1])
    chunks = sum(-(-size // int(rule["chunk"])) for size in sizes)
    return max(1, -(-len(sizes) // limit), -(-chunks // int(rule["blocks"])))


@cache
def _sections() -> dict[str, Any]:
    return tomllib.loads(files("traces.capture.aten").joinpath("operators.toml").read_text())


@cache
def _table() -> dict[str, Operator]:
    kinds = (*FAMILY_OF_KIND, "free")
    return {name: Operator(kind, tuple(text.split())) for kind in kinds for name, text in _sections()[kind].items()}
