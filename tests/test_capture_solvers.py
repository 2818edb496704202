"""Are convolutions and factorisations of both front ends counted by arithmetic, sized as products, and priced near what others measured?"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from jax import lax

import codesign as cd
from traces.capture import library, spectral
from traces.errors import CaptureError


def rows(function: Any, *shapes: tuple[int, ...], **options: Any) -> list[dict[str, Any]]:
    """The library calls of a program."""
    trace = cd.capture(function, [jax.ShapeDtypeStruct(s, jnp.float32) for s in shapes], target="a100-sxm-80gb", **options)
    kernels = trace.kernels
    names = ("library", "batch", "m", "n", "k", "precision", "flops_matrix", "launches")
    return [{name: kernels[name][row] for name in names} for row in np.flatnonzero(kernels["launch_kind"] == "library")]


def convolved(groups: int = 1) -> Any:
    def convolve(x: Any, w: Any) -> Any:
        return lax.conv_general_dilated(x, w, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"), feature_group_count=groups)

    return convolve


@pytest.mark.parametrize("groups", [1, 4, 32])
def test_a_convolution_is_the_product_that_it_is(groups: int) -> None:
    """8 images of 14 x 14 outputs, 64 channels, 3 x 3 x 32 / groups weights of one output."""
    (found,) = rows(convolved(groups), (8, 14, 14, 32), (3, 3, 32 // groups, 64))
    assert (found["library"], found["batch"], found["m"], found["n"], found["k"]) == (
        "convolution", groups, 8 * 14 * 14, 64 // groups, 9 * 32 // groups,
    )  # fmt: skip
    assert found["flops_matrix"] == 2 * found["batch"] * found["m"] * found["n"] * found["k"]


def test_gradients_of_a_convolution_have_its_sizes() -> None:
    found = rows(jax.grad(lambda x, w: (convolved()(x, w) ** 2).sum(), argnums=(0, 1)), (8, 14, 14, 32), (3, 3, 32, 64))
    assert [(f["m"], f["n"], f["k"], f["flops_matrix"]) for f in found] == [(1568, 64, 288, 2 * 1568 * 64 * 288)] * 3


@pytest.mark.parametrize(("asked", "kept"), [(None, "default"), ("highest", "highest")])
def test_a_convolution_keeps_the_precision_that_was_asked_for(asked: str | None, kept: str) -> None:
    (found,) = rows(convolved(), (8, 14, 14, 32), (3, 3, 32, 64), precision=asked)
    assert found["precision"] == kept


def reflected(m: int, n: int, k: int) -> float:
    """FLOP of applying k reflections to n columns, counted one by one: reflection j has m - j rows, and meets n - j columns."""
    return float(sum(4 * (m - j) * (n - j) for j in range(k)))


@pytest.mark.parametrize(("m", "n", "mode"), [(512, 128, "reduced"), (128, 128, "reduced"), (512, 64, "complete")])
def test_both_factors_of_qr_are_counted(m: int, n: int, mode: str) -> None:
    factored, formed = rows(lambda a: jnp.linalg.qr(a, mode=mode), (m, n))
    columns = m if mode == "complete" else n
    assert factored["flops_matrix"] == pytest.approx(reflected(m, n, n), rel=0.03)
    assert formed["flops_matrix"] == pytest.approx(reflected(m, columns, n), rel=0.03)
    assert factored["precision"] == formed["precision"] == "highest"
    eager = cd.capture(lambda a: torch.linalg.qr(a, mode=mode), [torch.empty(m, n, device="meta")], target="a100-sxm-80gb")
    assert np.nansum(eager.kernels["flops_matrix"]) == factored["flops_matrix"] + formed["flops_matrix"]


def test_cholesky_counts_one_square_root_and_one_column_after_the_other() -> None:
    """Column j scales n - j elements and updates half of the square to its right."""
    n = 256
    (found,) = rows(jnp.linalg.cholesky, (n, n))
    counted = sum(1 + (n - j - 1) + (n - j - 1) * (n - j) for j in range(n))
    assert found["flops_matrix"] == pytest.approx(counted, rel=0.02)
    assert found["launches"] == 3 * n / 8


PUBLISHED = {
    ("cholesky", 16, 16): 34.8e-6, ("cholesky", 128, 128): 108.6e-6, ("cholesky", 512, 512): 376.1e-6, ("cholesky", 2048, 2048): 1954.3e-6,
    ("cholesky", 16, 16, 16): 46.1e-6, ("cholesky", 16, 128, 128): 157.7e-6, ("cholesky", 16, 512, 512): 834.9e-6,
    ("cholesky", 16, 2048, 2048): 10_598.4e-6, ("cholesky", 64, 16, 16): 46.1e-6, ("cholesky", 64, 128, 128): 174.5e-6,
    ("cholesky", 64, 512, 512): 1261.4e-6, ("cholesky", 64, 2048, 2048): 22_181.2e-6,
    ("qr", 16, 4): 53.2e-6, ("qr", 16, 16): 60.0e-6, ("qr", 128, 32): 189.0e-6,
}  # fmt: skip
"""Seconds of PyTorch's call on an H100, cuSOLVER behind it (github.com/pytorch/pytorch, pull requests 173515 and 173788)."""


