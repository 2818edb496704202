"""Rows of Nsight Systems' tables of kernels, copies and memory sets, whatever file they stand in, as launches.

A row is a mapping with CUPTI's names: start, end (ns), deviceId, streamId, globalPid, contextId, gridX to blockZ, registersPerThread,
staticSharedMemory, dynamicSharedMemory. What a row does not have is unknown.
"""

from typing import Any

import numpy as np

from traces.formats.profile import PS_PER_NS, Ints, Launches
from traces.table import Values

COLUMNS = {
    "grid_x": "gridX", "grid_y": "gridY", "grid_z": "gridZ", "block_x": "blockX", "block_y": "blockY", "block_z": "blockZ",
    "registers": "registersPerThread",
}  # fmt: skip
"""Our column to theirs."""

OWNER = ("globalPid", "contextId")
"""Whose a stream is."""
READ = frozenset({"start", "end", "deviceId", "streamId", "staticSharedMemory", "dynamicSharedMemory", *OWNER, *COLUMNS.values()})
"""What of a row is read."""


def number_streams(rows: list[dict[str, Any]]) -> None:
    """Give a stream of another process or context a number of its own: ids are a context's, and their launches overlap.

    A table without the columns that tell contexts apart is of the first one.
    """
    largest = max((row.get("streamId") or 0 for row in rows), default=0)
    numbers: dict[tuple[Any, ...], Any] = {}
    owners: dict[tuple[Any, Any], list[tuple[tuple[Any, ...], Any]]] = {}
    for row in rows:
        plain, owner = (row.get("deviceId"), row.get("streamId")), tuple(row.get(name) for name in OWNER)
        if (*plain, *owner) not in numbers:
            known = owners.setdefault(plain, [])
            number = next((number for other, number in known if _may_be_one(owner, other)), None if known else plain[1])
            if number is None and plain[1] is not None:
                largest += 1
                number = largest
            known.append((owner, number))
            numbers[*plain, *owner] = number
        row["streamId"] = numbers[*plain, *owner]


def _may_be_one(owner: tuple[Any, ...], other: tuple[Any, ...]) -> bool:
    return all(a is None or b is None or a == b for a, b in zip(owner, other, strict=True))


def launches(rows: list[dict[str, Any]], names: list[str], kinds: list[str]) -> Launches:
    """Return the launches of rows. Raises TypeError, ValueError or OverflowError for a value that is no whole number."""

    def column(name: str) -> list[int]:
        return [-1 if row.get(name) is None else int(row[name]) for row in rows]

    start, end = np.array(column("start"), np.int64), np.array(column("end"), np.int64)
    columns: dict[str, Values] = {ours: column(theirs) for ours, theirs in COLUMNS.items()}
    static, dynamic = np.array(column("staticSharedMemory"), np.int64), np.array(column("dynamicSharedMemory"), np.int64)
    columns["shared_bytes"] = np.where(static < 0, -1, static + np.maximum(dynamic, 0))
    return Launches(
        name=names,
        kind=kinds,
        start_ns=start,
        duration_ps=_durations(rows, start, end),
        stream=np.array(column("streamId"), np.int64),
        device=np.array(column("deviceId"), np.int64),
        columns=columns,
    )


def _durations(rows: list[dict[str, Any]], start: Ints, end: Ints) -> Ints:
    """Return durations in ps: -1 (not measured) without an end; an end before its start stays negative, for the check of the clock."""
    known = np.array([row.get("end") is not None for row in rows], np.bool_)
    measured = np.where(end >= start, np.minimum(end - start, 2**62 // PS_PER_NS) * PS_PER_NS, -2)
    return np.where(known, measured, -1)
