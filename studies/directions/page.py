"""The page of the documentation: a section a direction, every number from the replays and searches of this study."""

from collections.abc import Callable, Iterable, Sequence

from studies import beyond_attention, disturbed_link
from studies.directions import others
from studies.directions.answers import (
    FAST_LINK,
    IN_MEMORY,
    L2_TIMES,
    MODES,
    ONE_MODE,
    PCIE,
    TRIALS,
    UNCHAINED,
    answer,
    with_large_l2,
)
from studies.directions.programs import ANSATZE, MOLECULES, TOO_LARGE, alone, fitting, formula
from studies.directions.sweeps import LINKS, STATES, SWITCHES, link_gb_per_s, moved, needed_gb, offloading, over_a_link, switching

PAYS = 1.05
"""From this speed-up on a link is said to pay."""

HEAD = """# Which direction pays, when, and how much?

Made by `python -m studies.directions docs/directions.md docs/figures/directions.png`. The survey (arXiv 2603.18126, section IV)
names five directions and leaves open which one pays. Here a step of its four networks on its four molecules is replayed on machines
of each direction, against the survey's RTX A5000 alone. A cell is the fastest of {trials} designs that a search tried, with its energy
in percent of the GPU's; *bound* is what no design of the same space can beat. A gain with ~ is within the model's own error.
300 trials, where tried, find half a percent more at most.

All of it is modelled, and none of the added hardware exists: PIM is AiM with FP32 units (as sold it computes in BF16), the array an
SN40L scaled to the GPU's die and memory bandwidth, with a CPU for what it cannot run. [validation.md](validation.md) says how far to
trust the A5000's times, [pim.md](pim.md) and [accelerators.md](accelerators.md) the others'.
"""


def page() -> str:
    """Return the page."""
    parts = (HEAD.format(trials=TRIALS), _in_short(), _near_memory(), _partition(), _array(), _extensions(), offload(), _others())
    return "\n".join(part.strip("\n") + "\n" for part in parts)


def _in_short() -> str:
    extension = [_outcome(ansatz, "all three") for ansatz in ANSATZE]
    attention = [_outcome(ansatz, "fused attention kernels free") for ansatz in ANSATZE]
    slower = [each.slower for each in offloading() if each.change == "fetched 2 kernels ahead"]
    states = [moved(ansatz, what, 2) for ansatz in ANSATZE for what in tuple(STATES)[:2]]
    most = f"{100 * max(each.freed_bytes / each.needed_bytes for each in states):.0f} % of the memory (CH₄)"
    rows = [
        (
            "1 PIM in the memory packages",
            *_spans(IN_MEMORY),
            "in energy rather than time, most for deepqmc's networks on large molecules",
        ),
        ("2 PIM behind PCIe 4", *_spans(PCIE), "hardly ever: what is saved near the memory is spent on the link"),
        ("2 PIM behind 32 times that", *_spans(FAST_LINK), f"from {_least_link()} on, see below"),
        (
            "3 array with modes",
            *_spans(MODES),
            "most on small molecules; changes of mode add next to nothing",
        ),
        (
            "4 layout engine, units near L2, fused chains",
            _span(o.speedup for o in extension),
            _percent(o.energy for o in extension),
            "everywhere a little (CH₄)",
        ),
        (
            "4 attention in no time, as a comparison",
            _span(o.speedup for o in attention),
            "—",
            "only where attention is fused: Orbformer (CH₄)",
        ),
        (
            "5 sampler's and optimiser's state in the host's DRAM",
            _span(1 / each.slower for each in states),
            "—",
            "never: it frees at most " + most,
        ),
        ("5 idle tensors in DRAM", _span(1 / s for s in slower), "—", "where a step does not fit: Orbformer on C₄H₄"),
    ]
    return (
        "\n## In short\n\n"
        + _table(("direction", "faster by", "energy, %", "pays"), rows)
        + "\n![Speed-ups by molecule and by link](figures/directions.png)\n"
    )


