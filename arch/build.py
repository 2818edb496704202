"""Machines by name: 'a5000', 'a5000+aim', 'a100+hbm-pim-fp32', 'a5000+aim@link'.

A part after '+' that is PIM sits in the GPU's own memory (``in_memory``: some of its stacks are PIM stacks) unless it ends in
'@link' (``attached``: memory of its own behind the GPU's host link) or '@' and the id of a link of the catalogue.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache

from arch.catalog import Entry
from arch.device import Device
from arch.gpu import GPU, with_bandwidth
from arch.host import Host
from arch.link import HandOver, Link
from arch.machine import Machine, Parameter
from arch.memory import Memory
from arch.pim import PIM
from arch.registered import find, names
from traces.errors import MachineError, nearest

ORGANISATIONS = ("in_memory", "attached")


@dataclass(frozen=True, eq=False)
class _Recipe:
    """What a named machine is made from: catalogue entries, and the parameters that were overridden."""

    gpu: Entry
    host: Entry
    pim: Entry | None = None
    link: Entry | None = None
    """The link of an attached PIM; None if it is in_memory."""
    values: Mapping[str, float] = field(default_factory=dict)


def machine(name: str, *, organisation: str | None = None, **overrides: float | int | str) -> Machine:
    """Return a machine by name, with parameters overridden as by ``Machine.with_``.

    ``organisation`` ('in_memory' or 'attached') says where PIM sits if the name does not. Raises MachineError for unknown
    parts (with the nearest) and combinations that cannot be built.
    """
    return assemble(_recipe(name, organisation)).with_(**overrides)


def load_device(path: str) -> Device:
    """Return the device that a TOML file of a user's own describes: a GPU, or PIM with memory of its own."""
    entry = find(path)
    if entry.kind == "gpu":
        return _gpu(entry)
    if entry.kind == "pim":
        return _pim(_Recipe(gpu=entry, host=entry, pim=entry, link=entry), entry)
    raise MachineError(f"{path} must describe a GPU or PIM, but its kind is {entry.kind!r}")


def _recipe(name: str, organisation: str | None) -> _Recipe:
    if organisation not in (None, *ORGANISATIONS):
        raise MachineError(f"organisation must be one of {', '.join(ORGANISATIONS)}, but got {organisation!r}")
    first, *rest = name.split("+")
    gpu = _of_kind(first, "gpu", name)
    if not rest:
        return _Recipe(gpu, find("host"))
    if len(rest) > 1:
        raise MachineError(f"a named machine has one GPU and at most one PIM, but got {name!r}; build a Machine from parts for more")
    part, _, joined = rest[0].partition("@")
    pim = _of_kind(part, "pim", name)
    if joined and organisation == "in_memory":
        raise MachineError(f"{name!r} says that {part!r} is attached, but organisation is 'in_memory'; leave one of them out")
    if joined or organisation == "attached":
        link = _of_kind(gpu.text["host_link"] if joined in ("", "link") else joined, "link", name)
        return _Recipe(gpu, find("host"), pim, link)
    if pim.text["memory_family"] != gpu.text["memory_family"]:
        raise MachineError(
            f"in_memory PIM must replace stacks of the GPU's own kind of memory, but {gpu.id!r} has {gpu.text['memory_family']} "
            f"and {pim.id!r} is {pim.text['memory_family']}; write {first}+{part}@link to attach it"
        )
    return _Recipe(gpu, find("host"), pim)


def _of_kind(name: str, kind: str, machine_name: str) -> Entry:
    entry = find(name)
    if entry.kind != kind:
        known = sorted(n for n in names() if find(n).kind == kind)
        raise MachineError(
            f"a machine is named 'GPU', 'GPU+PIM' or 'GPU+PIM@LINK', but {name!r} in {machine_name!r} is of kind {entry.kind!r}, "
            f"not {kind!r}; {nearest(name, known)}"
        )
    return entry


@lru_cache(maxsize=64)
def _gpu(entry: Entry) -> GPU:
    """One GPU object an entry: what it prepares for a trace is then shared by all machines."""
    return GPU.of(entry)