@pytest.mark.parametrize("call", PUBLISHED)
def test_factorisations_take_about_what_was_published(call: tuple[Any, ...]) -> None:
    name, *shape = call
    trace = cd.capture(getattr(torch.linalg, name), [torch.empty(*shape, device="meta")], target="h100-sxm")
    assert 0.5 <= cd.replay(trace, cd.machine("h100-sxm")).time_s / PUBLISHED[call] < 2


SPECTRA = [
    ("gesvdj", lambda a: torch.linalg.svd(a, full_matrices=False), (256, 256), torch.float64, "a100-pcie-80gb", 12.2e-3),
    ("gesvd", lambda a: torch.linalg.svd(a, full_matrices=False, driver="gesvd"), (256, 256), torch.float64, "a100-pcie-80gb", 23.3e-3),
    ("syevd", torch.linalg.eigh, (16, 1024, 1024), torch.float32, "v100-pcie-16gb", 0.90),
]
"""Seconds that others measured: github.com/tensor4all/tenferro-rs, issue 1720; github.com/jax-ml/jax, issue 10180."""


@pytest.mark.parametrize(("routine", "function", "shape", "dtype", "device", "published"), SPECTRA)
def test_spectra_take_about_what_was_published(
    routine: str, function: Any, shape: tuple[int, ...], dtype: torch.dtype, device: str, published: float
) -> None:
    trace = cd.capture(function, [torch.empty(*shape, dtype=dtype, device="meta")], target=device)
    assert list(trace.kernels["library"]) == [routine]
    assert 0.5 < cd.replay(trace, cd.machine(device)).time_s / published < 2


def test_reductions_to_tridiagonal_and_bidiagonal_form_count_their_reflections() -> None:
    """A reflection of r rows meets c columns in 4 r c; of a symmetric matrix both sides at once, a product and a rank-two update."""
    n, m = 256, 512
    symmetric = sum(2 * (n - j) ** 2 + 2 * (n - j) ** 2 for j in range(n))
    assert spectral.eigen(1, n, jacobi=False, vectors=False).flops == pytest.approx(symmetric, rel=0.02)
    both_sides = sum(4 * (m - j) * (n - j) * 2 for j in range(n))
    assert spectral.singular(1, m, n, driver="gesvd", vectors=False).flops == pytest.approx(both_sides, rel=0.02)
    assert spectral.singular(1, n, m, driver="gesvd") == spectral.singular(1, m, n, driver="gesvd")


def test_jacobi_rotates_every_pair_of_columns_once_a_sweep() -> None:
    """10 columns of 30 rows: 45 pairs, each 6 x 30 for the angle, 6 x 30 and, of vectors, 6 x 10 for the rotation; 9 rounds of 2."""
    assert spectral.singular(1, 30, 10, driver="gesvdj") == ("gesvdj", 8 * 45 * (360 + 60), 2 * 8 * 9)
    assert spectral.singular(3, 40, 10, driver="gesvdj").launches == 3 * 2 * 8 * 9  # too tall for the batched routine
    assert spectral.singular(3, 30, 10, driver="gesvdj")[::2] == ("gesvdj_batched", 1)
    assert spectral.eigen(1, 1, jacobi=True) == ("syevj", 0, 1)


