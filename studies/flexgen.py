"""What FlexGen's offloading of OPT-30B on a T4 owes to prefetching, overlap, pinned memory and attention on the CPU.

    python -m studies.flexgen [FIGURE.png]

The survey asks for an ablation of granularity, prefetch distance and synchronisation. Each variant changes one thing of FlexGen's
placement (weights 20 % on the GPU, the rest and the cache in DRAM; 144 sequences, prompt 512, 32 tokens; published 7.32 tokens a second).
Kernels move the slices that they touch, a layer's part: tensors hold all layers, so that whole ones do not fit. A trace has all
sequences in one kernel, FlexGen has blocks of 48: the T4 is given the room that needs.
"""

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import codesign as cd
from studies.printing import console, table

TRACE = "opt-30b-t4-batch144-prompt512-tokens31-segments1-host"
"""Attention over the cache in single precision, as FlexGen's program computes it on the CPU."""
ON_THE_GPU = "opt-30b-t4-batch144-prompt512-tokens31-segments1"
MACHINE = "t4+xeon-n1+ddr4-n1+gcp-local-ssd"
ROOM = 64_000_000_000
SEQUENCES, TOKENS = 144, 32
PUBLISHED = 7.32
VARIANTS: dict[str, dict[str, Any]] = {
    "FlexGen (distance 1)": {},
    "distance 2": {"distance": 2},
    "distance 4": {"distance": 4},
    "distance 0": {"distance": 0},
    "synchronous": {"distance": 0, "synchronous": True},
    "pageable memory": {"pinned": False},
    "attention on the GPU": {"host": False},
    "attention on the GPU, synchronous": {"host": False, "distance": 0, "synchronous": True},
}


def setting(host: bool = True) -> tuple[cd.Trace, cd.Machine, cd.Mapping]:
    """Return the trace, the machine with its room, and FlexGen's mapping; ``host`` False: attention stays on the GPU."""
    trace = cd.load(TRACE if host else ON_THE_GPU)
    machine = cd.machine(MACHINE)
    first, *others = machine.memories
    machine = replace(machine, memories=(replace(first, capacity_bytes=ROOM), *others))
    mapping = cd.Mapping.from_dict(cd.replay(trace, machine, "flexgen", record=False).mapping)
    return trace, machine, mapping if host else replace(mapping, device=0 * mapping.device)


def varied(mapping: cd.Mapping, change: dict[str, Any]) -> cd.Mapping:
    """Return the mapping with one thing of its copies changed."""
    assert mapping.offload is not None
    copies = {name: value for name, value in change.items() if name != "host"}
    return replace(mapping, offload=replace(mapping.offload, **copies))


def throughputs() -> dict[str, float]:
    """Return tokens a second of every variant."""
    found = {}
    for name, change in VARIANTS.items():
        trace, machine, mapping = setting(change.get("host", True))
        timeline = cd.replay(trace, machine, varied(mapping, change), record=False)
        found[name] = SEQUENCES * TOKENS / timeline.time_s
    return found


def figure(found: dict[str, float], path: Path) -> None:
    """Draw a bar for every variant, and the published number as a line."""
    from matplotlib.figure import Figure

    drawn = Figure(figsize=(8, 3.4), layout="constrained")
    axes = drawn.add_subplot()
    names = list(found)[::-1]
    bars = axes.barh(names, [found[name] for name in names], color="#0072B2")
    axes.bar_label(bars, fmt="%.2f", label_type="center", color="white")
    axes.axvline(PUBLISHED, color="#D55E00", linestyle="--", label=f"published {PUBLISHED}")
    axes.set_xlabel("tokens a second, OPT-30B on a T4 with DRAM")
    axes.set_xlim(0, 1.05 * max(found.values()))
    axes.legend(loc="lower right", bbox_to_anchor=(1, 1), frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    drawn.savefig(path, dpi=150)


def main(arguments: Sequence[str] = ()) -> None:
    """Print the table; draw the figure if a path is given."""
    found = throughputs()
    base = next(iter(found.values()))
    columns = ("variant", "tokens/s", "of FlexGen's placement", f"over the published {PUBLISHED}")
    rows = [(name, f"{value:.2f}", f"{value / base:.2f}", f"{value / PUBLISHED:.2f}") for name, value in found.items()]
    console().print(table(columns, rows))
    if arguments:
        figure(found, Path(arguments[0]))


if __name__ == "__main__":
    main(sys.argv[1:])
