"""Places of launches in queues: a launch has one from its issue until it starts; who comes ``depth`` launches later takes it over.

So a queue keeps when its last launches started, in a ring, and from these follows when the host could issue. The host is *ahead* while
nothing waits for its launch: then its clock need not be followed, if it is certain to stay so and can be told afterwards.
"""

from codesign.engine.program import LIMIT_PS, Ints, Rows
from traces.compiled import in_place, inlined

RING_FIELDS = [
    ("depth", "i8"),  # how many launches it holds
    ("place", "i8"),  # of its ring of the starts of the last launches (kept time plus ``shift``): the next one's, the oldest's if full
    ("noted", "i8"),  # how many are in the ring
    ("total", "i8"),  # launches that have started, stepped ones included
    ("shift", "i8"),
]
"""What an engine's rows of queues (``lane``) have for the functions here; ``ring``, int64[Q, depth], are their rings."""


@inlined
def note_start(q: int, start: int, lane: Rows, ring: Ints) -> None:
    """A launch leaves its place in a queue."""
    at, depth = lane[q].place, lane[q].depth
    ring[q, at] = start + lane[q].shift
    lane[q].place = at + 1 if at + 1 < depth else 0
    lane[q].noted = min(lane[q].noted + 1, depth)
    lane[q].total += 1


@in_place
def start_of(q: int, back: int, lane: Rows, ring: Ints) -> int:
    """Return when the launch started that was ``back`` starts ago on queue ``q`` (1: the last)."""
    at = lane[q].place - back
    if at < 0:
        at += max(lane[q].noted, lane[q].place)
    return int(ring[q, at] - lane[q].shift)


@in_place
def oldest_first(q: int, recent: Ints, lane: Rows, ring: Ints) -> int:
    """Copy the starts of a ring into ``recent``, int64[depth], in their order (times plus ``shift``); return how many."""
    starts, place, noted = ring[q], lane[q].place, lane[q].noted
    at_end = max(0, noted - place)
    older, newer, into = starts[lane[q].depth - at_end : lane[q].depth], starts[place - (noted - at_end) : place], recent[at_end:noted]
    for i in range(len(older)):
        recent[i] = older[i]
    for i in range(len(newer)):
        into[i] = newer[i]
    return int(noted)


@in_place
def come_free(
    q: int, launches: int, held: int, needed: int, takes: int, issue: int, issues: int, recent: Ints, lane: Rows, ring: Ints
) -> bool:
    """Will the queue's places come free by ``needed`` and a period later in each period, and in each by ``issues`` later at least?

    Of its places ``held`` have not come free yet; those of ``launches`` launches each are used again in one period, which ``takes`` so
    long. The newest started last, so that it stands for them. What started by the present ``issue`` has freed its place already.
    ``recent``, int64[depth], is room.
    """
    places = lane[q].depth - held
    first = 1
    while first <= min(lane[q].noted, places):
        start = start_of(q, first, lane, ring)
        if start <= issue:
            break
        if start > needed + (places - first) // launches * takes:
            return False
        first += places % launches if first == 1 and places % launches > 0 else launches
    return _least_period(q, launches, places, issue, recent, lane, ring) >= issues


@in_place
def _least_period(q: int, launches: int, places: int, issue: int, recent: Ints, lane: Rows, ring: Ints) -> int:
    """Return the least time from a start to the one a period later, of launches whose place is still to be used again.

    If the host does not take longer than that for a period, the places of the last of several decide when it can issue.
    """
    noted = oldest_first(q, recent, lane, ring)
    first = max(0, noted - places)
    while first < noted and recent[first] - lane[q].shift <= issue:
        first += 1
    before, later = recent[first : max(first, noted - launches)], recent[min(first + launches, noted) : noted]
    least = LIMIT_PS
    for i in range(len(before)):
        least = min(least, later[i] - before[i])
    return int(least)


@in_place
def take_out(q: int, launches: int, times: int, takes: int, ahead: bool, recent: Ints, lane: Rows, ring: Ints) -> None:
    """Take ``times`` periods, each of which ``takes`` so long, out of a loop in which so many launches of the queue start in a period.

    Starts before a loop without any lie further back then. ``recent``, int64[depth], is room.
    """
    lane[q].total += times * launches
    if launches == 0:
        lane[q].shift += times * takes
    elif ahead:
        _refill(q, launches, times, takes, recent, lane, ring)


@in_place
def _refill(q: int, launches: int, times: int, takes: int, recent: Ints, lane: Rows, ring: Ints) -> None:
    """Put the starts of launches stepped over into a ring: those of ``times`` periods, each ``takes`` earlier than the next.

    It is written from the newest launch back, from its first place on.
    """
    starts, depth, had = ring[q], lane[q].depth, oldest_first(q, recent, lane, ring)
    noted = min(depth, had + times * launches)
    to, periods, earlier = noted, 0, 0
    while to > 0:
        size = min(launches if periods < times else had, to)
        into, out_of = starts[to - size : to], recent[had - size : had]
        for i in range(size):
            into[i] = out_of[i] - earlier
        to -= size
        periods += 1
        earlier += takes
    lane[q].noted = noted
    lane[q].place = noted if noted < depth else 0
