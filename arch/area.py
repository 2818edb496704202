"""Areas in different processes, and GPU dies with more or fewer of their parts."""

import tomllib
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

from arch.entry import Entry
from traces.errors import MachineError, nearest

_MIB = 2.0**20


@dataclass(frozen=True)
class Area:
    """An area in mm2 at a node: the expected value, and what the densities' uncertainty leaves open."""

    mm2: float
    low: float
    high: float
    node: str
    source: str


@cache
def _nodes() -> dict[str, dict[str, Any]]:
    text = resources.files("arch").joinpath("process.toml").read_text(encoding="utf-8")
    nodes: dict[str, dict[str, Any]] = tomllib.loads(text)["nodes"]
    return nodes


def at_node(mm2: float, node: str, target: str) -> Area:
    """Return what an area of one node would be at another, by the density that large GPUs reached in both.

    Raises MachineError with the nearest node if one is not known.
    """
    for name in (node, target):
        if name not in _nodes():
            raise MachineError(f"there is no node {name!r}; {nearest(name, _nodes())}")
    own, other = _nodes()[node], _nodes()[target]
    if node == target:
        return Area(mm2, mm2, mm2, target, own["source"])
    return Area(
        mm2 * own["density"] / other["density"],
        mm2 * own["low"] / other["high"],
        mm2 * own["high"] / other["low"],
        target,
        f"{own['source']}; {other['source']}",
    )


def die_mm2(entry: Entry, sms: float, l2_bytes: float, stacks: float) -> float | None:
    """Return the area of a GPU's die with so many SMs, bytes of L2 and stacks or packages of memory; None if a part's is unknown.

    L2 and the interfaces of the memory have published areas (``l2_area``, ``phy_area``, ``controller_area``); all else, such as
    crossbar, links and spare units, counts with the SMs in proportion. So a step from one published die to another of its family comes
    out up to a fifth too large (docs/machines.md).
    """
    die, parts = entry.get("die_area"), _parts(entry)
    if die is None or parts is None:
        return None
    a_byte, a_stack = parts
    rest = die - a_byte * entry["l2"] - a_stack * entry["memory_stacks"]
    return None if rest <= 0 else rest * sms / entry["sm_count"] + a_byte * l2_bytes + a_stack * stacks


def _parts(entry: Entry) -> tuple[float, float] | None:
    """mm2 of a byte of L2, and of the interface of a stack or package: the pads are as large in every process, all else shrinks."""
    family = "hbm" if entry.text["memory_family"].startswith("HBM") else "gddr"
    l2, phy, controller = (entry.get(key) for key in ("l2_area", f"phy_area.{family}", f"controller_area.{family}"))
    node = entry.text.get("node")
    if l2 is None or phy is None or controller is None or node not in _nodes():
        return None
    return at_node(l2, "7 nm", node).mm2 / _MIB, phy + at_node(controller, "7 nm", node).mm2
