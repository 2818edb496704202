"""The machine: devices, memories and links as one graph, with the host that issues launches."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any

from arch import units
from arch.area import at_node
from arch.device import Device
from arch.entry import Entry
from arch.gpu import GPU
from arch.gpu.given import ASSUMPTIONS
from arch.host import Host
from arch.link import HandOver, Link
from arch.memory import Memory
from arch.parameter import Parameter
from arch.rows import machine_tables
from arch.show import device_dict
from arch.tpu import TPU
from traces import html
from traces.errors import MachineError, nearest

if TYPE_CHECKING:
    from traces.capture.target import CompileTarget, TpuTarget

_PARTS: dict[str, type] = {"devices": Device, "memories": Memory, "links": Link, "hand_overs": HandOver}
_OF_DEVICES = {name: units.Amount(unit, optional=True) for name, unit in (("static_watts", "W"), ("area_mm2", "mm2"), ("price_usd", "USD"))}


@dataclass(frozen=True, eq=False)
class Machine:
    """Devices, memories, links and hand-overs.

    Parameters
    ----------
    id
        Name, such as 'a5000+aim'.
    devices
        The first is where the program starts; its memory holds the parameters.
    memories, links, hand_overs
        Every device works in one of the memories; links and hand-overs are what data can move along.
    host
        Who issues launches.
    entries
        Catalogue entries behind the parts: their numbers appear in ``to_dict``.
    parameters, rebuild
        What ``with_`` may override, and the function that makes a machine from changed values; machines from
        ``arch.machine`` have them.

    Raises
    ------
    MachineError
        If ids repeat, a device or link names a memory that is not there, or two devices have no path between their memories.
    """

    id: str
    devices: tuple[Device, ...]
    memories: tuple[Memory, ...]
    host: Host
    links: tuple[Link, ...] = ()
    hand_overs: tuple[HandOver, ...] = ()
    entries: tuple[Entry, ...] = ()
    parameters: Mapping[str, Parameter] = field(default_factory=dict)
    rebuild: Callable[[Mapping[str, float]], "Machine"] | None = None

    def __post_init__(self) -> None:
        _typed(self)
        if not self.devices:
            raise MachineError(f"the machine {self.id!r} must have at least one device")
        for device in self.devices:
            _complete(device, self.id)
        memories = _unique("memories", [m.id for m in self.memories], self.id)
        devices = _unique("devices", [d.id for d in self.devices], self.id)
        _unique("links", [each.id for each in self.links], self.id)
        for device in self.devices:
            _known("memory", device.memory, memories, f"the device {device.id!r}")
        for link in self.links:
            _known("memory", link.source, memories, f"the link {link.id!r}")
            _known("memory", link.target, memories, f"the link {link.id!r}")
        for hand_over in self.hand_overs:
            _known("device", hand_over.device, devices, "a hand-over")
            _known("memory", hand_over.memory, memories, "a hand-over")
        edges = tuple((link.source, link.target) for link in self.links)
        apart = _apart(tuple(dict.fromkeys(d.memory for d in self.devices)), edges)
        if apart:
            raise MachineError(
                f"every two devices must have a path between their memories, but in {self.id!r} no link leads from "
                f"{apart[0]!r} to {apart[1]!r}; add a Link"
            )

    def with_(self, **overrides: float | int | str) -> "Machine":
        """Return the machine with some parameters changed; what follows from them (bandwidth, capacity, area) follows.

        Values are SI numbers or text with a unit ('48 GB/s'). Raises MachineError for an unknown name (with the nearest) and
        for values outside a parameter's range.
        """
        for name in overrides:
            if name not in self.parameters:
                known = nearest(name, self.parameters) if self.parameters else "it was built from parts and has none: build another"
                raise MachineError(f"the machine {self.id!r} has no parameter {name!r}; {known}")
        if self.rebuild is None or not overrides:
            return self
        values = {name: units.parse(value, self.parameters[name].unit, name) for name, value in overrides.items()}
        made = self.rebuild(values)
        for name, value in values.items():  # the range of one may follow from another
            made.parameters[name].check(name, value)
        return made

    def assuming(self, assume: str) -> "Machine":
        """Return the machine with GPUs that price what they do not know by an assumption. Raises MachineError if there is no such one."""
        if assume not in ASSUMPTIONS:
            raise MachineError(f"what can be assumed is {', '.join(ASSUMPTIONS)}, but got {assume!r}")
        devices = tuple(replace(device, assume=assume) if isinstance(device, GPU) else device for device in self.devices)
        return replace(self, devices=devices)

    def device(self, name: str) -> Device:
        """Return a device by its id. Raises MachineError with the nearest."""
        found = {d.id: d for d in self.devices}
        if name not in found:
            raise MachineError(f"the machine {self.id!r} has no device {name!r}; {nearest(name, found)}")
        return found[name]

    def memory(self, name: str) -> Memory:
        """Return a memory by its id. Raises MachineError with the nearest."""
        found = {m.id: m for m in self.memories}
        if name not in found:
            raise MachineError(f"the machine {self.id!r} has no memory {name!r}; {nearest(name, found)}")
        return found[name]

    @property
    def gpu(self) -> GPU:
        """The first GPU of the catalogue's kind. Raises MachineError if there is none."""
        for device in self.devices:
            if isinstance(device, GPU):
                return device
        raise MachineError(f"the machine {self.id!r} must have a GPU of the catalogue for this, but has {[d.id for d in self.devices]}")

    @property
    def target(self) -> "CompileTarget | TpuTarget":
        """What a compiler must know of the machine's TPU or GPU."""
        from arch.target import compile_target

        first = self.devices[0]
        return compile_target(first.entry if isinstance(first, TPU) else self.gpu.entry)

    @property
    def hypothetical(self) -> bool:
        """Whether any part of it is one that nobody sells."""
        return any(device.hypothetical for device in self.devices)

    @property
    def area_mm2(self) -> float | None:
        """Silicon of the GPU's die and of PIM units; None if any of it is unknown."""
        return _sum([device.area_mm2 for device in self.devices])

    def area_at(self, node: str) -> float | None:
        """Return the silicon of its devices in mm2 if they were made in ``node`` ('8 nm'), by the density that large GPUs reached.

        None if an area or a process is unknown. Raises MachineError with the nearest node if one is not known.
        """
        entries = [getattr(device, "entry", None) for device in self.devices]
        nodes = [entry.text.get("node") if isinstance(entry, Entry) else None for entry in entries]
        moved = [
            None if area is None or own is None else at_node(area, own, node).mm2
            for area, own in zip((device.area_mm2 for device in self.devices), nodes, strict=True)
        ]
        return _sum(moved)

    @property
    def price_usd(self) -> float | None:
        """What devices and memories cost; None if any of it is unknown."""
        return _sum([*(device.price_usd for device in self.devices), *self._own_memories("price_usd")])

    def _own_memories(self, of: str) -> list[float]:
        """Numbers of memories that have them; the others' are part of a device's."""
        found = [getattr(memory, of) for memory in self.memories]
        return [value for value in found if value is not None]

    @cached_property
    def static_watts(self) -> float | None:
        """Power that does not depend on what runs; None if any of it is unknown. Memories without a number add none."""
        return _sum([*(device.static_watts for device in self.devices), *self._own_memories("static_watts")])

    @property
    def refresh_watts(self) -> float:
        """Of ``static_watts``, what is known to refresh cells: of a GPU's own memory it is not known, and counts as the rest."""
        return sum(memory.refresh_watts for memory in self.memories)

    @property
    def assumptions(self) -> int:
        """How many of the catalogue's numbers behind the machine are assumptions."""
        return sum(entry.assumptions for entry in self.entries)

    def to_dict(self) -> dict[str, Any]:
        """Return the machine and every catalogue number behind it with unit, source and kind of source, ready for JSON."""
        return {
            "id": self.id,
            "hypothetical": self.hypothetical,
            "devices": [device_dict(device) for device in self.devices],
            "memories": [asdict(memory) for memory in self.memories],
            "links": [asdict(link) for link in self.links],
            "hand_overs": [asdict(hand_over) for hand_over in self.hand_overs],
            "host": asdict(self.host),
            "parameters": {name: asdict(parameter) for name, parameter in self.parameters.items()},
            "area_mm2": self.area_mm2,
            "static_watts": self.static_watts,
            "price_usd": self.price_usd,
            "not_modelled": {device.id: list(device.not_modelled) for device in self.devices},
            "assumptions": self.assumptions,
            "numbers": sum(len(entry.numbers) for entry in self.entries),
            "catalogue": [entry.to_dict() for entry in self.entries],
        }

    def __repr__(self) -> str:
        parts = ", ".join(f"{d.id} ({d.kind})" for d in self.devices)
        return f"<Machine {self.id}: {parts}{'; hypothetical' if self.hypothetical else ''}>"

    def _repr_html_(self) -> str:
        """Return the tables that ``codesign machines NAME`` prints, up to the numbers."""
        *shown, _, _ = machine_tables(self.to_dict())
        return html.tables(shown)


