"""The rows of the tables that the command line and the report page both show, from what ``to_dict`` of each result gives."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from codesign.labels import hypothetical_label
from codesign.units import capacity, percent, show


class Rows(NamedTuple):
    """A table as text: a caption, column heads, rows of cells."""

    caption: str
    columns: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]


def timeline_tables(timeline: dict[str, Any]) -> list[Rows]:
    """Return the tables of a replay: totals, devices, shares, and what devices refuse, where they refuse anything."""
    devices = [(name, *(show(d[key], "s") for key in ("busy_s", "hand_over_s", "idle_s"))) for name, d in timeline["devices"].items()]
    links = [(name, show(link["busy_s"], "s"), "—", show(link["idle_s"], "s")) for name, link in timeline["links"].items()]
    tables = [
        Rows(timeline_title(timeline), ("", ""), _totals(timeline)),
        Rows("Energy", ("part", "joules", "%"), _energy(timeline)),
        Rows("Queues", ("device or link", "busy", "hand-over", "idle"), devices + links),
        *_shares(timeline),
        Rows("Kernels that take most of the time", HEAVIEST, [_heavy(call) for call in timeline.get("kernels", [])]),
        Rows("What a device cannot run", ("device", "reason", "% of kernel time"), _refused(timeline)),
    ]
    return [table for table in tables if table.rows]


def comparison_tables(comparison: dict[str, Any]) -> list[Rows]:
    """Return the table of one trace replayed on several machines, each beside the first, and its kernel time by family on each."""
    timelines = comparison["timelines"]
    first = timelines[0]
    columns = ("machine", "time", "times as fast", "kernel time", "± %", "unvalidated %", "energy", "peak memory")
    title = f"{first['program']}, {first['scheduler']}, captured for {first['captured_for'] or 'an unknown device'}"
    names = [hypothetical_label(each["machine"], each["hypothetical"]) for each in timelines]
    families = dict.fromkeys(name for each in timelines for name in each["shares"]["family"])
    return [
        Rows(title, columns, [_beside(each, first) for each in timelines]),
        Rows("Kernel time", ("family", *names), [(family, *(_family_time(each, family) for each in timelines)) for family in families]),
    ]


def _beside(timeline: dict[str, Any], first: dict[str, Any]) -> tuple[str, ...]:
    known = timeline["uncertainty"] or {"relative": None, "unvalidated_share": None}
    return (
        hypothetical_label(timeline["machine"], timeline["hypothetical"]),
        show(timeline["time_s"], "s"),
        f"{first['time_s'] / timeline['time_s']:.2f}" if timeline["time_s"] else "—",
        show(timeline["kernel_time_s"], "s"),
        percent(known["relative"]),
        percent(known["unvalidated_share"]),
        show(timeline["energy_j"], "J"),
        show(max(timeline["peak_memory_bytes"].values(), default=0), "B"),
    )


def _family_time(timeline: dict[str, Any], family: str) -> str:
    share = timeline["shares"]["family"].get(family)
    return "—" if share is None else show(share * timeline["kernel_time_s"], "s")


def _energy(timeline: dict[str, Any]) -> list[tuple[str, ...]]:
    """Where the joules go, the largest part first; parts that are zero are left out."""
    parts, whole = timeline.get("energy_parts", {}), timeline["energy_j"]
    known = sorted((item for item in parts.items() if item[1]), key=lambda item: -abs(item[1]))
    rows: list[tuple[str, ...]] = [(_part(name), show(joules, "J"), percent(joules / whole) if whole else "—") for name, joules in known]
    return rows + [(_part(name), "unknown", "—") for name, joules in parts.items() if joules is None]


def _part(name: str) -> str:
    """What is saved by the lower clock of a board at its cap is negative: the other parts are those at the full clock."""
    return "saved by the lower clock of a capped board" if name == "power_cap" else name.replace("_", " ")


def timeline_title(timeline: dict[str, Any]) -> str:
    """Return what was replayed, where and under which scheduler."""
    return f"{timeline['program']} on {hypothetical_label(timeline['machine'], timeline['hypothetical'])}, {timeline['scheduler']}"


def _totals(timeline: dict[str, Any]) -> list[tuple[str, ...]]:
    peaks = [(f"peak of {name}", show(peak, "B")) for name, peak in timeline["peak_memory_bytes"].items()]
    return [
        ("time", show(timeline["time_s"], "s")),
        ("kernel time", show(timeline["kernel_time_s"], "s")),
        *_doubt(timeline["uncertainty"]),
        ("waiting for the host", show(timeline["host_bound_s"], "s")),
        ("energy", show(timeline["energy_j"], "J")),
        ("launches", f"{timeline['launches']:,}"),
        *peaks,
        ("captured for", _captured_for(timeline)),
        *((f"assumed {name}", f"{row['kernels']:,.0f} kernels, {row['share']:.1%} of kernel time") for name, row in _assumed(timeline)),
    ]


def _captured_for(timeline: dict[str, Any]) -> str:
    """Say of another device's program that it is one: what the compiler chose for that device is replayed here."""
    target = timeline["captured_for"]
    if not target:
        return "unknown"
    return target if target in timeline["devices"] else f"{target}: its fusions and launches"


