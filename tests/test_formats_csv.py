"""Are CSV lists of other tools, languages and versions read, and tables that are no lists refused by name? All files here are synthetic."""

from pathlib import Path

import pytest

import codesign as cd
from codesign.importing import report
from traces import Trace
from traces.errors import TraceError
from traces.formats.source import Source

NVPROF = """==2119== NVPROF is profiling process 2119, command: ./bench -n 10
mean 0.5, deviation 0.1
==2119== Profiling application: ./bench -n 10
==2119== Profiling result:
"Start","Duration","Grid X","Grid Y","Grid Z","Block X","Block Y","Block Z","Registers Per Thread","Static SMem","Dynamic SMem","Size",\
"Throughput","SrcMemType","DstMemType","Device","Context","Stream","Name","Correlation_ID"
ms,us,,,,,,,,KB,B,MB,GB/s,,,,,,,
239.361430,1.568000,,,,,,,,,,1.003906,0.610586,"Pinned","Device","Tesla P100-PCIE-16GB (0)","1","7","[CUDA memcpy HtoD]",274
239.900000,,,,,,,,,,,,,"","","Tesla P100-PCIE-16GB (0)",,,"[Unified Memory CPU page faults]",
240.000000,12.345000,8,16,5,128,1,1,122,1.500000,100,,,,,"Tesla P100-PCIE-16GB (0)","1","7",\
"void sgemm_128x64_nn<float, int>(float*) [281]",281
240.020000,2.001000,4,1,1,256,1,1,32,0.000000,0,,,,,"Tesla P100-PCIE-16GB (0)","1","22","softmax_warp_forward [283]",283
"""
ROCPROF_3 = """"Kind","Agent_Id","Queue_Id","Stream_Id","Thread_Id","Dispatch_Id","Kernel_Id","Kernel_Name","Correlation_Id",\
"Start_Timestamp","End_Timestamp","LDS_Block_Size","Scratch_Size","VGPR_Count","Accum_VGPR_Count","SGPR_Count","Workgroup_Size_X","Workgroup_Size_Y",\
"Workgroup_Size_Z","Grid_Size_X","Grid_Size_Y","Grid_Size_Z"
"KERNEL_DISPATCH","Agent 2",1,0,70,1,33,"__amd_rocclr_fillBufferAligned",11,172352210005122,172352210008687,0,0,12,4,48,256,1,1,256,1,1
"KERNEL_DISPATCH","Agent 2",1,3,70,2,16,"Cijk_Ailk_Bljk_SB<float, 4>",12,172352210008700,172352210010382,512,0,40,4,16,64,2,1,1000,4,1
"""
ROCPROF_3_FIRST = """"Kind","Agent_Id","Queue_Id","Kernel_Id","Kernel_Name","Correlation_Id","Start_Timestamp","End_Timestamp",\
"Private_Segment_Size","Group_Segment_Size","Workgroup_Size_X","Workgroup_Size_Y","Workgroup_Size_Z","Grid_Size_X","Grid_Size_Y","Grid_Size_Z"
"KERNEL_DISPATCH",1,5,15,"matrixTranspose(float*, float*, int)",0,671599758568,671599825328,0,64,4,4,1,1024,1024,1
"""
ROCPROF_1 = """"Index","KernelName","gpu-id","queue-id","queue-index","pid","tid","grd","wgr","lds","scr","arch_vgpr","accum_vgpr","sgpr",\
"wave_size","sig","obj","DispatchNs","BeginNs","EndNs","CompleteNs","DurationNs"
0,"bodyForce(Body*, float, int) [clone .kd]",1,0,0,9,9,65536,256,512,0,20,4,16,64,"0x0","0x7f",\
1591372809346673,1591372809872935,1591372836189584,1591372836215944,26316649
1,"reduce_sum.kd",1,2,2,9,9,100,64,0,0,8,4,16,64,"0x0","0x7f",1591372836774261,1591372837000949,1591372837000950,1591372863132315,1
"""
NSYS = """Start (ns),Duration (ns),CorrId,GrdX,GrdY,GrdZ,BlkX,BlkY,BlkZ,Reg/Trd,StcSMem (MB),DymSMem (MB),Bytes (MB),Device,Ctx,Strm,Name
9961600,2707098,67,1,1,2304,128,1,1,160,0.000,0.025,,NVIDIA A100-SXM4-80GB (0),1,7,ampere_sgemm_128x64_nn
9695600,265888,65,1,1,2304,128,1,1,137,0.000,0.007,,NVIDIA A100-SXM4-80GB (0),1,13,softmax_warp_forward
1,5,3,,,,,,,,,,1.000,NVIDIA A100-SXM4-80GB (0),1,7,[CUDA memcpy Host-to-Device]
"""


