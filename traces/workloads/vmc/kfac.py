"""kfac-jax, imported so that it works with the JAX that is installed."""

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from typing import Any

from traces.errors import MissingExtra
from traces.workloads.numerics import contained


@cache
def import_kfac() -> Any:
    """Return the package. Raises MissingExtra without it.

    kfac-jax 0.0.8 takes what a JAX primitive is bound with for a pair; since JAX 0.9.2 it is one dictionary.
    """
    with contained():
        warnings.simplefilter("ignore", DeprecationWarning)  # it uses jax.core.Effects, which JAX 0.10 deprecates
        try:
            import kfac_jax
        except ModuleNotFoundError as error:
            raise MissingExtra("nnvmc", f"KFAC ({error})") from error
        from kfac_jax._src import tag_graph_matcher

        vars(tag_graph_matcher)["eval_jaxpr_eqn"] = _evaluate
    return kfac_jax


def _evaluate(equation: Any, values: Sequence[Any]) -> list[Any]:
    """Evaluate one equation of a traced function."""
    primitive = equation.primitive
    bound = primitive.get_bind_params(equation.params)
    functions, params = ([], bound) if isinstance(bound, dict) else bound
    out = primitive.bind(*functions, *values, **params)
    return list(out) if primitive.multiple_results else [out]


@contextmanager
def quiet() -> Iterator[None]:
    """Keep to itself that kfac-jax uses names of JAX that are about to move."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"jax\.", DeprecationWarning)
        yield


@cache
def blocks() -> Mapping[str, type]:
    """Return blocks of dense layers that are also applied to what has no walkers (a molecule): its rows then count as the samples."""
    package = import_kfac()
    dense: Any = package.DenseTwoKroneckerFactored
    repeated: Any = package.RepeatedDenseKroneckerFactored

    class Dense(dense):  # type: ignore[misc]
        def update_curvature_matrix_estimate(self, state: Any, estimation_data: Any, **weights: Any) -> Any:
            data, count = _rows(estimation_data, weights.pop("batch_size"), repeats=())
            return super().update_curvature_matrix_estimate(state, data, batch_size=count, **weights)

    class Repeated(repeated):  # type: ignore[misc]
        def update_curvature_matrix_estimate(self, state: Any, estimation_data: Any, **weights: Any) -> Any:
            data, count = _rows(estimation_data, weights.pop("batch_size"), repeats=(1,))
            return super().update_curvature_matrix_estimate(state, data, batch_size=count, **weights)

    return {"dense": Dense, "repeated_dense": Repeated}


def _rows(data: Any, batch: int, repeats: tuple[int, ...]) -> tuple[Any, int]:
    """Return a layer's inputs and gradients with samples first, and how many there are."""
    (x,), (dy,) = data.primals.inputs, data.tangents.outputs
    if x.shape[0] == batch == dy.shape[0]:
        return data, batch
    count = x.size // x.shape[-1]
    inputs, gradients = x.reshape(count, *repeats, x.shape[-1]), dy.reshape(count, *repeats, dy.shape[-1])
    return replace(data, primals=replace(data.primals, inputs=(inputs,)), tangents=replace(data.tangents, outputs=(gradients,))), count
