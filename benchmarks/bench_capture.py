"""What capture costs beside XLA's compile alone, in time and memory; and the memory of a replay.

Each measurement runs in a process of its own, since memory is that process's peak.
"""

import json
import subprocess
import sys

from benchmarks.rows import Row

MOLECULES = ("CH4", "C4H4")


def rows() -> list[Row]:
    """Return time and memory ratios of capture to compile for FermiNet's local energy, and the memory of a C4H4 replay."""
    table = []
    for molecule in MOLECULES:
        compiled, captured = _measured("compile", molecule), _measured("capture", molecule)
        name = f"local energy of FermiNet on {molecule}"
        table += [
            Row(f"capture over compile, time, {name}", captured["seconds"] / compiled["seconds"], "x", 2.0, "lower"),
            Row(f"capture over compile, peak memory, {name}", captured["peak_bytes"] / compiled["peak_bytes"], "x", 1.5, "lower"),
        ]
    replayed = _measured("replay", "C4H4")
    return [*table, Row("peak memory of replaying a recorded C4H4 trace", replayed["peak_bytes"] / 1e6, "MB", 400, "lower")]


def _measured(what: str, molecule: str) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.measured", what, molecule]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    result: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return result
