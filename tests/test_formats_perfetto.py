"""Does what we write for Perfetto hold every kernel, queue and memory level, and come back?"""

import json
import tempfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given

from codesign.exporting import export
from tests.strategies.launches import traces
from tests.toys import Toy
from traces import Trace
from traces.errors import TraceError
from traces.formats.kineto import Kineto
from traces.formats.perfetto import Counter, Perfetto, Slice, write_rows
from traces.formats.reading import importers
from traces.formats.source import Source
from traces.formats.to_trace import to_trace


def events(path: Path, ph: str = "X") -> list[dict[str, Any]]:
    return [e for e in json.loads(path.read_text())["traceEvents"] if e["ph"] == ph]


def test_rows_become_slices_on_named_tracks(tmp_path: Path) -> None:
    path = tmp_path / "rows.json"
    slices = [Slice("gpu", "a", 1e-6, 2e-6, "kernel", {"family": "gemm"}), Slice("link", "b", 0.0, 1.0), Slice("gpu", "c", 5e-6, 1e-12)]
    write_rows(path, slices, [Counter("memory hbm", [0.0, 1e-6], [0, 4096], "bytes")], {})
    found = events(path)
    assert [(e["name"], e["tid"], e["ts"], e["dur"]) for e in found] == [("a", 1, 1.0, 2.0), ("b", 2, 0.0, 1e6), ("c", 1, 5.0, 1e-6)]
    assert found[0]["args"] == {"family": "gemm"}
    assert [(e["tid"], e["args"]["name"]) for e in events(path, "M") if e["name"] == "thread_name"] == [(1, "gpu"), (2, "link")]
    assert [(e["name"], e["ts"], e["args"]) for e in events(path, "C")] == [
        ("memory hbm", 0.0, {"bytes": 0.0}),
        ("memory hbm", 1.0, {"bytes": 4096.0}),
    ]


def looped() -> Trace:
    toy = Toy()
    toy.kernel("before", writes=["x"])
    with toy.loop(30, "steps"):
        toy.kernel("inside", reads=["x"], writes=["x"])
    return toy.build()


def test_a_trace_without_times_is_shown_in_unit_times_and_says_so(tmp_path: Path) -> None:
    remarks = Perfetto().write(looped(), tmp_path / "t.json")
    assert "2 of 2 kernels were not measured and are shown one microsecond long" in remarks[0]
    assert remarks[1].startswith("each loop is shown once")
    found = {e["name"]: e for e in events(tmp_path / "t.json")}
    assert (found["inside"]["ts"], found["inside"]["dur"], found["inside"]["args"]["executions"]) == (1.0, 1.0, 30)
    assert (found["steps"]["ts"], found["steps"]["dur"], found["steps"]["args"]["trip_count"]) == (1.0, 1.0, 30)
    assert json.loads((tmp_path / "t.json").read_text())["otherData"]["remarks"] == remarks


@given(traces())
def test_a_round_trip_loses_no_kernel(trace: Trace) -> None:
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        path = Path(folder) / "trace.json"
        Perfetto().write(trace, path)
        source = Source(path)
        assert Kineto().recognises(source)
        back = to_trace(Kineto().read(source), target="", program="p")
    for column in ("name", "stream", "grid_x", "block_x", "registers", "shared_bytes"):
        assert back.kernels[column].tolist() == trace.kernels[column].tolist(), column
    np.testing.assert_allclose(back.kernels["measured_s"], trace.kernels["measured_s"], rtol=0, atol=1e-12)


def test_kernels_named_like_keys_of_other_formats_do_no_harm(tmp_path: Path) -> None:
    toy = Toy()
    for name in ("nodes", "ctrl_deps", "schema", '"nodes": [', "1-chakra.0.0.4"):
        toy.kernel(name)
    Perfetto().write(toy.build(), tmp_path / "t.json")
    source = Source(tmp_path / "t.json")
    assert [name for name, importer in importers().items() if importer.recognises(source)] == ["kineto"]


def test_a_timeline_shows_queues_and_memory(tmp_path: Path) -> None:
    import codesign as cd

    timeline = cd.replay(looped(), cd.machine("a5000"), "single-device")
    remarks = export(timeline, tmp_path / "timeline.json")
    kernels = [e for e in events(tmp_path / "timeline.json") if e["cat"] == "kernel"]
    assert len(kernels) == timeline.launches == 31
    assert sum(e["dur"] for e in kernels) * 1e-6 == pytest.approx(timeline.kernel_time_s, rel=1e-6)
    assert max(e["ts"] + e["dur"] for e in kernels) * 1e-6 == pytest.approx(timeline.time_s, rel=1e-6)
    levels = [e["args"]["bytes"] for e in events(tmp_path / "timeline.json", "C")]
    assert max(levels) == timeline.peak_memory_bytes["a5000-memory"]
    assert remarks[0].startswith("replayed on a5000 under single-device")


def test_a_timeline_from_a_file_says_that_it_has_no_memory(tmp_path: Path) -> None:
    import codesign as cd

    cd.replay(looped(), cd.machine("a5000")).save(tmp_path / "saved.json")
    remarks = export(cd.Timeline.load(tmp_path / "saved.json"), tmp_path / "out.json", repeats=2)
    assert any("no memory counters" in remark for remark in remarks)
    with pytest.raises(TraceError, match="a timeline can be written as 'perfetto' or 'html', but got 'chakra'"):
        export(cd.Timeline.load(tmp_path / "saved.json"), tmp_path / "out.et", "chakra")


def test_an_unknown_format_gets_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(TraceError, match=r"got 'perfeto'; did you mean 'perfetto'"):
        export(looped(), tmp_path / "x", "perfeto")


def test_nothing_half_written_is_left(tmp_path: Path) -> None:
    def broken() -> Any:
        yield Slice("gpu", "a", 0.0, 1.0)
        raise KeyError("gone")

    with pytest.raises(KeyError):
        write_rows(tmp_path / "x.json", broken(), (), {})
    assert list(tmp_path.iterdir()) == []