def imported(tmp_path: Path, text: str) -> Trace:
    path = tmp_path / "profile.csv"
    path.write_text(text)
    return cd.import_profile(path)


def test_the_list_of_nvprof(tmp_path: Path) -> None:
    trace = imported(tmp_path, NVPROF)
    kernels = trace.kernels
    assert kernels["name"].tolist() == ["void sgemm_128x64_nn<float, int>(float*)", "softmax_warp_forward"]
    assert kernels["family"].tolist() == ["gemm", "reduce"]
    assert [kernels[f"{what}_{axis}"][0] for what in ("grid", "block") for axis in "xyz"] == [8, 16, 5, 128, 1, 1]
    assert (kernels["registers"].tolist(), kernels["shared_bytes"].tolist()) == ([122, 32], [1.5 * 1024 + 100, 0])
    found = report(trace)
    assert (found["kernels"], found["total_us"], found["streams"]) == (2, 12.345 + 2.001, [7, 22])
    assert (found["device"], found["target"]) == ("Tesla P100-PCIE-16GB", "p100-pcie-16gb")
    assert found["left_out"] == {"copies": 1, "copies_us": 1.568}
    assert found["span_us"] == pytest.approx(22.001)
    assert found["remarks"] == ["1 faults and moves of unified memory that have no duration are left out"]


def test_the_list_of_nvprof_needs_its_units(tmp_path: Path) -> None:
    with pytest.raises(TraceError, match=r"must have the units below the header.*but line 6 has none"):
        imported(tmp_path, NVPROF.replace("ms,us,,,,,,,,KB,B,MB,GB/s,,,,,,,\n", ""))


def test_the_kernel_trace_of_rocprofv3(tmp_path: Path) -> None:
    trace = imported(tmp_path, ROCPROF_3)
    found, kernels = report(trace), trace.kernels
    assert (found["format"], found["kernels"], found["total_us"], found["streams"]) == ("rocprof", 2, 3.565 + 1.682, [0, 3])
    assert kernels["family"].tolist() == ["copy", "gemm"]
    blocks = [kernels[f"grid_{axis}"][1] for axis in "xyz"]  # of 64 x 2 x 1 threads; the last of 1000 / 64 is not full
    assert blocks == [16, 2, 1]
    assert (kernels["registers"].tolist(), kernels["shared_bytes"].tolist()) == ([12, 40], [0, 512])


def test_the_first_kernel_trace_of_rocprofv3(tmp_path: Path) -> None:
    trace = imported(tmp_path, ROCPROF_3_FIRST)
    assert (report(trace)["total_us"], report(trace)["streams"]) == (66.76, [5])
    assert [trace.kernels[f"grid_{axis}"][0] for axis in "xyz"] == [256, 256, 1]
    assert trace.kernels["shared_bytes"].tolist() == [64]


def test_a_list_of_amds_counters_has_a_kernel_once(tmp_path: Path) -> None:
    names = "Correlation_Id Dispatch_Id Agent_Id Queue_Id Process_Id Grid_Size Kernel_Name Workgroup_Size Counter_Name Counter_Value"
    head = ",".join(f'"{name}"' for name in f"{names} Start_Timestamp End_Timestamp".split()) + "\n"
    rows = "".join(
        f'{d},{d},1,1,42,1048576,"k",256,"{c}",{d}.5,{1000 + 100 * d},{1000 + 200 * d}\n'
        for d in (1, 2)
        for c in ("SQ_WAVES", "FETCH_SIZE")
    )
    trace = imported(tmp_path, head + rows)
    assert trace.kernels["measured_s"].tolist() == [0.1e-6, 0.2e-6]
    assert trace.kernels["grid_x"].tolist() == [4096, 4096]


def test_the_results_of_rocprof(tmp_path: Path) -> None:
    trace = imported(tmp_path, ROCPROF_1)
    found, kernels = report(trace), trace.kernels
    assert kernels["name"].tolist() == ["bodyForce(Body*, float, int)", "reduce_sum"]
    assert (found["total_us"], found["streams"]) == (26316.65, [0, 2])
    assert (kernels["grid_x"].tolist(), kernels["block_x"].tolist()) == ([256, 2], [256, 64])
    without = "\n".join(",".join(row.split(",")[:-5]) for row in ROCPROF_1.splitlines())
    with pytest.raises(TraceError, match=r"no column BeginNs or EndNs: run `rocprof --timestamp on`"):
        imported(tmp_path, without + "\n")


