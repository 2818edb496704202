"""Rows for published PIM systems: ratios and rates that the closed forms of `arch.pim` and the catalogue give beside the papers'."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from codesign.validation.published import published
from codesign.validation.row import Row, shown, tolerance_of

Float = NDArray[np.float64]


def rows() -> Iterator[Row]:
    """Yield the rows of Pimba, AttAcc, CENT and Duplex."""
    table = published()["pim"]
    ours = {"pimba": pimba_ratio, "attacc": attacc_multiple, "cent": cent_tokens_per_s, "duplex": duplex_speedup}
    for system, compute in ours.items():
        part = table[system]
        for name, case in part["cases"].items():
            number = compute(part, case)
            rule = case.get("tolerance", part.get("tolerance"))
            limits = tolerance_of(rule, case) if rule else None
            row_id = f"pim/{system}/{name}"
            yield Row(row_id, case["quantity"], shown(case), number, limits, part["configuration"], part["title"], case.get("note", ""))
    yield from _orders(table["duplex"])


def _orders(part: dict[str, Any]) -> Iterator[Row]:
    """Which PIM is faster for a model: attention with a key for every query favours bandwidth, grouped queries operations."""
    for model, case in part["faster"].items():
        times = {label: duplex_speedup(part, {**case, "model": model, "pim": pim}) for pim, label in part["labels"].items()}
        winner = max(times, key=lambda label: times[label])
        said = ", ".join(f"{label} {value:.2f}x" for label, value in times.items())
        yield Row(
            f"pim/duplex/faster-{model}",
            f"{case['name']}, {case['input']:,} in and out, batch {case['batch']}: the faster PIM",
            case["value"],
            winner,
            case["value"],
            part["configuration"],
            part["title"],
            said,
        )


def _clocks(name: str) -> dict[str, float]:
    from arch.pim.timing import timing
    from arch.registered import find

    return timing(find(name))


def _one(value: float) -> Float:
    return np.array([float(value)])


def pimba_ratio(part: dict[str, Any], case: dict[str, Any]) -> float:
    """Return how much longer HBM-PIM takes in FP16 than Pimba in 8 bits for the same states or caches."""
    from arch.pim.state_update import clocks, rounds

    t, channels = _clocks("dram-hbm2e-pimba"), _one(part["channels"])

    def spent(design: str, element: float) -> float:
        heads, rows, columns = (_one(case[key]) for key in ("heads", "rows", "columns"))
        return float(clocks(t, rounds(case["operation"], design, heads, rows, columns, element, channels))[0])

    return spent("HBM-PIM", 2.0) / spent("Pimba", 1.0)


def attacc_multiple(part: dict[str, Any], case: dict[str, Any]) -> float:
    """Return the bytes of keys and values over the time of attention, as a multiple of the stack's bandwidth to the outside."""
    from arch.pim.attention import Heads, clocks
    from arch.registered import find

    entry = find(case["timing"])
    positions, heads, head_dim = part["positions"], part["heads"], part["head_dim"]
    work = Heads(_one(positions), _one(heads), _one(head_dim), 2.0, _one(part["channels"]))
    seconds = float(clocks(_clocks(entry.id), case["level"], work)[0]) * entry["clock_period"]
    return float(2 * 2 * heads * positions * head_dim / seconds / find("attacc-bank")["stack_bandwidth"])


def cent_tokens_per_s(part: dict[str, Any], case: dict[str, Any]) -> float:
    """Return tokens a second of a pipeline whose slowest device holds some layers: products without register reuse, and attention.

    Attention reads keys and values once each; what devices pass on, and what runs outside the banks, is left out.
    """
    from arch.pim.global_buffer import gemv, score
    from arch.registered import find

    entry, model = find("dram-gddr6-aim"), part["model"]
    t, channels = _clocks(entry.id), _one(part["channels"])
    hidden, narrow, wide = model["hidden"], model["hidden"] // model["queries_a_key"], model["intermediate"]
    shapes = [(hidden, hidden, 2), (narrow, hidden, 2), (wide, hidden, 2), (hidden, wide, 1)]
    products = sum(count * float(gemv(t, _one(rows), _one(columns), channels)[0]) for rows, columns, count in shapes)
    attention = 2 * float(score(t, _one(case["context"]), _one(model["heads"]), _one(hidden / model["heads"]), channels)[0])
    layers = np.ceil(model["layers"] / part["devices"])
    return float(1 / (layers * (products + attention) * entry["clock_period"]))


def duplex_speedup(part: dict[str, Any], case: dict[str, Any]) -> float:
    """Return how much faster decoding is where each operation runs on the GPU or on PIM, whichever is faster.

    A roofline of one layer on one of the devices: attention and projections split over all, experts spread over them with even
    routing. Communication is left out.
    """
    flops, moved = decode(part["models"][case["model"]], case, part["devices"])
    gpu = np.maximum(flops / part["gpu_flops"], moved / part["gpu_bandwidth"])
    near = np.maximum(flops / pim_flops(part, case["pim"]), moved / (part["multiple"][case["pim"]] * part["gpu_bandwidth"]))
    return float(gpu.sum() / np.minimum(gpu, near).sum())


def pim_flops(part: dict[str, Any], pim: str) -> float:
    """Logic-die units have a peak of their own, units in the banks an operation a byte."""
    from arch.registered import find

    if pim == "logic":
        duplex = find("duplex")
        return float(2 * duplex["channels_per_stack"] * duplex["lanes_per_unit"] * duplex["unit_clock"] * duplex["attached_stacks"])
    return float(part["multiple"][pim] * part["gpu_bandwidth"])


def decode(model: dict[str, Any], case: dict[str, Any], devices: int) -> tuple[Float, Float]:
    """FLOP and bytes of projections, attention and experts (or the one feed-forward) of a layer, on one device."""
    batch, context, hidden = case["batch"], case["input"] + case["output"] / 2, model["hidden"]
    keys = hidden / model["queries_a_key"]
    projections = 2 * hidden * hidden + 2 * hidden * keys
    experts, chosen = model.get("experts", 1), model.get("chosen", 1)
    forward = model["matrices"] * hidden * model["intermediate"]
    flops = np.array([2 * batch * projections, 4 * batch * context * hidden, 2 * batch * chosen * forward])
    moved = 2 * np.array([projections, 2 * batch * context * keys, experts * forward])
    return flops / devices, moved / devices
