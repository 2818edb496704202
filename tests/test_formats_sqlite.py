"""Are the SQLite files of nvprof and rocprofv3 read? All files here are synthetic, of the tools' own schemas."""

import sqlite3
from pathlib import Path

import pytest

import codesign as cd
from codesign.importing import report
from traces.errors import TraceError

CONCURRENT = ", ".join(
    f"{name} INT NOT NULL"
    for name in [
        "start",
        "end",
        "deviceId",
        "contextId",
        "streamId",
        "gridX",
        "gridY",
        "gridZ",
        "blockX",
        "blockY",
        "blockZ",
        "registersPerThread",
        "staticSharedMemory",
        "dynamicSharedMemory",
        "name",
    ]
)


def nvprof(tmp_path: Path) -> Path:
    path = tmp_path / "run.nvprof"
    with sqlite3.connect(path) as made:
        made.execute("CREATE TABLE StringTable (_id_ INTEGER PRIMARY KEY AUTOINCREMENT, value TEXT)")
        made.executemany(
            "INSERT INTO StringTable VALUES (?, ?)", [(1, "volta_sgemm_128x64_nn"), (2, "_Z7softmaxPf"), (3, "Tesla V100-SXM2-16GB")]
        )
        made.execute(f"CREATE TABLE CUPTI_ACTIVITY_KIND_CONCURRENT_KERNEL (_id_ INTEGER PRIMARY KEY AUTOINCREMENT, {CONCURRENT})")
        rows = [(1000, 3345, 0, 1, 7, 8, 16, 5, 128, 1, 1, 122, 1024, 100, 1), (4000, 4501, 0, 1, 14, 4, 1, 1, 256, 1, 1, 32, 0, 0, 2)]
        made.executemany(f"INSERT INTO CUPTI_ACTIVITY_KIND_CONCURRENT_KERNEL VALUES (NULL, {','.join('?' * 15)})", rows)
        made.execute("CREATE TABLE CUPTI_ACTIVITY_KIND_MEMCPY (start INT, end INT, deviceId INT, contextId INT, streamId INT, bytes INT)")
        made.execute("INSERT INTO CUPTI_ACTIVITY_KIND_MEMCPY VALUES (3400, 3500, 0, 1, 7, 4096)")
        made.execute(
            "CREATE TABLE CUPTI_ACTIVITY_KIND_DEVICE (globalMemorySize INT, numMultiprocessors INT, computeCapabilityMajor INT, "
            "computeCapabilityMinor INT, id INT, name INT)"
        )
        made.execute("INSERT INTO CUPTI_ACTIVITY_KIND_DEVICE VALUES (16945512448, 80, 7, 0, 0, 3)")
    made.close()
    return path


def test_the_file_of_nvprof(tmp_path: Path) -> None:
    trace = cd.import_profile(nvprof(tmp_path))
    found, kernels = report(trace), trace.kernels
    assert (found["kernels"], found["total_us"], found["streams"]) == (2, 2.345 + 0.501, [7, 14])
    assert (found["device"], found["target"]) == ("Tesla V100-SXM2-16GB", "v100-sxm2-16gb")
    assert found["left_out"] == {"copies": 1, "copies_us": 0.1}
    assert kernels["name"].tolist() == ["volta_sgemm_128x64_nn", "_Z7softmaxPf"]
    assert kernels["family"].tolist() == ["gemm", "reduce"]
    assert ([int(kernels[f"grid_{axis}"][0]) for axis in "xyz"], int(kernels["shared_bytes"][0])) == ([8, 16, 5], 1124)


def test_concurrent_kernels_of_nsight_systems_with_names_as_text(tmp_path: Path) -> None:
    path = tmp_path / "report.sqlite"
    with sqlite3.connect(path) as made:
        made.execute(
            "CREATE TABLE CUPTI_ACTIVITY_KIND_CONCURRENT_KERNEL (start INT, end INT, deviceId INT, graphNodeId INT, demangledName TEXT)"
        )
        made.execute("INSERT INTO CUPTI_ACTIVITY_KIND_CONCURRENT_KERNEL VALUES (100, 150, 0, NULL, 'ampere_sgemm_64x64_nn')")
    made.close()
    trace = cd.import_profile(path)
    assert (trace.kernels["name"].tolist(), report(trace)["total_us"]) == (["ampere_sgemm_64x64_nn"], 0.05)


