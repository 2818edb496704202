"""What attention alone can give, and what support beyond attention gives: the question of section IV-D of arXiv 2603.18126.

    python -m studies.beyond_attention [FIGURE]

Four ansaetze on CH4, a step each, replayed on the survey's A5000. Ceilings are replays in which the chosen kernels take no time at all,
so they hold whatever is built: the fused attention kernels, all of the attention blocks (their products too), and all that is neither
a product, attention nor a solver. Extensions are `layout-engine`, `near-l2` and `fused-chains` of the catalogue, hypothetical, each
mapped by cut points, with the prices of chains and without them, or left alone: the fastest counts. Every price behind them is a
model's; no such hardware exists.
"""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

import codesign as cd
from studies.directions.programs import ANSATZE, GPU, step
from studies.printing import console, table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOLECULE = "CH4"
EXTENSIONS = ("layout-engine", "near-l2", "fused-chains")
BLOCKS = ("attention", "mhsea")
"""Names of scopes in which the programs compute attention, products and all."""
BEYOND = ("elementwise", "slice_concat", "transpose", "copy", "reduce", "gather_scatter")

Chosen = Callable[[Any], "np.ndarray[Any, np.dtype[np.bool_]]"]


def fused_attention(kernels: Any) -> "np.ndarray[Any, np.dtype[np.bool_]]":
    """Return which kernels are fused attention (flash attention), bool[K]."""
    return np.asarray(kernels["family"] == "attention")


def attention_blocks(kernels: Any) -> "np.ndarray[Any, np.dtype[np.bool_]]":
    """Return which kernels belong to an attention block, bool[K]."""
    return np.array([any(name in scope.lower() for name in BLOCKS) for scope in kernels["scope"]], dtype=np.bool_)


def beyond_attention(kernels: Any) -> "np.ndarray[Any, np.dtype[np.bool_]]":
    """Return which kernels are neither products, attention nor solvers, bool[K]."""
    return np.isin(kernels["family"].astype(str), BEYOND)


CEILINGS: dict[str, Chosen] = {
    "fused attention kernels free": fused_attention,
    "attention blocks free, products too": attention_blocks,
    "all but products, attention, solvers free": beyond_attention,
}


class Free(cd.Device):
    """A device on which the chosen kernels take no time, energy or bytes, and all others what they take on another."""

    def __init__(self, other: cd.Device, chosen: Chosen) -> None:
        self.other, self.chosen = other, chosen
        self.id, self.kind, self.memory, self.static_watts = other.id, other.kind, other.memory, other.static_watts
        self.hypothetical, self.not_modelled = True, other.not_modelled

    def price(self, work: Any) -> Any:
        """Return the other device's prices without the chosen kernels."""
        prices, kept = self.other.price(work), ~self.chosen(work.kernels)
        columns = {name: getattr(prices, name) * kept for name in ("duration_s", "dram_bytes", "energy_j")}
        terms = {name: values * kept for name, values in prices.terms.items()}
        energy = {name: values * kept for name, values in prices.energy_terms.items()}
        return replace(prices, **columns, terms=terms, energy_terms=energy)

    def refuse(self, work: Any) -> Any:
        """Refuse what the other device refuses."""
        return self.other.refuse(work)


def without(machine: cd.Machine, chosen: Chosen) -> cd.Machine:
    """Return a machine of one device on which the chosen kernels are free."""
    return replace(machine, devices=(Free(machine.devices[0], chosen),))


@dataclass(frozen=True)
class Outcome:
    """A variant of the machine: how much faster a step is than on the GPU alone, its energy over that, and mm2 that it adds."""

    ansatz: str
    variant: str
    ceiling: bool
    time_s: float
    speedup: float
    energy: float
    area_mm2: float


def variants(gpu: str = GPU) -> dict[str, str]:
    """Return the machines that are compared with the GPU alone, by what they are called."""
    return {name: f"{gpu}+{name}" for name in EXTENSIONS} | {"all three": "+".join([gpu, *EXTENSIONS])}


