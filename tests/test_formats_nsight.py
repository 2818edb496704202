"""Are the exports of Nsight Systems and Nsight Compute read by their documented schema? All files here are synthetic."""

import sqlite3
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from traces import Trace
from traces.errors import TraceError
from traces.formats.format import Importer
from traces.formats.ncu import Ncu
from traces.formats.nsys_csv import NsysCsv
from traces.formats.nsys_sqlite import NsysSqlite
from traces.formats.profile import ProfileWarning
from traces.formats.reading import read_profile
from traces.formats.source import Source
from traces.formats.to_trace import to_trace

KERNEL_TABLE = """CREATE TABLE CUPTI_ACTIVITY_KIND_KERNEL (start INTEGER NOT NULL, end INTEGER NOT NULL, deviceId INTEGER NOT NULL,
contextId INTEGER NOT NULL, streamId INTEGER NOT NULL, correlationId INTEGER, globalPid INTEGER, demangledName INTEGER NOT NULL,
shortName INTEGER NOT NULL, registersPerThread INTEGER NOT NULL, gridX INTEGER NOT NULL, gridY INTEGER NOT NULL, gridZ INTEGER NOT NULL,
blockX INTEGER NOT NULL, blockY INTEGER NOT NULL, blockZ INTEGER NOT NULL, staticSharedMemory INTEGER NOT NULL,
dynamicSharedMemory INTEGER NOT NULL)"""
COPY_TABLE = """CREATE TABLE CUPTI_ACTIVITY_KIND_MEMCPY (start INTEGER NOT NULL, end INTEGER NOT NULL, deviceId INTEGER NOT NULL,
contextId INTEGER NOT NULL, streamId INTEGER NOT NULL, correlationId INTEGER, bytes INTEGER NOT NULL, copyKind INTEGER NOT NULL)"""
GPU_TABLE = "CREATE TABLE TARGET_INFO_GPU (id INTEGER NOT NULL, name TEXT, totalMemory INTEGER, smCount INTEGER, computeMajor INTEGER)"


def database(tmp_path: Path, *kernels: tuple[int, ...]) -> Source:
    path = tmp_path / "report.sqlite"
    with sqlite3.connect(path) as made:
        made.execute("CREATE TABLE StringIds (id INTEGER NOT NULL PRIMARY KEY, value TEXT NOT NULL)")
        made.executemany(
            "INSERT INTO StringIds VALUES (?, ?)", [(1, "ampere_sgemm_128x64_nn"), (2, "void softmax_warp_forward<float>(float*)")]
        )
        made.execute(KERNEL_TABLE)
        marks = ",".join("?" * 18)
        made.executemany(f"INSERT INTO CUPTI_ACTIVITY_KIND_KERNEL VALUES ({marks})", kernels)
        made.execute(COPY_TABLE)
        made.execute("INSERT INTO CUPTI_ACTIVITY_KIND_MEMCPY VALUES (5000, 5500, 0, 1, 7, 3, 4096, 1)")
        made.execute(GPU_TABLE)
        made.execute("INSERT INTO TARGET_INFO_GPU VALUES (0, 'NVIDIA H200', 150754820096, 132, 9)")
    made.close()
    return Source(path)


SGEMM = (1_000, 3_345, 0, 1, 7, 10, 0, 1, 1, 122, 8, 16, 5, 128, 1, 1, 1024, 11520)
SOFTMAX = (4_001, 4_002, 0, 1, 9, 11, 0, 2, 2, 32, 4, 1, 1, 256, 1, 1, 0, 0)


def trace_of(importer: Importer, source: Source, **options: Any) -> Trace:
    assert importer.recognises(source)
    return to_trace(importer.read(source), target="", program="p", **options)