def assemble(recipe: _Recipe) -> Machine:
    """Return the machine of a recipe."""
    gpu = _gpu(recipe.gpu)
    parameters = _parameters(recipe)
    host = _host(recipe)
    entries = tuple(entry for entry in (recipe.gpu, recipe.pim, recipe.link, recipe.host) if entry is not None)
    if recipe.pim is None:
        parts = _alone(gpu)
    elif recipe.link is None:
        parts = _in_memory(recipe, gpu, _pim(recipe, recipe.pim))
    else:
        parts = _attached(recipe, gpu, _pim(recipe, recipe.pim), recipe.link)
    return Machine(
        id=_name(recipe),
        devices=parts.devices,
        memories=parts.memories,
        links=parts.links,
        hand_overs=parts.hand_overs,
        host=host,
        entries=entries,
        parameters=parameters,
        rebuild=lambda changed: assemble(replace(recipe, values={**recipe.values, **changed})),
    )


@dataclass(frozen=True, eq=False)
class _Parts:
    devices: tuple[Device, ...]
    memories: tuple[Memory, ...]
    links: tuple[Link, ...] = ()
    hand_overs: tuple[HandOver, ...] = ()


def _name(recipe: _Recipe) -> str:
    if recipe.pim is None:
        return recipe.gpu.id
    joined = "" if recipe.link is None else "@link" if recipe.link.id == recipe.gpu.text["host_link"] else f"@{recipe.link.id}"
    return f"{recipe.gpu.id}+{recipe.pim.id}{joined}"


def _alone(gpu: GPU) -> _Parts:
    return _Parts((gpu,), (_gpu_memory(gpu, gpu.entry["memory"], gpu.dram_bandwidth),))


def _gpu_memory(gpu: GPU, capacity: float, bandwidth: float) -> Memory:
    """The GPU's memory; its static power is part of the board's."""
    return Memory(gpu.memory, round(capacity), bandwidth, _pico(gpu.entry.get("dram_energy_per_byte")))


def _pico(joules: float | None) -> float | None:
    return None if joules is None else joules * 1e12


def _pim(recipe: _Recipe, entry: Entry) -> PIM:
    shared = recipe.link is None
    return PIM(
        entry=entry,
        id=entry.id,
        memory=f"{recipe.gpu.id}-memory" if shared else f"{entry.id}-memory",
        stacks=round(recipe.values.get("pim_stacks", _default_stacks(recipe, entry))),
        banks_per_unit=round(recipe.values.get("pim_banks_per_unit", entry["banks_per_unit"])),
        unit_clock_hz=recipe.values.get("pim_unit_clock_hz", entry["unit_clock"]),
        shared=shared,
    )


