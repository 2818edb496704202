"""Planning: which operations wait for which, from what they read and write.

Queues run in order, so only operations of different queues need it said, and one that its queue has waited for already
(or an earlier one of that queue) need not be named again.
"""

from typing import NamedTuple

import numpy as np

from codesign.engine.drafting import AWAITS, GOES_ON, READS, WRITES
from codesign.engine.program import Indices, Ints, Rows
from traces.compiled import compiled, in_place, inlined, inner


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
def find(ops: Rows, touches: Rows, tape: Rows, loops: Rows, queues: int, copies: int) -> Indices:
    """Let every operation (rows of OPERATION) wait for what it must, and return what they wait for.

    ``touches`` are rows of `drafting.TOUCH`. Every loop is walked twice: the second time shows what one iteration needs of the
    one before.
    """
    if _one_queue(ops):
        return np.empty(0, np.int32)
    web, left = _new_web(len(ops), queues, copies), np.zeros(len(loops), np.int64)
    at = 0
    while at < len(tape):
        if tape[at].code == 0:
            for i in range(tape[at].a, tape[at].b):
                if len(web.entry) - web.size[0] < (ops[i].touch_end - ops[i].touch_start) * (len(web.waited) + 1):
                    longer = np.empty((2 * len(web.entry) + 1024, 2), np.int32)
                    longer[: len(web.entry)] = web.entry
                    web = Web(web.head, longer, web.size, web.writer, web.readers, web.position, web.waited)
                _visit(i, ops, touches, web)
        elif tape[at].code == 1:
            left[tape[at].a] = min(2, loops[tape[at].a].count)
        else:
            left[tape[at].a] -= 1
            if left[tape[at].a] > 0:
                at = tape[at].b
        at += 1
    return _listed(ops, web)


@inner
def _new_web(n: int, queues: int, copies: int) -> Web:
    """Return the web of ``n`` operations before the walk."""
    head, entry, size = np.full(n, -1, np.int32), np.empty((4 * n + 16, 2), np.int32), np.zeros(2, np.int64)
    writer, readers = np.full(copies, -1, np.int32), np.full((copies, queues), -1, np.int32)
    return Web(head, entry, size, writer, readers, np.zeros(n, np.int64), np.zeros((queues, queues), np.int64))


@in_place
def _one_queue(ops: Rows) -> bool:
    queue = -1
    for op in ops:
        if op.queue >= 0:
            if queue >= 0 and op.queue != queue:
                return False
            queue = op.queue
    return True


@inlined
def _visit(i: int, ops: Rows, touches: Rows, web: Web) -> None:
    """Walk over one operation."""
    op, queues = ops[i], len(web.waited)
    web.size[1] += 1
    web.position[i] = web.size[1]
    for t in range(op.touch_start, op.touch_end):
        copy, how = touches[t].copy, touches[t].how
        on = web.writer[copy]
        if on >= 0 and ops[on].queue != op.queue and how != GOES_ON:
            _wait(i, on, op.queue, ops[on].queue, web)
        if how in (WRITES, AWAITS):
            for other in range(queues):
                if other != op.queue and web.readers[copy, other] >= 0:
                    _wait(i, web.readers[copy, other], op.queue, other, web)
    for t in range(op.touch_start, op.touch_end):
        copy = touches[t].copy
        if touches[t].how == READS:
            web.readers[copy, op.queue] = i
        elif touches[t].how != AWAITS:
            web.writer[copy] = i
            if touches[t].how == WRITES:
                for other in range(queues):
                    web.readers[copy, other] = -1


@inlined
def _wait(i: int, on: int, queue: int, other: int, web: Web) -> None:
    """Let operation ``i`` wait for ``on``, of another queue, unless that goes without saying."""
    if web.waited[queue, other] >= web.position[on]:
        return
    web.waited[queue, other] = web.position[on]
    entry = web.head[i]
    while entry >= 0:
        if web.entry[entry, 0] == on:
            return
        entry = web.entry[entry, 1]
    size = web.size[0]
    web.entry[size, 0], web.entry[size, 1] = on, web.head[i]
    web.head[i] = size
    web.size[0] = size + 1


@inner
def _listed(ops: Rows, web: Web) -> Indices:
    items, size = np.empty(web.size[0], np.int32), 0
    for i in range(len(ops)):
        entry = web.head[i]
        ops[i].dep_start = size
        while entry >= 0:
            items[size] = web.entry[entry, 0]
            size += 1
            entry = web.entry[entry, 1]
        ops[i].dep_end = size
    return items
