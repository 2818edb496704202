"""TF32 on a CPU: a function whose matrix products round their operands as tensor cores do.

TF32 keeps 10 of FP32's 23 bits of mantissa and accumulates in FP32. Here operands are rounded to nearest before each product.
"""

from collections.abc import Callable, Sequence
from typing import Any

EXPONENT_BITS, MANTISSA_BITS = 8, 10

_CALLS = {"jit": "jaxpr", "pjit": "jaxpr", "closed_call": "call_jaxpr", "custom_jvp_call": "call_jaxpr", "custom_vjp_call": "call_jaxpr"}


def tf32(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return the function with every FP32 matrix product in TF32, those of its derivatives included if it computes any."""

    def rounded(*arguments: Any) -> Any:
        import jax

        closed, shape = jax.make_jaxpr(function, return_shape=True)(*arguments)
        out = _evaluate(closed.jaxpr, closed.consts, jax.tree.leaves(arguments))
        return jax.tree.unflatten(jax.tree.structure(shape), out)

    return rounded


def _evaluate(jaxpr: Any, constants: Sequence[Any], arguments: Sequence[Any]) -> list[Any]:
    values = dict(zip([*jaxpr.constvars, *jaxpr.invars], [*constants, *arguments], strict=True))

    def read(atom: Any) -> Any:
        return atom.val if hasattr(atom, "val") else values[atom]

    for equation in jaxpr.eqns:
        values.update(zip(equation.outvars, _equation(equation, [read(v) for v in equation.invars]), strict=True))
    return [read(v) for v in jaxpr.outvars]


def _equation(equation: Any, values: list[Any]) -> Sequence[Any]:
    name, params = equation.primitive.name, equation.params
    if name in _CALLS:
        inner = params[_CALLS[name]]
        return _evaluate(inner.jaxpr, inner.consts, values)
    if name in _LOOPS:
        found: Sequence[Any] = _LOOPS[name](params, values)
        return found
    if name == "dot_general":
        values = [_rounded(value) for value in values]
    out = equation.primitive.bind(*values, **equation.primitive.get_bind_params(params))
    return list(out) if equation.primitive.multiple_results else [out]


def _rounded(value: Any) -> Any:
    import jax
    import jax.numpy as jnp

    if value.dtype != jnp.float32:
        return value
    return jax.lax.reduce_precision(value, EXPONENT_BITS, MANTISSA_BITS)


def _scan(params: Any, values: list[Any]) -> list[Any]:
    import jax

    constants, carried = params["num_consts"], params["num_consts"] + params["num_carry"]
    body = params["jaxpr"]

    def step(carry: Any, given: Any) -> tuple[Any, Any]:
        out = _evaluate(body.jaxpr, body.consts, [*values[:constants], *carry, *given])
        return out[: len(carry)], out[len(carry) :]

    carry, stacked = jax.lax.scan(step, values[constants:carried], values[carried:], params["length"], params["reverse"])
    return [*carry, *stacked]


def _while(params: Any, values: list[Any]) -> list[Any]:
    import jax

    first, second = params["cond_nconsts"], params["cond_nconsts"] + params["body_nconsts"]
    condition, body = params["cond_jaxpr"], params["body_jaxpr"]
    found: list[Any] = jax.lax.while_loop(
        lambda carry: _evaluate(condition.jaxpr, condition.consts, [*values[:first], *carry])[0],
        lambda carry: _evaluate(body.jaxpr, body.consts, [*values[first:second], *carry]),
        values[second:],
    )
    return found


def _cond(params: Any, values: list[Any]) -> list[Any]:
    import jax

    branches = [lambda *given, branch=branch: _evaluate(branch.jaxpr, branch.consts, given) for branch in params["branches"]]
    found: list[Any] = jax.lax.switch(values[0], branches, *values[1:])
    return found


_LOOPS: dict[str, Callable[[Any, list[Any]], list[Any]]] = {"scan": _scan, "while": _while, "cond": _cond}
