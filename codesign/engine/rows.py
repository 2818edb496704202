"""The tables of a replay and of several beside each other, from what ``Timeline.to_dict`` gives."""

from typing import Any

from arch.labels import hypothetical_label
from traces.rows import Rows
from traces.si import percent, show


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
    columns = ("machine", "time", "± %", "speedup", "unvalidated %", "energy", "peak memory")
    title = f"{first['program']}, {first['scheduler']}, captured for {first['captured_for'] or 'an unknown device'}"
    names = [hypothetical_label(each["machine"], each["hypothetical"]) for each in timelines]
    families = dict.fromkeys(name for each in timelines for name in each["shares"]["family"])
    whole = ("all", *(show(each["kernel_time_s"], "s") for each in timelines))
    return [
        Rows(title, columns, [_beside(each, first) for each in timelines]),
        Rows(
            "Kernel time",
            ("family", *names),
            [whole, *((family, *(_family_time(each, family) for each in timelines)) for family in families)],
        ),
    ]


def _beside(timeline: dict[str, Any], first: dict[str, Any]) -> tuple[str, ...]:
    known = timeline["uncertainty"] or {"relative": None, "unvalidated_share": None}
    return (
        hypothetical_label(timeline["machine"], timeline["hypothetical"]),
        show(timeline["time_s"], "s"),
        percent(known["relative"]),
        f"{first['time_s'] / timeline['time_s']:.2f}" if timeline["time_s"] else "—",
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
        *_kernel_time(timeline),
        ("waiting for the host", show(timeline["host_bound_s"], "s")),
        ("energy", show(timeline["energy_j"], "J")),
        *_average_power(timeline),
        ("launches", f"{timeline['launches']:,}"),
        *peaks,
        ("captured for", _captured_for(timeline)),
        *((f"assumed {name}", f"{row['kernels']:,.0f} kernels, {row['share']:.1%} of kernel time") for name, row in _assumed(timeline)),
    ]


def _average_power(timeline: dict[str, Any]) -> list[tuple[str, str]]:
    """Say what a step draws on average, to be put beside the boards' power caps; nothing where its energy is unknown."""
    joules, seconds = timeline["energy_j"], timeline["time_s"]
    return [] if joules is None or not seconds else [("average power", show(joules / seconds, "W"))]


def _captured_for(timeline: dict[str, Any]) -> str:
    """Say of another device's program that it is one: what the compiler chose for that device is replayed here."""
    target = timeline["captured_for"]
    if not target:
        return "unknown"
    return target if target in timeline["devices"] else f"{target}: its fusions and launches"


def _assumed(timeline: dict[str, Any]) -> list[tuple[str, dict[str, float]]]:
    return list(timeline.get("assumed", {}).items())


def _kernel_time(timeline: dict[str, Any]) -> list[tuple[str, ...]]:
    """Say what all kernels take, how far off that can be, and how much of it no measurement stands behind."""
    known = timeline["uncertainty"]
    doubt = f" ± {percent(known['relative'])} %" if known else ""
    share = [("of it unvalidated", f"{percent(known['unvalidated_share'])} %")] if known else []
    return [("kernel time", show(timeline["kernel_time_s"], "s") + doubt), *share]


HEAVIEST = ("kernel", "size", "launches", "time", "%", "throughput", "bandwidth")
NAME, SIZE = 18, 26
"""Characters of a kernel's name and of what it works on: seven columns fit a terminal of 100."""


def _heavy(call: dict[str, Any]) -> tuple[str, ...]:
    """A call's rates are its own FLOP and bytes over its own time: beside a machine's peaks they say how far it is from each."""
    name = call["name"].removeprefix("aten::")
    return (
        _short(name, NAME),
        _short(f"{call['dtype']} {_size(call)}".strip(), SIZE),
        f"{call['launches']:,}",
        show(call["time_s"], "s"),
        percent(call["share"]),
        show(call["flops_per_s"], "FLOP/s"),
        show(call["bytes_per_s"], "B/s"),
    )


def _size(call: dict[str, Any]) -> str:
    """A product's sides; of other kernels the family and the bytes of a launch. Files of version 0.3 hold no bytes."""
    sides = "×".join(map(str, call["size"]))
    return sides or f"{call['family'].replace('_', ' ')} {show(call.get('bytes'), 'B')}"


def _short(text: str, width: int) -> str:
    """Leave out the middle of a long name: the beginning says what it is, the end which one."""
    half = (width - 1) // 2
    return text if len(text) <= width else f"{text[: width - 1 - half]}…{text[-half:]}"


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
