"""The launches of a profile that a trace is made of: in order of their start, of one device, with or without copies."""

from typing import Any

import numpy as np

from traces.errors import TraceError, nearest
from traces.formats.profile import COPY, MEMSET, PS_PER_US, Ints, Launches, Profile


def select(profile: Profile, *, copies: bool, device: int | None) -> tuple[Profile, dict[str, Any]]:
    """Return the profile with the wanted launches in order of their start, and what was left out.

    Raises TraceError if nothing is left, or no kernel ran on ``device``.
    """
    launches = profile.launches
    is_kernel = np.array([profile.copies_are_kernels or kind not in (COPY, MEMSET) for kind in launches.kind], dtype=np.bool_)
    here = np.ones(len(launches), np.bool_) if device is None else launches.device == device
    if device is not None and not here.any():
        raise TraceError(f"{profile.path} has no launch on device {device}; {nearest(str(device), map(str, np.unique(launches.device)))}")
    keep = here if copies else here & is_kernel
    if not (here & is_kernel).any():
        raise TraceError(
            f"{profile.path} must hold GPU kernels, but this {profile.format} file has none{_instead(profile)}: was the GPU's "
            "activity recorded (ProfilerActivity.CUDA, nsys --trace=cuda)? Where there is no GPU, capture the program itself (cd.capture)"
        )
    order = np.flatnonzero(keep)
    order = order[np.lexsort((order, launches.start_ns[order]))]
    dropped = here & ~keep
    left_out = {"copies": int(dropped.sum()), "copies_us": _us(launches.duration_ps[dropped])}
    return _reordered(profile, order), left_out


def _instead(profile: Profile) -> str:
    if profile.instead:
        return f" ({profile.instead})"
    return f" ({len(profile.launches):,} copies and memory sets)" if len(profile.launches) else ""


def _reordered(profile: Profile, order: Ints) -> Profile:
    depends = profile.depends
    if len(depends):
        after, ahead = _standing_in(profile.launches, order)
        pairs = np.stack([after[depends[:, 0]], ahead[depends[:, 1]]], axis=1)
        depends = _beyond_streams(np.unique(pairs, axis=0), profile.launches.rows(order))
    if profile.operands is not None and not np.array_equal(order, np.arange(len(profile.launches))):
        raise TraceError(f"{profile.path}: a profile with operands must list its kernels in their order")
    kept = {k: v for k, v in vars(profile).items() if k not in ("launches", "depends")}
    return Profile(**kept, launches=profile.launches.rows(order), depends=depends)


def _standing_in(launches: Launches, order: Ints) -> tuple[Ints, Ints]:
    """Return for every launch who waits in its place, and whom others wait for in its place: numbers in the new order.

    That is the launch itself if it is left, else the next (the last) on its stream that is; -1 if none is.
    """
    none = len(order)
    new = np.full(len(launches), none, np.int64)
    new[order] = np.arange(none)
    after, ahead = new.copy(), np.where(new == none, -1, new)
    by_start = np.lexsort((np.arange(len(launches)), launches.start_ns))
    for device, stream in np.unique(np.stack([launches.device, launches.stream], axis=1), axis=0):
        rows = by_start[(launches.device[by_start] == device) & (launches.stream[by_start] == stream)]
        after[rows] = np.minimum.accumulate(new[rows][::-1])[::-1]
        ahead[rows] = np.maximum.accumulate(ahead[rows])
    return np.where(after == none, -1, after), ahead


def _beyond_streams(depends: Ints, launches: Launches) -> Ints:
    """Return the pairs that are left of a profile's, whose second began first, and that the order of a stream does not imply."""
    after, ahead = depends.T
    lane = np.stack([launches.device, launches.stream], axis=1)
    needed = (ahead >= 0) & (ahead < after) & (lane[after] != lane[ahead]).any(axis=1)
    left: Ints = depends[needed]
    return left


def _us(duration_ps: Ints) -> float:
    return int(np.maximum(duration_ps, 0).sum()) / PS_PER_US
