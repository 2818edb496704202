"""Traces and timelines for other tools: a replay's queues, transfers and memories as rows of a format that draws them."""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from traces.errors import TraceError

if TYPE_CHECKING:
    from codesign.engine.timeline import Timeline
    from traces.formats.perfetto import Slice
    from traces.trace import Trace

HOST = "host"
PAGE = "html"


def export(
    subject: "Trace | Timeline", path: "str | os.PathLike[str]", format: str = "perfetto", *, repeats: int | None = None
) -> list[str]:
    """Write a trace or a timeline in another tool's format, whole or not at all; return remarks on what the file does not say.

    Parameters
    ----------
    subject
        A trace (a registered format), or a timeline that recorded its operations (Perfetto, a page).
    path, format
        Where to, and the name of a registered format that can be written, 'perfetto' or 'chakra'; or 'html', a page of a timeline to zoom
        and search in.
    repeats
        Of a timeline: how often each stretch that repeats is written out; None: as often as it ran.

    Raises
    ------
    TraceError
        For an unknown format, one that cannot show a timeline, or a timeline without operations.
    """
    from traces.formats.perfetto import Perfetto
    from traces.formats.reading import exporter
    from traces.trace import Trace

    if format == PAGE:
        return _page(subject, Path(path), repeats)
    writer = exporter(format)
    if isinstance(subject, Trace):
        return writer.write(subject, Path(path))
    if not isinstance(writer, Perfetto):
        raise TraceError(f"a timeline can be written as 'perfetto' or {PAGE!r}, but got {format!r}; export the trace that was replayed")
    return _timeline(subject, Path(path), repeats)


def _page(subject: "Trace | Timeline", path: Path, repeats: int | None) -> list[str]:
    from codesign import html_timeline
    from traces.trace import Trace

    if isinstance(subject, Trace):
        raise TraceError("a page shows the times of a replay, but a trace has none; export its timeline (--machine NAME replays it first)")
    html_timeline.write(subject, path, repeats)
    return _about(subject)


def _about(timeline: "Timeline") -> list[str]:
    remarks = [f"replayed on {timeline.machine} under {timeline.scheduler}; times are the model's, captured for {timeline.captured_for}"]
    return remarks + (["the machine holds hypothetical devices"] if timeline.hypothetical else [])


def _timeline(timeline: "Timeline", path: Path, repeats: int | None) -> list[str]:
    from traces.formats.perfetto import Counter, write_rows

    remarks = _about(timeline)
    if not timeline.memory:
        remarks.append("a timeline from a file has no memory counters; export the trace with --machine for these")
    counters = [Counter(f"memory {name}", used.time_s.tolist(), used.bytes.tolist(), "bytes") for name, used in timeline.memory.items()]
    write_rows(path, _slices(timeline, repeats), counters, {"program": timeline.program, "remarks": remarks})
    return remarks


def _slices(timeline: "Timeline", repeats: int | None) -> Iterable["Slice"]:
    """A track a queue (devices, each direction of a link), and one for the host's round trips."""
    from traces.formats.perfetto import Slice

    spans = timeline.spans(repeats=repeats)
    queues = [*(timeline.entries.queues if timeline.entries else ()), HOST]  # queue -1, the host, is the last
    columns = (spans.queue, spans.start_s, spans.end_s, spans.kind, spans.name, spans.family, spans.phase, spans.stage)
    for queue, start, end, kind, name, family, phase, stage in zip(*(c.tolist() for c in columns), strict=True):
        args = {key: value for key, value in (("family", family), ("phase", phase), ("stage", stage)) if value}
        yield Slice(queues[queue], name or kind.replace("_", " "), start, end - start, kind, args)