def test_the_sqlite_export_of_nsight_systems(tmp_path: Path) -> None:
    trace = trace_of(NsysSqlite(), database(tmp_path, SOFTMAX, SGEMM))
    kernels = trace.kernels
    assert kernels["name"].tolist() == ["ampere_sgemm_128x64_nn", "void softmax_warp_forward<float>(float*)"]
    assert kernels["family"].tolist() == ["gemm", "reduce"]
    assert (kernels["measured_s"] * 1e9).round(6).tolist() == [2345.0, 1.0]
    assert kernels["stream"].tolist() == [7, 9]
    assert [kernels[f"grid_{a}"][0] for a in "xyz"] == [8, 16, 5]
    assert [kernels[f"block_{a}"][0] for a in "xyz"] == [128, 1, 1]
    assert kernels["registers"].tolist() == [122, 32]
    assert kernels["shared_bytes"].tolist() == [12544, 0]
    captured = trace.manifest["captured"]
    assert captured["device"] == "NVIDIA H200"
    assert captured["facts"]["sm_count"] == 132
    assert captured["left_out"] == {"copies": 1, "copies_us": 0.5}


def test_sqlite_of_another_program_is_refused(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "other.db") as made:
        made.execute("CREATE TABLE notes (text TEXT)")
    made.close()
    with pytest.raises(TraceError, match=r"other\.db must have the table CUPTI_ACTIVITY_KIND_KERNEL, but has notes"):
        NsysSqlite().read(Source(tmp_path / "other.db"))


def test_damaged_sqlite_says_so(tmp_path: Path) -> None:
    source = database(tmp_path, SGEMM)
    source.path.write_bytes(source.path.read_bytes()[:5000])
    with pytest.raises(TraceError, match=r"report\.sqlite must be a whole SQLite file"):
        NsysSqlite().read(Source(source.path))


def test_an_end_before_the_start_is_a_clock_that_overflowed(tmp_path: Path) -> None:
    with pytest.raises(TraceError, match=r"the clock must not overflow, but kernel 0 \('ampere"):
        trace_of(NsysSqlite(), database(tmp_path, (9_000, 100, *SGEMM[2:])))


GRAPHS = "CREATE TABLE CUPTI_ACTIVITY_KIND_GRAPH_TRACE (start INTEGER, end INTEGER, deviceId INTEGER, graphId INTEGER, streamId INTEGER)"


def test_launches_of_whole_graphs_are_left_out_and_said(tmp_path: Path) -> None:
    source = database(tmp_path, SGEMM)
    with sqlite3.connect(source.path) as made:
        made.execute(GRAPHS)
        made.execute("INSERT INTO CUPTI_ACTIVITY_KIND_GRAPH_TRACE VALUES (0, 7000, 0, 1, 7)")
    made.close()
    remark = "1 launches of whole CUDA graphs, 7.0 us, are left out: --cuda-graph-trace=node records their kernels"
    assert NsysSqlite().read(Source(source.path)).remarks == (remark,)


def test_a_report_of_whole_graphs_alone_says_how_to_record_kernels(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "graphs.sqlite") as made:
        made.execute(GRAPHS)
        made.execute("INSERT INTO CUPTI_ACTIVITY_KIND_GRAPH_TRACE VALUES (0, 7000, 0, 1, 7)")
    made.close()
    with pytest.raises(TraceError, match=r"^\S*graphs\.sqlite must have the kernels of CUDA graphs.*--cuda-graph-trace=node"):
        NsysSqlite().read(Source(tmp_path / "graphs.sqlite"))


def test_an_old_table_with_few_columns_and_an_open_end_is_read(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "old.sqlite") as made:
        made.execute("CREATE TABLE StringIds (id INTEGER, value TEXT)")
        made.execute("INSERT INTO StringIds VALUES (4, 'ampere_sgemm_128x64_nn')")
        made.execute("CREATE TABLE CUPTI_ACTIVITY_KIND_KERNEL (start INTEGER, end INTEGER, streamId INTEGER, shortName INTEGER)")
        made.executemany("INSERT INTO CUPTI_ACTIVITY_KIND_KERNEL VALUES (?, ?, 7, 4)", [(10, 1010), (2000, None)])
    made.close()
    launches = NsysSqlite().read(Source(tmp_path / "old.sqlite")).launches
    assert launches.name == ["ampere_sgemm_128x64_nn"] * 2
    assert launches.duration_ps.tolist() == [1_000_000, -1]


