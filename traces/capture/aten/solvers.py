"""Dense linear algebra: factorisations and triangular solves as library calls with their sizes, and what PyTorch makes of them.

Determinants, inverses, solves and distances are taken apart as ATen/native/LinearAlgebra.cpp, BatchLinearAlgebra.cpp and Distance.cpp
do on CUDA; launches and work of the parts are those of XLA's calls (traces/capture/library.py). Eigenvalues and singular values take the
routine that PyTorch's BatchLinearAlgebraLib.cpp chooses.
"""

from collections.abc import Callable
from dataclasses import replace
from math import prod
from typing import Any

import torch
from torch import Tensor

from traces.capture import library
from traces.capture.aten.call import Call, Touch, read, write
from traces.capture.aten.kernel import Kernel, Rule, Setting
from traces.capture.spectral import BATCHED_ROWS

aten = torch.ops.aten


def _batch(matrix: Tensor) -> tuple[int, int, int]:
    return prod(matrix.shape[:-2]), int(matrix.shape[-2]), int(matrix.shape[-1])


def _kernel(call: Call, known: library.Call, family: str) -> Kernel:
    """A library call; of a triangle it reads the elements that are there."""
    touches = [_part(tensor, known.shares.get(place, 1.0)) for place, tensor in enumerate(call.reads)]
    return Kernel(
        call.full_name,
        family,
        [*touches, *(write(t) for t in call.written)],
        known.flops,
        launch_kind="library",
        library=known.routine,
        launches=known.launches,
        precision=known.precision,
        sizes=(known.batch, known.m, known.n, known.k),
    )


def _part(tensor: Tensor, share: float) -> Touch:
    whole = read(tensor)
    return Touch(tensor, False, whole.unique * share, whole.requested * share, whole.stride)


def _factorise(call: Call, setting: Setting) -> Kernel:
    return _kernel(call, library.getrf(*_batch(call.reads[0])), "lu")


