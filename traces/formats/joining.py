"""Measured times for a captured trace: launches of a profile, joined to its kernels by name."""

import re
import warnings
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from traces.errors import TraceError, nearest
from traces.formats.profile import PS_PER_S, Profile, ProfileWarning
from traces.formats.profile_times import check_clock
from traces.table import Table

if TYPE_CHECKING:
    from traces.trace import Trace


@dataclass(frozen=True)
class Joined:
    """The trace with measured_s filled in, how many of its kernels were found, the profile's time, and their share of it."""

    trace: "Trace"
    kernels: int
    share_of_time: float
    total_s: float


def plain(name: str) -> str:
    """Return a name as it compares: XLA writes 'loop_add_fusion.3' for the instruction and 'loop_add_fusion_3' for its kernel."""
    return re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")


def add_measured(trace: "Trace", profile: Profile, region: str | None = None) -> Joined:
    """Return the trace with the mean measured time of every kernel that the profile knows by name.

    A row that launches several kernels gets that many means. ``region`` is the program of a merged trace that was profiled; None: all.
    Raises TraceError if no name of the profile is in the trace, or there is no such region; warns (ProfileWarning) of names that several
    rows share, as merged programs may.
    """
    check_clock(profile)
    means, total = _means(profile)
    names = [plain(str(name)) for name in trace.kernels["name"]]
    found = np.array([name in means for name in names], np.bool_) & _within(trace, region)
    if not found.any():
        first = profile.launches.name[0] if len(profile.launches) else "none"
        raise TraceError(
            f"{profile.path} must hold kernels of the trace {trace.program!r}, but none has the name of one; the profile's first is "
            f"{first!r}, {nearest(plain(first), set(names))}"
        )
    _warn_of_shared_names(trace, names, found)
    each = np.array([means.get(name, np.nan) for name in names]) * trace.kernels["launches"]
    measured = np.where(found, each, trace.kernels["measured_s"])
    kernels = Table.build("kernels", trace.kernels.decoded() | {"measured_s": measured})
    captured = {**(trace.manifest["captured"] or {}), "measured": {"file": profile.path.rsplit("/", 1)[-1], "format": profile.format}}
    made = trace.with_(kernels=kernels, captured=captured)
    known = {name for name, mine in zip(names, found.tolist(), strict=True) if mine}
    seconds = sum(total.values())
    return Joined(made, int(found.sum()), sum(t for name, t in total.items() if name in known) / (seconds or 1.0), seconds)


def _within(trace: "Trace", region: str | None) -> np.ndarray:
    """Return which kernels lie in the region of that name; shape [kernels]."""
    inside = np.zeros(len(trace.kernels), np.bool_)
    if region is None:
        return ~inside
    rows = np.flatnonzero(trace.regions["name"] == region)
    if not len(rows):
        raise TraceError(f"the trace of {trace.program!r} must have a program {region!r}; {nearest(region, trace.regions['name'])}")
    inside[trace.regions["first_kernel"][rows[0]] : trace.regions["end_kernel"][rows[0]]] = True
    return inside


def _means(profile: Profile) -> tuple[dict[str, float], dict[str, float]]:
    """Return by name the mean and the sum of the measured seconds."""
    times: dict[str, list[float]] = defaultdict(list)
    for name, duration in zip(profile.launches.name, profile.launches.duration_ps.tolist(), strict=True):
        if duration >= 0:
            times[plain(name)].append(duration / PS_PER_S)
    return {name: sum(t) / len(t) for name, t in times.items()}, {name: sum(t) for name, t in times.items()}


def _warn_of_shared_names(trace: "Trace", names: list[str], found: np.ndarray) -> None:
    seen, shared = set(), 0
    for name, mine in zip(names, found.tolist(), strict=True):
        shared += mine and name in seen
        seen.add(name)
    if shared:
        warnings.warn(
            f"{shared} kernels of {trace.program!r} have a name that another kernel has too (programs that were merged?); all get "
            "the mean of that name: profile and join the programs one by one",
            ProfileWarning,
            stacklevel=3,
        )
