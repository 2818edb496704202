"""Is a profile read that another version, another tool or a script wrote a little differently?"""

import gzip
import io
import json
import tarfile
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.command_line import document, run
from tests.kineto_profiles import A100, event, profile, sample, trace_of
from traces.errors import TraceError
from traces.formats.kineto import Kineto
from traces.formats.profile import ProfileWarning
from traces.formats.reading import read_profile
from traces.formats.to_trace import to_trace
from traces.saving import save

Row = tuple[str, int, int]


def rows(source: Any) -> list[Row]:
    """Name, start in ns and duration in ps of each kernel, in the file's order."""
    made = Kineto().read(source).launches
    return list(zip(made.name, made.start_ns.tolist(), made.duration_ps.tolist(), strict=True))


def edge(ph: str, ts: Any, name: str = "k", cat: str = "kernel", tid: int = 7) -> dict[str, Any]:
    return {"ph": ph, "cat": cat, "name": name, "pid": 0, "tid": tid, "ts": ts}


def test_begin_and_end_make_a_kernel(tmp_path: Path) -> None:
    source = profile(tmp_path, edge("B", 1.5, "a"), {"ph": "E", "pid": 0, "tid": 7, "ts": 4}, edge("B", 2, "b", tid=8), edge("E", 3, tid=8))
    assert rows(source) == [("a", 1500, 2_500_000), ("b", 2000, 1_000_000)]


def test_what_a_script_left_out_or_emptied_does_no_harm(tmp_path: Path) -> None:
    """A filtered profile may lack the phase of complete events; arguments may be null."""
    bare = {"cat": "kernel", "name": "a", "ts": "1712345678901234.567", "dur": "2.500", "args": {"stream": 7}}
    source = profile(
        tmp_path, bare, {**event("b", ts=1712345678901240.5), "args": None}, {"cat": "cpu_op", "name": "aten::mm", "ts": 1, "dur": 2}
    )
    assert rows(source)[0] == ("a", 1_712_345_678_901_234_567, 2_500_000)
    assert [name for name, _, _ in rows(source)] == ["a", "b"]


def test_begin_and_end_nest_with_what_is_no_kernel(tmp_path: Path) -> None:
    source = profile(tmp_path, edge("B", 0, "step", "user"), edge("B", 1), edge("E", 2), edge("E", 9, "step", "user"))
    assert rows(source) == [("k", 1000, 1_000_000)]


def test_a_kernel_without_an_end_counts_as_not_measured(tmp_path: Path) -> None:
    made = Kineto().read(profile(tmp_path, event("a"), edge("B", 20, "late")))
    assert made.launches.duration_ps.tolist() == [10_000_000, -1]
    assert made.remarks == ("1 launches begin and do not end: they count as not measured",)


def test_an_end_before_its_begin_ends_nothing(tmp_path: Path) -> None:
    """Sorted by time the end has nothing to end, so the begin stays open."""
    assert rows(profile(tmp_path, edge("B", 5), edge("E", 4))) == [("k", 5000, -1)]


@pytest.mark.parametrize(
    ("stream", "expected"),
    [(7, 7), ("7", 7), ("stream 7", 7), ("0x10", 16), (7.0, 7), (None, 3), ("default", -1), (-1, -1), (2**70, -1)],
    ids=repr,
)
def test_streams_in_any_writing(tmp_path: Path, stream: Any, expected: int) -> None:
    made = Kineto().read(profile(tmp_path, event() | {"tid": "stream 3", "args": {"device": "0", "stream": stream}}))
    assert (made.launches.stream.tolist(), made.launches.device.tolist()) == ([expected], [0])


def test_device_and_stream_are_those_of_the_row_where_arguments_lack_them(tmp_path: Path) -> None:
    made = Kineto().read(profile(tmp_path, {"ph": "X", "cat": "kernel", "name": "k", "ts": 0, "dur": 1, "pid": 2, "tid": 20}))
    assert (made.launches.device.tolist(), made.launches.stream.tolist()) == ([2], [20])


def test_numbers_as_text_and_sizes_as_text(tmp_path: Path) -> None:
    args = {"grid": "[8, 16, 5]", "block": ["128", "1", "1"], "registers per thread": "122", "shared memory": 12544.0}
    kernels = trace_of(profile(tmp_path, event("k", "0.001", "10.5", **args))).kernels
    columns = ("grid_x", "grid_y", "grid_z", "block_x", "registers", "shared_bytes")
    assert [int(kernels[c][0]) for c in columns] == [8, 16, 5, 128, 122, 12544]
    assert kernels["measured_s"].tolist() == [10.5e-6]


