"""Eigenvalues of symmetric matrices and singular values: which routine of cuSOLVER, its FLOP and how many kernels one call launches.

The library is closed, so that launches follow LAPACK's own calls of BLAS, and Jacobi's rounds:

- syevd: the tridiagonal form, 12 a column (dlatrd calls BLAS so often: matrix-vector products with what is left and with the panel,
  and vector operations); its eigenvalues by divide and conquer, which cuSOLVER does on the host; eigenvectors back, 5 a panel of 32.
- gesvd: the bidiagonal form, 20 a column (dlabrd); two sweeps of QR a singular value, each of which rotates both factors; factors formed
  from reflections, 5 a panel each.
- syevj and gesvdj: sweeps of n - 1 rounds, in each of which all columns meet in pairs: 1 a round (rotations, whose angles are read off
  the matrix), of gesvdj 2 (an angle takes products of columns).
- batches of matrices of up to 32 rows (syevjBatched, gesvdjBatched): 1, a warp a matrix. All others run matrix by matrix.
- gesvdp: 6 iterations of the polar decomposition, each a QR factorisation of matrix and identity stacked, then syevd.

Work, all as matrix FLOP: syevd 4/3 n^3, with vectors 4/3 + 2 n^3 more (LAPACK Working Note 41; divide and conquer at its most); gesvd
4 m n^2 - 4/3 n^3, with thin factors 14 m n^2 + 8 n^3, with whole ones 4 m^2 n + 8 m n^2 + 9 n^3 (Golub and Van Loan, Matrix Computations,
section 8.6); a sweep of n (n - 1) / 2 rotations, each 6 m for the angle, 6 m for two columns, 6 n for two of vectors; of eigenvalues
rows too, 12 n. Jacobi's method takes 6 to 10 sweeps (the same, section 8.5): eight are counted, whatever the matrix. gesvdp 52 m n^2
(Nakatsukasa and Higham, SIAM J. Sci. Comput. 35, 2013). Of a wide matrix the transpose counts.
"""

from typing import NamedTuple

BATCHED_ROWS = 32
"""Rows and columns up to which the batched routines take a matrix."""
SWEEPS = 8
_TRIDIAGONAL_CALLS, _BIDIAGONAL_CALLS = 12, 20
_QR_SWEEPS, _POLAR_ITERATIONS = 2, 6
_PANEL, _PANEL_CALLS = 32, 5


class Spectrum(NamedTuple):
    """A routine, its FLOP, and the kernels that it launches, of all matrices of a batch."""

    routine: str
    flops: float
    launches: int


def eigen(batch: int, n: int, *, jacobi: bool, vectors: bool = True) -> Spectrum:
    """Return what the eigenvalues of ``batch`` symmetric matrices of order n take, by rotations or by tridiagonal form."""
    if not jacobi:
        flops = (4 / 3 + (4 / 3 + 2) * vectors) * n**3
        return Spectrum("syevd", batch * flops, batch * (_TRIDIAGONAL_CALLS * n + vectors * _formed(n)))
    return _jacobi("syevj", 1, batch, n, n, _sweeps(n, 12.0 * n + 6.0 * n * vectors))


def singular(batch: int, m: int, n: int, *, driver: str, vectors: bool = True, full: bool = True) -> Spectrum:
    """Return what the singular values of ``batch`` m by n matrices take with a driver: gesvd, gesvdj or gesvdp.

    ``vectors``: with both factors; ``full``: these are square, else as narrow as the matrix.
    """
    tall, narrow = float(max(m, n)), float(min(m, n))
    if driver == "gesvdj":
        return _jacobi("gesvdj", 2, batch, m, n, _sweeps(min(m, n), 12 * tall + 6 * narrow * vectors))
    if driver == "gesvdp":
        launches = _POLAR_ITERATIONS * (min(m, n) + 2 * _formed(min(m, n))) + eigen(1, min(m, n), jacobi=False).launches
        return Spectrum("gesvdp", batch * 52 * tall * narrow**2, batch * launches)
    alone = 4 * tall * narrow**2 - 4 / 3 * narrow**3
    thin = 14 * tall * narrow**2 + 8 * narrow**3
    whole = 4 * tall**2 * narrow + 8 * tall * narrow**2 + 9 * narrow**3
    launches = _BIDIAGONAL_CALLS * min(m, n) + vectors * (2 * _QR_SWEEPS * min(m, n) + 2 * _formed(min(m, n)))
    return Spectrum("gesvd", batch * (alone if not vectors else whole if full else thin), batch * launches)


def _formed(n: int) -> int:
    """Kernels that apply n reflections, a panel at a time."""
    return _PANEL_CALLS * -(-n // _PANEL)


def _sweeps(n: int, of_a_rotation: float) -> float:
    return SWEEPS * n * (n - 1) / 2 * of_a_rotation


def _jacobi(routine: str, a_round: int, batch: int, m: int, n: int, flops: float) -> Spectrum:
    if batch > 1 and max(m, n) <= BATCHED_ROWS:
        return Spectrum(f"{routine}_batched", batch * flops, 1)
    return Spectrum(routine, batch * flops, batch * max(1, a_round * SWEEPS * (min(m, n) - 1)))