DISPATCH = "id INTEGER, guid TEXT, " + ", ".join(
    f"{name} BIGINT"
    for name in [
        "nid",
        "pid",
        "agent_id",
        "kernel_id",
        "dispatch_id",
        "queue_id",
        "stream_id",
        "start",
        "end",
        "group_segment_size",
        "workgroup_size_x",
        "workgroup_size_y",
        "workgroup_size_z",
        "grid_size_x",
        "grid_size_y",
        "grid_size_z",
    ]
)


def rocpd(tmp_path: Path, *, suffix: str, symbols: bool = True) -> Path:
    path = tmp_path / "1_results.db"
    with sqlite3.connect(path) as made:
        made.execute(f'CREATE TABLE "rocpd_kernel_dispatch{suffix}" ({DISPATCH})')
        rows = [
            (2, "a", 1, 9, 4, 2, 2, 1, 3, 5_000_000_000_000_010_000, 5_000_000_000_000_011_682, 512, 64, 2, 1, 1000, 4, 1),
            (1, "a", 1, 9, 4, 1, 1, 1, 0, 5_000_000_000_000_005_122, 5_000_000_000_000_008_687, 0, 256, 1, 1, 256, 1, 1),
        ]
        made.executemany(f'INSERT INTO "rocpd_kernel_dispatch{suffix}" VALUES ({",".join("?" * 18)})', rows)
        if symbols:
            made.execute(f'CREATE TABLE "rocpd_info_kernel_symbol{suffix}" (id INT, guid TEXT, kernel_name TEXT, display_name TEXT)')
            names = [
                (1, "a", "fill.kd", "__amd_rocclr_fillBufferAligned"),
                (2, "a", "Cijk_Ailk_Bljk_SB.kd", None),
                (1, "b", "x", "another run's"),
            ]
            made.executemany(f'INSERT INTO "rocpd_info_kernel_symbol{suffix}" VALUES (?, ?, ?, ?)', names)
            made.execute(f'CREATE TABLE "rocpd_info_agent{suffix}" (id INT, guid TEXT, type TEXT, name TEXT, product_name TEXT)')
            made.execute(f"INSERT INTO \"rocpd_info_agent{suffix}\" VALUES (4, 'a', 'GPU', 'gfx90a', 'AMD Instinct MI250X')")
    made.close()
    return path


@pytest.mark.parametrize("suffix", ["", "_00006409_00d1_70d1"])
def test_the_file_of_rocprofv3(tmp_path: Path, suffix: str) -> None:
    trace = cd.import_profile(rocpd(tmp_path, suffix=suffix))
    found, kernels = report(trace), trace.kernels
    assert (found["format"], found["kernels"], found["total_us"], found["streams"]) == ("rocprof", 2, 3.565 + 1.682, [0, 3])
    assert found["device"] == "AMD Instinct MI250X"
    assert kernels["name"].tolist() == ["__amd_rocclr_fillBufferAligned", "Cijk_Ailk_Bljk_SB"]
    assert [int(kernels[f"grid_{axis}"][1]) for axis in "xyz"] == [16, 2, 1]
    assert kernels["shared_bytes"].tolist() == [0, 512]


def test_dispatches_without_names_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(TraceError, match="must have kernels' names in the table rocpd_info_kernel_symbol"):
        cd.import_profile(rocpd(tmp_path, suffix="", symbols=False))


def test_a_spreadsheet_may_mark_its_text_as_unicode(tmp_path: Path) -> None:
    path = tmp_path / "report.csv"
    path.write_bytes("\ufeffStart (ns);Duration (ns);CorrId;Strm;Name\r\n1000;20;7;7;k\r\n".encode())
    assert report(cd.import_profile(path))["total_us"] == 0.02
