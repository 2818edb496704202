"""Rows for published energies of systems with PIM: joules of bytes and operations beside the papers' joules and savings.

DRAM from cell to GPU, on-chip movement and arithmetic by the papers' tables; and, as everywhere here, what stands still draws for
as long as the system runs: background of CENT's packages, static power of GPUs. Units in stacks draw nothing besides.
"""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from codesign.validation.pim import cent_tokens_per_s, decode, pim_flops
from codesign.validation.published import published
from codesign.validation.row import Row, shown, tolerance_of

Compute = Callable[[dict[str, Any], dict[str, Any]], float]
"""Of a published system and one of its cases: our number."""


def rows() -> Iterator[Row]:
    """Yield the rows of CENT, AttAcc and Duplex; of the last two also what dynamic energy alone saves, not judged."""
    table = published()["energy"]
    yield from _rows("cent", cent_joules, table)
    for system, compute in (("attacc", attacc_saving), ("duplex", duplex_saving)):
        yield from _rows(system, compute, table)
        yield from _dynamic(system, compute, table[system])


def _rows(system: str, compute: Compute, table: dict[str, Any]) -> Iterator[Row]:
    part = table[system]
    for name, case in part["cases"].items():
        limits, note = tolerance_of(table["tolerance"], case), case.get("note", "")
        number = compute(part, case)
        yield Row(f"energy/{system}/{name}", case["quantity"], shown(case), number, limits, part["configuration"], part["title"], note)


def _dynamic(system: str, compute: Compute, part: dict[str, Any]) -> Iterator[Row]:
    for name, case in part["cases"].items():
        number, quantity = compute({**part, "static": False}, case), f"{case['quantity']}, dynamic energy alone"
        yield Row(
            f"energy/{system}/{name}-dynamic",
            quantity,
            published=shown(case),
            ours=number,
            tolerance=None,
            configuration=part["configuration"],
            source=part["title"],
        )


def _static_w(part: dict[str, Any]) -> float:
    """Watts of a GPU for as long as the system runs; 0 where a part asks for dynamic energy alone."""
    from arch.registered import find

    return find(part["gpu"])["static_power"] if part.get("static", True) else 0.0


def cent_joules(part: dict[str, Any], case: dict[str, Any]) -> float:
    """Return joules a token: all weights and one sequence's keys and values in the banks, and what devices draw meanwhile."""
    from arch.registered import find

    pim = published()["pim"]["cent"]
    model, entry = pim["model"], find("aim")
    hidden, narrow = model["hidden"], model["hidden"] / model["queries_a_key"]
    weights = model["layers"] * (2 * hidden * hidden + 2 * hidden * narrow + 3 * hidden * model["intermediate"])
    cached = 2 * model["layers"] * case["context"] * hidden  # every query head streams its keys and values: no reuse in the banks
    per_byte = entry["row_energy_per_byte"] + entry["column_energy_per_byte"]
    dynamic = 2 * (weights + cached) * per_byte  # the power of the paper's multiplying command holds its arithmetic
    packages = pim["devices"] * pim["channels"] / entry["channels_per_stack"]
    return float(dynamic + packages * entry["attached_power_per_stack"] / cent_tokens_per_s(pim, case))


def attacc_saving(part: dict[str, Any], case: dict[str, Any]) -> float:
    """Return the share of energy a token that units in the banks save, each system at the batch that its memory holds.

    The GPUs keep the weights; keys and values lie beside them, or in stacks with units that are as large as the GPUs' memory.
    """
    from arch.registered import find

    bank = find("attacc-bank")
    per_flop, outside = part["per_flop"], bank["io_energy_per_byte"] + part["on_chip_per_byte"]
    weights = part["layers"] * 12 * part["hidden"] ** 2
    position = 2 * part["layers"] * part["hidden"]  # elements
    sequence, context = 2 * position * (case["input"] + case["output"]), case["input"] + case["output"] / 2
    streamed, arithmetic = 2 * position * context, 2 * (weights + position * context) * per_flop
    held = np.floor([(part["memory"] - 2 * weights) / sequence, part["memory"] / sequence])
    inside = bank["row_energy_per_byte"] + bank["column_energy_per_byte"]
    bandwidth = part["gpus"] * bank["attached_stacks"] * bank["stack_bandwidth"]
    seconds = (2 * weights + held * streamed / np.array([1.0, part["multiple"]])) / bandwidth
    idle = part["gpus"] * _static_w(part) * seconds / held
    joules = 2 * weights * outside / held + streamed * np.array([outside, inside]) + arithmetic + idle
    return float(1 - joules[1] / joules[0])


def duplex_saving(part: dict[str, Any], case: dict[str, Any]) -> float:
    """Return the mean share of energy that the logic die saves in decoding, over the batches and lengths of the paper.

    Each operation runs where it is faster, as in `codesign.validation.pim.duplex_speedup`; what it moves through units on the logic
    die skips the way to the GPU and the GPU's own caches. Arithmetic costs the same on both sides.
    """
    points = [(batch, length) for batch in part["batches"] for length in part["lengths"]]
    return float(np.mean([_saving(part, case, {"batch": b, "input": n, "output": n}) for b, n in points]))


def _saving(part: dict[str, Any], case: dict[str, Any], point: dict[str, Any]) -> float:
    from arch.registered import find

    pim, entry = published()["pim"]["duplex"], find("duplex")
    layers = [decode(part["models"][name], point, case["devices"]) for name in case["layers"]]
    flops, moved = (np.concatenate(parts) for parts in zip(*layers, strict=True))
    gpu_s = np.maximum(flops / pim["gpu_flops"], moved / pim["gpu_bandwidth"])
    near_s = np.maximum(flops / pim_flops(pim, "logic"), moved / (pim["multiple"]["logic"] * pim["gpu_bandwidth"]))
    outside = entry["io_energy_per_byte"] + part["on_chip_per_byte"]
    inside = entry["row_energy_per_byte"] + entry["column_energy_per_byte"]
    static_w = _static_w(part)
    before = moved * outside + flops * part["per_flop"] + static_w * gpu_s
    spent = np.where(near_s < gpu_s, inside, outside)
    after = moved * spent + flops * part["per_flop"] + static_w * np.minimum(gpu_s, near_s)
    return float(1 - after.sum() / before.sum())