def _default_stacks(recipe: _Recipe, entry: Entry) -> float:
    if recipe.link is not None:
        return entry["attached_stacks"]
    return float(-(-recipe.gpu["memory_stacks"] * entry["in_memory_share"] // 1))


def _in_memory(recipe: _Recipe, gpu: GPU, pim: PIM) -> _Parts:
    """Replace ``pim.stacks`` of the GPU's stacks: capacity and bandwidth are the sums of what is left and what is new."""
    total, plain = recipe.gpu["memory_stacks"], recipe.gpu["memory_stacks"] - pim.stacks
    own = recipe.gpu["memory_bandwidth"] / total
    of_pim = min(own, pim.entry["stack_bandwidth"])
    bandwidth = recipe.gpu["memory_bandwidth"] if of_pim == own else plain * own + pim.stacks * of_pim
    capacity = plain * recipe.gpu["memory"] / total + pim.stacks * pim.stack_bytes
    changed = _gpu_at(gpu, bandwidth)
    fraction = pim.stacks / total
    efficiency = recipe.gpu["dram_efficiency"]
    io = pim.entry.get("io_energy_per_byte")
    hand_over = HandOver(
        device=pim.id,
        memory=gpu.memory,
        mode_switch_s=pim.entry["mode_switch"],
        flush_s=pim.entry["flush_share"] * recipe.gpu["l2"] / (bandwidth * efficiency),
        layout_bandwidth=pim.stacks * of_pim * efficiency / _passes(recipe, pim.entry, fraction),
        closed_fraction=fraction,
        pj_per_byte=None if io is None else 2e12 * io,
    )
    return _Parts((changed, pim), (_gpu_memory(changed, capacity, bandwidth),), (), (hand_over,))


def _passes(recipe: _Recipe, pim: Entry, fraction: float) -> float:
    """How often a handed-over byte passes the PIM stacks' pins, on average.

    The GPU spreads tensors over all stacks: what lies in plain ones is written to PIM stacks. A share of all is laid out anew
    (read and written): operands that are broadcast or reduced; others keep the GPU's interleaving.
    """
    return (1 - fraction) + 2 * recipe.values.get("pim_layout_share", pim["layout_share"])


@lru_cache(maxsize=64)
def _gpu_at(gpu: GPU, bandwidth: float) -> GPU:
    return with_bandwidth(gpu, bandwidth)


def _attached(recipe: _Recipe, gpu: GPU, pim: PIM, link: Entry) -> _Parts:
    own = Memory(
        pim.memory, pim.stacks * pim.stack_bytes, pim.stacks * pim.entry["stack_bandwidth"], _pico(pim.entry.get("io_energy_per_byte"))
    )
    bandwidth = recipe.values.get("link_bandwidth_bytes_per_s", link["bandwidth"])
    duplex = link.get("duplex_bandwidth")
    wire = Link(
        id=link.id,
        source=gpu.memory,
        target=pim.memory,
        bandwidth=bandwidth,
        duplex_bandwidth=None if duplex is None else duplex * bandwidth / link["bandwidth"],
        latency_s=recipe.values.get("link_latency_s", link["latency"]),
        pj_per_byte=_pico(link.get("energy_per_byte")),
    )
    return _Parts((gpu, pim), (*_alone(gpu).memories, own), (wire,))


def _host(recipe: _Recipe) -> Host:
    standard, values = Host.of(recipe.host), recipe.values
    return Host(
        launch_interval_s=values.get("host_launch_interval_s", standard.launch_interval_s),
        launch_latency_s=values.get("host_launch_latency_s", standard.launch_latency_s),
        queue_depth=standard.queue_depth,
        graph_gap_s=values.get("host_graph_gap_s", standard.graph_gap_s),
        round_trip_s=values.get("host_round_trip_s", standard.round_trip_s),
    )


def _parameters(recipe: _Recipe) -> dict[str, Parameter]:
    table = _host_parameters(recipe.host)
    if recipe.pim is not None:
        table |= _pim_parameters(recipe, recipe.pim)
    if recipe.link is not None:
        table |= _link_parameters(recipe.link)
    return {name: replace(p, value=recipe.values.get(name, p.value)) for name, p in table.items()}


def _pim_parameters(recipe: _Recipe, pim: Entry) -> dict[str, Parameter]:
    most = 32.0 if recipe.link is not None else recipe.gpu["memory_stacks"]
    banks = tuple(float(2**i) for i in range(round(pim["banks_per_channel"]).bit_length()))
    clock = pim["unit_clock"]
    where = "packages or stacks of the attached PIM" if recipe.link is not None else "stacks of the GPU's memory that are PIM stacks"
    return {
        "pim_stacks": Parameter(_default_stacks(recipe, pim), "1", 1, most, where, integer=True),
        "pim_banks_per_unit": Parameter(
            pim["banks_per_unit"], "1", 1, banks[-1], "banks that share a unit: more units cost area and capacity", True, banks
        ),
        "pim_layout_share": Parameter(pim["layout_share"], "1", 0.01, 1.0, "share of handed-over data laid out anew", design=False),
        "pim_unit_clock_hz": Parameter(clock, "Hz", clock / 4, clock * 2, "clock of the units; above the column rate it buys nothing"),
    }


def _link_parameters(link: Entry) -> dict[str, Parameter]:
    bandwidth, latency = link["bandwidth"], link["latency"]
    return {
        "link_bandwidth_bytes_per_s": Parameter(bandwidth, "B/s", bandwidth / 4, bandwidth * 32, "bandwidth of each direction of the link"),
        "link_latency_s": Parameter(latency, "s", 0.0, latency * 10, "latency of a transfer"),
    }


def _host_parameters(host: Entry) -> dict[str, Parameter]:
    docs = {
        "launch_interval": "from one launch to the next",
        "launch_latency": "from a launch's call to its start",
        "graph_gap": "between kernels of a command buffer",
        "round_trip": "the host waits for the device and issues again",
    }
    return {f"host_{key}_s": Parameter(host[key], "s", 0.0, 1e-3, doc, design=False) for key, doc in docs.items()}
