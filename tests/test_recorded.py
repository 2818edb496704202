"""Are the shipped traces complete, what a fresh capture gives, and what was published about these programs?"""

import json
import shutil
import sys
from itertools import product
from pathlib import Path

import numpy as np
import pytest

import codesign as cd
from traces import Trace, record, registry
from traces.errors import CaptureError, TraceError
from traces.record import Recording, recordings
from traces.recordings import FOLDER, load_recorded, recorded_traces
from traces.saving import save
from traces.workloads.molecules import molecules

PARAMETERS = {"ferminet": 744_800, "default": 230_799}  # of the network on CH4, 4 bytes each

PUBLISHED = {
    ("ferminet", "a5000"): {"sampling": (81, 639), "laplacian": (201, 2521)},
    ("ferminet", "a100-sxm-40gb"): {"sampling": (81, None), "laplacian": (199, None)},
    ("ferminet", "h200"): {"sampling": (80, None), "laplacian": (194, None)},
    ("default", "a5000"): {"sampling": (131, 1139), "laplacian": (491, 6639)},
    ("default", "a100-sxm-40gb"): {"sampling": (135, None), "laplacian": (497, None)},
    ("default", "h200"): {"sampling": (131, None), "laplacian": (484, None)},
}
"""Instructions that launch, and launches, on CH4: counted in XLA's optimised HLO by other means (docs/workloads.md)."""

TEMPORARY_MIB = {
    "ferminet": {"LiH": 163, "CH4": 570, "C2H6": 1629, "C4H4": 3556},
    "default": {"LiH": 177, "CH4": 910, "C2H6": 2908, "C4H4": 6796},
}
"""XLA's own count of temporary memory of the local energy on the A5000 (docs/workloads.md)."""

EVERY = [pytest.param(r, id=r.name) for r in recordings() if r.framework == "jax" and r.target != record.TPU]
ON_TPU = [pytest.param(r, id=r.name) for r in recordings() if r.target == record.TPU]


@pytest.fixture(scope="module")
def traces() -> dict[str, Trace]:
    return {name: load_recorded(name) for name in recorded_traces()}


def test_every_workload_molecule_and_target_is_there_in_few_bytes() -> None:
    assert recorded_traces() == sorted(r.name for r in recordings())
    every = {(r.workload, r.molecule, r.target) for r in recordings() if not r.changed}
    assert every >= set(product((*record.DEEPQMC, *record.OURS), record.MOLECULES, record.TARGETS))
    assert sum(r.path.stat().st_size for r in recordings()) < 25e6


@pytest.mark.parametrize("recording", EVERY)
def test_a_manifest_says_how_to_make_the_trace_again(recording: Recording, traces: dict[str, Trace]) -> None:
    manifest = traces[recording.name].manifest
    assert manifest["captured"]["command"] == recording.command
    assert (manifest["program"], manifest["target"]) == (recording.workload, recording.target)
    settings = registry.get("workloads", recording.workload).settings
    assert settings(**manifest["options"]) == settings(molecule=recording.molecule, **dict(recording.changed))
    assert manifest["batch"] == manifest["options"]["batch"]
    assert (manifest["precision"], manifest["x64"]) == ("high" if recording.workload in record.OURS else "highest", False)
    own = set() if recording.workload in record.OURS else {"deepqmc"}
    assert {"jax", "jaxlib", "jax-cuda12-pjrt", "folx"} | own <= set(manifest["versions"])
    assert str(Path.home()) not in json.dumps(manifest)
    assert "/tmp" not in json.dumps(manifest)


@pytest.mark.parametrize("recording", EVERY)
def test_loops_run_once_a_transition_a_coordinate_and_an_orbital(recording: Recording, traces: dict[str, Trace]) -> None:
    trace = traces[recording.name]
    regions, options = trace.regions, trace.manifest["options"]
    loops, electrons = regions["kind"] == "loop", molecules()[recording.molecule].electrons
    orbitals = [electrons] if recording.workload == "orbformer" else []  # it writes a table of them, wherever it evaluates the molecule
    coordinates = [] if options["laplacian"] == "forward" else [3 * electrons]
    expected = [options["steps"], *orbitals, *orbitals, *coordinates]
    assert list(regions["trip_count"][loops])[: len(expected)] == expected
    assert options.get("task") == "training" or loops.sum() == len(expected)
    assert set(regions["condition"]) == {"host"}


