"""Links as parts of a machine."""

from arch.building.assembly import Assembly, pico
from arch.entry import Entry
from arch.link import Link
from arch.parameter import Parameter


def add_link(draft: Assembly, entry: Entry, source: str, target: str, prefix: str = "link") -> None:
    """Join two memories by a link of the catalogue, whose parameters are called ``prefix``_bandwidth_bytes_per_s and so on."""
    own, delay = entry["bandwidth"], entry["latency"]
    bandwidth = draft.parameter(
        f"{prefix}_bandwidth_bytes_per_s", Parameter(own, "B/s", own / 4, own * 32, "bandwidth of each direction of the link")
    )
    latency = draft.parameter(f"{prefix}_latency_s", Parameter(delay, "s", 0.0, delay * 10, "latency of a transfer"))
    scale = bandwidth / own
    rates = {key: entry.get(key) for key in ("reverse_bandwidth", "duplex_bandwidth", "pageable_bandwidth")}
    scaled = {key: None if rate is None else rate * scale for key, rate in rates.items()}
    link = Link(
        id=entry.id if all(other.id != entry.id for other in draft.links) else f"{entry.id}-{target}",
        source=source,
        target=target,
        bandwidth=bandwidth,
        latency_s=latency,
        pj_per_byte=pico(entry.get("energy_per_byte")),
        collective_s=entry.get("collective_overhead") or 0.0,
        **scaled,
    )
    draft.links.append(link)
    if entry not in draft.entries:
        draft.entries.append(entry)