def _typed(machine: Machine) -> None:
    """Raise MachineError if a part of a machine is something else, or a single part stands where a sequence must."""
    for name, kind in _PARTS.items():
        parts = getattr(machine, name)
        if not isinstance(parts, Sequence) or isinstance(parts, str):
            raise MachineError(f"{name} of the machine {machine.id!r} must be a sequence, but got {parts!r:.80}: put it in a tuple")
        for part in parts:
            if not isinstance(part, kind):
                raise MachineError(f"{name} of the machine {machine.id!r} must each be a {kind.__name__}, but got {part!r:.80}")
    if not isinstance(machine.host, Host):
        raise MachineError(
            f"the host of the machine {machine.id!r} must be a Host, but got {machine.host!r:.80}: machine('a5000').host is one"
        )


def _complete(device: Device, machine: str) -> None:
    """Raise MachineError if a device of a user's own leaves out what every device must say."""
    for name, meaning in (("id", "a lower-case name"), ("kind", "'gpu', 'pim' or a word of its own"), ("memory", "a memory's id")):
        if not isinstance(getattr(device, name, None), str) or not getattr(device, name):
            raise MachineError(
                f"every device of the machine {machine!r} must have {name} ({meaning}), but {type(device).__name__} has "
                f"{getattr(device, name, None)!r}; set the class attribute {name}"
            )
    for name, amount in _OF_DEVICES.items():
        amount.read(getattr(device, name, None), f"{name} of the device {device.id!r}")


def _unique(what: str, ids: Sequence[str], machine: str) -> set[str]:
    if len(set(ids)) < len(ids):
        raise MachineError(f"{what} of the machine {machine!r} must have different ids, but got {', '.join(ids)}")
    return set(ids)


def _known(what: str, name: str, known: set[str], who: str) -> None:
    if name not in known:
        raise MachineError(f"{who} names the {what} {name!r}, which the machine does not have; {nearest(name, known)}")


def _sum(values: Sequence[float | None]) -> float | None:
    known = [v for v in values if v is not None]
    return sum(known) if len(known) == len(values) else None


@lru_cache(maxsize=256)
def _apart(memories: tuple[str, ...], edges: tuple[tuple[str, str], ...]) -> tuple[str, str] | None:
    """Return two memories without a path between them, None if there are none."""
    if len(memories) < 2:
        return None
    import networkx

    graph: Any = networkx.Graph(list(edges))
    graph.add_nodes_from(memories)
    reached = networkx.node_connected_component(graph, memories[0])
    return next(((memories[0], other) for other in memories if other not in reached), None)