@pytest.mark.parametrize("recording", EVERY)
def test_phase_and_stage_are_known(recording: Recording, traces: dict[str, Trace]) -> None:
    trace = traces[recording.name]
    moved = trace.executions * trace.kernels["bytes_unique"]
    training = trace.manifest["options"].get("task") == "training"
    assert set(trace.kernels["phase"]) == {"sampling", "laplacian"} | ({"gradient", "optimizer"} if training else set())
    assert set(trace.kernels["stage"]) - {""} == {"A", "B", "C", "D", "E", "sampler"} | ({"optimizer"} if training else set())
    assert moved[trace.kernels["stage"] == ""].sum() < 0.01 * moved.sum()


@pytest.mark.parametrize("recording", EVERY)
def test_the_local_energy_reads_the_walkers_that_sampling_wrote(recording: Recording, traces: dict[str, Trace]) -> None:
    trace = traces[recording.name]
    walkers = f"{trace.manifest['batch']}x{molecules()[recording.molecule].electrons}x3"
    output = f"output[{0 if recording.workload in record.OURS else 1}]['r']"
    shapes = [shape.replace("x1x", "x") for shape in trace.tensors["shape"]]  # a gather of walkers has slices of one
    fed = np.flatnonzero((trace.tensors["name"] == output) & (np.array(shapes) == walkers))
    assert len(fed) == 1
    reading = (trace.accesses["tensor"] == fed[0]) & ~trace.access_writes
    assert "laplacian" in set(trace.kernels["phase"][trace.accesses["kernel"][reading]])


@pytest.mark.parametrize("recording", ON_TPU)
def test_a_tpus_trace_is_the_program_with_the_compilers_cycles(recording: Recording, traces: dict[str, Trace]) -> None:
    """Transitions and coordinates are counted, also inside the loops that the TPU's own LU and triangular solves add."""
    trace = traces[recording.name]
    manifest, kernels = trace.manifest, trace.kernels
    assert manifest["captured"]["command"] == recording.command
    assert manifest["versions"]["libtpu"].startswith("0.0.42")
    counts = trace.regions["trip_count"][trace.regions["kind"] == "loop"].tolist()
    assert counts[0] == manifest["options"]["steps"]
    assert (3 * molecules()[recording.molecule].electrons in counts) == (manifest["options"]["laplacian"] == "loop")
    cycles = kernels["compiler_cycles"] * trace.executions
    assert np.nansum(cycles) > 1e8
    assert set(kernels["family"][np.isnan(cycles)]) - {"copy"} <= {"lu", "triangular_solve", "sort", "slice_concat", "transpose", *OTHERS}
    moved = np.nan_to_num(cycles)
    assert moved[kernels["phase"] == ""].sum() == 0
    assert moved[kernels["stage"] == ""].sum() < 0.05 * moved.sum()


OTHERS = {"elementwise", "reduce", "gather_scatter"}
"""Families of a few small instructions that the TPU's compiler does not estimate."""


def instructions(trace: Trace, phase: str) -> tuple[int, int]:
    """Return HLO instructions that launch, and their launches: rows but the copies that a library call makes of its operand."""
    rows = trace.kernels["phase"] == phase
    name, is_copy, times = trace.kernels["name"][rows], trace.kernels["launch_kind"][rows] == "copy", trace.executions[rows]
    chosen = ~(is_copy & np.isin(name, name[~is_copy]))
    return int(chosen.sum()), int(times[chosen].sum())


@pytest.mark.parametrize(("workload", "target"), PUBLISHED)
def test_methane_has_as_many_kernels_as_published(workload: str, target: str, traces: dict[str, Trace]) -> None:
    trace = traces[f"{workload}-ch4-{target}"]
    for phase, (static, dynamic) in PUBLISHED[workload, target].items():
        found = instructions(trace, phase)
        assert found == (static, dynamic or found[1])