HEADER = (
    "Start (ns),Duration (ns),CorrId,GrdX,GrdY,GrdZ,BlkX,BlkY,BlkZ,Reg/Trd,StcSMem (MB),DymSMem (MB),Bytes (MB),Throughput (MB/s),"
    "SrcMemKd,DstMemKd,Device,Ctx,GreenCtx,Strm,Name"
)
GPU_TRACE = f"""Generating SQLite file report.sqlite from report.nsys-rep
Processing [report.sqlite] with [cuda_gpu_trace.py]...
{HEADER}
1000,500,3,,,,,,,,,,0.004,8.1,Pageable,Device,NVIDIA RTX A5000 (0),1,,7,[CUDA memcpy Host-to-Device]
2000,2345,10,8,16,5,128,1,1,122,0.001,0.012,,,,,NVIDIA RTX A5000 (0),1,,7,ampere_sgemm_128x64_nn
5000,1001,11,4,1,1,256,1,1,32,0.000,0.000,,,,,NVIDIA RTX A5000 (0),1,,9,"void softmax_warp_forward<float, float>(float*, int)"
"""


def report(tmp_path: Path, text: str) -> Source:
    path = tmp_path / "report.csv"
    path.write_text(text)
    return Source(path)


def test_the_csv_report_of_nsight_systems(tmp_path: Path) -> None:
    trace = trace_of(NsysCsv(), report(tmp_path, GPU_TRACE))
    assert trace.kernels["name"].tolist() == ["ampere_sgemm_128x64_nn", "void softmax_warp_forward<float, float>(float*, int)"]
    assert (trace.kernels["measured_s"] * 1e9).round(6).tolist() == [2345.0, 1001.0]
    assert trace.kernels["stream"].tolist() == [7, 9]
    assert trace.kernels["shared_bytes"].tolist() == [13_000, 0]
    assert [trace.kernels[f"grid_{a}"][0] for a in "xyz"] == [8, 16, 5]
    assert trace.manifest["captured"]["device"] == "NVIDIA RTX A5000"
    assert trace.manifest["captured"]["left_out"]["copies"] == 1


def test_other_time_units_are_converted(tmp_path: Path) -> None:
    text = GPU_TRACE.replace("Start (ns),Duration (ns)", "Start (us),Duration (us)")
    assert (trace_of(NsysCsv(), report(tmp_path, text)).kernels["measured_s"] * 1e6).round(6).tolist() == [2345.0, 1001.0]
    older = GPU_TRACE.replace("Start (ns),Duration (ns)", "Start(nsec),Duration(nsec)")
    assert (trace_of(NsysCsv(), report(tmp_path, older)).kernels["measured_s"] * 1e9).round(6).tolist() == [2345.0, 1001.0]
    with pytest.raises(TraceError, match=r"the unit of 'Duration' must be one of .*, but is 'fortnights'"):
        NsysCsv().read(report(tmp_path, GPU_TRACE.replace("Duration (ns)", "Duration (fortnights)")))


def test_a_report_that_a_windows_shell_wrote_is_read(tmp_path: Path) -> None:
    path = tmp_path / "report.csv"
    path.write_bytes(GPU_TRACE.encode("utf-16"))
    expected = tmp_path / "plain.csv"
    expected.write_text(GPU_TRACE)
    assert NsysCsv().recognises(Source(path))
    assert NsysCsv().read(Source(path)).launches.duration_ps.tolist() == NsysCsv().read(Source(expected)).launches.duration_ps.tolist()


def test_a_truncated_csv_names_the_line(tmp_path: Path) -> None:
    with pytest.raises(TraceError, match=r"report\.csv must have 21 values a line, but line 5 has 9: was the file truncated"):
        NsysCsv().read(report(tmp_path, GPU_TRACE[: GPU_TRACE.index("122,") - 1]))


