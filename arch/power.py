"""The clock that a GPU sustains under its power cap.

A GPU that would draw more than its cap lowers its clock until it does not. What it then reaches over its cap, in joules a FLOP,
is a property of its process and of the unit that computes, and it is what others publish of capped boards: power that is drawn
whatever runs is part of it, so it needs no estimate of its own. The cap holds on average over milliseconds: a measurement that
lets the GPU rest between short kernels hides it, while one that lets SMs idle within a kernel leaves the others their share.
"""

from collections.abc import Mapping

import numpy as np

from arch.entry import Entry
from traces.errors import MachineError, nearest

_NODES = {"16 nm": "12nm", "12 nm": "12nm", "8 nm": "8nm", "7 nm": "7nm", "5 nm": "4nm", "4 nm": "4nm"}
"""Whose energy a FLOP stands for a process: neighbours of one generation share it."""


def sustained_flops_per_s(entry: Entry, dtype: str, dense_flops_per_s: float, *, tensor: bool, drawn: float = 1.0) -> float:
    """Return the FLOP/s that the power cap leaves a steady stream of products; infinite for a board without a cap.

    ``drawn`` is their power over that of the products whose energy is known. A published sustained clock (``sustained_clock``) takes
    the place of the estimate: it is what a steady stream of the largest products sustains, which reach ``dense_flops_per_s`` at the
    boost clock.
    """
    cap, published = entry.get("board_power"), entry.get("sustained_clock")
    if published is not None:
        return dense_flops_per_s * min(published / entry["clock"], 1.0)
    return np.inf if cap is None else cap / (energy_per_flop(entry, dtype, tensor=tensor) * drawn)


def energy_per_flop(entry: Entry, dtype: str, *, tensor: bool) -> float:
    """Return board power over FLOP/s of products at the cap, J/FLOP: measured on such a chip, or fitted.

    On tensor cores it is known of BF16, on those without BF16 of FP16. Raises MachineError for a process of which none is known.
    """
    if not tensor:
        return _of_process(entry) * _relative(entry.group("vector_energy_per_flop"), dtype, "f32")
    measured, known = entry["capped_energy_tensor"], "bf16" if "bf16" in entry.group("matrix_flops") else "f16"
    if dtype == "f16" and known == "bf16":
        return measured * entry["f16_energy_ratio"]
    return measured * _relative(entry.group("matrix_energy_per_flop"), dtype, known)


def _of_process(entry: Entry) -> float:
    node = entry.text.get("node", "")
    if node not in _NODES:
        raise MachineError(
            f"a GPU with a power cap (board_power) must be of a process whose energy a FLOP is known, but {entry.id!r} has node {node!r}; "
            f"{nearest(node, _NODES)}; or give its sustained_clock"
        )
    return entry["capped_energy_" + _NODES[node]]


def _relative(energies: Mapping[str, float], dtype: str, to: str) -> float:
    return energies[dtype] / energies[to] if dtype in energies and to in energies else 1.0
