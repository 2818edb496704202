"""Machines and cost tables with prices that a test states, and random traces to run on them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import strategies as st

from arch.cost import CostTable
from arch.device import Device
from arch.host import Host
from arch.link import HandOver, Link
from arch.machine import Machine
from arch.memory import Memory
from arch.parameter import Parameter
from arch.work import Prices, Refusals, Work
from tests.toys import Toy
from traces import Trace

US = 1e-6
NO_HOST = Host(0.0, 0.0, 1024, 0.0, 0.0)
REASON = "it is a toy"


@dataclass(frozen=True, eq=False)
class Stated(Device):
    """A device whose prices are stated: microseconds of each kernel, ``cold_us`` more if it reads a cold operand; 1 W while it runs."""

    id: str
    memory: str
    duration_us: Sequence[float] = ()
    refused: Sequence[bool] = ()
    cold_us: float = 0.0
    speed: float = 1.0
    static_watts: float | None = None
    area_mm2: float | None = None
    price_usd: float | None = None
    kind: str = "toy"

    def price(self, work: Work) -> Prices:
        kernels = len(work.kernels)
        owner = np.repeat(np.arange(kernels), np.diff(work.access_offsets))
        reads_cold = np.bincount(owner, work.cold & (work.accesses["mode"] == "read"), kernels) > 0
        stated = np.resize(np.array(self.duration_us, dtype=float), kernels) if len(self.duration_us) else np.ones(kernels)
        duration = (stated / self.speed + self.cold_us * reads_cold) * US
        return Prices(duration, np.zeros(kernels), duration if self.static_watts is not None else np.full(kernels, np.nan), {})

    def refuse(self, work: Work) -> Refusals:
        code = np.zeros(len(work), dtype=np.int8)
        code[: len(self.refused)] = self.refused
        return Refusals(code, ("", REASON))


def toy_machine(
    attached: int = 1,
    in_memory: int = 0,
    *,
    duration_us: Sequence[Sequence[float]] = (),
    refused: Sequence[Sequence[bool]] = (),
    cold_us: float = 0.0,
    host: Host = NO_HOST,
    **terms: float,
) -> Machine:
    """A GPU with ``in_memory`` PIMs in its memory and ``attached`` PIMs, each behind a link of its own.

    ``duration_us`` and ``refused`` are [devices][kernels]; ``terms`` replace the cost of links and hand-overs.
    """
    link = {"bandwidth": 10e9, "latency_s": 1 * US} | {k: v for k, v in terms.items() if k in ("bandwidth", "latency_s")}
    switch = {"mode_switch_s": 1 * US, "flush_s": 1 * US, "layout_bandwidth": 20e9, "closed_fraction": 0.25}
    switch |= {k: v for k, v in terms.items() if k in switch}
    places = [("gpu", "hbm"), *((f"pim{i}", "hbm") for i in range(in_memory)), *((f"far{i}", f"dram{i}") for i in range(attached))]
    devices = []
    for row, (name, memory) in enumerate(places):
        stated = duration_us[row] if duration_us else ()
        devices.append(Stated(name, memory, stated, refused[row] if refused else (), cold_us))
    return Machine(
        id="toy",
        devices=tuple(devices),
        memories=tuple(Memory(name, 1 << 40, 1e12) for name in ("hbm", *(f"dram{i}" for i in range(attached)))),
        host=host,
        links=tuple(Link(f"link{i}", "hbm", f"dram{i}", link["bandwidth"], None, link["latency_s"]) for i in range(attached)),
        hand_overs=tuple(HandOver(f"pim{i}", "hbm", **switch) for i in range(in_memory)),
    )


def adjustable_machine(gpu_us: Sequence[float], pim_us: Sequence[float], *, energy: bool = True, host: Host = NO_HOST) -> Machine:
    """A GPU with attached PIM of ``units`` (1 to 8, faster and larger) at a ``clock`` (0.5 to 2, faster and larger)."""
    limits = {"units": (4.0, 1.0, 8.0, True), "clock": (1.0, 0.5, 2.0, False)}

    def build(values: Mapping[str, float]) -> Machine:
        now = {name: values.get(name, value) for name, (value, *_) in limits.items()}
        watts = 1.0 if energy else None
        gpu = Stated("gpu", "hbm", gpu_us, static_watts=watts, area_mm2=100.0)
        pim = Stated(
            "pim", "dram", pim_us, speed=now["units"] * now["clock"] / 4, static_watts=watts, area_mm2=10.0 * now["units"] * now["clock"]
        )
        return Machine(
            id="adjustable",
            devices=(gpu, pim),
            memories=(Memory("hbm", 1 << 30, 1e12, 1.0), Memory("dram", 1 << 30, 1e12, 1.0)),
            host=host,
            links=(Link("link", "hbm", "dram", 10e9, None, US, 1.0),),
            parameters={name: Parameter(now[name], "1", low, high, name, whole) for name, (_, low, high, whole) in limits.items()},
            rebuild=lambda changed: build({**now, **changed}),
        )

    return build({})


def toy_costs(duration_us: Any, refused: Any = None) -> CostTable:
    """A cost table of [devices][kernels] microseconds; ``refused`` marks what a device cannot run."""
    duration = np.array(duration_us, dtype=float) * US
    refusal = np.zeros(duration.shape, np.int8) if refused is None else np.array(refused, dtype=np.int8)
    nothing = np.zeros(duration.shape)
    return CostTable(np.where(refusal == 0, duration, np.inf), nothing, nothing, refusal, (("", REASON),) * len(duration))


@st.composite
def random_traces(draw: st.DrawFn, kernels: int = 5, depth: int = 2, trips: int = 4) -> Trace:
    """Any nest of loops around up to ``kernels`` kernels that read and write a few tensors, some of which share an allocation.

    Lifetimes span the whole trace: a loop may carry any of them.
    """
    toy = Toy()
    names = [f"t{i}" for i in range(draw(st.integers(1, 4)))]
    for i, name in enumerate(names):
        kind = draw(st.sampled_from(["parameter", "temporary", "output"]))
        alias = names[i - 1] if i and draw(st.integers(0, 4)) == 0 else None
        toy.tensor(name, draw(st.sampled_from([0, 1000, 40_000])), kind, alias)
    some = st.lists(st.sampled_from(names), max_size=2, unique=True)
    nested = 0
    for number in range(draw(st.integers(1, kernels))):
        for _ in range(min(draw(st.integers(0, 2)), depth - nested)):
            toy.loop(draw(st.integers(1, trips)))
            nested += 1
        toy.kernel(f"k{number}", draw(some), draw(some))
        for _ in range(draw(st.integers(0, nested))):
            toy.__exit__()
            nested -= 1
    for _ in range(nested):
        toy.__exit__()
    for tensor in toy.tensors.values():  # allocations that any later launch may read, in whatever loop
        tensor["first_kernel"] = -1 if tensor["kind"] == "parameter" else 0
        tensor["last_kernel"] = len(toy.kernels) - 1 if tensor["kind"] == "temporary" else -1
    return toy.build()
