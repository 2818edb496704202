"""Does a profile become a trace by its content alone, and does nothing half-written stay behind?"""

import gzip
import io
import shutil
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import codesign as cd
from codesign.importing import device_id
from tests.command_line import document, run
from tests.kineto_profiles import A100, PROFILES, event, profile
from traces import registry
from traces.errors import TraceError
from traces.formats.profile import ProfileWarning
from traces.formats.reading import exporters, importers, read_profile
from traces.formats.source import Source


def test_formats_are_entry_points() -> None:
    assert registry.names("formats") == sorted({**importers(), **exporters()})
    assert set(importers()) == {
        "chakra",
        "kineto",
        "ncu",
        "nsys",
        "nsys-csv",
        "nsys-json",
        "nvprof",
        "rocprof",
        "rocprof-chrome",
        "rocprofv3-json",
        "xplane",
    }
    assert set(exporters()) == {"chakra", "perfetto"}
    assert all(name == made.name for name, made in {**importers(), **exporters()}.items())


@pytest.mark.parametrize("path", sorted(PROFILES.glob("*.gz")), ids=lambda p: p.name)
def test_exactly_one_format_recognises_each_sample_whatever_its_name(path: Path, tmp_path: Path) -> None:
    renamed = tmp_path / "file.bin"
    shutil.copy(path, renamed)
    found = [name for name, importer in importers().items() if importer.recognises(Source(renamed))]
    assert found == ["chakra" if "chakra" in path.name else "kineto"]


def test_an_unpacked_file_and_an_archive_of_one_are_read_too(tmp_path: Path) -> None:
    content = gzip.decompress(A100.read_bytes())
    (tmp_path / "plain").write_bytes(content)
    with tarfile.open(tmp_path / "packed.tgz", "w:gz") as archive:
        for name, data in (("._profile.json", b"attributes"), ("profile.json", content)):
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    assert len(read_profile(tmp_path / "plain").launches) == len(read_profile(tmp_path / "packed.tgz").launches) == 79 + 19


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "must hold a profile, but is empty"),
        (b"hello\n", "its content is of none"),
        (b'{"kind": "timeline"}', "its content is of none"),
        (b"\x00\x01\x02", "its content is of none"),
        (A100.read_bytes()[:9000], "must be a whole gzip file, but is truncated"),
        (gzip.compress(gzip.decompress(A100.read_bytes())[:300_000]), "must be a whole JSON file, but is truncated or damaged after"),
    ],
    ids=["empty", "text", "json", "binary", "short gzip", "short json"],
)
def test_a_foreign_or_truncated_file_is_an_error_and_writes_nothing(content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "in").write_bytes(content)
    done = run("import", tmp_path / "in", "-o", tmp_path / "out.trace")
    assert done.exit_code == 2
    assert done.stdout == ""
    assert message in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr
    assert [p.name for p in tmp_path.iterdir()] == ["in"]


def test_a_format_can_be_named() -> None:
    with pytest.raises(TraceError, match=r"got 'kinetto'; did you mean 'kineto'"):
        read_profile(A100, "kinetto")
    with pytest.raises(TraceError, match="must have a header line"):
        read_profile(A100, "nsys-csv")


@pytest.mark.parametrize(
    ("name", "facts", "expected"),
    [
        ("NVIDIA A100-PG509-200", {"sm_count": 108, "memory_bytes": 42297524224}, "a100-sxm-40gb"),
        ("NVIDIA A100-SXM4-40GB", {}, "a100-sxm-40gb"),
        ("NVIDIA RTX A5000", {}, "a5000"),
        ("NVIDIA H200", {"sm_count": 132}, "h200"),
        ("NVIDIA H200", {"sm_count": 7}, "nvidia-h200"),
        ("Tesla P100-PCIE-16GB", {}, "p100-pcie-16gb"),
        ("NVIDIA H100 NVL", {}, "nvidia-h100-nvl"),
        ("NVIDIA A10", {}, "a10"),
        ("NVIDIA A10G", {}, "nvidia-a10g"),
        ("NVIDIA GeForce RTX 3090 Ti", {}, "nvidia-geforce-rtx-3090-ti"),
        ("NVIDIA L40S", {}, "l40s"),
        ("AMD Radeon Graphics", {}, "amd-radeon-graphics"),
        ("", {}, ""),
    ],
)
def test_a_profiles_device_becomes_the_catalogues(name: str, facts: dict[str, Any], expected: str) -> None:
    assert device_id(name, facts) == expected