@pytest.mark.parametrize("cat", ["kernel", "Kernel", "KERNEL", "concurrent_kernel", "gpu_op,kernel"])
def test_categories_of_kernels(tmp_path: Path, cat: str) -> None:
    assert len(trace_of(profile(tmp_path, event(cat=cat))).kernels) == 1


@pytest.mark.parametrize("cat", ["gpu_memcpy", "gpu_memset", "Memcpy", "Memset"])
def test_copies_are_counted_apart(tmp_path: Path, cat: str) -> None:
    trace = trace_of(profile(tmp_path, event("k"), event("Memcpy DtoD", 20, 3, cat=cat)))
    assert (len(trace.kernels), trace.manifest["captured"]["left_out"]) == (1, {"copies": 1, "copies_us": 3.0})


@pytest.mark.parametrize("cat", ["cpu_op", "gpu_user_annotation", "cuda_runtime", "overhead", "python_function", None])
def test_what_is_no_kernel(tmp_path: Path, cat: str | None) -> None:
    assert len(trace_of(profile(tmp_path, event(), event("other", 20) | {"cat": cat})).kernels) == 1


def test_the_profiler_before_kineto_had_no_categories(tmp_path: Path) -> None:
    old = {"ph": "X", "ts": 0, "dur": 2, "tid": 0, "args": {}}
    host = old | {"name": "mul", "pid": "CPU functions"}
    source = profile(tmp_path, text=json.dumps([host, *(old | {"name": n, "pid": "CUDA functions"} for n in ("k", "Memcpy HtoD"))]))
    assert trace_of(source).kernels["name"].tolist() == ["k"]


def test_times_that_are_relative_to_a_base_may_be_a_little_negative(tmp_path: Path) -> None:
    text = json.dumps({"baseTimeNanoseconds": 10**18, "displayTimeUnit": "ms", "traceEvents": [event("b", 1), event("a", -0.5)]})
    assert rows(profile(tmp_path, text=text)) == [("b", 10**18 + 1000, 10_000_000), ("a", 10**18 - 500, 10_000_000)]


def test_a_base_does_not_hide_a_clock_that_overflowed(tmp_path: Path) -> None:
    text = json.dumps({"baseTimeNanoseconds": 10**18, "traceEvents": [event("a"), event("bad", -2e15)]})
    with pytest.raises(TraceError, match=r"event 1 \('bad'\)"):
        Kineto().read(profile(tmp_path, text=text))


@pytest.mark.parametrize("unit", ["ms", "ns"])
def test_the_unit_that_is_shown_is_not_the_unit_of_times(tmp_path: Path, unit: str) -> None:
    assert rows(profile(tmp_path, text=json.dumps({"traceEvents": [event(ts=1)], "displayTimeUnit": unit}))) == [("k", 1000, 10_000_000)]


def test_kernels_that_begin_at_one_time_stay_in_the_files_order(tmp_path: Path) -> None:
    source = profile(tmp_path, event("b", 5, stream=8), event("a", 5, stream=9), event("c", 0))
    assert trace_of(source).kernels["name"].tolist() == ["c", "b", "a"]


H100 = {"id": "0", "name": "NVIDIA H100", "numSms": "132"}


@pytest.mark.parametrize("properties", [None, {}, [], "none", [3], [{"name": None}], [H100]], ids=repr)
def test_devices_that_are_not_described_do_no_harm(tmp_path: Path, properties: Any) -> None:
    made = Kineto().read(profile(tmp_path, text=json.dumps({"deviceProperties": properties, "traceEvents": [event()]})))
    described = properties == [H100]
    assert made.device_name == ("NVIDIA H100" if described else "")
    assert made.facts == ({"sm_count": 132} if described else {})


def test_the_first_versions_described_devices_in_cudas_words(tmp_path: Path) -> None:
    described = {"id": 0, "name": "Tesla V100-DGXS-32GB", "totalGlobalMem": 34084028416, "major": 7, "minor": 0, "multiProcessorCount": 80}
    made = Kineto().read(profile(tmp_path, text=json.dumps({"computeProperties": [described], "traceEvents": [event()]})))
    assert made.device_name == "Tesla V100-DGXS-32GB"
    assert made.facts == {"sm_count": 80, "memory_bytes": 34084028416, "compute_capability": "7.0"}


