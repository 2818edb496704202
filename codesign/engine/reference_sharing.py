"""The reference engine's shared resources: whoever runs on them gets a max-min fair share of each."""

from bisect import insort
from collections.abc import Callable
from dataclasses import dataclass, field
from math import ceil, inf

import simpy

GRANT, SETTLE = 2, 3
"""Priorities: wires are given away after all other events of the same time (SimPy's are 0 and 1), then shares are computed."""


@dataclass(slots=True, eq=False)
class Stream:
    """Something that progresses: an amount of time left if alone, bytes a picosecond it asks of each resource, and claims."""

    left: float
    demands: list[tuple[str, float]]
    claims: list[tuple[str, float]]
    done: simpy.Event
    order: int
    rate: float = -1.0
    since: int = 0
    finish: float = inf


@dataclass
class Shared:
    """All shared resources: whoever runs on them gets a max-min fair share and progresses at the smallest of its shares."""

    env: simpy.Environment
    capacity: dict[str, float]
    running: list[Stream] = field(default_factory=list)
    settling: bool = False

    def use(
        self,
        duration: int,
        uses: dict[str, float],
        claims: dict[str, float] | None = None,
        order: int = 1 << 30,
        asks_over: int | None = None,
    ) -> simpy.Event:
        """Move ``uses`` bytes in what takes ``duration`` ps alone; return the event of its end.

        ``order`` (a queue's number) fixes in which order claims are summed, so that rounding is the same everywhere. ``asks_over`` is
        the time in which it asks for those bytes, if it is not ``duration``.
        """
        return self.begin(duration, self.demands(uses, asks_over or duration), list((claims or {}).items()), order)

    def demands(self, uses: dict[str, float], duration: int) -> list[tuple[str, float]]:
        """Return what moving ``uses`` bytes in ``duration`` ps asks of each resource, bytes a ps: never more than there is."""
        return [(name, min(moved / duration, self.capacity[name])) for name, moved in uses.items() if moved > 0]

    def begin(self, duration: int, demands: list[tuple[str, float]], claims: list[tuple[str, float]], order: int) -> simpy.Event:
        """Begin what takes ``duration`` ps alone, asks for ``demands`` and closes ``claims``; return the event of its end."""
        stream = Stream(float(duration), demands, claims, self.env.event(), order, since=int(self.env.now))
        insort(self.running, stream, key=lambda other: other.order)
        self._changed()
        return stream.done

    def _changed(self) -> None:
        if not self.settling:
            self.settling = True
            at_last(self.env, self._settle, SETTLE)

    def _settle(self, _: simpy.Event) -> None:
        self.settling = False
        now = self.env.now
        self.running = [stream for stream in self.running if stream.finish > now]
        levels: dict[str, float] = {}
        for stream in self.running:
            rate = 1.0
            for name, demand in stream.demands:
                if name not in levels:
                    levels[name] = self._level(name)
                rate = min(rate, min(demand, levels[name]) / demand)
            if rate != stream.rate:
                self._change_rate(stream, rate)

    def _change_rate(self, stream: Stream, rate: float) -> None:
        now = int(self.env.now)
        if stream.rate > 0:
            stream.left -= stream.rate * (now - stream.since)
        stream.rate, stream.since = rate, now
        stream.finish = now + max(1, ceil(stream.left / rate)) if rate > 0 else inf
        if rate > 0:
            self._end_at(stream, int(stream.finish))

    def _end_at(self, stream: Stream, finish: int) -> None:
        def end(_: simpy.Event) -> None:
            if stream.finish == finish and not stream.done.triggered:
                stream.done.succeed()
                self._changed()

        timeout = self.env.timeout(finish - self.env.now)
        assert timeout.callbacks is not None
        timeout.callbacks.append(end)

    def _level(self, name: str) -> float:
        """Fill the demands on one resource from the smallest up; return what each of those gets that cannot be filled."""
        claimed, asked = 0.0, list[float]()
        for stream in self.running:
            for resource, claim in stream.claims:
                if resource == name:
                    claimed += claim
            for resource, demand in stream.demands:
                if resource == name:
                    asked.append(demand)
        left = self.capacity[name] * max(0.0, 1.0 - claimed)
        for served, demand in enumerate(sorted(asked)):
            fair = left / (len(asked) - served)
            if demand > fair:
                return fair
            left -= demand
        return inf


def at_last(env: simpy.Environment, callback: Callable[[simpy.Event], None], priority: int) -> None:
    """Call back at the present time, after all events of a smaller priority number."""
    event = env.event()
    event._ok, event._value = True, None
    assert event.callbacks is not None
    event.callbacks.append(callback)
    env.schedule(event, priority=priority)  # type: ignore[arg-type]