def _assumed(timeline: dict[str, Any]) -> list[tuple[str, dict[str, float]]]:
    return list(timeline.get("assumed", {}).items())


def _doubt(uncertainty: dict[str, Any]) -> list[tuple[str, ...]]:
    """Say how far the kernel time can be off, and how much of it no measurement stands behind."""
    if not uncertainty:
        return []
    return [
        ("standard deviation of it, %", percent(uncertainty["relative"])),
        ("unvalidated share of it, %", percent(uncertainty["unvalidated_share"])),
    ]


HEAVIEST = ("kernel", "size, or where", "launches", "time", "%", "work", "touched")
WIDTH = 23
"""Characters of a kernel's name and of where it is from: seven columns fit a terminal of 100."""


def _heavy(call: dict[str, Any]) -> tuple[str, ...]:
    """A call's rates are its own FLOP and bytes over its own time: beside a machine's peaks they say how far it is from each."""
    where = "×".join(map(str, call["size"])) or "/".join(call["scope"].split("/")[-2:])
    return (
        _short(call["name"].removeprefix("aten::")),
        _short(f"{call['dtype']} {where}".strip()),
        f"{call['launches']:,}",
        show(call["time_s"], "s"),
        percent(call["share"]),
        show(call["flops_per_s"], "FLOP/s"),
        show(call["bytes_per_s"], "B/s"),
    )


def _short(text: str) -> str:
    """Leave out the middle of a long name: the beginning says what it is, the end which one."""
    half = (WIDTH - 1) // 2
    return text if len(text) <= WIDTH else f"{text[: WIDTH - 1 - half]}…{text[-half:]}"


def _shares(timeline: dict[str, Any]) -> list[Rows]:
    """Shares by family; by phase, stage and device where there are several."""
    return [
        Rows(f"Share of kernel time by {by}", (by, "%"), [(name, percent(share)) for name, share in group.items()])
        for by, group in timeline["shares"].items()
        if by == "family" or len(group) > 1
    ]


def _refused(timeline: dict[str, Any]) -> list[tuple[str, ...]]:
    ordered = {device: sorted(reasons.items(), key=lambda item: -item[1]) for device, reasons in timeline["ineligible"].items()}
    return [(device, reason, percent(share)) for device, reasons in ordered.items() for reason, share in reasons]


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
    """Return the tables of a machine: devices, memories, what joins them, parameters, what is not modelled, numbers, their sources."""
    name = hypothetical_label(machine["id"], machine["hypothetical"])
    title = f"{name}: {machine['assumptions']} of {machine['numbers']} numbers are assumptions"
    places = {source: f"[{place}]" for place, source in enumerate(dict.fromkeys(_sources(machine)), start=1)}
    return [
        Rows(title, ("device", "kind", "memory", "area, mm²", "static, W"), _devices(machine)),
        Rows("Memories", ("memory", "capacity", "bandwidth"), _memories(machine)),
        *_joins(machine),
        Rows("Parameters that can be changed", ("name", "value", "low", "high", "meaning"), _parameters(machine)),
        Rows("Not modelled", ("device", "what the real thing does and the price leaves out"), _not_modelled(machine)),
        Rows("Numbers", ("number", "value", "unit", "kind of source", "source", "note"), _numbers(machine, places)),
        Rows("Sources", ("", ""), [(place, source) for source, place in places.items()]),
    ]


def _devices(machine: dict[str, Any]) -> list[tuple[str, ...]]:
    return [(d["id"], d["kind"], d["memory"], _amount(d["area_mm2"]), _amount(d["static_watts"])) for d in machine["devices"]]


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
    return [(device, text) for device, texts in machine["not_modelled"].items() for text in texts]


def _parameters(machine: dict[str, Any]) -> list[tuple[str, ...]]:
    return [(name, *(show(p[key], p["unit"]) for key in ("value", "low", "high")), p["doc"]) for name, p in machine["parameters"].items()]


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
