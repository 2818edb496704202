"""What a replay is given: a trace, a machine, and who maps; checked, and made a mapping of all ranks."""

from typing import TYPE_CHECKING

from schedulers.scheduler import Mapping, Scheduler
from traces.errors import MachineError, MappingError, TraceError
from traces.ranks import ranks_of, side_by_side

if TYPE_CHECKING:
    from arch.cost import CostTable
    from arch.machine import Machine
    from traces.trace import Trace


def with_all_ranks(trace: "Trace", machine: "Machine", scheduler: "str | Scheduler | Mapping") -> "tuple[Trace, str | Scheduler | Mapping]":
    """Return all ranks of a program of which ``trace`` is one, and who maps them: each on a device of its own unless said otherwise.

    Raises MachineError if the machine has not as many devices, or as many times more.
    """
    ranks = ranks_of(trace)
    if ranks == 1:
        return trace, scheduler
    if not machine.devices or len(machine.devices) % ranks:
        raise MachineError(
            f"{trace.program!r} is for {ranks} ranks, one a device, but {machine.id!r} has {len(machine.devices)}: choose a machine of "
            f"{ranks} equal GPUs, such as '{ranks}x{_linked(trace.target)}'"
        )
    return side_by_side(trace), "ranks" if scheduler == "single-device" else scheduler


def _linked(target: str | None) -> str:
    """Return the name of a GPU behind which a machine's name may begin with a number: with a link if it has none of its own."""
    from arch.registered import find, names

    if target not in names():
        return "h100-sxm"
    text = find(target).text
    return target if "peer_link" in text else f"{target}@{text.get('host_link', 'pcie4')}"


def machine_for(trace: object, machine: "Machine | str") -> "Machine":
    """Return the machine, made where its name was given.

    Raises TraceError or MachineError for something that is no trace or machine, and MachineError for a name that is none.
    """
    if not hasattr(trace, "kernels"):
        name = repr(trace) if isinstance(trace, str) else "path"
        several = "codesign.merge makes one of several" if isinstance(trace, list | tuple) else f"load one with codesign.load({name:.80})"
        raise TraceError(f"what is replayed must be a trace, but got {trace!r:.80}: {several}")
    if isinstance(machine, str):
        from arch.building import machine as named

        return named(machine)
    if not hasattr(machine, "devices"):
        raise MachineError(f"a trace must be replayed on a machine or the name of one, such as 'h100-sxm', but got {machine!r:.80}")
    return machine


def map_kernels(trace: "Trace", machine: "Machine", scheduler: "str | Scheduler | Mapping") -> Mapping:
    """Return the mapping that a scheduler, its name, or a mapping itself stands for."""
    from arch.cost import cost_table
    from traces import registry

    if isinstance(scheduler, Mapping):
        return scheduler
    if isinstance(scheduler, str):
        scheduler = registry.get("schedulers", scheduler)()
    if not isinstance(scheduler, Scheduler):
        remedy = f"; make one: {scheduler.__name__}()" if isinstance(scheduler, type) else ""
        raise MappingError(f"a scheduler must be a policy, the name of one, or a mapping, but got {scheduler!r:.80}{remedy}")
    costs = cost_table(trace, machine)
    return checked(scheduler, trace, machine, costs)


def checked(scheduler: Scheduler, trace: "Trace", machine: "Machine", costs: "CostTable") -> Mapping:
    """Return the mapping that a policy makes. Raises MappingError if it is none, or does not fit."""
    made: object = scheduler.schedule(trace, machine, costs)
    if not isinstance(made, Mapping):
        raise MappingError(
            f"a policy must return a mapping, but {type(scheduler).__name__}.schedule returned a {type(made).__name__}; return "
            "codesign.Mapping(devices, name), devices being an array with an index into machine.devices for each kernel"
        )
    return made.check(trace, machine, costs)
