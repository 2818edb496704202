"""Machines by name: 'a5000', 'a5000+aim', 'a5000+aim@link', 't4+cpu+dram+ssd', 'a100+dram@nvlink-c2c'.

The first part is the device where the program starts. Parts follow after '+', in any order:

- PIM sits in the GPU's own memory (``in_memory``: some of its stacks are PIM stacks) unless '@link' (behind the GPU's host link) or
  '@' and the id of a link of the catalogue makes it ``attached``, with memory of its own;
- DRAM hangs on the first device's memory by its host link, or by the link after '@';
- an SSD or CXL memory hangs on the DRAM; 'ssd@direct' on the first device's memory;
- a CPU works in the DRAM; where none is named it brings its own;
- a reconfigurable accelerator has memory of its own, behind the first device's host link or the link after '@';
- a layout engine, near-L2 units and fused chains are built into the GPU, each once: 'a5000+layout-engine+near-l2+fused-chains'.

'8xh100-sxm' is eight equal GPUs joined by their own links, '4xa5000@pcie4' by links of the catalogue, '8xa100+attacc-bank@nvlink3' eight
that have PIM each (``arch.building.equal``).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from arch.building.assembly import Assembly, Part
from arch.building.equal import Equal, Recipe, count_of, equal_gpus, gpu_named
from arch.building.extension import add_chains, add_units
from arch.building.gpu import add_gpu, gpu_of
from arch.building.host import add_cpu, add_host, add_memory
from arch.building.pim import add_attached_pim, add_gpu_with_pim, pim_alone
from arch.building.reconfigurable import add_reconfigurable
from arch.building.tpu import add_tpu
from arch.device import Device
from arch.entry import Entry
from arch.keys import EXTENSIONS
from arch.machine import Machine
from arch.reconfigurable import Reconfigurable
from arch.registered import find, names
from traces.errors import MachineError, nearest

ORGANISATIONS = ("in_memory", "attached")
FIRST = ("gpu", "cpu", "reconfigurable", "tpu")
"""Kinds of devices that a machine's name may begin with."""
_LATER = ("pim", "cpu", "memory", "reconfigurable", *EXTENSIONS)


@dataclass(frozen=True, eq=False)
class _Recipe:
    """What a named machine is made from: the parts of its name, and the parameters that were overridden."""

    parts: tuple[Part, ...]
    host: Entry
    values: Mapping[str, float] = field(default_factory=dict)

    @property
    def first(self) -> Entry:
        return self.parts[0].entry

    @property
    def host_link(self) -> Entry | None:
        name = self.first.text.get("host_link")
        return find(name) if name else None

    def of_kind(self, kind: str) -> tuple[Part, ...]:
        return tuple(part for part in self.parts[1:] if part.entry.kind == kind)


def machine(name: str, *, organisation: str | None = None, **overrides: float | int | str) -> Machine:
    """Return a machine by name.

    Parameters
    ----------
    name
        Parts joined by '+': 'a5000', 'a5000+aim' (PIM in the GPU's own memory), 'a5000+aim@link' (behind its host link),
        't4+cpu+dram+ssd', '8xh100-sxm'. A part may be the path of a TOML file of your own. ``codesign machines`` lists what there is.
    organisation
        Where PIM sits if the name does not say: 'in_memory' or 'attached'.
    overrides
        Parameters of the machine (``Machine.parameters``) as SI numbers or texts with a unit: clock_hz='2 GHz'.

    Raises
    ------
    MachineError
        For unknown parts and parameters (with the nearest), values out of range, and combinations that cannot be built.
    """
    if not isinstance(name, str):
        raise MachineError(f"a machine's name must be a text such as 'a5000+aim', but got {name!r:.80}")
    equal = count_of(name)
    if equal is not None:
        return equal_gpus(Recipe(equal, _beside(equal, name, organisation))).with_(**overrides)
    return assemble(_recipe(name, organisation)).with_(**overrides)