@cache
def outcomes(ansatz: str, gpu: str = GPU) -> tuple[Outcome, ...]:
    """Return the ceilings and the extensions of an ansatz."""
    program, alone = step(ansatz, MOLECULE, gpu=gpu), cd.machine(gpu)
    base = cd.replay(program, alone, record=False)
    found = []
    for name, chosen in CEILINGS.items():
        found.append(_outcome(ansatz, name, cd.replay(program, without(alone, chosen), record=False), base, 0.0, ceiling=True))
    for name, machine_name in variants(gpu).items():
        machine = cd.machine(machine_name)
        best = min((cd.replay(program, machine, mapping, record=False) for mapping in _mappings(program, machine)), key=_time)
        area = (machine.area_mm2 or np.nan) - (alone.area_mm2 or np.nan)
        found.append(_outcome(ansatz, name, best, base, area, ceiling=False))
    return tuple(found)


def _mappings(program: cd.Trace, machine: cd.Machine) -> list[cd.Mapping | str]:
    """Return what to try: a cut through a chain costs more than the cut points know, so those of a GPU without chains too."""
    unchained = cd.machine(machine.id.replace("+fused-chains", ""))
    cuts = cd.Mapping.from_dict(cd.replay(program, unchained, "cut-points", record=False).mapping)
    return ["single-device", "cut-points", cuts]


def _time(timeline: cd.Timeline) -> float:
    return timeline.time_s


def _outcome(ansatz: str, name: str, found: cd.Timeline, base: cd.Timeline, area: float, *, ceiling: bool) -> Outcome:
    energy = (found.energy_j or np.nan) / (base.energy_j or np.nan)
    return Outcome(ansatz, name, ceiling, found.time_s, base.time_s / found.time_s, energy, area)


COLUMNS = ("", *ANSATZE.values(), "adds, mm²")


def rows(gpu: str = GPU) -> list[tuple[str, ...]]:
    """Return ``COLUMNS`` of the outcomes: a line a variant, a column an ansatz."""
    found = []
    for line in zip(*(outcomes(ansatz, gpu) for ansatz in ANSATZE), strict=True):
        cells = [f"{o.speedup:.2f}" if o.ceiling else f"{o.speedup:.2f} ({100 * o.energy:.0f})" for o in line]
        name = ("ceiling: " if line[0].ceiling else "") + line[0].variant
        found.append((name, *cells, "—" if line[0].ceiling else f"{line[0].area_mm2:.1f}"))
    return found


COLOURS = {
    "fused attention kernels free": "#882255",
    "attention blocks free, products too": "#CC79A7",
    "all but products, attention, solvers free": "#C8C8C8",
    "layout-engine": "#009E73",
    "near-l2": "#E69F00",
    "fused-chains": "#56B4E9",
    "all three": "#0072B2",
}


def figure() -> "Figure":
    """Return the speed-ups of ceilings (hollow) and extensions (filled), a group an ansatz."""
    from matplotlib.figure import Figure

    drawn = Figure(figsize=(8.0, 4.8), layout="constrained", dpi=150)
    axes = drawn.subplots()
    width = 0.8 / len(COLOURS)
    for group, ansatz in enumerate(ANSATZE):
        for place, outcome in enumerate(outcomes(ansatz)):
            x, colour = group - 0.4 + width * (place + 0.5), COLOURS[outcome.variant]
            face = "none" if outcome.ceiling else colour
            label = (outcome.variant + (" (ceiling)" if outcome.ceiling else " (hypothetical)")) if group == 0 else None
            axes.bar(x, outcome.speedup - 1, width * 0.86, bottom=1, facecolor=face, edgecolor=colour, linewidth=1.4, label=label)
            axes.text(x, outcome.speedup + 0.02, f"{outcome.speedup:.2f}", ha="center", va="bottom", fontsize=8, rotation=90)
    axes.axhline(1, color="#222222", linewidth=0.8)
    axes.set_xticks(range(len(ANSATZE)), list(ANSATZE.values()))
    axes.set(ylabel="a step faster by", ylim=(0.95, 1.18 * max(o.speedup for a in ANSATZE for o in outcomes(a))))
    axes.set_title("CH₄ on an RTX A5000: attention alone against support beyond attention (modelled)", fontsize=11, loc="left")
    drawn.legend(fontsize=9, frameon=False, ncols=2, loc="outside lower center")
    axes.spines[["top", "right"]].set_visible(False)
    return drawn


def main(arguments: Sequence[str] = ()) -> None:
    """Print the tables of the A5000 and the H200; write the figure if its name is given."""
    for gpu in (GPU, "h200"):
        console().print(table(COLUMNS, rows(gpu), f"{MOLECULE} on {gpu}: a step faster by (energy of it, %)"))
    if arguments:
        figure().savefig(arguments[0])


if __name__ == "__main__":
    main(sys.argv[1:])
