"""Is the JSON of Nsight Systems, rocprof and rocprofv3 read? All files here are synthetic; their totals are sums of a few numbers."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

import codesign as cd
from codesign.importing import report
from traces.errors import TraceError
from traces.formats.reading import importers
from traces.formats.source import Source

SGEMM, SOFTMAX = "ampere_sgemm_128x64_tn", "void softmax_warp_forward<float>(float*, int)"
STRINGS = ["[Unknown]", "cudaLaunchKernel_v7000", SGEMM, SOFTMAX, "ampere_sgemm"]
PROCESS = (1 << 48) | (4711 << 24)


def kernel(start: int, end: int, stream: int, name: int, context: int = 1, **more: Any) -> dict[str, Any]:
    """Return a line of a kernel; numbers of 64 bits are text there, as protobuf writes them in JSON."""
    inner = {"demangledName": str(name), "shortName": "4", "gridX": 8, "gridY": 2, "gridZ": 1, "blockX": 128, "blockY": 1, "blockZ": 1}
    inner |= {"registersPerThread": 122, "staticSharedMemory": 1024, "dynamicSharedMemory": 8} | more
    event = {
        "startNs": str(start),
        "endNs": str(end),
        "correlationId": 7,
        "deviceId": 0,
        "contextId": str(context),
        "streamId": str(stream),
    }
    return {"Type": 79, "CudaEvent": event | {"eventClass": 3, "globalPid": str(PROCESS), "kernel": inner}}


def other(start: int, end: int, stream: int, kind: str) -> dict[str, Any]:
    return {
        "Type": 80,
        "CudaEvent": {"startNs": str(start), "endNs": str(end), "deviceId": 0, "streamId": str(stream), kind: {"sizebytes": "64"}},
    }


CALL = {"Type": 48, "TraceProcessEvent": {"startNs": "900", "endNs": "1000", "correlationId": 7, "name": "1", "globalTid": "1"}}
EVENTS = [
    CALL,
    kernel(1_000, 3_345, 7, 2),
    other(3_400, 3_500, 7, "memcpy"),
    other(3_500, 3_507, 7, "memset"),
    other(3_510, 3_600, 7, "sync"),
    kernel(4_000, 4_501, 14, 3),
]
NSYS_NS = (3_345 - 1_000) + (4_501 - 4_000)


def nsys(tmp_path: Path, events: list[dict[str, Any]] = EVENTS, *, separate: bool = False, first: bool = False) -> Path:
    """Write the file as nsys does; ``separate``: a line a string; ``first``: the strings before the events."""
    strings = (
        [{"type": "String", "id": str(place), "value": text} for place, text in enumerate(STRINGS)] if separate else [{"data": STRINGS}]
    )
    lines = strings + events if first else events + strings
    path = tmp_path / "report.json"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


@pytest.mark.parametrize("separate", [True, False])
@pytest.mark.parametrize("first", [True, False])
def test_nsight_systems_events_have_their_names_wherever_the_strings_stand(tmp_path: Path, separate: bool, first: bool) -> None:
    trace = cd.import_profile(nsys(tmp_path, separate=separate, first=first), target="a100")
    found, kernels = report(trace), trace.kernels
    assert (found["format"], found["kernels"], found["streams"]) == ("nsys-json", 2, [7, 14])
    assert found["total_us"] == pytest.approx(NSYS_NS / 1e3)
    assert found["left_out"] == {"copies": 2, "copies_us": 0.107}  # 100 ns copied, 7 ns set; waiting is no work
    assert list(kernels["name"]) == [SGEMM, SOFTMAX]
    assert (kernels["grid_x"][0], kernels["grid_y"][0], kernels["block_x"][0]) == (8, 2, 128)
    assert (kernels["registers"][0], kernels["shared_bytes"][0]) == (122, 1032)


def test_a_table_of_strings_longer_than_what_formats_look_at_hides_nothing(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    strings = [*STRINGS, *(f"string {place} of a large program" for place in range(5_000))]
    path.write_text("".join(json.dumps(line) + "\n" for line in [{"data": strings}, *EVENTS]))
    assert path.read_text().index("CudaEvent") > 100_000
    assert len(cd.import_profile(path, target="a100").kernels) == 2


def test_streams_of_two_contexts_of_nsight_systems_are_two(tmp_path: Path) -> None:
    trace = cd.import_profile(nsys(tmp_path, [kernel(0, 9, 7, 2), kernel(3, 12, 7, 2, context=2)]), target="a100")
    assert list(trace.kernels["stream"]) == [7, 8]


def test_a_kernel_of_nsight_systems_without_an_end_is_not_measured(tmp_path: Path) -> None:
    open_ = kernel(5_000, 0, 7, 3)
    del open_["CudaEvent"]["endNs"]
    trace = cd.import_profile(nsys(tmp_path, [kernel(1_000, 2_000, 7, 2), open_]), target="a100")
    assert report(trace)["total_us"] == 1.0


def test_what_else_ran_on_the_device_is_said_to_be_left_out(tmp_path: Path) -> None:
    trace = cd.import_profile(nsys(tmp_path, [*EVENTS, other(6_000, 9_000, 7, "graphTrace")]), target="a100")
    assert any("1 events of the kind 'graphTrace' are left out" in remark for remark in trace.manifest["captured"]["remarks"])


@pytest.mark.parametrize(
    ("line", "says"),
    [('{"CudaEvent": {"startNs": ', "line 7 is truncated"), ('{"CudaEvent": {"startNs": "x", "kernel": {}}}', "in line 7 one is not")],
)
def test_a_damaged_line_of_nsight_systems_is_named(tmp_path: Path, line: str, says: str) -> None:
    path = nsys(tmp_path, EVENTS)
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines[:6], line, *lines[6:]]))
    with pytest.raises(TraceError, match=says):
        cd.import_profile(path)


def test_a_profile_of_the_host_alone_has_no_kernels(tmp_path: Path) -> None:
    with pytest.raises(TraceError, match="must hold GPU kernels, but this nsys-json file has none"):
        cd.import_profile(nsys(tmp_path, [CALL]))


def of_amd(name: str, pid: int, begin: int, end: int, **more: Any) -> dict[str, Any]:
    """Return an event as rocprof writes it: every number as text, ts and dur in whole microseconds, the rest among the arguments."""
    args = {"BeginNs": str(begin), "EndNs": str(end), "Name": name, **{key: str(value) for key, value in more.items()}}
    return {
        "ph": "X",
        "name": name,
        "pid": str(pid),
        "tid": "0",
        "ts": str(begin // 1000),
        "dur": str(max((end - begin) // 1000, 1)),
        "args": args,
    }


def label(pid: int, text: str) -> dict[str, Any]:
    return {"args": {"name": text}, "ph": "M", "pid": pid, "name": "process_name", "sort_index": pid}


HIP, COPY, GPU = 2, 1, 6
OF_AMD = [
    {},
    label(HIP, "CPU HIP API"),
    of_amd("hipLaunchKernel", HIP, 5_000, 9_000),
    label(COPY, "COPY"),
    of_amd("async-copy", COPY, 10_000, 14_000),
    label(GPU, "GPU0"),
    of_amd("Cijk_Ailk_Bljk_SB_MT64x64.kd", GPU, 20_000, 22_234, **{"dev-id": 0, "queue-id": 0, "stream-id": 2}),
    of_amd("hcCommandMarker", GPU, 22_300, 22_400, **{"dev-id": 0, "queue-id": 0, "stream-id": 2}),
    of_amd("CopyHostToDevice", GPU, 22_310, 22_500, **{"dev-id": 0, "queue-id": 1}),
    of_amd("FillBuffer", GPU, 22_500, 22_510, **{"dev-id": 0, "queue-id": 1}),
    of_amd("softmax(float*)", GPU, 22_600, 22_677, **{"gpu-id": 0, "queue-id": 1, "grd": 1000, "wgr": 256, "vgpr": 24, "lds": 512}),
]


def rocprof(tmp_path: Path, events: list[dict[str, Any]] = OF_AMD) -> Path:
    path = tmp_path / "results.json"
    path.write_text(json.dumps({"traceEvents": events, "otherData": {"Agent": "gfx90a"}}))
    return path


def test_chrome_json_of_rocprof_has_nanoseconds_and_no_calls_of_the_host(tmp_path: Path) -> None:
    trace = cd.import_profile(rocprof(tmp_path))
    found, kernels = report(trace), trace.kernels
    assert (found["format"], found["kernels"]) == ("rocprof-chrome", 2)
    assert found["total_us"] == pytest.approx((2_234 + 77) / 1e3)
    assert found["left_out"] == {"copies": 3, "copies_us": pytest.approx((4_000 + 190 + 10) / 1e3)}
    assert list(kernels["name"]) == ["Cijk_Ailk_Bljk_SB_MT64x64", "softmax(float*)"]
    assert list(kernels["stream"]) == [2, 1]
    assert (kernels["grid_x"][1], kernels["block_x"][1], kernels["registers"][1], kernels["shared_bytes"][1]) == (4, 256, 24, 512)
    assert kernels["family"][0] == "gemm"
    assert "1 barriers of queues are left out" in trace.manifest["captured"]["remarks"]


def test_only_one_format_takes_each_of_these_files(tmp_path: Path) -> None:
    for path, name in [(nsys(tmp_path), "nsys-json"), (rocprof(tmp_path), "rocprof-chrome"), (rocprofv3(tmp_path), "rocprofv3-json")]:
        assert [known for known, importer in importers().items() if importer.recognises(Source(path))] == [name]
        packed = path.with_suffix(".json.gz")
        packed.write_bytes(gzip.compress(path.read_bytes()))
        assert cd.import_profile(packed, target="a100").manifest["captured"]["format"] == name


def test_a_launch_of_rocprof_without_times_is_named(tmp_path: Path) -> None:
    with pytest.raises(TraceError, match="must have BeginNs and EndNs as whole nanoseconds, but one has EndNs 'soon'"):
        cd.import_profile(rocprof(tmp_path, [of_amd("k", GPU, 5, 9, **{"dev-id": 0, "EndNs": "soon"})]))


def test_rocprof_without_a_gpu_says_what_it_has(tmp_path: Path) -> None:
    with pytest.raises(TraceError, match="this rocprof-chrome file has none \\(3 events, none of a GPU\\)"):
        cd.import_profile(rocprof(tmp_path, OF_AMD[:3]))


def dispatch(kernel_id: int, start: int, end: int, queue: int, **more: Any) -> dict[str, Any]:
    info = {"size": 64, "agent_id": {"handle": 900}, "queue_id": {"handle": queue}, "kernel_id": kernel_id, "dispatch_id": 1}
    info |= {"group_segment_size": 512, "workgroup_size": {"x": 64, "y": 2, "z": 1}, "grid_size": {"x": 640, "y": 5, "z": 1}}
    return {"size": 72, "kind": 11, "start_timestamp": start, "end_timestamp": end, "dispatch_info": info, **more}


def rocprofv3(tmp_path: Path, dispatches: list[dict[str, Any]] | None = None) -> Path:
    ran = [dispatch(1, 100, 350, 77), dispatch(2, 400, 1_405, 78)] if dispatches is None else dispatches
    tool = {
        "metadata": {"pid": 1},
        "agents": [
            {"id": {"handle": 800}, "type": 1, "node_id": 0, "name": "AMD EPYC", "product_name": "AMD EPYC", "cu_count": 64},
            {"id": {"handle": 900}, "type": 2, "node_id": 4, "name": "gfx90a", "product_name": "AMD Instinct MI210", "cu_count": 104},
        ],
        "kernel_symbols": [
            {"kernel_id": 1, "kernel_name": "_Z4copyPf.kd", "formatted_kernel_name": "copy(float*) [clone .kd]"},
            {"kernel_id": 2, "kernel_name": "Cijk_Ailk_Bljk_SB_MT64x64.kd"},
        ],
        "buffer_records": {
            "kernel_dispatch": ran,
            "memory_copy": [{"start_timestamp": 10, "end_timestamp": 30, "dst_agent_id": {"handle": 900}, "src_agent_id": {"handle": 800}}],
        },
    }
    path = tmp_path / "4711_results.json"
    path.write_text(json.dumps({"rocprofiler-sdk-tool": [tool]}))
    return path


def test_the_json_of_rocprofv3(tmp_path: Path) -> None:
    trace = cd.import_profile(rocprofv3(tmp_path))
    found, kernels = report(trace), trace.kernels
    assert (found["format"], found["kernels"], found["device"]) == ("rocprofv3-json", 2, "AMD Instinct MI210")
    assert found["total_us"] == pytest.approx((250 + 1_005) / 1e3)
    assert found["left_out"] == {"copies": 1, "copies_us": 0.02}
    assert list(kernels["name"]) == ["copy(float*)", "Cijk_Ailk_Bljk_SB_MT64x64"]
    assert (kernels["grid_x"][0], kernels["grid_y"][0], kernels["block_y"][0], kernels["shared_bytes"][0]) == (10, 3, 2, 512)
    assert len(set(kernels["stream"])) == 2  # a queue each


def test_streams_of_hip_come_before_queues(tmp_path: Path) -> None:
    one = {"stream_id": {"handle": 3}}
    path = rocprofv3(tmp_path, [dispatch(1, 100, 350, 77, **one), dispatch(2, 400, 1_405, 78, **one)])
    assert len(set(cd.import_profile(path).kernels["stream"])) == 1


def test_json_of_rocprofv3_that_is_cut_or_foreign_is_refused(tmp_path: Path) -> None:
    path = rocprofv3(tmp_path)
    text = path.read_text()
    path.write_text(text[: len(text) // 2])
    with pytest.raises(TraceError, match="must be the whole JSON of `rocprofv3"):
        cd.import_profile(path)
    path.write_text(text.replace('"start_timestamp": 100', '"start_timestamp": "soon"'))
    with pytest.raises(TraceError, match=r"kernel_dispatch.*start_timestamp"):
        cd.import_profile(path)
