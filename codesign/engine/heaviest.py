"""The kernels that take most of a replay's time, equal calls together."""

from typing import TYPE_CHECKING, Any

import numpy as np

from codesign.engine.program import Floats

if TYPE_CHECKING:
    from traces.trace import Trace

MOST = 12
"""How many a timeline names."""
_WORK = ("flops_matrix", "flops_vector", "flops_transcendental")


def heaviest(trace: "Trace", kernel: np.ndarray, seconds: Floats) -> list[dict[str, Any]]:
    """Return the calls with the most time, the longest first.

    Parameters
    ----------
    trace
        What was replayed.
    kernel, seconds
        Of each operation that is a kernel its row in the trace, and the time that all its runs took; shape [operations].

    Returns
    -------
    list
        Of each call ``name``, ``family``, ``dtype``, ``size`` (of a product [batch,] m, n, k, else empty), ``scope``, ``launches``,
        ``time_s`` of all of them, ``share`` of the kernel time, and FLOP (from the HLO) and unique bytes a second, None if unknown.
    """
    kernels, alike = trace.kernels, trace.alike
    spent = np.bincount(alike[kernel], seconds, minlength=int(alike.max(initial=-1)) + 1)
    runs = trace.executions
    flops = sum((kernels[name] for name in _WORK), start=np.zeros(len(kernels)))
    work = flops * runs
    moved = kernels["bytes_unique"] * runs
    whole = float(spent.sum()) or 1.0
    rows = []
    for group in np.argsort(-spent, kind="stable")[:MOST]:
        mine = np.flatnonzero(alike == group)
        if not spent[group] > 0:
            break
        ran = _times_run(kernel, mine)
        rows.append(
            {
                **_call(trace, int(mine[0])),
                "launches": int((runs[mine] * kernels["launches"][mine]).sum()) * ran,
                "time_s": float(spent[group]),
                "share": float(spent[group] / whole),
                "flops_per_s": _rate(float(work[mine].sum()) * ran, spent[group]),
                "bytes_per_s": _rate(float(moved[mine].sum()) * ran, spent[group]),
            }
        )
    return rows


def _times_run(kernel: np.ndarray, mine: np.ndarray) -> int:
    """Return how many operations a row of the trace became: one a rank."""
    return max(1, round(int(np.isin(kernel, mine).sum()) / len(mine)))


def _call(trace: "Trace", row: int) -> dict[str, Any]:
    kernels = trace.kernels
    batch, *sides = (int(kernels[name][row]) for name in ("batch", "m", "n", "k"))
    size = ([batch] if batch > 1 else []) + sides if min(sides) >= 0 else []
    return {**{name: str(kernels[name][row]) for name in ("name", "family", "dtype", "scope")}, "size": size}


def _rate(amount: float, seconds: float) -> float | None:
    return None if np.isnan(amount) else amount / float(seconds)