@pytest.mark.parametrize("molecule", [m.lower() for m in record.MOLECULES])
@pytest.mark.parametrize("workload", ["ferminet", "default"])
def test_the_compiler_needs_as_much_memory_as_published(workload: str, molecule: str, traces: dict[str, Trace]) -> None:
    """The published number is temporary memory; the manifest's counts parameters, walkers and energies as well."""
    trace = traces[f"{workload}-{molecule}-a5000"]
    laplacian = np.isin(
        np.arange(len(trace.tensors)), trace.accesses["tensor"][trace.kernels["phase"][trace.accesses["kernel"]] == "laplacian"]
    )
    kept = laplacian & np.isin(trace.tensors["kind"], ("parameter", "output"))
    temporary = trace.manifest["memory"]["local_energy"]["compiler_allocated_bytes"] - trace.tensors["bytes"][kept].sum()
    published = next(mib for name, mib in TEMPORARY_MIB[workload].items() if name.lower() == molecule)
    assert temporary / 2**20 == pytest.approx(published, rel=0.01)


ALLOCATED_GB = {"psiformer": {"LiH": 0.46, "CH4": 2.2, "C2H6": 6.4, "C4H4": 16.7}, "orbformer": {"CH4": 4.0, "C2H6": 16.8, "C4H4": 32.7}}
"""XLA's count for the local energy of the original programs on the A5000; ours are written after a description of them."""


@pytest.mark.parametrize(("workload", "molecule"), [(w, m) for w, sizes in ALLOCATED_GB.items() for m in sizes])
def test_our_networks_need_the_memory_of_those_they_describe(workload: str, molecule: str, traces: dict[str, Trace]) -> None:
    memory = traces[f"{workload}-{molecule.lower()}-a5000"].manifest["memory"]["local_energy"]
    assert memory["compiler_allocated_bytes"] / 1e9 == pytest.approx(ALLOCATED_GB[workload][molecule], rel=0.08)


@pytest.mark.parametrize("name", [f"{w}-ch4-a5000" for w in ("ferminet", "default", "psiformer", "orbformer")])
def test_phase_and_stage_are_known_for_almost_all_of_the_work(name: str, traces: dict[str, Trace]) -> None:
    """By bytes moved, and by FLOP: at least 95 % each has a phase and a stage, also under the forward Laplacian."""
    trace = traces[name]
    known = (trace.kernels["stage"] != "") & (trace.kernels["phase"] != "")
    for column in ("bytes_unique", "flops_matrix"):
        work = np.nan_to_num(trace.executions * trace.kernels[column])
        assert work[known].sum() >= 0.95 * work.sum()
    if trace.manifest["options"]["laplacian"] == "forward":
        laplacian = trace.kernels["phase"] == "laplacian"
        moved = trace.kernels["bytes_unique"] * laplacian
        assert moved[trace.kernels["stage"] == "B"].sum() > 0.5 * moved.sum(), "attention layers carry most of the Laplacian"


def test_an_unknown_name_is_refused_with_the_nearest() -> None:
    with pytest.raises(TraceError, match="there is no recorded trace 'ferminet-ch4-a500'; did you mean 'ferminet-ch4-a5000'"):
        load_recorded("ferminet-ch4-a500")


def test_a_trace_is_loaded_by_file_or_by_recorded_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shipped, other = load_recorded("ferminet-lih-a5000"), load_recorded("llama-3-8b-a5000")
    monkeypatch.chdir(tmp_path)
    for name in ("ferminet-lih-a5000", "ferminet-lih-a5000.trace"):
        assert cd.load(name).content_hash == shipped.content_hash
    assert cd.load(FOLDER / "ferminet-lih-a5000.trace").content_hash == shipped.content_hash
    other.save("ferminet-lih-a5000")
    assert cd.load("ferminet-lih-a5000").content_hash == other.content_hash  # a file of the user's own comes first
    with pytest.raises(
        TraceError, match=r"no file ferminet-lih-a500, and no recorded trace of that name; did you mean 'ferminet-lih-a5000'"
    ):
        cd.load("ferminet-lih-a500")
    with pytest.raises(TraceError, match="codesign workloads NAME"):
        cd.load("zzz")


def test_the_smallest_captured_afresh_is_the_shipped_one(traces: dict[str, Trace]) -> None:
    pytest.importorskip("deepqmc", reason="needs the extra nnvmc")
    jax = pytest.importorskip("jax")
    pytest.importorskip("jax_plugins.xla_cuda12", reason="needs the extra xla-gpu")
    from arch import machine

    jax.clear_caches()  # JAX keeps of a function that several programs call the scope in which it met it first
    fresh = registry.get("workloads", "ferminet").capture(machine("a5000").target, molecule="LiH")
    shipped = traces["ferminet-lih-a5000"]
    for name, table in shipped.tables.items():
        for column in table.columns:
            np.testing.assert_array_equal(fresh.tables[name][column], table[column], err_msg=f"{name}.{column}")
    assert fresh.content_hash == shipped.content_hash


