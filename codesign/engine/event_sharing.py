"""Replay event by event: what operations that run at once get of the resources they share, max-min fairly."""

import numpy as np

from codesign.engine.event_board import CHANGED, NOW, Board
from codesign.engine.list_schedule import NEVER
from codesign.engine.program import Floats, Hardware, Operations, Rows
from traces.compiled import inlined, inner


@inner
def demands(ops: Operations, hardware: Hardware) -> Floats:
    """Return what each use asks of its resource, bytes a ps: never more than there is."""
    demand = np.zeros(len(ops.use))
    for op in ops.op:
        for u in range(op.use_start, op.use_end):
            demand[u] = min(ops.use[u].bytes / op.duration, hardware.capacity[ops.use[u].resource])
    return demand


@inlined
def settle(ops: Operations, hardware: Hardware, demand: Floats, share: Floats, board: Board) -> None:
    """Give every running operation its shares, and the rate and the end that follow. ``share``: [2, Q] room to compute them."""
    clock = board.clock
    now = clock[NOW]
    clock[CHANGED] = 0
    for q in range(len(board.queue)):
        share[0, q] = 1.0
    for r in range(len(hardware.capacity)):
        divide(r, hardware.capacity[r], ops, demand, share, board.queue)
    for q in range(len(board.queue)):
        queue = board.queue[q]
        i = queue.running
        if i >= 0 and ops.op[i].use_start < ops.op[i].use_end and ops.op[i].duration > 0 and share[0, q] != queue.rate:
            if queue.rate > 0.0:
                queue.left -= queue.rate * (now - queue.since)
            queue.rate, queue.since, queue.finish = share[0, q], now, NEVER
            if share[0, q] > 0.0:
                takes = np.ceil(queue.left / share[0, q])
                queue.finish = now + max(1, np.int64(takes)) if takes < NEVER - now else NEVER


@inlined
def divide(r: int, capacity: float, ops: Operations, demand: Floats, share: Floats, queues: Rows) -> None:
    """Divide one resource: lower ``share[0]`` (of what each queue's operation asks) where it gets less.

    Demands are filled from the smallest up; those that cannot be filled get the same.
    """
    claimed, total, users, user = 0.0, 0.0, 0, -1
    for queue in queues:
        if queue.running >= 0:
            op = ops.op[queue.running]
            for u in range(op.use_start, op.use_end):
                if ops.use[u].resource == r:
                    claimed += ops.use[u].claim
                    if ops.use[u].bytes > 0.0:
                        total += demand[u]
                        users, user = users + 1, u
    left = capacity * max(0.0, 1.0 - claimed)
    if users == 0 or (users == 1 and demand[user] <= left):
        return
    level = water_level(r, left, users, ops, demand, share[1], queues)
    for q in range(len(queues)):
        if queues[q].running >= 0:
            op = ops.op[queues[q].running]
            for u in range(op.use_start, op.use_end):
                if ops.use[u].resource == r and ops.use[u].bytes > 0.0:
                    share[0, q] = min(share[0, q], min(demand[u], level) / demand[u])


@inlined
def water_level(r: int, left: float, users: int, ops: Operations, demand: Floats, asked: Floats, queues: Rows) -> float:
    """Return what those get whose demand on the resource cannot be filled; inf if all can be. ``asked`` is room for all demands."""
    count = 0
    for queue in queues:
        if queue.running >= 0:
            op = ops.op[queue.running]
            for u in range(op.use_start, op.use_end):
                if ops.use[u].resource == r and ops.use[u].bytes > 0.0:
                    place = count  # keep them sorted
                    while place > 0 and asked[place - 1] > demand[u]:
                        asked[place] = asked[place - 1]
                        place -= 1
                    asked[place] = demand[u]
                    count += 1
    for served in range(users):
        if asked[served] > left / (users - served):
            return left / (users - served)
        left -= asked[served]
    return np.inf