@pytest.mark.parametrize("where", ["}]", "}]}"], ids=["array", "object"])
def test_a_comma_behind_the_last_element_is_forgiven(tmp_path: Path, where: str) -> None:
    events = json.dumps([event(), event("b", 20)])
    text = events if where == "}]" else f'{{"traceEvents": {events}}}'
    assert len(rows(profile(tmp_path, text=text.replace("}]", "},\n]").replace("7}", "7,}")))) == 2


@pytest.mark.parametrize("end", ["", ",", ",\n", "\n"])
def test_an_array_may_lack_its_end(tmp_path: Path, end: str) -> None:
    text = json.dumps([event("a"), event("b", 20)])[:-1] + end
    with pytest.warns(ProfileWarning, match="has no end.*after the 2 that it has"):
        assert [name for name, *_ in rows(profile(tmp_path, text=text))] == ["a", "b"]


def test_an_array_that_ends_within_an_event_is_truncated(tmp_path: Path) -> None:
    with pytest.raises(TraceError, match="truncated or damaged after 2 events"):
        rows(profile(tmp_path, text=json.dumps([event("a"), event("b", 20)])[:-9]))


@pytest.mark.parametrize("between", ["\n", ",\n", "\r\n", "\n\n"])
def test_one_event_a_line_is_read(tmp_path: Path, between: str) -> None:
    source = profile(tmp_path, text=between.join(map(json.dumps, [{"ph": "M", "name": "process_name"}, event("a"), event("b", 20)])) + "\n")
    assert Kineto().recognises(source)
    assert [name for name, *_ in rows(source)] == ["a", "b"]


def test_a_line_that_is_cut_off_is_truncated(tmp_path: Path) -> None:
    with pytest.raises(TraceError, match="truncated or damaged after 2 events"):
        rows(profile(tmp_path, text="\n".join(map(json.dumps, [event("a"), event("b", 20)]))[:-9]))


def test_numbers_beyond_64_bits_do_no_harm(tmp_path: Path) -> None:
    assert len(rows(profile(tmp_path, event(addr=2**70, correlation=2**64 - 1, Process=-(2**80))))) == 1


def test_what_newer_versions_add_is_ignored(tmp_path: Path) -> None:
    new = {"Collective name": "allreduce", "Process Group Ranks": "[0, 1]", "Input Strides": [[1]], "Kwinputs": {"a": [1]}, "priority": -1}
    meta = {"ph": "M", "name": "process_name", "pid": 0, "args": {"name": "python"}}
    flow = {"ph": "s", "id": 1, "pid": 0, "tid": 7, "ts": 0, "cat": "ac2g", "name": "ac2g"}
    text = json.dumps({"trace_id": "A", "with_stack": 1, "traceEvents": [meta, flow, event(**new)], "cupti_version": 24})
    assert len(rows(profile(tmp_path, text=text))) == 1


@pytest.mark.parametrize(
    ("events", "message"),
    [
        ([], r"\(0 events\)"),
        ([event(cat="cpu_op")] * 3, r"\(3 events, 3 of category cpu_op\)"),
        ([event(cat="cuda")], r"\(1 events, 1 of category cuda; of nvprof, import the SQLite file"),
    ],
)
def test_a_file_without_kernels_says_what_it_holds(tmp_path: Path, events: list[dict[str, Any]], message: str) -> None:
    with pytest.raises(TraceError, match=f"must hold GPU kernels, but this kineto file has none {message}"):
        trace_of(profile(tmp_path, *events))


def test_a_file_of_copies_alone_says_so(tmp_path: Path) -> None:
    with pytest.raises(TraceError, match=r"has none \(2 copies and memory sets\)"):
        trace_of(profile(tmp_path, *[event(cat="gpu_memcpy")] * 2))


# Archives

RANKS = {f"run/rank-{n}.json": json.dumps({"traceEvents": [event(f"k{n}", dur=n + 1)]}).encode() for n in (10, 2)}


def tar(path: Path, files: dict[str, bytes], mode: Any = "w:gz") -> Path:
    with tarfile.open(path, mode) as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