AFRESH = (
    "default-lih-h200-langevin",
    "psiformer-lih-a5000-training",
    "orbformer-ch4-a5000-batch128",
    "flashvan-h100-sxm-flash-kv-cache-bf16-size512-batch32",
    "llama-3-8b-h200",
    "llama-2-70b-a100-sxm-80gb-tensor_parallel4-batch1-prompt128-tokens0",
    "mixtral-8x7b-a5000",
    "opt-30b-t4-batch144-prompt512-tokens31-segments1",
)
"""One of each kind that ships. `python -m traces.record --check` compares all of them."""


@pytest.mark.slow
@pytest.mark.parametrize("name", AFRESH)
def test_one_of_each_kind_captured_afresh_is_the_shipped_one(name: str) -> None:
    pytest.importorskip("deepqmc", reason="needs the extra nnvmc")
    pytest.importorskip("torch", reason="needs the extra torch")
    pytest.importorskip("jax_plugins.xla_cuda12", reason="needs the extra xla-gpu")
    (recording,) = recordings(name)
    assert record.differences(recording) == []


def test_a_check_names_the_columns_that_differ(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, traces: dict[str, Trace]
) -> None:
    caplog.set_level("INFO", logger="traces")
    one, other = "ferminet-lih-a5000", "ferminet-lih-h200"
    monkeypatch.setattr(record, "_run", lambda recording, arguments: shutil.copy(FOLDER / f"{one}.trace", arguments[-1]))
    assert record.main(["--only", one, "--check"]) == 0
    assert caplog.messages == [f"{one}: equal"]
    assert record.main(["--only", other, "--check"]) == 1
    assert "kernels.name" in caplog.messages[-1]


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Let the recorder write into an empty folder."""
    folder = tmp_path / "traces" / "recorded"
    folder.mkdir(parents=True)
    monkeypatch.setattr(record, "FOLDER", folder)
    monkeypatch.setattr(record, "ROOT", tmp_path)
    return folder


def test_the_recorders_command_is_one_a_user_can_give() -> None:
    one = Recording("ferminet", "CH4", "a100-sxm-40gb")
    assert one.name == "ferminet-ch4-a100-sxm-40gb"
    expected = "codesign capture ferminet --molecule CH4 --target a100-sxm-40gb -o traces/recorded/ferminet-ch4-a100-sxm-40gb.trace"
    assert one.command == expected


def test_the_recorder_goes_on_where_it_stopped(elsewhere: Path, monkeypatch: pytest.MonkeyPatch, traces: dict[str, Trace]) -> None:
    made: list[str] = []

    def capture(recording: Recording) -> None:
        made.append(recording.name)
        shutil.copy(FOLDER / recording.path.name, elsewhere)

    monkeypatch.setattr(record, "record", capture)
    done, stale, damaged, absent = (Recording("ferminet", m, "a5000") for m in record.MOLECULES)
    save(traces[done.name], done.path)
    other = traces[stale.name]
    other.manifest["versions"] |= {"jax": "0.1"}
    save(other, stale.path)
    damaged.path.write_bytes(b"half a trace")
    assert record.main(["--only", "ferminet-*-a5000"]) == 0
    assert made == [stale.name, damaged.name, absent.name]
    made.clear()
    assert record.main(["--only", "ferminet-lih-a5000", "--force"]) == 0
    assert made == [done.name]


def test_the_recorder_says_what_failed(elsewhere: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(sys, "executable", shutil.which("false"))
    assert record.main(["--only", "ferminet-lih-a5000"]) == 2
    assert "`codesign capture ferminet --molecule LiH" in caplog.text
    assert list(elsewhere.iterdir()) == []


def test_a_pattern_that_fits_nothing_is_refused() -> None:
    with pytest.raises(CaptureError, match=r"no recorded trace has a name like 'ferminet-ch4-a500'; did you mean 'ferminet-ch4-a5000'"):
        recordings("ferminet-ch4-a500")
    assert record.main(["--only", "nothing"]) == 2