def _near_memory() -> str:
    trained = [answer(IN_MEMORY, ansatz, "CH4", "training") for ansatz in ANSATZE]
    rows = []
    for found in trained:
        base = alone(found.ansatz, "CH4", "training")
        joules = base.energy_j or 0.0
        rows.append(
            (
                ANSATZE[found.ansatz],
                f"{joules:.1f}",
                f"{joules * found.energy:.1f}",
                f"{found.speedup:.2f}",
                f"{found.bound:.2f}",
                _of(found.away),
                _of(found.moving),
            )
        )
    heads = ("", "J on the GPU", "J with PIM", "faster by", "bound", "kernel time on PIM, %", "handing over, %")
    return f"""
## 1. Near memory

PIM in one of the twelve memory packages to all of them, with units of its own choice; the mapping is cut points, groups of kernels
or a threshold of FLOP a byte, whichever was found best.

{_by_molecule(IN_MEMORY)}
No design of the space is more than {_most(IN_MEMORY):.2f} times as fast. An optimisation step (with KFAC) on CH₄:

{_table(heads, rows)}
A package that computes holds tensors in another layout: handing over takes a part of what PIM saves, and the GPU waits for it.
"""


def _partition() -> str:
    links = [f"{link_gb_per_s(times):.0f} GB/s" for times in LINKS]
    rows = [(label, *(f"{over_a_link(ansatz, times):.2f}" for times in LINKS)) for ansatz, label in ANSATZE.items()]
    found = disturbed_link.runs()
    quiet, before, online, gpu = (
        found.time_s[name] for name in ("decided before, undisturbed", "decided before", "decided while it runs", "GPU alone")
    )
    return f"""
## 2. GPU and PIM, few cut points

PIM with memory of its own behind a link. How fast must the link be? A step on CH₄, PIM chosen for each link:

{_table(("faster by", *links), rows)}
Over PCIe 4 as it is:

{_by_molecule(PCIE)}
Over a link of up to 32 times its bandwidth:

{_by_molecule(FAST_LINK)}
**Online.** Others take {disturbed_link.CLOSED:.0%} of the link for half of a run of {disturbed_link.STEPS} steps
(`python -m studies.disturbed_link`, with a PIM that wins undisturbed). A mapping that was decided before then takes
{before / quiet:.2f} times as long as undisturbed; a policy that goes over to the GPU when it sees the link slow, and back,
{online / quiet:.2f} times; the GPU alone {gpu / quiet:.2f} times.
"""


def _array() -> str:
    rows = [
        (
            label,
            *(f"{answer(direction, ansatz, 'CH4').speedup:.2f}" for direction in (MODES, ONE_MODE, UNCHAINED)),
            f"{with_large_l2(ansatz, 'CH4'):.2f}",
        )
        for ansatz, label in ANSATZE.items()
    ]
    heads = ("faster by", "array with modes", "in one mode", "kernels one by one", f"the GPU with {L2_TIMES} times its L2")
    switches = [(label, *(f"{100 * (switching(ansatz, cost) - 1):+.1f}" for cost in SWITCHES)) for ansatz, label in ANSATZE.items()]
    return f"""
## 3. A reconfigurable array

{_by_molecule(MODES)}
The bounds ({_span(answer(MODES, *pair).bound for pair in fitting())}) are far away: they let every operand stay on chip.
What the gain is made of, on CH₄:

{_table(heads, rows)}
Four modes (products in 16 and 32 bits, vector, solver) against the one for FP32 products, by how long a configuration takes to load:

{_table(("gain of modes, %", *SWITCHES), switches)}
The gain is neither the modes' nor, for the most part, that of capacity alone or of chained kernels alone; it fades as molecules grow.
"""


def _extensions() -> str:
    names = [outcome.variant for outcome in beyond_attention.outcomes("default")]
    rows = []
    for variant in names:
        found = [_outcome(ansatz, variant) for ansatz in ANSATZE]
        rows.append(
            (
                ("ceiling: " if found[0].ceiling else "") + variant,
                *(f"{o.speedup:.2f}" + ("" if o.ceiling else f" ({100 * o.energy:.0f} %)") for o in found),
            )
        )
    return f"""
## 4. Beyond attention

A step on CH₄: ceilings, where the named kernels take no time at all, and hypothetical extensions of the GPU
([accelerators.md](accelerators.md), `python -m studies.beyond_attention`).

{_table(("", *ANSATZE.values()), rows)}"""