def load_device(path: str) -> Device:
    """Return the device that a TOML file of a user's own describes: a GPU, or PIM with memory of its own."""
    entry = find(path)
    if entry.kind == "gpu":
        return gpu_of(entry)
    if entry.kind == "pim":
        return pim_alone(entry)
    if entry.kind == "reconfigurable":
        return Reconfigurable.of(entry)
    raise MachineError(
        f"{path} must describe a GPU, PIM or a reconfigurable accelerator, but its kind is {entry.kind!r}; cd.machine({path!r}) builds "
        "whole machines"
    )


def _recipe(name: str, organisation: str | None) -> _Recipe:
    if organisation not in (None, *ORGANISATIONS):
        raise MachineError(f"organisation must be one of {', '.join(ORGANISATIONS)}, but got {organisation!r}")
    first, *rest = name.split("+")
    if "" in (first, *rest):
        raise MachineError(f"a machine's name must be parts joined by '+', such as 'a5000+aim', but {name!r} has an empty part")
    if "@" in first:
        raise MachineError(
            f"'@' must stand behind the part that a link attaches, as in 'a5000+dram@pcie5' or '4xa5000@pcie4', but {name!r} has it "
            "behind the first device"
        )
    start = Part(_of_kind(first, FIRST, name))
    parts = (start, *(_part(text, name, organisation) for text in rest))
    recipe = _Recipe(parts, find(start.entry.text.get("host", "host")))
    _check(recipe, name, first)
    return recipe


def _part(text: str, name: str, organisation: str | None) -> Part:
    own, at, joined = text.partition("@")
    if at and not joined:
        raise MachineError(f"'@' must be followed by a link, 'link' or 'direct', but {name!r} has nothing behind {own!r}; leave it out")
    entry = _of_kind(own, _LATER, name)
    if entry.kind == "pim":
        if joined and organisation == "in_memory":
            raise MachineError(f"{name!r} says that {own!r} is attached, but organisation is 'in_memory'; leave one of them out")
        joined = joined or ("link" if organisation == "attached" else "")
    named = joined not in ("", "link", "direct")
    return Part(entry, joined, _of_kind(joined, ("link",), name) if named else None)


def _of_kind(name: str, kinds: tuple[str, ...], machine_name: str) -> Entry:
    entry = find(name)
    if entry.kind not in kinds:
        known = sorted(n for n in names() if find(n).kind in kinds)
        own = "two that differ are joined in Python (docs/machines.md, 'Parts of several machines')"
        more = f"write '2x{name}' for two of them; {own}" if entry.kind == "gpu" else nearest(name, known)
        raise MachineError(
            f"a machine is named 'GPU', 'GPU+PIM', 'GPU+PIM@LINK' or 'GPU+cpu+dram+ssd', but {name!r} in {machine_name!r} is of kind "
            f"{entry.kind!r}, not {' or '.join(map(repr, kinds))}; {more}"
        )
    return entry


def _beside(equal: Equal, name: str, organisation: str | None) -> Part | None:
    """Return the PIM that each of equal GPUs has."""
    if not equal.beside:
        return None
    if "+" in equal.beside or find(equal.beside.partition("@")[0]).kind != "pim":
        raise MachineError(f"equal GPUs have PIM beside them or nothing, but got {name!r}; build a Machine from parts for more")
    part = _part(equal.beside, name, organisation)
    _check_family(gpu_named(equal), part, f"{equal.count}x{equal.gpu}")
    return part


def _check_family(gpu: Entry, pim: Part, first: str) -> None:
    family = gpu.text.get("memory_family")
    if not pim.joined and pim.entry.text["memory_family"] != family:
        raise MachineError(
            f"in_memory PIM must replace stacks of the GPU's own kind of memory, but {gpu.id!r} has {family} "
            f"and {pim.entry.id!r} is {pim.entry.text['memory_family']}; write {first}+{pim.entry.id}@link to attach it"
        )


def _check(recipe: _Recipe, name: str, first: str) -> None:
    pims, cpus = recipe.of_kind("pim"), recipe.of_kind("cpu")
    if len(pims) > 1 or len(cpus) > 1 or (cpus and recipe.first.kind == "cpu"):
        raise MachineError(
            f"a named machine has one GPU, at most one PIM and one CPU, but got {name!r}; build a Machine from parts for more"
        )
    if recipe.first.kind == "tpu" and len(recipe.parts) > 1:
        raise MachineError(f"a TPU's trace replays on that TPU only, so a machine has nothing beside it, but got {name!r}; write {first}")
    _check_extensions(recipe, name)
    for pim in pims:
        _check_family(recipe.first, pim, first)


