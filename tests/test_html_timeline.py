"""Does the page of a timeline hold every operation, and nothing from outside?"""

import base64
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import arch
import codesign as cd
from codesign import html_timeline
from codesign.engine.timeline import Timeline
from codesign.exporting import export
from tests.command_line import document, refusal
from tests.toys import Toy
from traces.errors import TraceError
from traces.recordings import load_recorded


@pytest.fixture(scope="module")
def timeline() -> Timeline:
    return cd.replay(load_recorded("ferminet-lih-a5000"), arch.machine("a5000+aim-fp32@link"), "intensity-threshold")


def data_of(page: str) -> dict[str, Any]:
    (text,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    found: dict[str, Any] = json.loads(text)
    return found


def numbers(text: str, kind: str) -> Any:
    return np.frombuffer(base64.b64decode(text), dtype=kind)


def test_the_page_holds_every_operation_with_its_queue_and_labels(timeline: Timeline) -> None:
    spans, data = timeline.spans(), data_of(html_timeline.page(timeline))
    order = np.argsort(spans.start_s, kind="stable")
    start, end, what = numbers(data["start_us"], "<f8"), numbers(data["end_us"], "<f8"), numbers(data["what"], "<i4")
    np.testing.assert_allclose(start, spans.start_s[order] * 1e6)
    np.testing.assert_allclose(end, spans.end_s[order] * 1e6)
    assert timeline.entries is not None
    queues = (*timeline.entries.queues, "host")
    assert [data["queues"][data["labels"][i]["queue"]] for i in what] == [queues[i] for i in spans.queue[order]]
    for text in ("kind", "name", "family", "phase", "stage"):
        assert [data["labels"][i][text] for i in what] == getattr(spans, text)[order].tolist()
    assert data["total_us"] == end.max()


def test_the_legend_gives_shares_of_the_busy_time_and_a_colour_each(timeline: Timeline) -> None:
    data = data_of(html_timeline.page(timeline))
    used = {label["family"] or label["kind"] for label in data["labels"]}
    assert {key for key, _, _ in data["legend"]} == set(data["colours"]) == set(data["inks"]) == used
    assert sum(float(share.removesuffix(" %")) for _, _, share in data["legend"]) == pytest.approx(100, abs=0.05 * len(used))


def test_operations_of_a_queue_do_not_overlap_which_the_page_relies_on(timeline: Timeline) -> None:
    spans = timeline.spans()
    for queue in np.unique(spans.queue):
        mine = spans.queue == queue
        order = np.argsort(spans.start_s[mine], kind="stable")
        assert (spans.start_s[mine][order][1:] >= spans.end_s[mine][order][:-1] - 1e-12).all()


def test_the_page_needs_nothing_beside_itself_and_says_what_is_hypothetical(timeline: Timeline) -> None:
    page = html_timeline.page(timeline)
    assert not re.search(r"https?://|<link|src=|@import", page)
    assert "a5000+aim-fp32@link (hypothetical)" in page
    assert "__" not in re.sub(r'<script type="application/json".*?</script>', "", page, flags=re.DOTALL)


def test_names_of_kernels_cannot_end_the_script() -> None:
    toy = Toy()
    toy.kernel("</script><b>", ["x"], ["y"])
    made = cd.replay(toy.build(), arch.machine("a5000"))
    page = html_timeline.page(made)
    assert "</script><b>" not in page
    assert data_of(page)["labels"][0]["name"] == "</script><b>"


def test_repeats_limit_how_often_a_stretch_is_written(timeline: Timeline) -> None:
    whole, once = (data_of(html_timeline.page(timeline, repeats)) for repeats in (None, 1))
    assert len(once["what"]) < len(whole["what"])
    assert "each stretch that repeats is shown 1 times at most" in html_timeline.page(timeline, 1)


def test_the_command_writes_a_page_of_a_replay_and_refuses_a_trace(tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    found = document("export", "ferminet-lih-a5000", "--machine", "a5000", "--format", "html", "-o", page)
    assert (found["format"], found["bytes"]) == ("html", page.stat().st_size)
    assert len(data_of(page.read_text(encoding="utf-8"))["queues"]) == 1
    assert "a trace has none; export its timeline (--machine NAME replays it first)" in refusal(
        "export", "ferminet-lih-a5000", "--format", "html", "-o", page
    )


def test_a_timeline_without_operations_has_no_page(tmp_path: Path) -> None:
    silent = cd.replay(load_recorded("ferminet-lih-a5000"), arch.machine("a5000"), record=False)
    with pytest.raises(TraceError, match="only if the replay recorded them"):
        export(silent, tmp_path / "page.html", "html")


def test_the_table_of_a_timeline_has_a_row_an_operation(timeline: Timeline) -> None:
    table, spans = timeline.table(), timeline.spans()
    assert len(table) == len(spans)
    kernels = table[table["kind"] == "kernel"]
    assert kernels["duration_s"].sum() == pytest.approx(timeline.kernel_time_s)
    shares = kernels.groupby("queue")["duration_s"].sum() / timeline.kernel_time_s
    assert shares.to_dict() == pytest.approx(timeline.shares("device"))
