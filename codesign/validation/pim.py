"""Rows for published PIM systems: ratios and rates that the closed forms of `arch.pim` and the catalogue give beside the papers'."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from codesign.validation.published import published
from codesign.validation.row import Row, shown, tolerance_of

Float = NDArray[np.float64]


def rows() -> Iterator[Row]:
    """Yield the rows of published systems and devices; last those that are published but cannot be computed."""
    table = published()["pim"]
    ours = {
        "pimba": pimba_ratio,
        "pimba_gpu": pimba_over_gpu,
        "attacc": attacc_multiple,
        "attacc_serving": attacc_speedup,
        "cent": cent_tokens_per_s,
        "duplex": duplex_speedup,
        "devices": of_a_package,
    }
    for system, compute in ours.items():
        part = table[system]
        for name, case in part["cases"].items():
            yield judged(f"pim/{system.replace('_', '-')}/{name}", part, case, compute(part, case))
    yield from _orders(table["duplex"])
    yield from _over_banks(table["duplex"])
    yield from not_comparable("pim", table["not_comparable"])


def judged(row_id: str, part: dict[str, Any], case: dict[str, Any], number: float) -> Row:
    """Return the row of a case, with the tolerance, configuration and title of its part where it has none of its own."""
    whole = {**part, **case}
    limits = tolerance_of(whole["tolerance"], case)
    return Row(row_id, case["quantity"], shown(case), number, limits, whole["configuration"], whole["title"], case.get("note", ""))


def not_comparable(prefix: str, part: dict[str, Any]) -> Iterator[Row]:
    """Yield rows of published numbers beside which there is none of ours; the note says why."""
    for name, case in part["cases"].items():
        yield Row(
            f"{prefix}/{name}",
            case["quantity"],
            published=case["value"],
            ours=None,
            tolerance=None,
            configuration=part["configuration"],
            source=case["title"],
            note=case["note"],
        )


def _over_banks(part: dict[str, Any]) -> Iterator[Row]:
    """Duplex over Bank-PIM: mean and largest of a grid."""
    grid = part["grid"]
    points = [{"model": grid["model"], "batch": b, "input": n, "output": n} for b in grid["batches"] for n in grid["lengths"]]
    over = np.array([duplex_speedup(part, {**p, "pim": "logic"}) / duplex_speedup(part, {**p, "pim": "bank"}) for p in points])
    for name, number in (("mean", over.mean()), ("max", over.max())):
        yield judged(f"pim/duplex/over-banks-{name}", {**part, **grid}, grid["cases"][name], float(number))


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


def pimba_over_gpu(part: dict[str, Any], case: dict[str, Any]) -> float:
    """Return how much longer a GPU takes in FP16, bound by its memory, than Pimba in 8 bits for the same states or caches."""
    from arch.pim.state_update import clocks, rounds

    heads, rows, columns = (_one(case[key]) for key in ("heads", "rows", "columns"))
    found = rounds(case["operation"], "Pimba", heads, rows, columns, 1.0, _one(part["channels"]))
    pimba_s = float(clocks(_clocks("dram-hbm2e-pimba"), found)[0]) / part["clock_hz"]
    passes = 2 if case["operation"] == "SU" else 1  # a state is read and written, a cache is read; so are the vectors on either side
    elements = passes * (rows * columns + rows + columns) * heads
    return float(2 * elements[0] / (part["gpu_bandwidth"] * part["gpu_share"]) / pimba_s)


def attacc_speedup(part: dict[str, Any], case: dict[str, Any]) -> float:
    """Return tokens a second of GPUs beside AttAcc over GPUs alone, each at the batch that its memory holds.

    The GPUs keep the weights; keys and values lie beside them, or in stacks with units that are as large as the GPUs' memory.
    """
    from arch.registered import find

    gpu, bank, attention = find(part["gpu"]), find("attacc-bank"), published()["pim"]["attacc"]
    outside = part["gpus"] * bank["attached_stacks"] * bank["stack_bandwidth"]
    inside = outside * attacc_multiple(attention, attention["cases"]["bank"])
    weights = 12 * case["layers"] * case["hidden"] ** 2
    position = 2 * case["layers"] * case["hidden"] * case["bytes"]
    context, longest = part["input"] + part["output"] / 2, part["input"] + part["output"]
    held = np.floor([(part["memory"] - weights * case["bytes"]) / (position * longest), part["memory"] / (position * longest)])
    flops = part["gpus"] * gpu[f"matrix_flops.{case['dtype']}"] * part["compute_share"]
    reached = outside * part["bandwidth_share"]
    seconds = np.maximum(weights * case["bytes"] / reached, 2 * weights * held / flops) + held * position * context / np.array(
        [reached, inside]
    )
    return float((held[1] / seconds[1]) / (held[0] / seconds[0]))


def of_a_package(part: dict[str, Any], case: dict[str, Any]) -> float:
    """Return a peak of one package or stack of a device as sold."""
    from arch.building.pim import pim_alone
    from arch.registered import find

    device = pim_alone(find(case["device"]))
    return float(getattr(device, case["of"]) / device.stacks)


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

    part = {**part, **case}
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
