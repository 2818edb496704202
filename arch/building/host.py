"""The host's side of a machine: who issues launches, its CPU, and its memories (DRAM, SSD, CXL)."""

from arch.building.assembly import Assembly, Part, pico
from arch.building.link import add_link
from arch.cpu import CPU
from arch.entry import Entry
from arch.host import Host
from arch.link import Link
from arch.memory import Memory, reached
from arch.parameter import Parameter
from arch.registered import find
from traces.errors import MachineError

_REQUEST_BYTES = 2.0**20
"""A chunk of a transfer: what a copy asks an SSD for at once unless told otherwise."""


def add_host(draft: Assembly, entry: Entry) -> Host:
    """Declare the host's parameters and return it."""
    docs = {
        "launch_interval": "from one launch to the next",
        "launch_latency": "from a launch's call to its start",
        "graph_gap": "between kernels of a command buffer",
        "round_trip": "the host waits for the device and issues again",
    }
    times = {
        f"{key}_s": draft.parameter(f"host_{key}_s", Parameter(entry[key], "s", 0.0, 1e-3, doc, design=False)) for key, doc in docs.items()
    }
    draft.entries.append(entry)
    return Host(queue_depth=round(entry["queue_depth"]), **times)


def add_memory(draft: Assembly, part: Part, host_link: Entry | None) -> None:
    """Add a memory of the host: DRAM behind the first device's link, an SSD or CXL memory behind the DRAM ('@direct': the device)."""
    entry, role = part.entry, part.entry.text["role"]
    prefix = role if all(memory.role != role for memory in draft.memories) else entry.id.replace("-", "_").replace(".", "_")
    memory = _memory(draft, entry, role, prefix)
    draft.memories.append(memory)
    draft.entries.append(entry)
    if not draft.devices:
        return  # a CPU follows that works in it
    at = _place(draft, part, memory)
    if entry.text["joined_by"] == "itself":
        draft.links.append(_own_link(entry, at, memory))
    else:
        own = entry.text["joined_by"]
        link = part.link or (host_link if own == "host" else find(own))
        if link is None:
            raise MachineError(f"{entry.id!r} must be joined to {at!r} by a link, but none is named; write {entry.id}@pcie4")
        add_link(draft, link, at, memory.id, f"{prefix}_link")


def _memory(draft: Assembly, entry: Entry, role: str, prefix: str) -> Memory:
    size = entry["capacity"]
    capacity = draft.parameter(f"{prefix}_capacity_bytes", Parameter(size, "B", size / 64, size * 64, "capacity", design=False))
    request = _request(draft, entry, prefix)
    read, write = (reached(entry, way, request) for way in ("read", "write"))
    both = entry.get("both_bandwidth") or (max(read, write) if role == "dram" else read + write)
    price, watts = entry.get("price"), entry.get("static_power")
    return Memory(
        id=entry.id,
        capacity_bytes=round(capacity),
        bandwidth=max(both, read, write),
        pj_per_byte=pico(entry.get("energy_per_byte")),
        static_watts=None if watts is None else watts * capacity / size,
        read_bandwidth=read,
        write_bandwidth=write,
        latency_s=entry["latency"],
        role=role,
        price_usd=None if price is None else price * capacity / size,
        refresh_watts=(watts or 0.0) * capacity / size * (entry.get("refresh_share") or 0.0),
    )


def _request(draft: Assembly, entry: Entry, prefix: str) -> float:
    """Bytes that a copy asks for at once: a parameter where the catalogue knows that it matters."""
    if "request_bytes" not in entry.numbers:
        return _REQUEST_BYTES
    low = min(entry.list("request_bytes"))
    doc = "bytes of a request: small ones reach less bandwidth"
    return draft.parameter(f"{prefix}_request_bytes", Parameter(_REQUEST_BYTES, "B", low, 2.0**30, doc, design=False))


def _place(draft: Assembly, part: Part, memory: Memory) -> str:
    """Where a memory hangs: on the DRAM if there is one before it, else (DRAM itself, or '@direct') on the first device's."""
    dram = next((other for other in draft.memories if other.role == "dram" and other is not memory), None)
    if part.joined == "direct" or (memory.role == "dram" and dram is None):
        return draft.home
    if dram is None:
        raise MachineError(
            f"{memory.id!r} hangs on the host's DRAM, but the machine has none before it; write +dram+{memory.id}, or "
            f"{memory.id}@direct to join it to the first device"
        )
    return dram.id


def _own_link(entry: Entry, at: str, memory: Memory) -> Link:
    """An SSD is its own link: what it reads and writes a second is what moves."""
    assert memory.read_bandwidth is not None
    assert memory.write_bandwidth is not None
    return Link(
        id=f"{entry.id}-link",
        source=at,
        target=memory.id,
        bandwidth=memory.write_bandwidth,
        reverse_bandwidth=memory.read_bandwidth,
        duplex_bandwidth=entry.get("both_bandwidth"),
        latency_s=memory.latency_s,
        pj_per_byte=0.0 if memory.pj_per_byte is None else memory.pj_per_byte,
    )


def add_cpu(draft: Assembly, part: Part) -> None:
    """Add a CPU that works in the host's DRAM, which must be there."""
    entry, dram = part.entry, draft.dram
    assert dram is not None
    cores = draft.parameter("cpu_cores", Parameter(entry["cores"], "1", 1, entry["cores"] * 4, "cores", integer=True, design=False))
    changed = entry if cores == entry["cores"] else entry.changed({"cores": cores}).without("die_area", "price")
    draft.devices.append(CPU.of(changed, dram))
    draft.entries.append(changed)
