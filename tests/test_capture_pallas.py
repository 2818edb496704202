"""Is the work of kernels written in Pallas counted as their own programs say?"""

import numpy as np
import pytest

pytest.importorskip("folx", reason="needs the extra nnvmc")

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import triton

from traces.capture import pallas
from traces.capture.compile import mosaic_hint
from traces.workloads.numerics import numerics


def kernels(function, *shapes):
    with numerics("default", x64=False):
        traced = jax.make_jaxpr(function)(*(jax.ShapeDtypeStruct(shape, jnp.float32) for shape in shapes))
    return pallas.kernels(traced.jaxpr)


def body(a, b, out):
    """2 * 8 * 8 * 8 matrix, 64 transcendental, 64 vector FLOP, three times, at each point of the grid."""

    def again(_, total):
        return total + jnp.exp(jnp.dot(a[...], b[...]))

    out[...] = jax.lax.fori_loop(0, 3, again, jnp.zeros((8, 8), jnp.float32))


def product(a, b):
    spec = pl.BlockSpec((8, 8), lambda i: (i, 0))
    shape = jax.ShapeDtypeStruct(a.shape, a.dtype)
    return pl.pallas_call(body, grid=(4,), in_specs=[spec, spec], out_specs=spec, out_shape=shape, name="mine")(a, b)


def test_products_loops_and_the_grid_multiply():
    (work,) = kernels(product, (32, 8), (32, 8))
    assert work.key == "mine(32x8, 32x8)"
    assert work.matrix == 4 * 3 * 2 * 8**3
    assert work.transcendental == 4 * 3 * 64
    assert work.vector == 4 * 3 * 64
    assert work.precision == "default"


def test_a_kernel_without_a_name_has_that_of_its_function():
    def double(a, out):
        out[...] = a[...] * 2

    (work,) = kernels(lambda a: pl.pallas_call(double, out_shape=jax.ShapeDtypeStruct(a.shape, a.dtype), grid=(4,))(a), (8,))
    assert (work.key, work.vector) == ("double(8)", 4 * 8)


def test_a_batched_kernel_is_counted_once_a_batch_and_each_kernel_is_listed_once():
    both = kernels(lambda a, b: jax.vmap(product)(a, b) + jax.vmap(product)(b, a), (5, 32, 8), (5, 32, 8))
    assert [work.key for work in both] == ["mine(5x32x8, 5x32x8)"]
    assert both[0].matrix == 5 * 4 * 3 * 2 * 8**3


def test_an_operation_without_a_rule_makes_the_work_unknown():
    def sorting(a, out):
        out[...] = jnp.sort(a[...])

    (work,) = kernels(lambda a: pl.pallas_call(sorting, out_shape=jax.ShapeDtypeStruct(a.shape, a.dtype))(a), (8,))
    assert np.isnan(work.vector)


def test_a_kernel_for_hopper_is_refused_for_an_older_gpu_with_the_back_end_that_works():
    def lowered(params):
        call = pl.pallas_call(
            lambda a, out: out.__setitem__(..., a[...]), out_shape=jax.ShapeDtypeStruct((128,), "float32"), compiler_params=params
        )
        return jax.jit(call).trace(jax.ShapeDtypeStruct((128,), "float32")).lower(lowering_platforms=("cuda",)).as_text()

    with pytest.warns(DeprecationWarning, match="Mosaic"):
        for_hopper = lowered(None)
    assert "pallas.triton.CompilerParams()" in mosaic_hint(for_hopper, (8, 0))
    assert not mosaic_hint(for_hopper, (9, 0))
    assert not mosaic_hint(lowered(triton.CompilerParams()), (8, 0))


def test_the_fused_attention_of_a_capture_does_two_products_a_walker_and_head():
    """Sequences are padded to 16: q k^T and weights v, each 2 * 16 * 16 * 32 FLOP, for 1,024 walkers and 8 heads."""
    from traces.recordings import load_recorded

    trace = load_recorded("orbformer-ch4-a5000")
    rows = (trace.kernels["family"] == "attention") & (trace.kernels["phase"] == "sampling")
    assert rows.sum() == 4
    np.testing.assert_array_equal(trace.kernels["flops_matrix"][rows], 1024 * 8 * 2 * 2 * 16 * 16 * 32)
    assert set(trace.executions[rows]) == {60}
