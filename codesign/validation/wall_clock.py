"""Rows for an independent wall clock: sampling with deepqmc's Psiformer on one RTX 3090."""

from collections.abc import Iterator

import numpy as np

from codesign.validation.published import published
from codesign.validation.row import Row, Tolerance, tolerance_of

MOLECULES = ("LiH", "Cl")


def rows() -> Iterator[Row]:
    """Yield the sampler's time, host included, over the wall clock for each molecule, and the ratio between the molecules."""
    table = published()["wall_clock"]
    times = {molecule: _sampling_s(molecule, table["machine"]) for molecule in MOLECULES}
    limits = Tolerance(**table["tolerance"])
    for molecule in MOLECULES:
        clock, ours = table[molecule], times[molecule]
        middle = (clock["low"] + clock["high"]) / 2
        yield Row(
            f"wall-clock/{molecule}",
            f"Psiformer, {molecule}, {clock['batch']} walkers, 30 Metropolis steps: time with host over wall clock",
            1.0,
            None if ours is None else ours / middle,
            limits,
            table["configuration"],
            table["title"],
            "" if ours is None else f"{ours:.3f} s of {clock['low']:g} to {clock['high']:g} s",
        )
    lih, cl = times["LiH"], times["Cl"]
    yield Row(
        "wall-clock/ratio",
        "Psiformer, Cl over LiH: time of 30 Metropolis steps",
        table["ratio"]["value"],
        None if lih is None or cl is None else cl / lih,
        tolerance_of(table["ratio"]["tolerance"], table["ratio"]),
        table["configuration"],
        table["title"],
    )


def _sampling_s(molecule: str, machine_name: str) -> float | None:
    """Return time_s of the recorded sampler; None if none is recorded."""
    from arch.building import machine
    from codesign.engine import replay
    from traces.recordings import load_recorded, recorded_traces

    name = f"deepqmc-psiformer-{molecule}-{machine_name}-batch{published()['wall_clock'][molecule]['batch']}".lower()
    if name not in recorded_traces():
        return None
    timeline = replay(load_recorded(name), machine(machine_name))
    spans = timeline.spans()
    sampling = [kind == "kernel" and phase == "sampling" for kind, phase in zip(spans.kind, spans.phase, strict=True)]
    return float(np.max(np.asarray(spans.end_s)[sampling], initial=0.0)) or None
