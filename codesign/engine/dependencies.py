"""Planning: which operations wait for which, from what they read and write.

Queues run in order, so only operations of different queues need it said, and one that its queue has waited for already
(or an earlier one of that queue) need not be named again.
"""

from typing import NamedTuple

import numpy as np

from codesign.engine.list_schedule import make_tape
from codesign.engine.program import Indices, Ints, Loops
from codesign.engine.residency import Draft
from traces.compiled import compiled


class Web(NamedTuple):
    """What has been found, and the state of the walk."""

    head: Indices  # [N] last entry of each operation's list of dependencies
    entry: Indices  # [pool, 2] what it waits for, and the entry before
    size: Ints  # [2] entries, steps walked
    writer: Indices  # [copies] operation that wrote the copy last
    readers: Indices  # [copies, Q] operations that read it since
    position: Ints  # [N] step at which each operation was last walked over
    waited: Ints  # [Q, Q] step of the latest operation of the second queue that the first has waited for


@compiled
def find(n: int, loops: Loops, queues: int, copies: int, draft: Draft) -> tuple[Indices, Indices]:
    """Return the dependencies of the first ``n`` operations of ``draft`` as starts and numbers.

    Every loop is walked twice: the second time shows what one iteration needs of the one before.
    """
    web = Web(
        np.full(n, -1, np.int32), np.empty((4 * n + 16, 2), np.int32), np.zeros(2, np.int64), np.full(copies, -1, np.int32),
        np.full((copies, queues), -1, np.int32), np.zeros(n, np.int64), np.zeros((queues, queues), np.int64),
    )  # fmt: skip
    if _one_queue(n, draft):
        return np.zeros(n + 1, np.int32), np.empty(0, np.int32)
    tape = make_tape(n, loops)
    left = np.zeros(len(loops.first), np.int64)
    at = 0
    while at < len(tape.code):
        if tape.code[at] == 0:
            for i in range(tape.a[at], tape.b[at]):
                web = _visit(i, draft, web)
        elif tape.code[at] == 1:
            left[tape.a[at]] = min(2, loops.count[tape.a[at]])
        else:
            left[tape.a[at]] -= 1
            if left[tape.a[at]] > 0:
                at = tape.b[at]
        at += 1
    return _listed(n, web)


@compiled
def _one_queue(n: int, draft: Draft) -> bool:
    queue = -1
    for i in range(n):
        if draft.queue[i] >= 0:
            if queue >= 0 and draft.queue[i] != queue:
                return False
            queue = draft.queue[i]
    return True


@compiled
def _visit(i: int, draft: Draft, web: Web) -> Web:
    """Walk over one operation."""
    web.size[1] += 1
    web.position[i] = web.size[1]
    q = draft.queue[i]
    for t in range(draft.touch_start[i], draft.touch_start[i + 1]):
        copy = draft.touch[t]
        web = _wait(i, web.writer[copy], draft, web)
        if draft.touch_writes[t]:
            for other in range(web.readers.shape[1]):
                web = _wait(i, web.readers[copy, other], draft, web)
    for t in range(draft.touch_start[i], draft.touch_start[i + 1]):
        copy = draft.touch[t]
        if draft.touch_writes[t]:
            web.writer[copy] = i
            web.readers[copy, :] = -1
        else:
            web.readers[copy, q] = i
    return web


@compiled
def _wait(i: int, on: int, draft: Draft, web: Web) -> Web:
    """Let operation ``i`` wait for ``on``, unless that goes without saying."""
    if on < 0 or draft.queue[on] == draft.queue[i]:
        return web
    q, other = draft.queue[i], draft.queue[on]
    if web.waited[q, other] >= web.position[on]:
        return web
    web.waited[q, other] = web.position[on]
    entry = web.head[i]
    while entry >= 0:
        if web.entry[entry, 0] == on:
            return web
        entry = web.entry[entry, 1]
    size = web.size[0]
    if size == len(web.entry):
        longer = np.empty((2 * size, 2), np.int32)
        longer[:size] = web.entry
        web = Web(web.head, longer, web.size, web.writer, web.readers, web.position, web.waited)
    web.entry[size, 0], web.entry[size, 1] = on, web.head[i]
    web.head[i] = size
    web.size[0] += 1
    return web


@compiled
def _listed(n: int, web: Web) -> tuple[Indices, Indices]:
    start, items = np.zeros(n + 1, np.int32), np.empty(web.size[0], np.int32)
    size = 0
    for i in range(n):
        entry = web.head[i]
        while entry >= 0:
            items[size] = web.entry[entry, 0]
            size += 1
            entry = web.entry[entry, 1]
        start[i + 1] = size
    return start, items
