"""What several files of tests replay: a chain and a loop between devices, and random traces on random machines."""

from typing import Any

import numpy as np
from hypothesis import strategies as st

from schedulers.scheduler import Mapping
from tests.fixed_prices import random_traces
from tests.replay_toys import machines, on
from tests.toys import Toy
from traces import Trace


def chain(size: int = 40_000) -> Trace:
    """Return two kernels, of which the second reads what the first wrote."""
    trace = Toy()
    trace.tensor("a", size)
    trace.kernel("first", [], ["a"])
    trace.kernel("second", ["a"], ["b"])
    return trace.build()


def ping_pong(trips: int) -> Trace:
    """Return a loop of two kernels, each of which reads what the other wrote."""
    trace = Toy()
    trace.tensor("b", kind="parameter")
    trace.tensor("a", kind="parameter")
    with trace.loop(trips):
        trace.kernel("ping", ["b"], ["a"])
        trace.kernel("pong", ["a"], ["b"])
    return trace.build()


@st.composite
def cases(draw: st.DrawFn, shared: bool = False) -> tuple[Trace, Any, Mapping]:
    """Draw a trace with library calls, command buffers and conditions, a machine, and where each kernel runs."""
    trace, machine = draw(random_traces(kernels=6, trips=9)), draw(machines(shared))
    n = len(trace.kernels)
    columns = trace.kernels.decoded()
    columns["launches"] = np.array(draw(st.lists(st.sampled_from([1, 1, 1, 2, 3]), min_size=n, max_size=n)))
    columns["command_buffer"] = np.array(draw(st.lists(st.sampled_from([-1, -1, 0, 1]), min_size=n, max_size=n)))
    regions = trace.regions.decoded()
    asks = draw(st.lists(st.sampled_from(["host", "host", "device"]), min_size=len(trace.regions), max_size=len(trace.regions)))
    regions["condition"] = np.array(["host", *asks[1:]], object)
    build = type(trace.kernels).build
    changed = Trace(build("kernels", columns), trace.tensors, trace.accesses, build("regions", regions), trace.manifest)
    device = draw(st.lists(st.integers(0, len(machine.devices) - 1), min_size=n, max_size=n))
    return changed, machine, on(*device)