def offload() -> str:
    """Return the section on tensors in the host's memory."""
    changes = list(dict.fromkeys(each.change for each in offloading()))
    links = list(dict.fromkeys(each.link for each in offloading()))
    slower = {(each.link, each.change): each.slower for each in offloading()}
    rows = [(change, *(f"{slower[link, change]:.2f}" for link in links)) for change in changes]
    return f"""
## 5. Offloading

Orbformer's step on C₄H₄ needs {needed_gb():.1f} GB and does not fit the A5000. With the tensors that are idle longest in the host's
DRAM (`offload-idle`, [schedulers.md](schedulers.md)) it does. Its time over that on a GPU with twice the memory at the same bandwidth:

{_table(("", *links), rows)}
Fetching ahead hides little; the link and pinned memory count. Granularity, and shares of a language model's weights and cache:
`python -m studies.flexgen` ([replay.md](replay.md#offloading)).

**What can move without losing time.** The survey would move parts of the sampler's and the optimiser's state. A training step on CH₄ with
all of it in DRAM behind PCIe 4, over the time without, fetched two kernels ahead (and not ahead), and the memory that it frees:

{_states()}
The states cost next to nothing and free next to nothing: what fills the memory is what the local energy computes on the way.
"""


def _others() -> str:
    rows = [(label, *_of_program(program)) for program, label in others.PROGRAMS.items()]
    return f"""
## Other programs

The same questions for a sampler of spin glasses (FlashVAN: an autoregressive transformer) and for language models that read 512 tokens
and write 128, on an A100 of 80 GB. Each machine as it is, the fastest of {others.TRIALS} mappings:

{_table(("faster by (energy, %)", *others.MACHINES), rows)}
What generates one token after another attends over a cache and reads weights, and the units that were built for that pay. In whole
systems, at the batch that each one's memory holds, AttAcc gains more: [pim.md](pim.md#a-whole-system-replayed).
"""


def _of_program(program: str) -> tuple[str, ...]:
    found = [others.other(program, direction) for direction in others.MACHINES]
    return tuple(f"{each.speedup:.2f} ({100 * each.energy:.0f})" for each in found)


def _states() -> str:
    rows = []
    for ansatz, label in ANSATZE.items():
        ahead, late = ([moved(ansatz, what, distance) for what in STATES] for distance in (2, 0))
        cells = (f"{a.slower:.3f} ({b.slower:.3f})" for a, b in zip(ahead, late, strict=True))
        freed = sum(found.freed_bytes for found in ahead)
        rows.append((label, *cells, f"{freed / 1e6:.0f} MB of {ahead[0].needed_bytes / 1e6:,.0f}"))
    return _table(("", *STATES, "all of them free"), rows)


def _outcome(ansatz: str, variant: str) -> beyond_attention.Outcome:
    return next(outcome for outcome in beyond_attention.outcomes(ansatz) if outcome.variant == variant)


def _least_link() -> str:
    """Return the slowest of the links from which on each ansatz is ``PAYS`` times as fast, in words."""
    least = {label: next((link_gb_per_s(t) for t in LINKS if over_a_link(ansatz, t) >= PAYS), None) for ansatz, label in ANSATZE.items()}
    said = [
        f"{gb:.0f} GB/s ({', '.join(name for name, value in least.items() if value == gb)})"
        for gb in sorted({v for v in least.values() if v})
    ]
    return " or ".join(said)


def _by_molecule(direction: str) -> str:
    rows = [(label, *(_cell(direction, ansatz, molecule) for molecule in MOLECULES)) for ansatz, label in ANSATZE.items()]
    return _table(("faster by (energy, %)", *(formula(molecule) for molecule in MOLECULES)), rows)


def _cell(direction: str, ansatz: str, molecule: str) -> str:
    if (ansatz, molecule) in TOO_LARGE:
        return "does not fit"
    found = answer(direction, ansatz, molecule)
    return f"{'~' if found.told is False else ''}{found.speedup:.2f} ({100 * found.energy:.0f})"


def _spans(direction: str) -> tuple[str, str]:
    found = [answer(direction, *pair) for pair in fitting()]
    return _span(each.speedup for each in found), _percent(each.energy for each in found)


def _most(direction: str) -> float:
    return max(answer(direction, *pair).bound for pair in fitting())


def _span(values: Iterable[float], form: Callable[[float], str] = "{:.2f}".format) -> str:
    found = [form(value) for value in sorted(values)]
    return found[0] if found[0] == found[-1] else f"{found[0]} to {found[-1]}"


def _percent(values: Iterable[float]) -> str:
    return _span((100 * value for value in values), "{:.0f}".format)


def _of(share: float) -> str:
    return f"{100 * share:.0f}"


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)
