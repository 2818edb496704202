"""The dynamic programme behind ``cut_points``: compiled, and ignorant of traces and machines.

A program is a list of events: run a row, enter a loop, leave it. A sequence of rows is summed up by a matrix: the least cost for every
pair of the device that its first row runs on and the device that its last row runs on. A row extends the matrix of the sequence that it
is in; a loop that is left is one node with such a matrix, the way back from its last row to its first included. The program as a whole
begins on device 0, so there a row takes devices^2 steps; within a loop it takes devices^3.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from traces.compiled import compiled, inner

Int = npt.NDArray[np.int64]
Float = npt.NDArray[np.float64]

RUN, ENTER, LEAVE = 0, 1, 2


@compiled
def least_cost(op: Int, row: Int, entry: Int, back: Int, depth: int, run_s: Float, move_s: Float) -> tuple[float, Int]:
    """Return the least cost in seconds and the device of each row, int64[K].

    Parameters
    ----------
    op, row, entry, back
        Events, int64[E]: RUN ``row`` through the cut ``entry``; ENTER a loop (all else unused); LEAVE a loop that was entered through
        the cut ``entry`` and goes back through the cut ``back``.
    depth
        Loops that are open at once at most.
    run_s
        float64[D, K]: cost of all executions of a row; inf where refused.
    move_s
        float64[C, D, D]: cost of all passes of a cut, from device to device.
    """
    devices = run_s.shape[0]
    cost = np.empty((depth + 1, devices, devices))  # by open loops: the sequence so far, [first device, last device]
    item, grown = np.empty((devices, devices)), np.empty((devices, devices))
    newest = np.full(depth + 1, -1)  # by open loops: the event that ended the sequence so far
    before = np.full(len(op), -1)  # the item that an item follows in its sequence; -1 for the first
    inside = np.zeros(len(op), dtype=np.int64)  # the last item within a loop
    choice = np.zeros((2, len(op), devices, devices), dtype=np.int64)  # last device of the item before, first device of this
    level = 0
    cost.fill(np.inf)
    cost[0, 0, 0] = 0.0
    for e in range(len(op)):
        if op[e] == ENTER:
            level += 1
            newest[level] = -1
            continue
        if op[e] == LEAVE:
            _close(cost[level], move_s[back[e]], item)
            inside[e] = newest[level]
            level -= 1
        else:
            _single(run_s, row[e], item)
        before[e] = newest[level]
        newest[level] = e
        if level > 0 and before[e] == -1:
            _begin(cost[level], item, choice[:, e])
        else:
            _extend(cost[level], devices if level > 0 else 1, move_s[entry[e]], item, grown, choice[:, e])
    last = 0
    for device in range(devices):
        if cost[0, 0, device] < cost[0, 0, last]:
            last = device
    return cost[0, 0, last], _walk_back(op, row, before, inside, choice, newest[0], last, run_s.shape[1])


@inner
def _single(run_s: Float, row: int, item: Float) -> None:
    """Fill in the matrix of one row: it begins and ends on the same device."""
    item.fill(np.inf)
    for device in range(len(run_s)):
        item[device, device] = run_s[device, row]


@inner
def _close(cost: Float, back: Float, item: Float) -> None:
    """Fill in the matrix of a loop: that of its body, and the way back from its end to its beginning."""
    for first in range(len(cost)):
        for last in range(len(cost)):
            item[first, last] = cost[first, last] + back[last, first]


@inner
def _begin(cost: Float, item: Float, choice: npt.NDArray[np.int64]) -> None:
    """Make ``item`` the first of a sequence."""
    for first in range(len(cost)):
        for last in range(len(cost)):
            cost[first, last] = item[first, last]
            choice[1, first, last] = first


@inner
def _extend(cost: Float, starts: int, way: Float, item: Float, grown: Float, choice: npt.NDArray[np.int64]) -> None:
    """Add ``item`` to the end of a sequence whose first device is below ``starts``; note from where each end is reached."""
    devices = len(cost)
    grown.fill(np.inf)
    for into in range(devices):
        for last in range(devices):
            if item[into, last] == np.inf:
                continue
            for first in range(starts):
                for end in range(devices):
                    total = cost[first, end] + way[end, into] + item[into, last]
                    if total < grown[first, last]:
                        grown[first, last] = total
                        choice[0, first, last] = end
                        choice[1, first, last] = into
    for first in range(devices):
        for last in range(devices):
            cost[first, last] = grown[first, last]


@compiled
def _walk_back(op: Int, row: Int, before: Int, inside: Int, choice: npt.NDArray[np.int64], end: int, device: int, rows: int) -> Int:
    """Return the device of each row by following the noted choices from the last item to the first."""
    found = np.zeros(rows, dtype=np.int64)
    todo = np.empty((len(op) + 1, 3), dtype=np.int64)  # sequences: their last item, the device they begin on, the device they end on
    todo[0, 0], todo[0, 1], todo[0, 2] = end, 0, device
    count = 1
    while count > 0:
        count -= 1
        e, first, last = todo[count, 0], todo[count, 1], todo[count, 2]
        while e >= 0:
            if op[e] == RUN:
                found[row[e]] = last
            else:
                todo[count, 0], todo[count, 1], todo[count, 2] = inside[e], choice[1, e, first, last], last
                count += 1
            e, last = before[e], choice[0, e, first, last]
    return found
