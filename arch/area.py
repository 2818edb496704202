"""Areas in different processes, and accelerators scaled to the area of another chip."""

import tomllib
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

from traces.errors import MachineError, nearest


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


def equal_area_scale(mm2: float, node: str, available: float, target: str) -> Area:
    """Return how many times a chip fits into ``available`` mm2 of another node; ``mm2``, ``low`` and ``high`` of the result are factors."""
    one = at_node(mm2, node, target)
    return Area(available / one.mm2, available / one.high, available / one.low, target, one.source)
