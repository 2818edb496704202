"""A machine while it is being put together: parts, and the parameters that ``with_`` may change later."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from arch.device import Device
from arch.entry import Entry
from arch.host import Host
from arch.link import HandOver, Link
from arch.machine import Machine
from arch.memory import Memory
from arch.parameter import Parameter
from traces.errors import MachineError


@dataclass(frozen=True, eq=False)
class Part:
    """A part of a machine's name: a catalogue entry, and what stands behind its '@' ('' if nothing does)."""

    entry: Entry
    joined: str = ""
    link: Entry | None = None
    """The link that '@' names, if it names one."""


@dataclass(eq=False)
class Assembly:
    """Collects what the builders of the parts add, in the order of the name."""

    parts: tuple[Part, ...]
    values: Mapping[str, float]
    """Parameters that were overridden."""
    devices: list[Device] = field(default_factory=list)
    memories: list[Memory] = field(default_factory=list)
    links: list[Link] = field(default_factory=list)
    hand_overs: list[HandOver] = field(default_factory=list)
    entries: list[Entry] = field(default_factory=list)
    parameters: dict[str, Parameter] = field(default_factory=dict)

    def parameter(self, name: str, standard: Parameter) -> float:
        """Declare a parameter and return the value that holds.

        Raises MachineError if another part has declared it, or the value is not one that it takes.
        """
        if name in self.parameters:
            raise MachineError(f"each parameter must belong to one part, but two parts have {name!r}; build a Machine from parts instead")
        value = standard.check(name, self.values[name]) if name in self.values else standard.value
        self.parameters[name] = replace(standard, value=value)
        return value

    @property
    def home(self) -> str:
        """The memory of the first device: where the program starts."""
        return self.devices[0].memory

    @property
    def dram(self) -> Memory | None:
        """The host's DRAM, if the machine has one by now."""
        return next((memory for memory in self.memories if memory.role == "dram"), None)

    def machine(self, name: str, host: Host, rebuild: Callable[[Mapping[str, float]], Machine]) -> Machine:
        """Return what was put together; ``rebuild`` puts it together again with other values of some parameters."""
        return Machine(
            id=name,
            devices=tuple(self.devices),
            memories=tuple(self.memories),
            links=tuple(self.links),
            hand_overs=tuple(self.hand_overs),
            host=host,
            entries=tuple(self.entries),
            parameters=self.parameters,
            rebuild=rebuild,
        )


def pico(joules: float | None) -> float | None:
    """Return picojoules."""
    return None if joules is None else joules * 1e12
