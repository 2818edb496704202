"""Which figures there are of a machine, of a trace, of timelines and of results, and how each is drawn."""

from collections.abc import Callable
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

from arch.labels import hypothetical_label
from codesign.figures import views
from codesign.figures.breakdown import Bar, bar_of, breakdown
from codesign.figures.designs import pareto, progress
from codesign.figures.machine import machine as graph
from codesign.figures.memory import memory
from codesign.figures.queues import timeline
from codesign.figures.roofline import roofline
from codesign.figures.times import times
from traces.errors import CodesignError
from traces.si import show

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from arch.machine import Machine
    from codesign.figures.request import Request

Draw = Callable[["Request"], "Figure"]


def _machine(request: "Request") -> "Machine":
    """Return the machine that a trace is drawn for: the one asked for, else the trace's target."""
    from arch.building import machine

    if request.machine is not None and not isinstance(request.machine, str):
        return request.machine
    name = request.machine or request.subject.target
    if not name:
        raise CodesignError("a trace without a target needs the machine whose prices it is drawn with; give machine=")
    return machine(name)


def _several(request: "Request") -> list[Any]:
    return list(request.subject) if isinstance(request.subject, (list, tuple)) else [request.subject]


def _one(request: "Request", kind: str) -> Any:
    several = _several(request)
    if len(several) > 1:
        raise CodesignError(f"a figure {kind!r} shows one subject, but got {len(several)}; draw one each")
    return several[0]


def _graph(request: "Request") -> "Figure":
    return graph(_several(request)[0], request.title or "")


def _roofline(request: "Request") -> "Figure":
    trace, machine = request.subject, _machine(request)
    title = request.title or f"{trace.program}: kernels priced on {hypothetical_label(machine.id, machine.hypothetical)}"
    return roofline(views.roofline_points(trace, machine), views.roofs(machine, trace), title)


def _trace_breakdown(request: "Request") -> "Figure":
    trace, machine = request.subject, _machine(request)
    bars = [bar_of(trace.program, views.shares(trace, machine))]
    return breakdown(
        bars + _published(request), request.title or f"{trace.program} on {machine.devices[0].id}: kernel time by phase and family"
    )


def _published(request: "Request") -> list[Bar]:
    return [bar_of(label, shares, published=True) for label, shares in request.published]


def _trace_memory(request: "Request") -> "Figure":
    trace = request.subject
    return memory([views.live_bytes(trace)], launches=True, title=request.title or f"{trace.program}: live tensors by launch")


def _pareto(request: "Request") -> "Figure":
    results = _several(request)
    first = results[0]
    if any(result.objectives != first.objectives for result in results) or len(first.objectives) < 2:
        given = " and ".join(sorted({", ".join(result.objectives) for result in results}))
        raise CodesignError(
            f"a Pareto front needs the same two or more objectives of every result, but got {given}; explore time,energy or draw 'progress'"
        )
    clouds = [views.cloud(result) for result in results]
    x, y, *more = views.objectives(first)
    title = request.title or f"{first.program}: designs tried"
    return pareto(clouds, (x, y), marks=views.single_device(results), title=title, more=[each.name for each in more])


def _progress(request: "Request") -> "Figure":
    result = _one(request, "progress")
    name = hypothetical_label(result.machine, result.hypothetical)
    by_time = result.objectives[0] == "time_s"
    return progress(
        views.first_objective(result),
        views.objectives(result)[0],
        bound=result.lower_bound_s if by_time else None,
        marks=views.single_device([result]) if by_time else (),
        title=request.title or f"{result.program} on {name}: the search",
    )


def _timeline(request: "Request") -> "Figure":
    replayed = _one(request, "timeline")
    name = hypothetical_label(replayed.machine, replayed.hypothetical)
    title = request.title or f"{replayed.program} on {name}, {replayed.scheduler}: {show(replayed.time_s, 's')}"
    return timeline(views.operations(replayed), request.window, title)


def _breakdown(request: "Request") -> "Figure":
    """Draw a bar a timeline, each followed by the published bar of the same place."""
    published = _published(request)
    several = _several(request)
    labels = request.labels or [_label(replayed, several) for replayed in several]
    ours = [bar_of(label, views.timeline_shares(replayed)) for label, replayed in zip(labels, several, strict=True)]
    bars = [bar for pair in zip_longest(ours, published) for bar in pair if bar is not None]
    return breakdown(bars, request.title or "Kernel time by phase and family")


def _times(request: "Request") -> "Figure":
    """Draw what each timeline takes, the first one as the measure of the others."""
    several = _several(request)
    labels = request.labels or [_label(replayed, several) for replayed in several]
    programs = dict.fromkeys(replayed.program for replayed in several)
    drawn = [views.taken(replayed, label) for label, replayed in zip(labels, several, strict=True)]
    return times(drawn, request.title or f"{', '.join(programs)}: time of a step")


def _label(timeline: Any, several: list[Any]) -> str:
    """Return what tells a timeline from the others: its program, its machine, or both."""
    programs, machines = ({getattr(one, name) for one in several} for name in ("program", "machine"))
    machine = hypothetical_label(timeline.machine, timeline.hypothetical)
    return timeline.program if len(machines) == 1 else machine if len(programs) == 1 else f"{timeline.program}\n{machine}"


def _memory(request: "Request") -> "Figure":
    replayed = _one(request, "memory")
    name = hypothetical_label(replayed.machine, replayed.hypothetical)
    return memory(views.fillings(replayed), title=request.title or f"{replayed.program} on {name}: memory in use")


OF_MACHINE: dict[str, Draw] = {"graph": _graph}
OF_TRACE: dict[str, Draw] = {"roofline": _roofline, "breakdown": _trace_breakdown, "memory": _trace_memory}
OF_TIMELINES: dict[str, Draw] = {"timeline": _timeline, "times": _times, "breakdown": _breakdown, "memory": _memory}
OF_RESULTS: dict[str, Draw] = {"pareto": _pareto, "progress": _progress}
