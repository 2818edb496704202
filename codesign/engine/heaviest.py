"""The kernels that take most of a replay's time, equal calls together."""

from typing import TYPE_CHECKING, Any

import numpy as np

from codesign.engine.program import Floats, Ints

if TYPE_CHECKING:
    from traces.trace import Trace

MOST = 12
"""How many a timeline names."""
_WORK = ("flops_matrix", "flops_vector", "flops_transcendental")


def heaviest(trace: "Trace", kernel: Ints, runs: Ints, seconds: Floats) -> list[dict[str, Any]]:
    """Return the calls with the most time, the longest first.

    Parameters
    ----------
    trace
        What was replayed.
    kernel, runs, seconds
        Of each operation that is a kernel its row in the trace, how often it was launched, and the time that took; shape [operations].
        A row is several operations where it runs on several ranks, or differently the first time around a loop.

    Returns
    -------
    list
        Of each call ``name``, ``family``, ``dtype``, ``size`` (of a product [batch,] m, n, k, else empty), ``scope``, ``launches``,
        ``bytes`` (unique ones of a launch), ``time_s`` of all launches, ``share`` of the kernel time, and FLOP (from the HLO) and
        unique bytes a second; amounts are None if unknown.
    """
    kernels, call = trace.kernels, trace.alike[kernel]
    share = runs / kernels["launches"][kernel]  # amounts are those of all launches of a row
    flops = sum((kernels[name] for name in _WORK), start=np.zeros(len(kernels)))
    spent, launches, work, moved = (
        np.bincount(call, weights) for weights in (seconds, runs, share * flops[kernel], share * kernels["bytes_unique"][kernel])
    )
    whole = float(spent.sum()) or 1.0
    return [
        {
            **_call(trace, int(np.argmax(trace.alike == group))),
            "launches": int(launches[group]),
            "bytes": _ratio(moved[group], launches[group]),
            "time_s": float(spent[group]),
            "share": float(spent[group] / whole),
            "flops_per_s": _ratio(work[group], spent[group]),
            "bytes_per_s": _ratio(moved[group], spent[group]),
        }
        for group in np.argsort(-spent, kind="stable")[:MOST]
        if spent[group] > 0
    ]


def _call(trace: "Trace", row: int) -> dict[str, Any]:
    kernels = trace.kernels
    batch, *sides = (int(kernels[name][row]) for name in ("batch", "m", "n", "k"))
    size = ([batch] if batch > 1 else []) + sides if min(sides) >= 0 else []
    return {**{name: str(kernels[name][row]) for name in ("name", "family", "dtype", "scope")}, "size": size}


def _ratio(amount: float, of: float) -> float | None:
    return None if np.isnan(amount) else float(amount / of)
