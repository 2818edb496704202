"""Rows for FlexGen's published throughputs: OPT on a T4 whose weights and cache live in DRAM and on SSDs.

Steps of decoding repeat, so one and two of them are replayed and the rest is added in proportion. A trace has all sequences in one
kernel, FlexGen runs them in blocks: the T4 is given the room that needs, and nothing else.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from codesign.validation.published import published
from codesign.validation.row import Row, shown, tolerance_of

if TYPE_CHECKING:
    from arch.machine import Machine
    from traces.trace import Trace

FEW, MORE = 1, 2
"""Steps of decoding that are replayed."""


def rows() -> Iterator[Row]:
    """Yield a row for each published run; where the case asks for it also one with attention on the GPU, not judged."""
    part = published()["offload"]["flexgen"]
    for name, case in part["cases"].items():
        limits = tolerance_of(part["tolerance"], case)
        ours = tokens_per_s(part, case)
        about = (part["configuration"] + f"; {case['policy']}", part["title"])
        yield Row(f"offload/flexgen/{name}", case["quantity"], shown(case), ours, limits, *about, case.get("note", ""))
        if "also_gpu" not in case:
            continue
        gpu = tokens_per_s(part, {**case, "trace": case["also_gpu"]}, host_attention=False)
        quantity = f"{case['quantity']}, attention on the GPU"
        yield Row(f"offload/flexgen/{name}-gpu", quantity, shown(case), gpu, None, *about)


def tokens_per_s(part: dict[str, Any], case: dict[str, Any], *, host_attention: bool = True) -> float | None:
    """Return tokens a second over prompt and generation; None where the trace is not recorded."""
    seconds = [time_s(part, case, steps, host_attention) for steps in (FEW, MORE)]
    if seconds[0] is None or seconds[1] is None:
        return None
    whole = seconds[0] + (part["tokens"] - 1 - FEW) * (seconds[1] - seconds[0]) / (MORE - FEW)
    return float(case["batch"] * part["tokens"] / whole)


def time_s(part: dict[str, Any], case: dict[str, Any], steps: int, host_attention: bool) -> float | None:
    """Return the seconds of the prompt and so many steps after the first token; None where the trace is not recorded."""
    from arch.building import machine
    from codesign.engine import replay
    from schedulers.flexgen import FlexGen
    from traces.recordings import load_recorded, recorded_traces

    if case["trace"] not in recorded_traces():
        return None
    weights, cache = case["weights"], case["cache"]
    policy = FlexGen(weights["dram"], weights["ssd"], cache["dram"], cache["ssd"], host_attention)
    on = with_room(machine(part["machine"]), part["room"])
    return replay(shortened(load_recorded(case["trace"]), steps), on, policy, record=False).time_s


def with_room(machine: "Machine", room: int) -> "Machine":
    """Return the machine with a first memory of ``room`` bytes, as fast as before."""
    first, *others = machine.memories
    return replace(machine, memories=(replace(first, capacity_bytes=room), *others))


def shortened(trace: "Trace", steps: int) -> "Trace":
    """Return the trace with its loop of decoding steps run ``steps`` times."""
    from traces import Table

    regions = trace.regions.decoded()
    steps_of = (regions["kind"] == "loop") & np.char.startswith(regions["name"].astype(str), "decode")
    regions["trip_count"] = regions["trip_count"].copy()
    regions["trip_count"][steps_of] = steps
    return trace.with_(regions=Table.build("regions", regions))
