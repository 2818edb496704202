"""The tables of a search, from what ``Result.to_dict`` gives."""

from typing import Any

from arch.labels import hypothetical_label
from traces.rows import Rows
from traces.si import percent, show


def result_tables(result: dict[str, Any]) -> list[Rows]:
    """Return the tables of a search: what was found beside what bounds it, and the designs that no other beats."""
    machine = hypothetical_label(result["machine"], result["hypothetical"])
    title = f"{result['program']} on {machine}: {result['trials']} designs tried, seed {result['seed']}"
    return [Rows(title, ("", "", ""), [*_found(result), *_failed(result)]), _front(result)]


def _found(result: dict[str, Any]) -> list[tuple[str, ...]]:
    best = result["best"]
    close = [c["design"] for c in result["told_apart"] if not c["told"]]
    borders = [f"{_set(b['parameter'], b['value'])} ({b['side']} end)" for b in result["on_border"]]
    return [
        ("best time", show(best["time_s"], "s"), _how(best)),
        ("best on a single device", show(result["best_single_device_s"], "s"), result["best_single_device"]),
        ("lower bound", show(result["lower_bound_s"], "s"), result["lower_bound_method"]),
        ("gap to the bound, %", percent(result["bound_gap"]), "what is left to gain at most"),
        ("as good within the error", _count(close), ", ".join(close)),
        ("exact partition", show(result["exact_partition_s"], "s"), result["semantics"]),
        ("gap to the partition, %", percent(result["partition_gap"]), "of the best design's mapping, priced under that model too"),
        ("on a border of the space", _count(borders), ", ".join(borders)),
    ]


def _count(names: list[str]) -> str:
    return str(len(names)) if names else "none"


def _failed(result: dict[str, Any]) -> list[tuple[str, ...]]:
    """Say how many designs could not run, and the most frequent reason."""
    reasons = result["cannot_run"]
    if not reasons:
        return []
    most = max(reasons, key=lambda reason: reasons[reason])
    return [("could not run", f"{sum(reasons.values()):,}", f"{most}{f'; {len(reasons) - 1:,} other reasons' if len(reasons) > 1 else ''}")]


def _front(result: dict[str, Any]) -> Rows:
    """The front, with the prices of designs only where one is known."""
    priced = any(design.get("price_usd") is not None for design in result["pareto"])
    rows = [
        (
            str(d["trial"]),
            show(d["time_s"], "s"),
            show(d["energy_j"], "J"),
            show(d.get("power_watts"), "W"),
            _amount(d["area_mm2"], "mm²"),
            *([_amount(d["price_usd"], "USD")] if priced else []),
            _how(d),
        )
        for d in result["pareto"]
    ]
    columns = ("trial", "time", "energy", "power", "area", *(("price",) if priced else ()), "how")
    return Rows("Pareto front" if len(result["objectives"]) > 1 else "Best design", columns, rows)


def _amount(value: float | None, unit: str) -> str:
    return "—" if value is None else f"{value:,.0f} {unit}"


def _how(design: dict[str, Any]) -> str:
    """Return the policy of a design, its parameters, and the machine's parameters that the search set."""
    parts = {**design["policy"], **design["machine"]}
    name = parts.pop("name", "")
    return ", ".join([str(name), *(_set(key, value) for key, value in parts.items())])


SUFFIXES = {"_bytes_per_s": "B/s", "_bytes": "B", "_hz": "Hz", "_s": "s", "_watts": "W"}
"""The unit that the name of a parameter ends in."""


def _set(name: str, value: object) -> str:
    """Return 'pim_unit_clock_hz 2.00 GHz': a parameter with its value, in the unit that its name says."""
    unit = next((unit for end, unit in SUFFIXES.items() if name.endswith(end)), "1")
    return f"{name} {show(value, unit) if isinstance(value, float) else value}"