def test_jax_names_the_routine_of_a_spectrum() -> None:
    def routines(function: Any, *shape: int) -> list[tuple[str, int]]:
        return [(row["library"], row["batch"]) for row in rows(function, shape)]

    assert routines(jnp.linalg.eigh, 64, 64) == [("syevd", 1)]
    assert routines(jnp.linalg.eigvalsh, 9, 16, 16) == [("syevj_batched", 9)]
    assert routines(jnp.linalg.svd, 1024, 64) == [("gesvdj", 1)]
    assert routines(jnp.linalg.svd, 1025, 64) == [("gesvd", 1)]
    (alone,), (both,) = (rows(lambda a, uv=uv: jnp.linalg.svd(a, compute_uv=uv), (2048, 64)) for uv in (False, True))
    assert alone["flops_matrix"] == 4 * 2048 * 64**2 - 4 / 3 * 64**3
    assert both["flops_matrix"] == 4 * 2048**2 * 64 + 8 * 2048 * 64**2 + 9 * 64**3  # whole factors, as JAX's default is


def test_pytorch_takes_the_pseudoinverse_apart_and_prices_all_of_it() -> None:
    for hermitian, routine in ((False, "gesvdj"), (True, "syevj")):
        trace = cd.capture(
            lambda a, hermitian=hermitian: torch.linalg.pinv(a, hermitian=hermitian), [torch.empty(64, 64, device="meta")], target="a100"
        )
        libraries = [name for name in trace.kernels["library"] if name]
        assert libraries == [routine, "gemm"]
        assert cd.replay(trace, cd.machine("a100")).kernel_time_s > 0


def test_a_matrix_exponential_is_five_products_and_a_symmetric_factorisation_half_of_lu() -> None:
    n = 64
    exponential = cd.capture(torch.matrix_exp, [torch.empty(2, n, n, device="meta")], target="a100").kernels
    assert list(exponential["flops_matrix"][exponential["family"] == "gemm"]) == [2 * 2 * n**3] * 5
    symmetric = cd.capture(torch.linalg.ldl_factor, [torch.empty(n, n, device="meta")], target="a100")
    assert list(symmetric.kernels["flops_matrix"]) == [n**3 / 3]
    assert cd.replay(symmetric, cd.machine("a100")).kernel_time_s > 0


def test_reflections_applied_to_a_matrix_are_counted_one_by_one() -> None:
    """Reflection j has m - j rows and meets all n columns, from the left; from the right the other way round."""
    reflections, scales, given = (torch.empty(*s, device="meta") for s in ((96, 32), (32,), (96, 48)))
    trace = cd.capture(torch.ormqr, [reflections, scales, given], target="a100")
    assert trace.kernels["flops_matrix"][0] == pytest.approx(sum(4 * (96 - j) * 48 for j in range(32)), rel=0.02)


def test_a_batch_of_factorisations_launches_what_its_routine_does() -> None:
    assert library.potrf(64, 16).launches == 1 + 3 * 2  # pointers, then all matrices at once
    assert library.geqrf(64, 32, 16).launches == 1 + 16 + 4
    assert library.geqrf(2, 512, 64).launches == 2 * (64 + 4 * 2)  # one after the other
    assert library.orgqr(3, 64, 64, 64).launches == 3 * 5 * 2
    assert [library.potrf(1, 0).launches, library.geqrf(1, 0, 0).launches, library.orgqr(1, 0, 0, 0).launches] == [1, 1, 1]


def test_a_program_of_several_devices_is_refused_with_the_way_out() -> None:
    x = [jax.ShapeDtypeStruct((2, 8), jnp.float32)]

    def sharded(x: Any) -> Any:
        spec = jax.sharding.PartitionSpec("i")
        mesh = jax.make_mesh((2,), ("i",))
        return jax.shard_map(lambda x: lax.psum(x, "i"), mesh=mesh, in_specs=spec, out_specs=jax.sharding.PartitionSpec())(x)

    for program in (sharded, lambda x: jax.pmap(lambda x: lax.psum(x, "i"), axis_name="i")(x)):
        with pytest.raises(CaptureError, match=r"must be a program of one device.*capture what jax.pmap or jax.shard_map map"):
            cd.capture(program, x, target="a100")
    with pytest.raises(ValueError, match="axis to squeeze out"):  # the user's own mistake stays what JAX says
        cd.capture(lambda x: jnp.squeeze(x, 0), x, target="a100")


def test_eigenvalues_that_ask_for_the_gpus_library_are_refused_with_the_way_out() -> None:
    with pytest.raises(CaptureError, match=r"asks for cuSOLVER's version when it is lowered.*use jax.numpy.linalg.eigh"):
        cd.capture(jnp.linalg.eig, [jax.ShapeDtypeStruct((8, 8), jnp.float32)], target="a100")
