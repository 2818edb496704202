"""Whether the times of a profile can be, and what they leave open: gaps, and kernels that overlap on one stream."""

import warnings
from typing import Any

import numpy as np

from traces.errors import TraceError
from traces.formats.profile import PS_PER_NS, Ints, Profile, ProfileWarning

CLOCK_SLACK_NS = 1_000
"""Two kernels overlap only if they do by more: many profilers round begin and duration to microseconds, each on its own."""


def check_clock(profile: Profile) -> None:
    """Raise TraceError naming the first event whose time cannot be: before zero, or past what 64 bits hold."""
    launches = profile.launches
    bad = (launches.duration_ps < -1) | (launches.start_ns < -1)
    end = launches.start_ns.astype(np.float64) + launches.duration_ps / PS_PER_NS
    bad |= end >= 2.0**63
    if bad.any():
        row = int(np.flatnonzero(bad)[0])
        raise TraceError(
            f"{profile.path}: the clock must not overflow, but kernel {row} ({launches.name[row][:80]!r}) begins at "
            f"{launches.start_ns[row]} ns and takes {launches.duration_ps[row] / PS_PER_NS:.0f} ns; record the profile again"
        )


def gaps_and_overlaps(profile: Profile) -> dict[str, Any]:
    """Return span_us, idle_us (no kernel runs) and the longest gap of the profile; warn about overlaps on one stream."""
    launches = profile.launches
    timed = np.flatnonzero((launches.start_ns >= 0) & (launches.duration_ps >= 0))
    if not len(timed):
        return {"span_us": None, "idle_us": None, "longest_gap_us": None}
    start = launches.start_ns[timed] - launches.start_ns[timed].min()
    end = start + launches.duration_ps[timed] // PS_PER_NS
    _warn_of_overlaps(profile, timed, start, end)
    order = np.argsort(start, kind="stable")
    reached = np.maximum.accumulate(end[order])
    gaps = np.maximum(start[order][1:] - reached[:-1], 0)
    idle, span, longest = int(gaps.sum()), int(end.max()), int(gaps.max(initial=0))
    if idle > span / 2:
        warnings.warn(
            f"{profile.path}: no kernel runs in {idle / span:.0%} of the {span / 1e3:,.1f} us between the first and the last (longest gap "
            f"{longest / 1e3:,.1f} us); a replay issues kernels as fast as its host can and does not repeat these gaps",
            ProfileWarning,
            stacklevel=2,
        )
    return {"span_us": span / 1e3, "idle_us": idle / 1e3, "longest_gap_us": longest / 1e3}


def _warn_of_overlaps(profile: Profile, timed: Ints, start: Ints, end: Ints) -> None:
    stream, device = profile.launches.stream[timed], profile.launches.device[timed]
    order = np.lexsort((timed, start, stream, device))
    a, b = order[:-1], order[1:]
    together = (stream[a] == stream[b]) & (device[a] == device[b]) & (stream[a] >= 0)
    over = np.flatnonzero(together & (end[a] - start[b] > CLOCK_SLACK_NS))
    if len(over):
        first, second = timed[a[over[0]]], timed[b[over[0]]]
        early, late = (f"{profile.launches.name[row][:80]!r} (kernel {row})" for row in (second, first))
        overlap_us = (end[a[over[0]]] - start[b[over[0]]]) / 1e3
        warnings.warn(
            f"{profile.path}: kernels on one stream must follow each other, but {len(over)} begin before the one ahead has ended, first "
            f"{early} {overlap_us:,.3f} us before the end of {late} on stream {profile.launches.stream[second]}; "
            "a replay runs them one after the other",
            ProfileWarning,
            stacklevel=3,
        )
