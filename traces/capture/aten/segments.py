"""How far the captured positions of a loop are from affine in the position: what `steps` rests on."""

from typing import Any

import numpy as np

from traces.capture.aten.recorder import Launch, Recorder


def affine_defects(recorder: Recorder) -> dict[str, dict[str, Any]]:
    """Return, for each loop that ``steps`` cut into three or more runs, the largest relative distance from affine.

    The line goes through the first and the last captured position; every position between is checked, in FLOP and in bytes of all kernels
    together. 0 means that the runs sum to exactly what all positions have; the kernel that is farthest is named.
    """
    return {name: _defect(recorder, runs) for name, runs in recorder.runs if len(runs) > 2}


def _defect(recorder: Recorder, runs: list[tuple[int, int]]) -> dict[str, Any]:
    positions = np.array([position for _, position in runs], dtype=np.float64)
    bodies = [recorder.launches[recorder.regions[row].first : recorder.regions[row].end] for row, _ in runs]
    if len({len(body) for body in bodies}) > 1:
        return {"positions": len(runs), "affine_defect": None, "kernel": "the number of kernels depends on the position"}
    amounts = np.array([[_amounts(launch) for launch in body] for body in bodies])
    share = (positions - positions[0]) / (positions[-1] - positions[0])
    line = amounts[0] + share[:, None, None] * (amounts[-1] - amounts[0])
    whole = np.maximum(amounts.sum(axis=1, keepdims=True), 1.0)
    away = np.abs(amounts - line) / whole
    worst = np.unravel_index(int(away.argmax()), away.shape)
    total = np.abs((amounts - line).sum(axis=1, keepdims=True) / whole).max()
    return {"positions": len(runs), "affine_defect": float(total), "kernel": bodies[0][worst[1]].kernel.name if away.max() > 0 else ""}


def _amounts(launch: Launch) -> tuple[float, float]:
    flops = launch.kernel.flops
    work = np.nan_to_num([flops.matrix, flops.vector, flops.transcendental]).sum()
    return float(work), sum(access.unique for access in launch.accesses)