def _triangle(call: Call, setting: Setting) -> Kernel:
    """`linalg_solve_triangular`: A X = B, or X A = B where ``left`` is false."""
    triangle, given = call.reads[:2]
    batch, n, _ = _batch(triangle)
    return _kernel(call, library.triangular_solve(batch, n, given.numel() // max(1, batch * n)), "triangular_solve")


def _cholesky(call: Call, setting: Setting) -> Kernel:
    batch, n, _ = _batch(call.reads[0])
    return _kernel(call, library.potrf(batch, n), "other")


def _symmetric(call: Call, setting: Setting) -> Kernel:
    batch, n, _ = _batch(call.reads[0])
    return _kernel(call, library.sytrf(batch, n), "other")


def _qr(call: Call, setting: Setting) -> Kernel:
    """Householder's reflections, and the orthogonal factor of them unless ``mode`` is 'r'."""
    batch, m, n = _batch(call.reads[0])
    mode, reflections = call.argument("mode", "reduced"), min(m, n)
    known, formed = library.geqrf(batch, m, n), library.orgqr(batch, m, m if mode == "complete" else reflections, reflections)
    made = _kernel(call, known, "other")
    if mode == "r":
        return made
    return replace(made, flops=known.flops + formed.flops, launches=known.launches + formed.launches)


def _orthogonal(call: Call, setting: Setting) -> Kernel:
    """`linalg_householder_product`: the columns that reflections make of the identity's."""
    reflections, scales = call.reads[:2]
    return _kernel(call, library.orgqr(*_batch(reflections), int(scales.shape[-1])), "other")


def _reflect(call: Call, setting: Setting) -> Kernel:
    """`ormqr`: reflections applied to a matrix of one's own, from the left or from the right."""
    reflections, _, given = call.reads[:3]
    batch, m, n = _batch(given)
    rows, columns = (m, n) if call.argument("left", True) else (n, m)
    return _kernel(call, library.ormqr(batch, rows, columns, int(reflections.shape[-1])), "other")


def _eigen(call: Call, setting: Setting) -> Kernel:
    """By rotations in FP32 from 32 to 512 rows and for batches of up to 32, else by tridiagonal form (pull requests 53040 and 62003)."""
    batch, n, _ = _batch(call.reads[0])
    few = batch > 1 and n <= BATCHED_ROWS
    jacobi = few or (call.reads[0].dtype == torch.float32 and BATCHED_ROWS <= n <= _LARGEST_BY_ROTATIONS)
    return _kernel(call, library.eigen(batch, n, jacobi=jacobi, vectors=bool(call.argument("compute_v", True))), "other")


_LARGEST_BY_ROTATIONS = 512


def _singular(call: Call, setting: Setting) -> Kernel:
    """By rotations unless QR's iterations are asked for."""
    driver = "gesvd" if call.argument("driver", None) == "gesvd" else "gesvdj"
    full, vectors = bool(call.argument("full_matrices", False)), bool(call.argument("compute_uv", True))
    return _kernel(call, library.singular(*_batch(call.reads[0]), driver=driver, vectors=vectors, full=full), "other")


RULES: dict[str, Rule] = {
    "_linalg_eigh": _eigen,
    "_linalg_svd": _singular,
    "ormqr": _reflect,
    "linalg_householder_product": _orthogonal,
    "linalg_lu": _factorise,
    "linalg_lu_factor_ex": _factorise,
    "linalg_solve_triangular": _triangle,
    "linalg_cholesky_ex": _cholesky,
    "linalg_ldl_factor_ex": _symmetric,
    "linalg_qr": _qr,
}


def _sign_of_permutation(pivots: Tensor) -> Tensor:
    exchanged = torch.arange(1, pivots.shape[-1] + 1, dtype=pivots.dtype, device=pivots.device) != pivots
    return exchanged.sum(-1).fmod_(2).mul_(-2).add_(1)


def _det(A: Tensor) -> tuple[Tensor, ...]:
    factors, pivots, _ = aten.linalg_lu_factor_ex(A)
    return _sign_of_permutation(pivots) * factors.diagonal(0, -2, -1).prod(-1), factors, pivots


def _slogdet(A: Tensor) -> tuple[Tensor, ...]:
    factors, pivots, _ = aten.linalg_lu_factor_ex(A)
    diagonal = factors.diagonal(0, -2, -1)
    sign = diagonal.sgn().prod(-1) * _sign_of_permutation(pivots)
    return sign, diagonal.abs().log_().sum(-1), factors, pivots


def _lu_solve(LU: Tensor, pivots: Tensor, B: Tensor, *, left: bool = True, adjoint: bool = False) -> Tensor:
    """Solve with both triangles. Pivoting exchanges rows of the right-hand side, a copy of it."""
    given = B.clone()
    for upper in (adjoint, not adjoint):
        given = aten.linalg_solve_triangular(LU, given, upper=upper, left=left, unitriangular=not upper)
    return given


def _solve(A: Tensor, B: Tensor, *, left: bool = True, check_errors: bool = False) -> tuple[Tensor, ...]:
    factors, pivots, info = aten.linalg_lu_factor_ex(A)
    vector = B.dim() == 1 or (A.dim() - 1 == B.dim() and B.shape == A.shape[:-1])
    result = _lu_solve(factors, pivots, B.unsqueeze(-1) if vector else B, left=left)
    return result.squeeze(-1) if vector else result, factors, pivots, info


def _inverse(A: Tensor, *, check_errors: bool = False) -> tuple[Tensor, ...]:
    identity = torch.zeros_like(A)
    identity.diagonal(0, -2, -1).fill_(1)
    result, _, _, info = _solve(A, identity)
    return result, info


def _cholesky_solve(self: Tensor, A: Tensor, upper: bool = False) -> Tensor:
    given = self.clone()
    for transposed in (upper, not upper):
        given = aten.linalg_solve_triangular(A.mT if transposed else A, given, upper=upper != transposed)
    return given


def _euclidean_distances(x1: Tensor, x2: Tensor) -> Tensor:
    """The product form of `cdist` (ATen/native/Distance.cpp, _euclidean_dist): norms and ones are columns of both factors."""
    norms = [x.pow(2).sum(-1, keepdim=True) for x in (x1, x2)]
    ones = [torch.ones_like(n) for n in norms]
    left, right = torch.cat((x1.mul(-2), norms[0], ones[0]), -1), torch.cat((x2, ones[1], norms[1]), -1)
    squares = torch.bmm(left.reshape(-1, *left.shape[-2:]), right.reshape(-1, *right.shape[-2:]).mT)
    return squares.view(*left.shape[:-1], right.shape[-2]).clamp_min_(0).sqrt_()


def _cholesky_inverse(self: Tensor, upper: bool = False) -> Tensor:
    identity = torch.zeros_like(self)
    identity.diagonal(0, -2, -1).fill_(1)
    return _cholesky_solve(identity, self, upper)


def _pseudoinverse(self: Tensor, *, atol: Any = None, rtol: Any = None, hermitian: bool = False) -> Tensor:
    """Singular values above a threshold, inverted, between both factors (ATen/native/LinearAlgebra.cpp); eigenvalues of a symmetric one."""
    if hermitian:
        values, left = aten._linalg_eigh(self)
        right, sizes = left.mH, values.abs()
    else:
        left, values, right = aten._linalg_svd(self)
        sizes = values
    small = sizes <= sizes.amax(-1, keepdim=True) * torch.finfo(self.dtype).eps
    inverted = values.reciprocal().masked_fill(small, 0.0)
    scaled, turned = right.mH * inverted.unsqueeze(-2), left.mH
    product = torch.bmm(scaled.reshape(-1, *scaled.shape[-2:]), turned.reshape(-1, *turned.shape[-2:]))
    return product.view(*self.shape[:-2], *product.shape[-2:])


def _exponential(self: Tensor) -> Tensor:
    """Taylor's polynomial of degree 18 in five products (ATen/native/LinearAlgebra.cpp); how often the result is squared, values decide."""
    one = self.reshape(-1, *self.shape[-2:])
    two = torch.bmm(one, one)
    three = torch.bmm(two, one)
    six = torch.bmm(three, three)
    sums = [two.mul(0.5).add_(one).add_(three).add_(six) for _ in range(4)]  # five matrices each, of other coefficients
    nine = torch.bmm(sums[0], sums[1]).add_(sums[2])
    return torch.bmm(sums[3].add(nine), nine).add_(sums[2]).view(self.shape)


PARTS: dict[Any, Callable[..., Any]] = {
    aten.linalg_matrix_exp.default: _exponential,
    aten.linalg_pinv.atol_rtol_tensor: _pseudoinverse,
    aten.cholesky_inverse.default: _cholesky_inverse,
    aten._euclidean_dist.default: _euclidean_distances,
    aten._linalg_det.default: _det,
    aten._linalg_slogdet.default: _slogdet,
    aten._linalg_solve_ex.default: _solve,
    aten.linalg_inv_ex.default: _inverse,
    aten.linalg_lu_solve.default: _lu_solve,
    aten.cholesky_solve.default: _cholesky_solve,
}
"""Calls that are several: what each does instead, by calls that are recorded one by one."""
