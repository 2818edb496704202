"""Is what a trace cannot hold said: side effects in Python, and work that no rule counts?"""

import warnings
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import codesign as cd
from tests.targets import A5000
from traces.capture import capture
from traces.capture.doubts import CaptureWarning
from traces.errors import CaptureError

X = jax.ShapeDtypeStruct((8, 8), jnp.float32)


def captured(function: Any, *args: Any) -> Any:
    return capture(function, args or (X,), target=A5000)


@pytest.mark.parametrize("where", ["function", "loop"])
def test_an_array_that_outlives_its_tracing_is_warned_of(where: str) -> None:
    history: list[Any] = []

    def keep(x: Any) -> Any:
        history.append(jnp.sin(x))
        return jnp.sin(x)

    def loop(x: Any) -> Any:
        return jax.lax.scan(lambda c, _: (keep(c), None), x, None, length=3)[0]

    with pytest.warns(CaptureWarning, match=r"should have no side effects in Python, but keeps arrays of its tracing.*return such values"):
        trace = captured(keep if where == "function" else loop)
    assert len(trace.kernels) > 0


@pytest.mark.parametrize(
    "function",
    [
        lambda x: jax.grad(lambda y: jnp.sum(jax.nn.relu(y @ y)))(x),
        lambda x: jax.lax.scan(lambda c, _: (jnp.sin(c), None), x, None, length=3)[0],
        lambda x: jax.vmap(jax.jvp, (None, 0, 0))(jnp.sin, (x,), (x,))[1],
        jax.jit(lambda x: x + 1),
    ],
    ids=["grad", "scan", "jvp", "jit"],
)
def test_transformations_of_jax_are_no_side_effects(function: Any) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error", CaptureWarning)
        captured(function)


def test_a_sort_that_cub_would_do_is_warned_of() -> None:
    with pytest.warns(CaptureWarning, match=r"[0-9]+ kernels sort in XLA's own way.*CUB's radix sort"):
        captured(jnp.sort, jax.ShapeDtypeStruct((100_000,), jnp.float32))
    with warnings.catch_warnings():
        warnings.simplefilter("error", CaptureWarning)
        captured(jnp.sort, jax.ShapeDtypeStruct((4096,), jnp.float32))
        large, small = jax.ShapeDtypeStruct((50_000_000,), jnp.float32), jax.ShapeDtypeStruct((20_000,), jnp.float32)
        captured(lambda x, y: (x + 1, jnp.sort(y)), large, small)  # no part of the program that anybody would notice


def test_counting_calls_is_no_harm() -> None:
    """It happens once, while tracing; the trace is the program's."""
    calls: list[str] = []

    def counted(x: Any) -> Any:
        calls.append("called")
        return x + 1

    assert len(captured(counted).kernels) == 1
    assert calls == ["called"]


def test_a_library_call_without_a_rule_is_null_and_named() -> None:
    with pytest.warns(CaptureWarning, match=r"there is no rule for the FLOP of \w*gtsv\w* \(1\): the work of 1 of \d+ kernels is unknown"):
        trace = captured(lambda x: jax.lax.linalg.tridiagonal_solve(x[0], x[0], x[0], x))
    assert int(np.isnan(trace.kernels["flops_matrix"]).sum()) == 1


def test_a_dynamic_loop_without_a_count_names_the_loop() -> None:
    with pytest.raises(CaptureError, match=r"does not know that of while.*trip_counts="):
        captured(lambda x: jax.lax.while_loop(lambda c: c.sum() < 9, jnp.sin, x))


@pytest.mark.parametrize(
    ("function", "args", "message"),
    [
        (3, (), "must be a function, a module or an exported program, but got int"),
        (lambda x: x, jax.ShapeDtypeStruct((2,), "float32"), r"args must be a tuple .*, but got ShapeDtypeStruct: write args=\(x,\)"),
        (lambda x: x, (), "must fit the function '<lambda>', but got 0 and 0: missing a required argument: 'x'"),
        (lambda x: x, (1.0, 2.0), "but got 2 and 0: too many positional arguments"),
    ],
)
def test_arguments_that_do_not_fit_are_refused_before_anything_is_traced(function: Any, args: Any, message: str) -> None:
    with pytest.raises(CaptureError, match=message):
        cd.capture(function, args, target="a5000")