@pytest.mark.parametrize(
    ("old", "new", "message"), [("2345", "soon", "column 'Duration' must hold a number, but line 5"), ("2345", "", "line 5")]
)
def test_a_cell_that_is_no_number_is_named(tmp_path: Path, old: str, new: str, message: str) -> None:
    with pytest.raises(TraceError, match=message):
        NsysCsv().read(report(tmp_path, GPU_TRACE.replace(old, new)))


HEADS = ("ID", "Process ID", "Process Name", "Host Name", "Kernel Name", "Context", "Stream", "Block Size", "Grid Size", "Device", "CC")
DETAILS_HEAD = ",".join(f'"{name}"' for name in (*HEADS, "Section Name", "Metric Name", "Metric Unit", "Metric Value"))
METRICS = (
    ("gpu__time_duration.sum", "nsecond", "2,345"),
    ("launch__registers_per_thread", "register/thread", "122"),
    ("launch__shared_mem_per_block_static", "Kbyte/block", "1.5"),
    ("launch__shared_mem_per_block_dynamic", "byte/block", "100"),
    ("dram__bytes_read.sum", "Mbyte", "3.5"),
    ("dram__bytes_write.sum", "Kbyte", "500"),
    ("smsp__sass_thread_inst_executed_op_fadd_pred_on.sum", "inst", "10"),
    ("smsp__sass_thread_inst_executed_op_fmul_pred_on.sum", "inst", "5"),
    ("smsp__sass_thread_inst_executed_op_ffma_pred_on.sum", "inst", "1,000"),
    ("smsp__thread_inst_executed.sum", "inst", "4,000"),
)


def details() -> str:
    row = '"{id}","77","python","host","{name}","1","7","(128, 1, 1)","(8, 16, 5)","0","8.0","Section","{metric}","{unit}","{value}"'
    lines = ["==PROF== Connected to process 77", DETAILS_HEAD]
    for number, name in enumerate(("sgemm", "void softmax<float, 4>(float*)")):
        lines += [row.format(id=number, name=name, metric=m, unit=u, value=v) for m, u, v in METRICS[: 1 if number else None]]
    return "\n".join(lines) + "\n"


def raw() -> str:
    cells = ["0", "77", "python", "host", "sgemm", "1", "7", "(128, 1, 1)", "(8, 16, 5)", "0", "8.0"]
    rows = [[*HEADS, *(m for m, _, _ in METRICS)], [*([""] * 11), *(u for _, u, _ in METRICS)], [*cells, *(v for _, _, v in METRICS)]]
    return "\n".join(",".join(f'"{cell}"' for cell in row) for row in rows) + "\n"


@pytest.mark.parametrize("text", [details(), raw()], ids=["details", "raw"])
def test_the_counters_of_nsight_compute(tmp_path: Path, text: str) -> None:
    trace = trace_of(Ncu(), report(tmp_path, text))
    kernels = trace.kernels
    assert kernels["name"][0] == "sgemm"
    assert kernels["measured_s"][0] == pytest.approx(2.345e-6, abs=1e-15)
    assert kernels["registers"][0] == 122
    assert kernels["shared_bytes"][0] == 1600
    assert kernels["bytes_unique"][0] == 4e6
    assert kernels["flops_ncu"][0] == 10 + 5 + 2 * 1000
    assert kernels["instructions"][0] == 4000
    assert [kernels[f"grid_{a}"][0] for a in "xyz"] == [8, 16, 5]
    assert [kernels[f"block_{a}"][0] for a in "xyz"] == [128, 1, 1]
    assert kernels["stream"][0] == 7
    assert "runs each kernel alone" in trace.manifest["captured"]["remarks"][0]


def test_counters_that_were_not_collected_are_unknown(tmp_path: Path) -> None:
    kernels = trace_of(Ncu(), report(tmp_path, details())).kernels
    assert kernels["name"][1] == "void softmax<float, 4>(float*)"
    assert np.isnan([kernels[name][1] for name in ("bytes_unique", "flops_ncu", "instructions")]).all()
    assert kernels["registers"][1] == -1


