"""What a report page says about a trace, a timeline, a result and a machine."""

from collections.abc import Callable
from html import escape
from typing import TYPE_CHECKING, Any

from arch.rows import machine_tables
from codesign.engine.rows import timeline_tables
from codesign.figures import default_kind, plot
from codesign.html_figures import figure_html
from codesign.search.rows import result_tables
from traces import html
from traces.summary import work_table

if TYPE_CHECKING:
    from arch.machine import Machine
    from codesign.engine.timeline import Timeline
    from codesign.search.result import Result
    from traces.trace import Trace


def section(item: Any) -> str | None:
    """Return the HTML of an item; of anything else what it shows in a notebook, None if that is nothing."""
    from arch.machine import Machine
    from codesign.engine.timeline import Timeline
    from codesign.search.result import Result
    from traces.trace import Trace

    makers: dict[type, Callable[[Any], str]] = {Trace: _trace, Timeline: _timeline, Result: _result, Machine: _machine}
    for kind, make in makers.items():
        if isinstance(item, kind):
            return make(item)
    return str(item._repr_html_()) if hasattr(item, "_repr_html_") else None


def _trace(trace: "Trace") -> str:
    figures = figure_html(plot(trace, "roofline")) if trace.target else ""
    return _heading(f"{trace.program}: the trace") + html.table(("", ""), _facts(trace)) + html.tables([work_table(trace)]) + figures


def _facts(trace: "Trace") -> list[tuple[str, str]]:
    versions = ", ".join(f"{name} {version}" for name, version in sorted((trace.manifest["versions"] or {}).items()))
    captured = trace.manifest["captured"] or {}
    return [
        ("captured for", trace.target or "unknown"),
        ("by", str(captured.get("command") or captured.get("how") or "unknown")),
        ("kernels, launches", f"{len(trace.kernels):,}, {trace.launches:,}"),
        ("precision", str(trace.manifest["precision"] or "unknown")),
        ("versions", versions or "unknown"),
        ("content", trace.content_hash),
    ]


def _timeline(timeline: "Timeline") -> str:
    data = timeline.to_dict()
    totals, *others = timeline_tables(data)
    kinds = [] if timeline.entries is None else ["timeline", "breakdown", *(["memory"] if timeline.memory else [])]
    figures = "".join(figure_html(plot(timeline, kind)) for kind in kinds)
    return _heading(totals.caption) + html.beside([totals._replace(caption="Totals"), *others]) + figures


def _result(result: "Result") -> str:
    found, front = result_tables(result.to_dict())
    figure = figure_html(plot(result, default_kind(result)))
    return _heading(found.caption) + html.tables([found._replace(caption=""), front]) + figure


def _machine(machine: "Machine") -> str:
    devices, *others, numbers, sources = machine_tables(machine.to_dict())
    folded = f"<details><summary>{len(numbers.rows)} numbers with their sources</summary>{html.tables([numbers, sources])}</details>"
    shown = html.tables([devices._replace(caption=""), *others])
    return _heading(devices.caption) + figure_html(plot(machine)) + shown + folded


def _heading(text: str) -> str:
    return f"<h3>{escape(text)}</h3>"