@pytest.mark.parametrize(
    ("name", "remark"),
    [
        ("NVIDIA H100 NVL", "the catalogue has no device that fits 'NVIDIA H100 NVL'"),
        ("", "the file does not say which device"),
        ("NVIDIA H200", ""),
    ],
)
def test_a_device_that_the_catalogue_lacks_is_remarked(tmp_path: Path, name: str, remark: str) -> None:
    path = tmp_path / "report.csv"
    path.write_text(f"Start (ns),Duration (ns),CorrId,Device,Strm,Name\n1000,20,7,{name},7,sgemm\n")
    remarks = document("import", path, "-o", tmp_path / "a.trace")["remarks"]
    assert [each.startswith(remark) and "the option target" in each for each in remarks] == [True] * bool(remark)


def test_the_command_says_what_it_found(tmp_path: Path) -> None:
    found = document("import", A100, "-o", tmp_path / "a.trace")
    assert found["kind"] == "import"
    assert (found["kernels"], found["total_us"], found["streams"]) == (79, 10692.0, [7, 20])
    assert (found["device"], found["target"]) == ("NVIDIA A100-PG509-200", "a100-sxm-40gb")
    assert found["share_other"] == 0
    assert sum(found["shares"].values()) == pytest.approx(1)
    assert any("no kernel runs" in warning for warning in found["warnings"])
    assert "share of unknown family" in run("import", A100, "-o", tmp_path / "a.trace").stdout


def test_the_share_in_other_says_how_much_of_it_is_communication(tmp_path: Path) -> None:
    source = profile(tmp_path, event("sgemm", 0, 5), event("ncclDevKernel_AllReduce_Sum_f32_RING_LL", 10, 3), event("what", 20, 2))
    found = document("import", source.path, "-o", tmp_path / "a.trace")
    assert (found["share_other"], found["share_communication"]) == pytest.approx((0.5, 0.3))


def test_on_its_own_device_a_profile_costs_what_was_measured(tmp_path: Path) -> None:
    run("import", A100, "-o", tmp_path / "a.trace")
    timeline = document("replay", tmp_path / "a.trace", "--machine", "a100")
    assert timeline["kernel_time_s"] == pytest.approx(10692e-6)
    assert timeline["launches"] == 79
    assert timeline["time_s"] >= timeline["kernel_time_s"]


def test_elsewhere_it_is_refused_with_number_and_share(tmp_path: Path) -> None:
    run("import", A100, "-o", tmp_path / "a.trace")
    done = run("replay", tmp_path / "a.trace", "--machine", "a5000")
    assert done.exit_code == 2
    assert "79 of 79 kernels" in done.stderr
    assert "100.0 % of the measured time" in " ".join(done.stderr.split())


def test_the_public_function_takes_a_target() -> None:
    with pytest.warns(ProfileWarning, match="no kernel runs"):
        trace = cd.import_profile(A100, target="h200")
    assert trace.target == "h200"
    assert len(trace.kernels) == 79
    assert np.nansum(trace.kernels["measured_s"]) == pytest.approx(10692e-6)


def test_measured_times_are_joined_on_the_command_line(tmp_path: Path) -> None:
    """An export of a captured trace stands in for its profile: its kernels have the trace's names."""
    run("import", PROFILES / "two_streams_kineto.json.gz", "-o", tmp_path / "a.trace")
    found = document("import", PROFILES / "two_streams_kineto.json.gz", "--join", tmp_path / "a.trace", "-o", tmp_path / "b.trace")
    assert (found["kernels"], found["measured"]) == (3, 3)
    assert found["share_of_profile"] == pytest.approx(369 / 372)  # the rest are three memory sets of 1 us
    assert cd.load(tmp_path / "b.trace").kernels["measured_s"].tolist() == pytest.approx([123e-6] * 3)


@pytest.mark.parametrize("format", ["perfetto", "chakra"])
def test_a_trace_that_is_exported_can_be_imported_again(format: str, tmp_path: Path) -> None:
    run("import", A100, "-o", tmp_path / "a.trace")
    made = document("export", tmp_path / "a.trace", "--format", format, "-o", tmp_path / "out")
    assert made["bytes"] == (tmp_path / "out").stat().st_size
    back = document("import", tmp_path / "out", "-o", tmp_path / "b.trace")
    assert (back["kernels"], back["total_us"], back["streams"]) == (79, 10692.0, [7, 20])


def test_a_replay_is_exported_with_its_memory(tmp_path: Path) -> None:
    run("import", A100, "-o", tmp_path / "a.trace")
    done = run("export", tmp_path / "a.trace", "--format", "perfetto", "--machine", "a100", "-o", tmp_path / "t.json")
    assert done.exit_code == 0, done.output
    assert "memory a100-sxm-40gb-memory" in (tmp_path / "t.json").read_text()


def test_an_unknown_export_is_an_error_and_writes_nothing(tmp_path: Path) -> None:
    run("import", A100, "-o", tmp_path / "a.trace")
    done = run("export", tmp_path / "a.trace", "--format", "pdf", "-o", tmp_path / "out")
    assert done.exit_code == 2
    assert "got 'pdf'" in done.stderr
    assert not (tmp_path / "out").exists()