def test_a_raw_page_without_units_is_refused(tmp_path: Path) -> None:
    lines = raw().splitlines()
    with pytest.raises(TraceError, match="must have the units below the header"):
        Ncu().read(report(tmp_path, "\n".join([lines[0], lines[2]])))


def test_kernels_of_nsight_systems_that_overlap_are_warned_of(tmp_path: Path) -> None:
    late = (1_500, 9_000, *SGEMM[2:])
    with pytest.warns(ProfileWarning, match="1 begin before the one ahead has ended"):
        trace_of(NsysSqlite(), database(tmp_path, SGEMM, late))


def test_packed_sqlite_is_read_from_memory(tmp_path: Path) -> None:
    import gzip

    plain = database(tmp_path, SGEMM, SOFTMAX)
    packed = tmp_path / "report.sqlite.gz"
    packed.write_bytes(gzip.compress(plain.path.read_bytes()))
    assert NsysSqlite().recognises(Source(packed))
    assert NsysSqlite().read(Source(packed)).launches.name == NsysSqlite().read(plain).launches.name


def test_counted_kernels_are_scaled_to_another_gpu(tmp_path: Path) -> None:
    """The product on the vector pipes by its multiply-adds; of what the counters do not tell, replay says that it cannot price it."""
    import codesign as cd
    from traces.errors import MachineError

    lines = details().splitlines()
    only = report(tmp_path, "\n".join(line for line in lines if "softmax" not in line) + "\n")
    trace = cd.import_profile(only.path, target="a100")
    assert trace.kernels["flops_matrix"].tolist() == trace.kernels["flops_ncu"].tolist() == [2015]
    here, there = (cd.replay(trace, cd.machine(name)).kernel_time_s for name in ("a100", "a5000"))
    assert here == pytest.approx(2.345e-6)
    assert 0.5 < there / here < 4
    with pytest.raises(MachineError, match="1 of 2 kernels"):
        cd.replay(cd.import_profile(report(tmp_path, details()).path, target="a100"), cd.machine("a5000"))


def test_a_table_ends_where_the_next_report_begins(tmp_path: Path) -> None:
    summary = "Time (%),Total Time (ns),Instances,Name\n100.0,3346,2,ampere_sgemm\n"
    source = report(tmp_path, f"** CUDA GPU Kernel Summary (cuda_gpu_kern_sum):\n\n{summary}\n{GPU_TRACE}\n{summary}")
    assert trace_of(NsysCsv(), source).kernels["stream"].tolist() == [7, 9]


def test_a_report_without_streams_or_with_its_scripts_own_header_is_read(tmp_path: Path) -> None:
    few = "Start (ns),Duration (ns),CorrId,Name\n1000,20,7,k\n2000,30,8,[CUDA memset]\n"
    launches = NsysCsv().read(report(tmp_path, few)).launches
    assert (launches.name, launches.kind, launches.stream.tolist()) == (["k", "memset"], ["other", "memset"], [-1, -1])
    bare = "Start:ts_ns,Duration:dur_ns,CorrId,GrdX,StcSMem:mem_B,DymSMem:mem_B,Device,Strm,Name\n1000,20,7,2,64,16,GPU (1),9,k\n"
    launches = NsysCsv().read(report(tmp_path, bare)).launches
    assert (launches.duration_ps.tolist(), launches.device.tolist(), list(launches.columns["shared_bytes"])) == ([20_000], [1], [80])


