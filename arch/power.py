"""The clock that a GPU sustains under its power cap.

A GPU that would draw more than its cap lowers its clock until it does not. What it then reaches over its cap, in joules a FLOP,
is a property of its process and of the unit that computes, and it is what others publish of capped boards: power that is drawn
whatever runs is part of it, so it needs no estimate of its own. The cap holds on average over milliseconds: a measurement that
lets the GPU rest between short kernels hides it, while one that lets SMs idle within a kernel leaves the others their share.
"""

from collections.abc import Mapping

import numpy as np

from arch.entry import Entry
from arch.work import Float

_NODES = {"16 nm": "12nm", "12 nm": "12nm", "8 nm": "8nm", "7 nm": "7nm"}


def capped_s(entry: Entry, energy_per_flop: float, dense_flops_per_s: float, flops: Float, idle_s: Float | float = 0.0) -> Float:
    """Return the seconds that kernels take at least so as not to exceed the cap; shape [kernels].

    They execute ``flops`` and the GPU rests ``idle_s`` between them: the clock falls until their energy, over both, is the cap.
    A published sustained clock (``sustained_clock``) takes the place of the estimate: it is what a steady stream of the largest
    products sustains, which reach ``dense_flops_per_s`` at the boost clock. A board without a cap keeps its clock.
    """
    cap, published = entry.get("board_power"), entry.get("sustained_clock")
    if published is not None:
        sustained = dense_flops_per_s * min(published / entry["clock"], 1.0)
    elif cap is not None:
        sustained = cap / energy_per_flop
    else:
        return np.zeros(len(flops))
    seconds: Float = np.maximum(flops / sustained - idle_s, 0.0)
    return seconds


def energy_per_flop(entry: Entry, dtype: str, *, tensor: bool) -> float:
    """Return board power over FLOP/s of products at the cap, J/FLOP: measured on such a chip, or fitted."""
    if not tensor:
        full = entry["capped_energy_" + _NODES.get(entry.text.get("node", ""), "4nm")]
        return full * _relative(entry.group("vector_energy_per_flop"), dtype, "f32")
    measured = entry["capped_energy_tensor"]
    if dtype == "f16":
        return measured * entry["f16_energy_ratio"]
    return measured * _relative(entry.group("matrix_energy_per_flop"), dtype, "bf16")


def _relative(energies: Mapping[str, float], dtype: str, to: str) -> float:
    return energies[dtype] / energies[to] if dtype in energies and to in energies else 1.0