def _check_extensions(recipe: _Recipe, name: str) -> None:
    built_in = [part for kind in EXTENSIONS for part in recipe.of_kind(kind)]
    for part in built_in:
        if recipe.first.kind != "gpu":
            raise MachineError(f"{part.entry.id!r} must be built into a GPU, but {name!r} begins with a {recipe.first.kind}")
        if part.joined:
            raise MachineError(f"{part.entry.id!r} is built into the GPU and takes no link, but got {name!r}; leave '@{part.joined}' out")
        if len(recipe.of_kind(part.entry.kind)) > 1:
            raise MachineError(f"a GPU has each extension once, but {name!r} has two of kind {part.entry.kind!r}")


def assemble(recipe: _Recipe) -> Machine:
    """Return the machine of a recipe."""
    draft = Assembly(recipe.parts, recipe.values)
    _add_first(draft, recipe)
    for part in recipe.of_kind("chains"):
        add_chains(draft, part)
    for part in (*recipe.of_kind("layout"), *recipe.of_kind("elementwise")):
        add_units(draft, part)
    for part in recipe.of_kind("pim"):
        if part.joined:
            add_attached_pim(draft, part, _link_of(recipe, part))
    for part in recipe.of_kind("reconfigurable"):
        add_reconfigurable(draft, part, _link_of(recipe, part))
    for part in _memories(recipe) if recipe.first.kind != "cpu" else recipe.of_kind("memory"):
        add_memory(draft, part, recipe.host_link)
    for part in recipe.of_kind("cpu"):
        add_cpu(draft, part)
    host = add_host(draft, find("tpu-host") if recipe.first.kind == "tpu" else recipe.host)
    return draft.machine(_name(recipe), host, lambda changed: assemble(replace(recipe, values={**recipe.values, **changed})))


def _add_first(draft: Assembly, recipe: _Recipe) -> None:
    """Add the device where the program starts, with its memory and what sits in it."""
    inside = [part for part in recipe.of_kind("pim") if not part.joined]
    if recipe.first.kind == "cpu":
        add_memory(draft, Part(find(recipe.first.text["dram"])), None)
        add_cpu(draft, recipe.parts[0])
    elif recipe.first.kind == "reconfigurable":
        add_reconfigurable(draft, recipe.parts[0])
    elif recipe.first.kind == "tpu":
        add_tpu(draft, recipe.parts[0])
    elif inside:
        add_gpu_with_pim(draft, recipe.parts[0], inside[0])
    else:
        add_gpu(draft, recipe.parts[0])


def _memories(recipe: _Recipe) -> tuple[Part, ...]:
    """The host's memories, DRAM first; a CPU brings its own DRAM where the name has none."""
    named = sorted(recipe.of_kind("memory"), key=lambda part: part.entry.text["role"] != "dram")
    cpus = recipe.of_kind("cpu")
    if cpus and not any(part.entry.text["role"] == "dram" for part in named):
        named.insert(0, Part(find(cpus[0].entry.text["dram"]), cpus[0].joined, cpus[0].link))
    return tuple(named)


def _link_of(recipe: _Recipe, part: Part) -> Entry:
    link = part.link or recipe.host_link
    if link is None:
        raise MachineError(f"{part.entry.id!r} must be attached by a link, but {recipe.first.id!r} has no host link; name one after '@'")
    return link


def _name(recipe: _Recipe) -> str:
    return "+".join([recipe.first.id, *(part.entry.id + _joined(recipe, part) for part in recipe.parts[1:])])


def _joined(recipe: _Recipe, part: Part) -> str:
    if part.link is not None:
        own = recipe.host_link
        return "@link" if own is not None and part.link.id == own.id else f"@{part.link.id}"
    return f"@{part.joined}" if part.joined else ""