def zipped(path: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


@pytest.mark.parametrize("pack", [tar, zipped], ids=["tgz", "zip"])
def test_of_several_ranks_the_lowest_is_read_and_the_others_are_named(tmp_path: Path, pack: Callable[..., Path]) -> None:
    made = read_profile(pack(tmp_path / "f", {"readme.txt": b"hello", **RANKS, "__MACOSX/run/._rank-2.json": b"x"}))
    assert made.launches.name == ["k2"]
    assert made.remarks[0] == (
        "of the archive's 3 files this is run/rank-2.json, the first profile; others, to be named by the option member: run/rank-10.json"
    )


@pytest.mark.parametrize("pack", [tar, zipped], ids=["tgz", "zip"])
def test_a_member_can_be_named(tmp_path: Path, pack: Callable[..., Path]) -> None:
    path = pack(tmp_path / "f", RANKS)
    assert read_profile(path, member="rank-10.json").launches.name == ["k10"]
    assert read_profile(path, member="run/rank-2.json").launches.name == ["k2"]
    with pytest.raises(TraceError, match=r"must be one of its 2 files, but got 'rank-1\.json'"):
        read_profile(path, member="rank-1.json")
    with pytest.raises(TraceError, match=r"must be one of its 2 files, but got '\.json'; run/rank-2\.json, run/rank-10\.json"):
        read_profile(path, member=".json")


def test_the_command_takes_a_member(tmp_path: Path) -> None:
    found = document("import", tar(tmp_path / "f", RANKS), "--member", "rank-10.json", "-o", tmp_path / "a.trace")
    assert found["total_us"] == 11.0
    assert not any("archive" in remark for remark in found["remarks"])
    assert "is one file: leave the member out" in run("import", A100, "--member", "x", "-o", tmp_path / "b.trace").stderr.replace("\n", " ")
    assert not (tmp_path / "b.trace").exists()


def test_packed_members_and_uncompressed_archives_are_read(tmp_path: Path) -> None:
    packed = {name + ".gz": gzip.compress(data) for name, data in RANKS.items()}
    assert read_profile(tar(tmp_path / "a", packed, "w:")).launches.name == ["k2"]
    assert read_profile(zipped(tmp_path / "b", dict([packed.popitem()]))).launches.name == ["k2"]
    (tmp_path / "c").write_bytes(gzip.compress(gzip.compress(RANKS["run/rank-2.json"])))
    assert read_profile(tmp_path / "c").launches.name == ["k2"]


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, "holds no file"),
        ({"a.txt": b"hello", "b": b"x"}, r"none of its 2 files is one: a\.txt, b"),
        ({"a": b""}, "its content is of none"),
    ],
    ids=["empty", "foreign", "empty file"],
)
def test_an_archive_without_a_profile_is_an_error(tmp_path: Path, files: dict[str, bytes], message: str) -> None:
    with pytest.raises(TraceError, match=message):
        read_profile(zipped(tmp_path / "f", files | {"d/": b""}) if files else zipped(tmp_path / "f", {".hidden": b"x"}))


def test_a_truncated_archive_is_an_error(tmp_path: Path) -> None:
    path = zipped(tmp_path / "f", RANKS)
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(TraceError, match="must be a whole zip archive"):
        read_profile(path)
    path = tar(tmp_path / "g", RANKS, "w:")
    path.write_bytes(path.read_bytes()[:600])
    with pytest.raises(TraceError, match="must be a whole tar archive"):
        read_profile(path)


def test_our_own_trace_is_no_profile(tmp_path: Path) -> None:
    save(trace_of(sample("mi250")), tmp_path / "t")
    with pytest.raises(TraceError, match="is a trace of codesign already"):
        read_profile(tmp_path / "t")


def test_every_kernel_of_a_profile_survives_a_round_trip(tmp_path: Path) -> None:
    run("import", A100, "-o", tmp_path / "a.trace")
    first = document("import", A100, "-o", tmp_path / "a.trace")
    for format in ("perfetto", "chakra"):
        document("export", tmp_path / "a.trace", "--format", format, "-o", tmp_path / "out")
        back = document("import", tmp_path / "out", "-o", tmp_path / "b.trace")
        for key in ("kernels", "total_us", "streams", "shares"):
            assert back[key] == first[key]