def test_an_end_before_the_start_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(TraceError, match="the clock must not overflow, but kernel 0"):
        imported(tmp_path, ROCPROF_3_FIRST.replace("671599825328", "671599758567"))


@pytest.mark.parametrize("delimiter", [";", "\t"])
def test_other_characters_may_stand_between_cells(tmp_path: Path, delimiter: str) -> None:
    found = report(imported(tmp_path, NSYS.replace(",", delimiter)))
    assert (found["kernels"], found["total_us"], found["streams"], found["target"]) == (2, 2972.986, [7, 13], "a100-sxm-80gb")


def test_a_spreadsheet_that_writes_decimals_behind_commas(tmp_path: Path) -> None:
    text = NSYS.replace("(ns)", "(us)").replace(",", ";").replace("0.0", "0,0").replace(";2707098;", ";2707,098;")
    text = text.replace("9961600;", "9961,6;").replace("9695600;265888", "9695,6;265,888")
    trace = imported(tmp_path, text)
    assert report(trace)["total_us"] == 2972.986
    assert sorted(trace.kernels["shared_bytes"].tolist()) == [7_000, 25_000]


def test_thousands_may_be_written_apart(tmp_path: Path) -> None:
    text = NSYS.replace("9961600,2707098", '"9,961,685","2,707,098"').replace("9695600,265888", '"9,695,093","265,888"')
    assert report(imported(tmp_path, text))["total_us"] == 2972.986


def test_what_is_printed_between_the_rows_of_nsight_compute_ends_nothing(tmp_path: Path) -> None:
    """The tool prints its own lines, the program its own, and a second process the header again: no kernel may be lost."""
    head = '"ID","Process ID","Kernel Name","Stream","Metric Name","Metric Unit","Metric Value"\n'

    def row(number: int, process: int, value: str, unit: str) -> str:
        return f'"{number}","{process}","k","7","gpu__time_duration.sum","{unit}","{value}"\n'

    text = (
        f'==PROF== Connected to process 1 (/usr/bin/python)\n==PROF== Profiling "a" - 0: 0%....50%....100% - 1 pass\n{head}'
        f'{row(0, 1, "10,000.00", "usecond")}==PROF== Profiling "b" - 1: 0%....50%....100% - 1 pass\nloss 0.5, accuracy 0.3\n\n'
        f"{row(1, 1, '2.00', 'msecond')}==PROF== Disconnected from process 1\n{head}{row(0, 2, '1', 'nsecond')}"
    )
    assert report(imported(tmp_path, text))["total_us"] == 12_000.001


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            '"Type","Time(%)","Time","Calls","Avg","Min","Max","Name"\n"GPU activities",50,1,2,5,4,6,"k"\n',
            "summary.*nvprof --print-gpu-trace --csv",
        ),
        ('"Device","Kernel","Invocations","Metric Name","Min"\n"P100","k",1,"ipc",1\n', "summary.*nvprof --print-gpu-trace --csv"),
        ('"Name","Calls","TotalDurationNs","AverageNs"\n"k",1,2,2\n', "summary.*rocprofv3 --kernel-trace"),
        ("----\n   Name    Self CPU %   CUDA total    # of Calls\n----\naten::mm   1.00%   3us   1\n", "summary.*export_chrome_trace"),
        (
            "   Start  Duration            Grid Size      Block Size     Regs*  Name\n182ms  6us  (1 1 1)  (1 1 1)  2  k\n",
            "table for people.*nvprof",
        ),
        (
            " Start (ns)   Duration (ns)  CorrId  GrdX  Reg/Trd  Name\n ---- ----\n 100  30  11  2  24  k\n",
            "table for people.*--format csv",
        ),
        ("    Metric Name    Metric Unit Metric Value\n    DRAM Frequency   Ghz   2.59\n", "table for people.*ncu --csv"),
    ],
)
def test_a_table_without_launches_says_which_command_lists_them(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(TraceError, match=message):
        imported(tmp_path, text)


def test_a_file_that_was_cut_off_names_its_line(tmp_path: Path) -> None:
    for text in (NVPROF, ROCPROF_3, ROCPROF_1):
        with pytest.raises(TraceError, match=r"must have \d+ values a line, but line \d+ has \d+"):
            imported(tmp_path, text[: text.rindex(",1")])


def test_the_content_tells_formats_apart(tmp_path: Path) -> None:
    from traces.formats.reading import importers

    for text, name in ((NVPROF, "nvprof"), (ROCPROF_3, "rocprof"), (ROCPROF_1, "rocprof"), (NSYS, "nsys-csv")):
        path = tmp_path / "profile.csv"
        path.write_text(text)
        assert [known for known, importer in importers().items() if importer.recognises(Source(path))] == [name]
