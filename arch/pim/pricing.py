"""Prices of trace kernels on PIM, out of the closed forms: columns, turns of rows and bus, operations, read-out, layout, refresh.

Matrix products keep the larger operand in the banks, its rows spread over the units of all channels; the smaller one is
broadcast vector by vector, and every vector streams the whole operand (no reuse between vectors). Products of a batch take
channels of their own, or turns. Elementwise kernels take all channels. Operands lie as the units want, but transposed ones,
which pass through the host once more; the machine's hand-over charges for what another device wrote.
"""

import numpy as np

from arch.facts import Facts, facts, once, total
from arch.pim.abilities import Abilities, abilities, fused
from arch.pim.elementwise import elementwise
from arch.pim.parts import Parts
from arch.pim.products import fused_attention, product
from arch.pim.refresh import refreshes
from arch.pim.units import Units
from arch.work import Bool, Float, Prices, Work


def price(pim: Units, work: Work) -> Prices:
    """Return the cost of every kernel; refused ones cost infinitely much."""
    known, able = facts(work), abilities(pim.entry, work)
    gemm, moved = once(work, "pim operands", lambda: _operands(known))
    parts = Parts.choose(gemm, product(pim, known), elementwise(pim, work, able))
    if pim.style == "attention":
        parts = Parts.choose(fused(work), fused_attention(pim, known), parts)
    parts = parts.with_term("layout_s", _layout(pim, moved))
    parts = parts.with_term("refresh_s", _refresh(pim, sum(parts.terms.values(), np.zeros(len(known.launches)))))
    return _prices(pim, known, able, parts)


def _prices(pim: Units, known: Facts, able: Abilities, parts: Parts) -> Prices:
    refused = able.refusals.code != 0
    never = np.where(refused, np.inf, 0.0)
    duration = sum(parts.terms.values(), np.zeros(len(refused)))
    joules = {name: _or_never(refused, values) for name, values in _energy(pim, known, parts.moved).items()}
    return Prices(
        _or_never(refused, duration),
        _or_never(refused, parts.moved),
        np.sum(list(joules.values()), axis=0),
        {name: values + never for name, values in parts.terms.items()},
        energy_terms=joules,
    )


def _or_never(refused: Bool, values: Float) -> Float:
    return np.where(refused, np.inf, values)


def _operands(known: Facts) -> tuple[Bool, Float]:
    """Which kernels are products, and the bytes of transposed operands of the others, there and back."""
    gemm = known.family.is_("gemm")
    wrong = known.stride.is_("transposed") & ~gemm[known.owner]
    return gemm, total(known.owner, np.where(wrong, 2 * known.unique, 0.0), len(known.launches))


def _layout(pim: Units, moved: Float) -> Float:
    """Transposed operands of elementwise kernels are read and written once more, through the host, before and after PIM."""
    entry = pim.entry
    seconds = moved / (pim.stacks * entry["stack_bandwidth"]) + np.where(moved > 0, 2 * entry["mode_switch"], 0.0)
    return np.asarray(seconds, dtype=np.float64)


_LOST = {
    "registers": ("tRFC", "tRP", "tRCDRD"),
    "global-buffer": ("nRFC", "nRP", "nRCDRDMAC"),
    "attention": ("nRFC", "nRP", "nRCDRD"),
    "state-update": ("nRFC", "nRP", "nRCDRD"),
}
"""What a refresh takes: the rows close, are refreshed, and the row in use opens again."""


def _refresh(pim: Units, seconds: Float) -> Float:
    """Whole refreshes that fall into a kernel; the first is due after half an interval, on average over when it starts."""
    if not pim.refresh or pim.style == "streaming":
        return np.zeros_like(seconds)
    t, clock = pim.timing, pim.clock_s
    lost = clock * sum(t[name] for name in _LOST[pim.style])
    interval = clock * (t["tREFI"] if "tREFI" in t else t["nREFI"])
    return refreshes(seconds, interval / 2, interval, lost) * lost


def _energy(pim: Units, known: Facts, moved: Float) -> dict[str, Float]:
    """Dynamic joules by term: rows and columns of the bytes that the units move, and their arithmetic; NaN where a constant is unknown."""
    row, column, flop = (pim.entry.or_nan(key) for key in ("row_energy_per_byte", "column_energy_per_byte", "energy_per_flop"))
    return {
        "row_j": moved * row,
        "column_j": moved * column,
        "compute_matrix_j": known.flops_matrix * flop,
        "compute_vector_j": known.flops_vector * flop,
        "transcendental_j": known.flops_transcendental * flop,
    }
