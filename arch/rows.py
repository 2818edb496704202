"""The tables of a machine and of the catalogue, from what ``Machine.to_dict`` gives."""

from typing import Any, TypeVar

from arch.labels import hypothetical_label
from traces.rows import Rows
from traces.si import capacity, show

T = TypeVar("T")

KINDS = {
    "gpu": "GPUs",
    "pim": "PIM: in the memory of a GPU, or behind a link ('@link')",
    "cpu": "CPUs",
    "reconfigurable": "Reconfigurable accelerators",
    "layout": "GPU extensions",
    "elementwise": "GPU extensions",
    "chains": "GPU extensions",
    "tpu": "TPUs",
    "memory": "Memories of the host",
    "host": "Hosts: who issues launches",
    "link": "Links",
    "dram": "Timing of DRAM that PIM counts in",
}


def catalogue_tables(devices: dict[str, dict[str, Any]]) -> list[Rows]:
    """Return a table for each kind of device: name (and a shorter one), what it is, how many numbers are assumptions, where it is."""
    captions = {name: KINDS.get(device["kind"], device["kind"]) for name, device in devices.items()}
    columns = ("name", "", "what it is", "assumptions", "in a machine")
    order = [caption for caption in dict.fromkeys([*KINDS.values(), *captions.values()]) if caption in captions.values()]
    return [Rows(c, columns, [_device_row(name, d) for name, d in devices.items() if captions[name] == c]) for c in order]


def _device_row(name: str, device: dict[str, Any]) -> tuple[str, ...]:
    short = [alias for alias in sorted(device["aliases"], key=len)[:1] if len(alias) < len(name)]
    mark = "hypothetical" if device["hypothetical"] else ""
    where = "" if device["example"] == name else device["example"] or "—"
    return ", ".join([name, *short]), mark, device["description"], f"{device['assumptions']} of {device['numbers']}", where


def machine_tables(machine: dict[str, Any]) -> list[Rows]:
    """Return the tables of a machine: devices, peaks, memories, joints, parameters, what is not modelled, numbers, their sources."""
    name = hypothetical_label(machine["id"], machine["hypothetical"])
    title = f"{name}: {machine['assumptions']} of {machine['numbers']} numbers are assumptions"
    places = {source: f"[{place}]" for place, source in enumerate(dict.fromkeys(_sources(machine)), start=1)}
    return [
        Rows(title, ("device", "kind", "memory", "area, mm²", "power cap, W", "static, W"), _devices(machine)),
        *_peaks(machine),
        Rows("Memories", ("memory", "capacity", "bandwidth"), _memories(machine)),
        *_joins(machine),
        Rows(
            "Parameters that can be changed (*: what a search varies unless told)",
            ("name", "", "value", "low", "high", "meaning"),
            _parameters(machine),
        ),
        Rows("Not modelled", ("device", "what the real thing does and the price leaves out"), _not_modelled(machine)),
        Rows("Numbers", ("number", "value", "unit", "kind of source", "source", "note"), _numbers(machine, places)),
        Rows("Sources", ("", ""), [(place, source) for source, place in places.items()]),
    ]


def _devices(machine: dict[str, Any]) -> list[tuple[str, ...]]:
    keys = ("area_mm2", "power_cap_watts", "static_watts")
    return [(d["id"], d["kind"], d["memory"], *(_amount(d[key]) for key in keys)) for d in machine["devices"]]


def _peaks(machine: dict[str, Any]) -> list[Rows]:
    """Return the table of peak rates by dtype, equal devices once, where any are known."""
    kept = _once({d["id"]: d["peak_flops_per_s"] for d in machine["devices"] if d["peak_flops_per_s"]})
    rows = [
        (device, dtype, *(show(peaks.get(unit, {}).get(dtype), "FLOP/s") for unit in ("vector", "matrix")))
        for device, peaks in kept.items()
        for dtype in dict.fromkeys(name for peak in peaks.values() for name in peak)
    ]
    return [Rows("Peaks without sparsity", ("device", "dtype", "vector", "matrix"), rows)] if rows else []


def _memories(machine: dict[str, Any]) -> list[tuple[str, ...]]:
    return [(m["id"], capacity(m["capacity_bytes"]), show(m["bandwidth"], "B/s")) for m in machine["memories"]]


def _joins(machine: dict[str, Any]) -> list[Rows]:
    """Return the table of what joins memories and devices, where anything does."""
    links = [(k["id"], f"{k['source']} to {k['target']}", show(k["bandwidth"], "B/s"), show(k["latency_s"], "s")) for k in machine["links"]]
    inside = [
        (f"hand-over to {h['device']}", h["memory"], show(h["layout_bandwidth"], "B/s"), show(h["mode_switch_s"] + h["flush_s"], "s"))
        for h in machine["hand_overs"]
    ]
    columns = ("link or hand-over", "between", "bandwidth, one way", "latency")
    return [Rows("Links and hand-overs", columns, links + inside)] if links or inside else []


def _not_modelled(machine: dict[str, Any]) -> list[tuple[str, ...]]:
    return [(device, text) for device, texts in _once(machine["not_modelled"]).items() for text in texts]


def _once(by_device: dict[str, T]) -> dict[str, T]:
    """Return what is said of devices, of equal ones only of the first."""
    said = list(by_device.values())
    return {device: what for place, (device, what) in enumerate(by_device.items()) if what not in said[:place]}


def _parameters(machine: dict[str, Any]) -> list[tuple[str, ...]]:
    return [
        (name, "*" if p["design"] else "", *(show(p[key], p["unit"]) for key in ("value", "low", "high")), p["doc"])
        for name, p in machine["parameters"].items()
    ]


def _numbers(machine: dict[str, Any], places: dict[str, str]) -> list[tuple[str, ...]]:
    return [
        (f"{entry['id']}.{key}", _value(q["value"]), q["unit"], q["source_kind"], places[q["source"]], q["note"])
        for entry in machine["catalogue"]
        for key, q in entry["numbers"].items()
    ]


def _sources(machine: dict[str, Any]) -> list[str]:
    return [q["source"] for entry in machine["catalogue"] for q in entry["numbers"].values()]


def _amount(value: float | None) -> str:
    return "—" if value is None else f"{value:.4g}"


def _value(value: float | list[float]) -> str:
    return ", ".join(f"{v:g}" for v in value) if isinstance(value, list) else f"{value:g}"
