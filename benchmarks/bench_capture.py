"""What capture costs beside XLA's compile alone, in time and memory; and the memory of a replay.

Each measurement runs in a process of its own, since memory is that process's peak.
"""

from benchmarks.rows import Row, measure

MOLECULES = ("CH4", "C4H4")


def rows() -> list[Row]:
    """Return time and memory ratios of capture to compile for FermiNet's local energy, and the memory of a C4H4 replay."""
    table = []
    for molecule in MOLECULES:
        compiled, captured = measure("compile", molecule), measure("capture", molecule)
        name = f"local energy of FermiNet on {molecule}"
        table += [
            Row(f"capture over compile, time, {name}", captured["seconds"] / compiled["seconds"], "x", 2.0, "lower"),
            Row(f"capture over compile, peak memory, {name}", captured["peak_bytes"] / compiled["peak_bytes"], "x", 1.5, "lower"),
        ]
    measure("replay", "C4H4")  # in a fresh clone the first use compiles the engine
    replayed = measure("replay", "C4H4")
    return [*table, Row("peak memory of replaying a recorded C4H4 trace", replayed["peak_bytes"] / 1e6, "MB", 400, "lower")]
