"""Finds devices, schedulers, workloads and formats: ours and a user's alike are entry points ``codesign.<kind>``."""

import logging
import warnings
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from traces.errors import CodesignError, nearest

KINDS = ("devices", "schedulers", "workloads", "formats")
log = logging.getLogger("traces")


@cache
def _points(kind: str) -> dict[str, EntryPoint]:
    if kind not in KINDS:
        raise CodesignError(f"a kind of plug-in must be one of {', '.join(KINDS)}, but got {kind!r}")
    return {point.name: point for point in entry_points(group=f"codesign.{kind}")}


def names(kind: str) -> list[str]:
    """Return the registered names of a kind, sorted; nothing is imported."""
    return sorted(_points(kind))


def get(kind: str, name: str) -> Any:
    """Return what is registered as ``name``. Raises CodesignError with the nearest names if there is none."""
    points = _points(kind)
    if name not in points:
        raise CodesignError(f"there is no {kind[:-1]} {name!r}; {nearest(name, points)}")
    try:
        return points[name].load()
    except Exception as error:
        raise CodesignError(f"the {kind[:-1]} {name!r} ({points[name].value}) cannot be loaded: {error}") from error


def load(kind: str) -> dict[str, Any]:
    """Return all that is registered of a kind, by name; one that cannot be loaded is left out with a warning."""
    found = {}
    for name, point in sorted(_points(kind).items()):
        try:
            found[name] = point.load()
        except Exception as error:
            warnings.warn(f"the plug-in {name!r} ({point.value}) of codesign.{kind} cannot be loaded: {error}", stacklevel=2)
    return found
