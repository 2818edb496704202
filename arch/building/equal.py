"""Machines of equal GPUs: '8xh100-sxm', '4xa5000@pcie4', '8xa100-sxm-80gb+attacc-bank@nvlink3'.

Every two GPUs have a link of their own with the bandwidth of a GPU's port, as a switch gives it. What a GPU sends to several others at
once is therefore not held back by its port; collectives (``codesign.engine.exchange``) send one message after another from each GPU.
PIM in a GPU's memory or attached to it is there for each; devices are all GPUs, then the PIM of each.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import combinations
from typing import Any

from arch.building.assembly import Assembly, Part
from arch.building.gpu import add_gpu
from arch.building.host import add_host
from arch.building.link import add_link
from arch.building.pim import add_attached_pim, add_gpu_with_pim
from arch.entry import Entry
from arch.machine import Machine
from arch.registered import find
from traces.errors import MachineError

MOST = 64
_NAME = re.compile(r"([1-9][0-9]*)x([a-z].*)")


@dataclass(frozen=True)
class Equal:
    """What the name of such a machine says: how many, which GPU, their link ('' for its own), what each has beside it ('' for nothing)."""

    count: int
    gpu: str
    link: str
    beside: str


def count_of(name: str) -> Equal | None:
    """Return what the name of a machine of equal GPUs says; None for other names."""
    found = _NAME.fullmatch(name)
    if found is None:
        return None
    first, _, beside = found[2].partition("+")
    gpu, _, link = first.partition("@")
    return Equal(int(found[1]), gpu, link, beside)


@dataclass(frozen=True, eq=False)
class Recipe:
    """What a machine of equal GPUs is made from: their name, the PIM of each, and the parameters that were overridden."""

    equal: Equal
    pim: Part | None = None
    values: Mapping[str, float] = field(default_factory=dict)


def equal_gpus(recipe: Recipe) -> Machine:
    """Return equal GPUs, each with its memory and PIM, every two joined by a link; parameters are those of one GPU, PIM and link.

    Raises MachineError if there are too many, it is no GPU, or no link is named and the GPU has none of its own.
    """
    equal, pim = recipe.equal, recipe.pim
    entry = gpu_named(equal)
    draft = Assembly((Part(entry),) if pim is None else (Part(entry), pim), recipe.values)
    if pim is not None and not pim.joined:
        add_gpu_with_pim(draft, Part(entry), pim)
    else:
        add_gpu(draft, Part(entry))
    if pim is not None and pim.joined:
        add_attached_pim(draft, pim, pim.link or _host_link(entry, pim))
    machine = f"{equal.count}x{entry.id}" + (f"@{equal.link}" if equal.link else "")
    if equal.count > 1:
        _repeat(draft, equal.count, _link(entry, equal.link, machine))
    host = add_host(draft, find(entry.text.get("host", "host")))
    name = machine + ("" if pim is None else f"+{pim.entry.id}" + (f"@{pim.joined}" if pim.joined else ""))
    return draft.machine(name, host, lambda changed: equal_gpus(replace(recipe, values={**recipe.values, **changed})))


def gpu_named(equal: Equal) -> Entry:
    """Return the GPU; raise MachineError if it is none, or there are too many."""
    entry = find(equal.gpu)
    if entry.kind != "gpu":
        raise MachineError(f"'NxNAME' is N equal GPUs, but {equal.gpu!r} is of kind {entry.kind!r}")
    if equal.count > MOST:
        raise MachineError(f"a machine of equal GPUs has at most {MOST}, but got {equal.count}")
    return entry


def _host_link(entry: Entry, pim: Part) -> Entry:
    if "host_link" not in entry.text:
        raise MachineError(f"{pim.entry.id!r} must be attached by a link, but {entry.id!r} has no host link; name one after '@'")
    return find(entry.text["host_link"])


def _link(entry: Entry, name: str, machine: str) -> Entry:
    own = name or entry.text.get("peer_link", "")
    if not own:
        raise MachineError(f"{entry.id!r} has no link to others of its kind; name one, such as {machine}@{entry.text['host_link']}")
    link = find(own)
    if link.kind != "link":
        raise MachineError(f"behind '@' there must be a link, but {name!r} in {machine!r} is of kind {link.kind!r}")
    return link


def _repeat(draft: Assembly, count: int, entry: Entry) -> None:
    """Number devices and memories, add those of the other GPUs, and a link between every two GPUs' memories."""
    each, home = range(count), draft.home
    draft.devices[:] = [_numbered(device, i, "id", "memory") for device in draft.devices for i in each]
    draft.hand_overs[:] = [_numbered(over, i, "device", "memory") for over in draft.hand_overs for i in each]
    draft.links[:] = [_numbered(replace(link, id=f"{link.id}-pim"), i, "id", "source", "target") for link in draft.links for i in each]
    draft.memories[:] = [_numbered(memory, i, "id") for memory in draft.memories for i in each]
    own = len(draft.links)
    add_link(draft, entry, f"{home}-0", f"{home}-1", "peer_link")
    link = draft.links.pop(own)
    pairs = [replace(link, id=f"{entry.id}-{a}-{b}", source=f"{home}-{a}", target=f"{home}-{b}") for a, b in combinations(each, 2)]
    draft.links[:0] = pairs


def _numbered(part: Any, number: int, *names: str) -> Any:
    """Return a part of the machine, what names it or another part followed by a number."""
    return replace(part, **{name: f"{getattr(part, name)}-{number}" for name in names})
