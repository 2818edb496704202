"""Machines of equal GPUs: '8xh100-sxm', '4xa5000@pcie4'.

Every two GPUs have a link of their own with the bandwidth of a GPU's port, as a switch gives it. What a GPU sends to several others at
once is therefore not held back by its port; collectives (``codesign.engine.exchange``) send one message after another from each GPU.
"""

import re
from collections.abc import Mapping
from dataclasses import replace
from itertools import combinations

from arch.building.assembly import Assembly, Part
from arch.building.gpu import add_gpu
from arch.building.host import add_host
from arch.building.link import add_link
from arch.entry import Entry
from arch.gpu import GPU
from arch.machine import Machine
from arch.registered import find
from traces.errors import MachineError

MOST = 64
_NAME = re.compile(r"([1-9][0-9]*)x([a-z].*)")


def count_of(name: str) -> tuple[int, str, str] | None:
    """Return how many, which GPU and which link ('' for its own) the name of such a machine says; None for other names."""
    found = _NAME.fullmatch(name)
    if found is None:
        return None
    gpu, _, link = found[2].partition("@")
    return int(found[1]), gpu, link


def equal_gpus(count: int, name: str, link: str = "", values: Mapping[str, float] | None = None) -> Machine:
    """Return ``count`` GPUs, each with its memory, every two joined by a link; parameters are those of one GPU and one link.

    Raises MachineError if there are too many, it is no GPU, or no link is named and the GPU has none of its own.
    """
    entry = _gpu(name, count)
    draft = Assembly((Part(entry),), values or {})
    gpu = add_gpu(draft, Part(entry))
    machine = f"{count}x{entry.id}" + (f"@{link}" if link else "")
    if count > 1:
        _repeat(draft, gpu, count, _link(entry, link, machine))
    host = add_host(draft, find(entry.text.get("host", "host")))
    return draft.machine(machine, host, lambda changed: equal_gpus(count, name, link, {**(values or {}), **changed}))


def _gpu(name: str, count: int) -> Entry:
    if "+" in name:
        raise MachineError(f"equal GPUs have nothing beside them, but got {name!r}; build a Machine from parts for more")
    entry = find(name)
    if entry.kind != "gpu":
        raise MachineError(f"'NxNAME' is N equal GPUs, but {name!r} is of kind {entry.kind!r}")
    if count > MOST:
        raise MachineError(f"a machine of equal GPUs has at most {MOST}, but got {count}")
    return entry


def _link(entry: Entry, name: str, machine: str) -> Entry:
    own = name or entry.text.get("peer_link", "")
    if not own:
        raise MachineError(f"{entry.id!r} has no link to others of its kind; name one, such as {machine}@{entry.text['host_link']}")
    link = find(own)
    if link.kind != "link":
        raise MachineError(f"behind '@' there must be a link, but {name!r} in {machine!r} is of kind {link.kind!r}")
    return link


def _repeat(draft: Assembly, gpu: GPU, count: int, entry: Entry) -> None:
    """Number the GPU and its memory, add the others, and a link between every two."""
    memory = draft.memories[0]
    draft.memories[:] = [replace(memory, id=f"{memory.id}-{i}") for i in range(count)]
    draft.devices[:] = [replace(gpu, id=f"{gpu.id}-{i}", memory=f"{memory.id}-{i}") for i in range(count)]
    ends = [m.id for m in draft.memories]
    add_link(draft, entry, ends[0], ends[1], "peer_link")
    link = draft.links[0]
    pairs = combinations(range(count), 2)
    draft.links[:] = [replace(link, id=f"{entry.id}-{a}-{b}", source=ends[a], target=ends[b]) for a, b in pairs]
