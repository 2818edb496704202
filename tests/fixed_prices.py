"""Machines and cost tables with prices that a test states, and random traces to run on them."""

from types import SimpleNamespace
from typing import Any

import numpy as np
from hypothesis import strategies as st

from tests.toys import Toy
from traces import Trace

US = 1e-6


def device(name: str, memory: str) -> Any:
    return SimpleNamespace(id=name, memory=memory)


def toy_machine(attached: int = 1, in_memory: int = 0, **terms: float) -> Any:
    """A GPU with ``in_memory`` PIMs in its memory and ``attached`` PIMs, each behind a link of its own."""
    link = {"bandwidth": 10e9, "latency_s": 1 * US}
    switch = {"mode_switch_s": 1 * US, "flush_s": 1 * US, "layout_bandwidth": 20e9}
    link |= {k: v for k, v in terms.items() if k in link}
    switch |= {k: v for k, v in terms.items() if k in switch}
    pims = [device(f"pim{i}", "hbm") for i in range(in_memory)] + [device(f"far{i}", f"dram{i}") for i in range(attached)]
    return SimpleNamespace(
        id="toy",
        devices=(device("gpu", "hbm"), *pims),
        memories=(SimpleNamespace(id="hbm"), *(SimpleNamespace(id=f"dram{i}") for i in range(attached))),
        links=tuple(SimpleNamespace(id=f"link{i}", source="hbm", target=f"dram{i}", **link) for i in range(attached)),
        hand_overs=tuple(SimpleNamespace(device=f"pim{i}", memory="hbm", **switch) for i in range(in_memory)),
    )


def toy_costs(duration_us: Any, refused: Any = None) -> Any:
    """A cost table of [devices][kernels] microseconds; ``refused`` marks what a device cannot run."""
    duration = np.array(duration_us, dtype=float) * US
    refusal = np.zeros(duration.shape, np.int8) if refused is None else np.array(refused, dtype=np.int8)
    return SimpleNamespace(duration_s=duration, refusal=refusal, reasons=(("", "it is a toy"),) * len(duration))


@st.composite
def random_traces(draw: st.DrawFn, kernels: int = 5, depth: int = 2, trips: int = 4) -> Trace:
    """Any nest of loops around up to ``kernels`` kernels that read and write a few tensors, some of which share an allocation."""
    toy = Toy()
    names = [f"t{i}" for i in range(draw(st.integers(1, 4)))]
    for i, name in enumerate(names):
        kind = draw(st.sampled_from(["parameter", "temporary", "output"]))
        alias = names[i - 1] if i and draw(st.integers(0, 4)) == 0 else None
        toy.tensor(name, draw(st.sampled_from([0, 1000, 40_000])), kind, alias)
    some = st.lists(st.sampled_from(names), max_size=2, unique=True)
    left = draw(st.integers(1, kernels))

    def fill(level: int) -> None:
        nonlocal left
        while left and draw(st.integers(0, 3)):
            if level < depth and draw(st.integers(0, 2)) == 0:
                with toy.loop(draw(st.integers(1, trips))):
                    fill(level + 1)
            else:
                toy.kernel(f"k{left}", draw(some), draw(some))
                left -= 1

    fill(0)
    return toy.build()
