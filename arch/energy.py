"""Joules of kernels by term, and on a GPU.

A device names its terms itself; ``part_of`` says to which part of a replay's energy one belongs.

A GPU kernel's dynamic energy is a sum of terms, each bytes or operations times a constant of the catalogue:

- ``compute_matrix_j``: FLOP of products by unit and type;
- ``compute_vector_j``: other operations: one is an instruction, and costs as much as a multiply-add of its type;
- ``transcendental_j``: results of the special-function units;
- ``instructions_j``: instructions beyond these (addresses, loops, conversions), where PTX counts them: half a multiply-add each;
- ``l2_j``: bytes that pass L2: L2, crossbar, L1; ``dram_j``: bytes of DRAM: cells, interface, controllers, regulators;
- ``cap_j``: never positive: a board at its cap lowers its voltage with its clock, so that each operation costs less than the
  constants say, which hold below the cap.

Boundaries: constants fitted to board power hold everything on the board; static power is the board with clocks up and nothing
issued. Refresh and background of a GPU's own memory are part of it.
"""

import numpy as np

from arch.entry import Entry
from arch.facts import Facts
from arch.work import Bool, Float

PARTS = ("compute", "on_chip", "dram", "mode_switches", "power_cap")
"""What a kernel spends energy on: arithmetic and instructions; moving data on the chip; memory; changes of mode; and what a board at its
cap saves, never positive."""
_PART = {
    "compute_matrix_j": "compute",
    "compute_vector_j": "compute",
    "transcendental_j": "compute",
    "instructions_j": "compute",
    "l2_j": "on_chip",
    "cache_j": "on_chip",
    "buffer_j": "on_chip",
    "engine_j": "on_chip",
    "tiles_j": "on_chip",
    "dram_j": "dram",
    "row_j": "dram",
    "column_j": "dram",
    "switch_j": "mode_switches",
    "cap_j": "power_cap",
}


def part_of(term: str) -> str:
    """Return the part of ``PARTS`` that a term of ``Prices.energy_terms`` belongs to: arithmetic, unless it is one of those above."""
    return _PART.get(term, "compute")


def kernel_terms(entry: Entry, known: Facts, per_op: Float, per_matrix_flop: Float, product: Bool, l2_bytes: Float) -> dict[str, Float]:
    """Return joules of every kernel by term, without DRAM; shape [kernels]. NaN where the catalogue lacks a constant.

    ``per_op`` is J a FLOP of the vector pipes for the type of each kernel, ``per_matrix_flop`` of the unit that serves its product.
    """
    special, of_l2 = (entry.or_nan(key) for key in ("transcendental_energy_flops", "l2_energy_per_byte"))
    counted = known.flops_vector + known.flops_transcendental
    return {
        "compute_matrix_j": np.where(product, known.flops_matrix * per_matrix_flop, 0.0),
        "compute_vector_j": 2 * known.flops_vector * per_op,
        "transcendental_j": special * known.flops_transcendental * per_op,
        "instructions_j": np.maximum(known.instructions - counted, 0.0) * per_op,
        "l2_j": of_l2 * l2_bytes,
    }


def of_the_cap(entry: Entry, static_w: float | None, joules: Float, seconds: Float) -> Float:
    """Return what keeps kernels of ``joules`` in ``seconds`` at the board's power cap, J, never positive; shape [kernels]."""
    cap = entry.get("board_power")
    if cap is None or static_w is None:
        return np.zeros_like(joules)
    return np.minimum((cap - static_w) * seconds - joules, 0.0)
