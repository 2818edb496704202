"""What factorisations of whole matrices read again: each panel of columns updates all that is left of the matrix.

Right-looking LAPACK passes over what is left once a panel (launches: ``traces.capture.library``, ``traces.capture.spectral``). What passes
move beyond the matrix itself goes through L2, and from DRAM where L2 does not hold the batch. Elements of a matrix of m rows and n
columns, of which an n by n one has n^3 / 3 to pass over, column by column:

- potrf: the triangle that is left, read and written once a panel of 8: n^3 / 3 in all over 8;
- geqrf, orgqr: what is left, read twice and written once a panel of 32 (two products);
- syevd: the triangle that is left, read once a column by the matrix-vector product of the tridiagonal form;
- gesvd: what is left, read once for each of the two reflections of a column;
- syevj, gesvdj: the matrix and its vectors, read and written once a round of rotations.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from arch.entry import Entry
from arch.facts import Facts, itemsize
from arch.streaming import kept_share
from arch.work import Float, Int
from traces.capture.library import CHOLESKY_PANEL, PANEL
from traces.capture.spectral import SWEEPS


def _left(m: Float, n: Float) -> Float:
    """Elements that are left after each column, added up over all columns: the integral of (m - x) (n - x) up to the smaller."""
    small = np.minimum(m, n)
    total: Float = m * n * small - (m + n) * small**2 / 2 + small**3 / 3
    return total


def _rounds(m: Float, n: Float) -> Float:
    small = np.minimum(m, n)
    total: Float = SWEEPS * np.maximum(small - 1, 0.0) * 2 * (m * n + small**2)
    return total


PASSED: Mapping[str, Callable[[Float, Float], Float]] = {
    "potrf": lambda m, n: _left(m, n) / CHOLESKY_PANEL,
    "geqrf": lambda m, n: 3 * _left(m, n) / PANEL,
    "orgqr": lambda m, n: 3 * _left(m, n) / PANEL,
    "syevd": lambda m, n: _left(m, n) / 2,
    "gesvd": lambda m, n: 2 * _left(m, n),
    "syevj": _rounds,
    "gesvdj": _rounds,
}
"""Elements that the passes of a routine move, of one matrix."""


@dataclass(frozen=True, eq=False)
class Passes:
    """The kernels of such routines; arrays of shape [such kernels]."""

    rows: Int
    bytes: Float
    """What their passes move."""
    footprint: Float
    """Bytes of what they pass over: of Cholesky's a whole batch, of the others, which run matrix by matrix, one."""

    @classmethod
    def of(cls, known: Facts) -> "Passes":
        """Return those of a trace."""
        rows = np.flatnonzero(known.routine.isin(PASSED))
        batch, m, n = (np.maximum(sizes[rows], 0.0) for sizes in (known.batch, known.m, known.n))
        size, moved = known.dtype.number(itemsize)[rows], np.zeros(len(rows))
        for routine, elements in PASSED.items():
            mine = known.routine.is_(routine)[rows]
            moved[mine] = elements(m[mine], n[mine])
        together = np.where(known.routine.is_("potrf")[rows], batch, 1.0)
        return cls(rows, np.maximum(batch, 1.0) * moved * size, np.maximum(together, 1.0) * m * n * size)

    def from_dram(self, entry: Entry) -> Float:
        """Return how many of those bytes the DRAM of a GPU serves."""
        served: Float = self.bytes * (1 - kept_share(entry, self.footprint, entry["l2"]))
        return served
