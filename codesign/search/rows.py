"""The tables of a search, from what ``Result.to_dict`` gives."""

from typing import Any

from arch.labels import hypothetical_label
from traces.rows import Rows
from traces.si import percent, show


def result_tables(result: dict[str, Any]) -> list[Rows]:
    """Return the tables of a search: what was found beside what bounds it, and the designs that no other beats."""
    machine = hypothetical_label(result["machine"], result["hypothetical"])
    title = f"{result['program']} on {machine}: {result['trials']} designs tried, seed {result['seed']}"
    return [Rows(title, ("", "", ""), _found(result)), _front(result)]


def _found(result: dict[str, Any]) -> list[tuple[str, ...]]:
    best = result["best"]
    borders = ", ".join(f"{_set(b['parameter'], b['value'])} ({b['side']} end)" for b in result["on_border"])
    return [
        ("best time", show(best["time_s"], "s"), _how(best)),
        ("best on a single device", show(result["best_single_device_s"], "s"), result["best_single_device"]),
        ("lower bound", show(result["lower_bound_s"], "s"), result["lower_bound_method"]),
        ("best above the bound, %", percent(result["bound_gap"]), ""),
        (
            "as good within the error bars",
            _untold(result["told_apart"]),
            "their difference from the best is less than its standard deviation",
        ),
        ("exact partition", show(result["exact_partition_s"], "s"), result["semantics"]),
        ("best mapping above it, %", percent(result["partition_gap"]), "the best design's mapping, priced under that model too"),
        ("on a border of the space", borders or "none", ""),
    ]


def _untold(comparisons: list[dict[str, Any]]) -> str:
    """Name the designs whose difference to the best is less than its standard deviation."""
    close = [c["design"] for c in comparisons if not c["told"]]
    return ", ".join(close) if close else "none"


def _front(result: dict[str, Any]) -> Rows:
    rows = [(str(d["trial"]), show(d["time_s"], "s"), show(d["energy_j"], "J"), _area(d["area_mm2"]), _how(d)) for d in result["pareto"]]
    return Rows("Designs that no other beats", ("trial", "time", "energy", "area", "how"), rows)


def _area(value: float | None) -> str:
    return "—" if value is None else f"{value:,.0f} mm²"


def _how(design: dict[str, Any]) -> str:
    """Return the policy of a design, its parameters, and the machine's parameters that the search set."""
    parts = {**design["policy"], **design["machine"]}
    name = parts.pop("name", "")
    return ", ".join([str(name), *(_set(key, value) for key, value in parts.items())])


SUFFIXES = {"_bytes_per_s": "B/s", "_bytes": "B", "_hz": "Hz", "_s": "s"}
"""The unit that the name of a parameter ends in."""


def _set(name: str, value: object) -> str:
    """Return 'pim_unit_clock_hz 2.00 GHz': a parameter with its value, in the unit that its name says."""
    unit = next((unit for end, unit in SUFFIXES.items() if name.endswith(end)), "1")
    return f"{name} {show(value, unit) if isinstance(value, float) else value}"
