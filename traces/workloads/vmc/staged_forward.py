"""The forward Laplacian of a function, stage by stage, so that kernels keep the name of the stage they belong to.

folx evaluates a traced function equation by equation under scopes of its own: the names that the program gave are lost. Here the
equations are grouped by the stage that their names tell, and folx gets one group after the other, each in a scope ``stage_...``.
Values, Jacobians and Laplacians go from group to group; the arithmetic is folx's own.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from typing import Any

from traces.capture.scopes import stage_of
from traces.workloads.workload import StageRules

PREFIX = "phase_laplacian/forward/"
"""Stands before an equation's scope when its stage is looked up."""


def laplacian_and_gradient(function: Callable[[Any], Any], x: Any, rules: StageRules) -> tuple[Any, Any]:
    """Return the Laplacian (a number) and the gradient (like x, flat) of a scalar function at x."""
    import folx
    import jax

    closed = jax.make_jaxpr(function)(x)
    start = folx.forward_laplacian(lambda value: value, disable_jit=True)(x)
    (out,) = _evaluate(closed.jaxpr, closed.consts, [start], rules, "")
    return out.laplacian, out.jacobian.dense_array


def _evaluate(jaxpr: Any, constants: Sequence[Any], arguments: Sequence[Any], rules: StageRules, scope: str) -> list[Any]:
    """Evaluate a traced function; values are arrays, or folx's triples where they depend on the coordinates."""
    values = dict(zip([*jaxpr.constvars, *jaxpr.invars], [*constants, *arguments], strict=True))
    staged = [(_stages(e, rules, scope), e) for e in jaxpr.eqns]
    last = {v: n for n, (_, e) in enumerate(staged) for v in _variables(e.invars)} | dict.fromkeys(_variables(jaxpr.outvars), len(staged))
    number = 0
    for stages, group in groupby(staged, key=lambda pair: pair[0]):
        equations = [equation for _, equation in group]
        if len(stages) > 1:
            for equation in equations:
                _enter(equation, values, rules, scope)
        else:
            wanted = [v for e in equations for v in e.outvars if last.get(v, -1) >= number + len(equations)]
            _run(equations, wanted, values, stages[0])
        number += len(equations)
        values = {v: value for v, value in values.items() if last.get(v, -1) >= number}
    return [_read(values, v) for v in jaxpr.outvars]


def _stages(equation: Any, rules: StageRules, scope: str) -> tuple[str, ...]:
    """Return the stages of an equation: several where it calls a function that folx does not know as one operation."""
    own = f"{scope}/{equation.source_info.name_stack}/"  # with an end, as before an operation
    if not _is_call(equation):
        return (stage_of(PREFIX + own, rules),)
    inner = {stage for e in equation.params["jaxpr"].jaxpr.eqns for stage in _stages(e, rules, own)}
    return tuple(sorted(inner)) or (stage_of(PREFIX + own, rules),)


def _is_call(equation: Any) -> bool:
    from folx.wrapped_functions import is_registered

    return equation.primitive.name in ("jit", "pjit") and not is_registered(equation.params["name"])


def _enter(equation: Any, values: dict[Any, Any], rules: StageRules, scope: str) -> None:
    """Evaluate a call whose body has more than one stage."""
    inner = equation.params["jaxpr"]
    arguments = [_read(values, v) for v in equation.invars]
    results = _evaluate(inner.jaxpr, inner.consts, arguments, rules, f"{scope}/{equation.source_info.name_stack}")
    values.update(zip(equation.outvars, results, strict=True))


def _run(equations: Sequence[Any], wanted: Sequence[Any], values: dict[Any, Any], stage: str) -> None:
    """Evaluate equations of one stage in its scope; ``values`` gets those that are wanted later."""
    import folx
    import jax
    from folx.api import FwdLaplArray

    made = {v for e in equations for v in e.outvars}
    needed = list(dict.fromkeys(v for e in equations for v in _variables(e.invars) if v not in made))
    arguments = [values[v] for v in needed]

    def group(*arrays: Any) -> list[Any]:
        inside = dict(zip(needed, arrays, strict=True))
        for equation in equations:
            _bind(equation, inside)
        return [inside[v] for v in wanted]

    depends = any(isinstance(value, FwdLaplArray) for value in arguments)
    with jax.named_scope(f"stage_{stage}" if stage else "unstaged"):
        results = folx.forward_laplacian(group)(*arguments) if depends else group(*arguments)
    values.update(zip(wanted, results, strict=True))


def _bind(equation: Any, values: dict[Any, Any]) -> None:
    primitive = equation.primitive
    out = primitive.bind(*(_read(values, v) for v in equation.invars), **primitive.get_bind_params(equation.params))
    values.update(zip(equation.outvars, out if primitive.multiple_results else [out], strict=True))


def _read(values: dict[Any, Any], atom: Any) -> Any:
    return atom.val if hasattr(atom, "val") else values[atom]


def _variables(atoms: Sequence[Any]) -> Iterator[Any]:
    return (atom for atom in atoms if not hasattr(atom, "val"))