def test_overlaps_are_warned_of_with_file_event_and_stream(tmp_path: Path) -> None:
    source = profile(tmp_path, event("long", 0, 10), event("early", 5, 10), event("elsewhere", 5, 10, stream=9))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ProfileWarning)
        to_trace(Kineto().read(source), target="", program="p")
    assert [str(w.message).split(", first ")[1][:60] for w in caught] == ["'early' (kernel 1) 5.000 us before the end of 'long' (kernel"]


def test_measured_times_are_exact_sums(tmp_path: Path) -> None:
    """0.1 us has no exact double, but ten of them are a microsecond to the picosecond."""
    source = profile(tmp_path, *(event(str(n), n, 0.1) for n in range(10)))
    assert int(Kineto().read(source).launches.duration_ps.sum()) == 1_000_000
    assert np.nansum(trace_of(source).kernels["measured_s"]) == pytest.approx(1e-6, abs=1e-18)


def named(kind: str, name: str, pid: int, tid: int = 0) -> dict[str, Any]:
    return {"ph": "M", "name": kind, "pid": pid, "tid": tid, "args": {"name": name}}


def on(pid: int, tid: int, name: str, ts: float, dur: float, **args: str) -> dict[str, Any]:
    return {"ph": "X", "name": name, "pid": pid, "tid": tid, "ts": ts, "dur": dur, "args": args}


DETAILS = "regs:16 static_shared:128 dynamic_shared:0 grid:4,1,1 block:256,1,1 occ_pct:100"
"""A made file in the form of jax.profiler's trace.json.gz: streams, rows that repeat them, the host, an empty last event."""

JAX = [
    named("process_name", "/device:GPU:1", 1),
    named("thread_name", "Stream #13(compute,MemcpyD2D)", 1, 13),
    named("thread_name", "Stream #14(MemcpyH2D)", 1, 14),
    named("thread_name", "XLA Modules", 1, 98),
    named("thread_name", "XLA Ops", 1, 99),
    named("process_name", "/host:CPU", 701),
    named("thread_name", "python", 701, 1),
    on(1, 13, "loop_add_fusion", 100.25, 2.625, hlo_op="loop_add_fusion", kernel_details=DETAILS),
    on(1, 13, "ampere_sgemm_128x64_nn", 110, 10.5, hlo_op="custom-call.2"),
    on(1, 14, "MemcpyH2D", 90, 1),
    on(1, 98, "jit_f", 100, 20),
    on(1, 99, "custom-call.2", 110, 10.5),
    on(701, 1, "PjitFunction(f)", 80, 50),
    {},
]


def test_the_json_of_jaxs_profiler_gives_what_runs_on_streams(tmp_path: Path) -> None:
    kernels = trace_of(profile(tmp_path, *JAX)).kernels
    assert kernels["name"].tolist() == ["loop_add_fusion", "custom-call.2"]
    assert kernels["family"].tolist() == ["elementwise", "gemm"]
    assert (kernels["measured_s"] * 1e6).round(6).tolist() == [2.625, 10.5]
    assert kernels["stream"].tolist() == [13, 13]
    assert [kernels[name][0] for name in ("grid_x", "block_x", "registers", "shared_bytes")] == [4, 256, 16, 128]
    made = Kineto().read(profile(tmp_path, *JAX)).launches
    assert (made.kind.count("copy"), set(made.device.tolist())) == (1, {1})


def test_a_tpus_operations_have_a_row_of_their_own(tmp_path: Path) -> None:
    events = [named("process_name", "/device:TPU:0", 3), named("thread_name", "XLA Ops", 3, 2), on(3, 2, "fusion.1", 5, 2)]
    assert rows(profile(tmp_path, *events)) == [("fusion.1", 5000, 2_000_000)]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("p.json.zst", b"\x28\xb5\x2f\xfd rest", r"compressed by zstd: unpack it \(`zstd -d`\) first"),
        ("p.json.bz2", b"BZh91AY", "compressed by bzip2"),
        ("p.nsys-rep", b"report", "only NVIDIA's tools read: write `nsys export --type sqlite` and import that"),
        ("p.ncu-rep", b"report", "only NVIDIA's tools read: write `ncu --import FILE --csv --page raw`"),
    ],
)
def test_a_file_that_another_tool_must_open_first_says_which(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(TraceError, match=message):
        read_profile(tmp_path / name)
