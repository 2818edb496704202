"""A timeline as one HTML page to zoom, point at and search in, which needs nothing beside itself."""

import base64
import json
from html import escape
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from arch.labels import hypothetical_label
from codesign import files
from traces.si import percent, show

if TYPE_CHECKING:
    from codesign.engine.entries import Spans
    from codesign.engine.timeline import Timeline

HOST = "host"
_TEXTS = ("kind", "name", "family", "phase", "stage")


def write(timeline: "Timeline", path: Path, repeats: int | None = None) -> None:
    """Write the page, whole or not at all. Raises TraceError for a timeline without operations."""
    files.write(path, page(timeline, repeats))


def page(timeline: "Timeline", repeats: int | None = None) -> str:
    """Return the page; ``repeats`` limits how often each stretch that repeats is written out. Raises TraceError without operations."""
    spans = timeline.spans(repeats=repeats)
    queues = [*(timeline.entries.queues if timeline.entries else ()), HOST]
    machine = hypothetical_label(timeline.machine, timeline.hypothetical)
    title = f"{timeline.program} on {machine}, {timeline.scheduler}: {show(timeline.time_s, 's')}"
    about = f"{len(spans):,} operations; times are the model's, captured for {timeline.captured_for or 'an unknown device'}"
    about += "" if repeats is None else f"; each stretch that repeats is shown {repeats} times at most"
    data = json.dumps(document(spans, queues), ensure_ascii=False, allow_nan=False).replace("<", "\\u003c")  # ends no script
    text = resources.files("codesign").joinpath("timeline.html").read_text(encoding="utf-8")
    for mark, value in (("__TITLE__", escape(title)), ("__ABOUT__", escape(about)), ("__DATA__", data)):
        text = text.replace(mark, value)
    return text


def document(spans: "Spans", queues: list[str]) -> dict[str, Any]:
    """Return what the page's script reads.

    ``start_us``, ``end_us`` (float64) and ``what`` (int32) are arrays of an operation each, in base64, by start; ``what`` indexes
    ``labels``, whose ``queue`` indexes ``queues``, those that are used. ``colours`` and ``inks`` (of words upon them) are by family,
    or by kind for what is no kernel, and so is ``legend``: key, name, share of the busy time.
    """
    order = np.argsort(spans.start_s, kind="stable")
    used, queue = np.unique(np.where(spans.queue < 0, len(queues) - 1, spans.queue)[order], return_inverse=True)
    columns = [getattr(spans, text)[order].astype(str) for text in _TEXTS]
    kinds, what = _distinct([queue, *columns])
    labels = [{"queue": int(queue[i]), **{text: column[i] for text, column in zip(_TEXTS, columns, strict=True)}} for i in kinds.tolist()]
    start, end = spans.start_s[order] * 1e6, spans.end_s[order] * 1e6
    keys = np.array([label["family"] or label["kind"] for label in labels], dtype=object)
    busy = np.bincount(what, end - start, minlength=len(labels)).astype(np.float64)
    return {
        "queues": [queues[i] for i in used.tolist()],
        "labels": labels,
        "start_us": _base64(start, "<f8"),
        "end_us": _base64(end, "<f8"),
        "what": _base64(what, "<i4"),
        "total_us": float(end.max(initial=0.0)),
        **_colours(keys, busy),
    }


def _distinct(columns: list[npt.NDArray[Any]]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return the first row of each distinct combination of columns, and of every row which it is."""
    code = np.zeros(len(columns[0]), dtype=np.int64)
    for column in columns:
        values, mine = np.unique(column, return_inverse=True)
        _, code = np.unique(code * len(values) + mine, return_inverse=True)
    _, first = np.unique(code, return_index=True)
    return first, code


def _colours(keys: npt.NDArray[np.object_], busy: npt.NDArray[np.float64]) -> dict[str, Any]:
    from codesign.figures import style

    shares = {key: float(busy[keys == key].sum() / (busy.sum() or 1.0)) for key in style.in_stack_order(keys)}
    colours = {key: style.colour(key) for key in shares}
    return {
        "colours": colours,
        "inks": {key: style.ink_on(colour) for key, colour in colours.items()},
        "legend": [[key, style.family_name(key).replace("_", " "), f"{percent(share)} %"] for key, share in shares.items()],
    }


def _base64(numbers: npt.NDArray[Any], kind: str) -> str:
    return base64.b64encode(numbers.astype(kind).tobytes()).decode()