def test_the_list_of_launches_with_their_calls_is_read(tmp_path: Path) -> None:
    text = (
        "API Start (ns),API Dur (ns),Queue Start (ns),Queue Dur (ns),Kernel Start (ns),Kernel Dur (ns),Total Dur (ns),PID,TID,DevId,"
        "API Function,GridXYZ,BlockXYZ,Kernel Name\n"
        "43703966,78512,,,43769847,75200,141081,1,1,0,cuLaunchKernelEx, 148    1    1, 256    1    1,ampere_sgemm_128x64_nn\n"
    )
    kernels = trace_of(NsysCsv(), report(tmp_path, text)).kernels
    assert kernels["measured_s"].tolist() == [75.2e-6]
    assert [kernels[name][0] for name in ("grid_x", "block_x", "stream")] == [148, 256, -1]


def test_other_reports_of_nsight_systems_are_no_gpu_traces(tmp_path: Path) -> None:
    assert not NsysCsv().recognises(report(tmp_path, "Start (ns),Duration (ns),Name,Result,CorrID,Pid,Tid\n1,2,cudaLaunchKernel,0,1,1,1\n"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("Time (%),Total Time (ns),Instances,Avg (ns),Name\n100.0,1,1,1,k\n", "summary, which has no launches.*cuda_gpu_trace"),
        ('"Process ID","Kernel Name","Invocations","Metric Name","Average"\n"1","k","3","Duration","2"\n', "without --print-summary"),
    ],
)
def test_a_summary_says_what_lists_the_launches(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(TraceError, match=message):
        read_profile(report(tmp_path, text).path)


@pytest.mark.parametrize(
    ("written", "seconds"), [("2,345", 2345e-9), ("2.345,0", 2345e-9), ("2\u202f345,50", 2345.5e-9), ("2'345.5", 2345.5e-9)]
)
def test_numbers_are_read_by_the_language_that_wrote_them(tmp_path: Path, written: str, seconds: float) -> None:
    text = details().replace('"2,345"', f'"{written}"').replace('"4,000"', '"4000"').replace('"3.5"', '"3500"').replace("1.5", "1536")
    assert trace_of(Ncu(), report(tmp_path, text)).kernels["measured_s"][0] == pytest.approx(seconds, rel=1e-12)


def test_what_dram_moved_follows_from_its_rate(tmp_path: Path) -> None:
    head = '"ID","Process ID","Kernel Name","Section Name","Metric Name","Metric Unit","Metric Value"'
    rows = [("Duration", "usecond", "10"), ("Memory Throughput", "%", "40"), ("Memory Throughput", "Gbyte/second", "200")]
    text = "\n".join([head, *(f'"0","7","k","S","{m}","{u}","{v}"' for m, u, v in rows), "==PROF== Disconnected from process 7"])
    kernels = trace_of(Ncu(), report(tmp_path, text)).kernels
    assert kernels["bytes_unique"][0] == pytest.approx(2e6)


def test_streams_of_two_processes_and_devices_that_a_process_renumbers(tmp_path: Path) -> None:
    """Both processes see one GPU, their device 0, and launch on their stream 7 at the same time."""
    path = database(tmp_path, (*SGEMM[:6], 41 << 24, *SGEMM[7:]), (*SGEMM[:6], 42 << 24, *SGEMM[7:])).path
    with sqlite3.connect(path) as made:
        made.execute("CREATE TABLE TARGET_INFO_CUDA_DEVICE (gpuId INTEGER, cudaId INTEGER, pid INTEGER)")
        made.executemany("INSERT INTO TARGET_INFO_CUDA_DEVICE VALUES (?, 0, ?)", [(0, 41), (1, 42)])
    made.close()
    launches = NsysSqlite().read(Source(path)).launches
    assert launches.device.tolist() == [0, 1, 0]
    with sqlite3.connect(path) as made:
        made.execute("DROP TABLE TARGET_INFO_CUDA_DEVICE")
    made.close()
    assert NsysSqlite().read(Source(path)).launches.stream.tolist() == [7, 8, 7], "the copy's table does not tell processes apart"


def test_a_kernel_without_a_demangled_name_has_its_short_one(tmp_path: Path) -> None:
    assert NsysSqlite().read(database(tmp_path, (*SGEMM[:7], 0, 1, *SGEMM[9:]))).launches.name[0] == "ampere_sgemm_128x64_nn"
