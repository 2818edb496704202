"""The work of kernels that a program wrote in Pallas, counted in their own programs: XLA sees only a call.

By the convention of ``work``: one FLOP an element of an elementwise result, transcendental ones apart, a reduction once for each element
but the first, products 2 m n k; loads and stores none. A kernel's body runs once for each point of its grid.
"""

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from traces.capture.hlo import Instruction
from traces.capture.library import triton_name
from traces.capture.work import Flops

_TRANSCENDENTAL = frozenset(
    {
        *("exp", "exp2", "expm1", "log", "log1p", "logistic", "pow", "sqrt", "cbrt", "rsqrt", "tanh", "sin", "cos", "tan", "atan2", "erf"),
        *("acos", "acosh", "asin", "asinh", "atanh", "cosh", "sinh"),
    }
)
_ARITHMETIC = frozenset(
    {
        *("abs", "add", "and", "ceil", "clamp", "clz", "convert_element_type", "div", "floor", "integer_pow", "is_finite", "max", "min"),
        *("mul", "neg", "not", "or", "population_count", "reduce_precision", "rem", "round", "select_n", "shift_left", "sign", "square"),
        *("shift_right_arithmetic", "shift_right_logical", "sub", "xor", "eq", "ne", "lt", "le", "gt", "ge", "add_any"),
    }
)
_NONE = frozenset(
    {
        *("broadcast_in_dim", "concatenate", "get", "iota", "load", "masked_load", "masked_swap", "num_programs", "program_id", "reshape"),
        *("slice", "split", "squeeze", "stop_gradient", "store", "swap", "transpose", "expand_dims", "bitcast_convert_type", "copy"),
        *("multiple_of", "max_contiguous", "optimization_barrier", "addupdate", "dynamic_slice", "dynamic_update_slice", "pad", "rev"),
    }
)


@dataclass(frozen=True)
class PallasWork:
    """One kernel: its name and operands' shapes as in ``_key``, its work, the precision that its products ask for ('' without any)."""

    key: str
    matrix: float
    vector: float
    transcendental: float
    precision: str = ""

    @property
    def flops(self) -> Flops:
        return Flops(self.matrix, self.vector, self.transcendental)


def kernels(jaxpr: Any) -> tuple[PallasWork, ...]:
    """Return the work of every Pallas kernel that a traced program calls, each once."""
    found = {work.key: work for equation in _calls(jaxpr) for work in [_work(equation)]}
    return tuple(found.values())


def work_of(instruction: Instruction, known: Mapping[str, PallasWork]) -> PallasWork | None:
    """Return what is known of a call to a Triton kernel: by its name and its operands' shapes."""
    shapes = [instruction.operand(n).shape.dims for n in range(len(instruction.operands))]
    return known.get(_key(triton_name(instruction), shapes))


def _key(name: str, shapes: list[tuple[int, ...]]) -> str:
    return f"{name}({', '.join('x'.join(map(str, shape)) for shape in shapes)})"


def _calls(jaxpr: Any) -> Iterator[Any]:
    for equation in jaxpr.eqns:
        if equation.primitive.name == "pallas_call":
            yield equation
        else:
            for inner in _inner(equation):
                yield from _calls(inner)


def _inner(equation: Any) -> Iterator[Any]:
    """Yield the programs among an equation's parameters."""
    for value in equation.params.values():
        for one in value if isinstance(value, (tuple, list)) else (value,):
            inner = getattr(one, "jaxpr", one)
            if hasattr(inner, "eqns"):
                yield inner


def _work(call: Any) -> PallasWork:
    body, grid = call.params["jaxpr"], call.params["grid_mapping"].grid
    points = math.prod(n if isinstance(n, int) else math.nan for n in grid)
    total = _flops(body).times(points)
    key = _key(_name(call), [tuple(v.aval.shape) for v in call.invars])
    return PallasWork(key, total.matrix, total.vector, total.transcendental, _precision(body))


def _name(call: Any) -> str:
    """Return the kernel's name: the one that was given, else its function's, with what a symbol may not hold replaced as JAX does."""
    return re.sub(r"[^\w.-]", "_", str(call.params["name"] or call.params["jaxpr"].debug_info.func_name))


def _precision(body: Any) -> str:
    dots = (e for e in _equations(body) if e.primitive.name == "dot_general")
    asked = next((e.params["precision"] for e in dots), "")
    if asked == "":
        return ""
    asked = asked[0] if isinstance(asked, tuple) else asked
    return "default" if asked is None else str(getattr(asked, "name", asked)).lower()


def _equations(jaxpr: Any) -> Iterator[Any]:
    for equation in jaxpr.eqns:
        yield equation
        for inner in _inner(equation):
            yield from _equations(inner)


def _flops(jaxpr: Any) -> Flops:
    total = Flops()
    for equation in jaxpr.eqns:
        total += _equation(equation)
    return total


def _equation(equation: Any) -> Flops:
    """Work of one equation; unknown (NaN) for an operation without a rule."""
    name = equation.primitive.name
    if name == "scan":
        return _flops(equation.params["jaxpr"].jaxpr).times(equation.params["length"])
    if name == "while":
        return Flops(math.nan, math.nan, math.nan)
    if name == "cond":
        branches = [_flops(branch.jaxpr) for branch in equation.params["branches"]]
        return max(branches, key=lambda f: f.matrix + f.vector + f.transcendental)
    if any(True for _ in _inner(equation)):
        return sum((_flops(inner) for inner in _inner(equation)), Flops())
    size = float(math.prod(equation.outvars[0].aval.shape)) if equation.outvars else 0.0
    if name == "dot_general":
        ((contracted, _), _) = equation.params["dimension_numbers"]
        return Flops(matrix=2.0 * size * math.prod(equation.invars[0].aval.shape[d] for d in contracted))
    if name.startswith(("reduce_", "arg")):
        return Flops(vector=math.prod(equation.invars[0].aval.shape) - size)
    return _elementwise(name, size)


def _elementwise(name: str, size: float) -> Flops:
    if name in _TRANSCENDENTAL:
        return Flops(transcendental=size)
    if name in _ARITHMETIC:
        return Flops(vector=size)
    return Flops() if name in _NONE else Flops(math.nan, math.nan, math.nan)
