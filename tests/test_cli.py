"""Does every command answer with one document, or with an error that says what to do?"""

import json
import os
import re
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from codesign import files
from codesign.cli.app import main
from codesign.cli.options import Scheduler
from codesign.cli.terminal import interrupts_remembered
from codesign.documents import plain, text
from codesign.reading import read
from tests.command_line import document, refusal, run
from traces import registry
from traces.errors import CodesignError, TraceError
from traces.recordings import load_recorded, recorded_traces

LONG = 300 * "x"


def test_every_command_has_help_with_an_example() -> None:
    for command in ("workloads", "machines", "capture", "replay", "explore", "import", "export", "plot"):
        done = run(command, "--help")
        assert done.exit_code == 0
        assert f"Example: codesign {command}" in done.stdout
        assert "--json" in done.stdout


def test_the_help_names_every_policy() -> None:
    (option,) = Scheduler.__metadata__
    said = option.help.partition(": ")[2].rstrip(".").split(", ")
    assert sorted(said) == registry.names("schedulers")


def test_the_version_is_the_distribution_s() -> None:
    from importlib.metadata import version

    assert run("--version").stdout == f"codesign {version('codesign')}\n"
    assert document("--version")["kind"] == "version"
    assert document("--version")["codesign_version"] == version("codesign")


def test_the_command_line_loads_nothing_heavy() -> None:
    heavy = ("jax", "torch", "optuna", "matplotlib", "pandas", "numba", "pyarrow", "numpy", "rich")
    code = f"import codesign.cli.app, sys; print([m for m in {heavy!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_several_machines_are_a_comparison_with_the_first() -> None:
    found = document("replay", "ferminet-ch4-a5000", "-m", "a5000", "-m", "h100")
    assert found["kind"] == "comparison"
    alone = document("replay", "ferminet-ch4-a5000", "-m", "h100")
    assert found["timelines"][1]["time_s"] == alone["time_s"]
    printed = run("replay", "ferminet-ch4-a5000", "-m", "a5000", "-m", "h100").stdout
    assert f"{found['timelines'][0]['time_s'] / alone['time_s']:.2f}" in printed
    assert "captured for a5000" in printed


@pytest.mark.parametrize("trace", ["ferminet-ch4-a5000", "llama-3-8b-h200"])
def test_the_tables_of_a_replay_fit_a_terminal_of_a_hundred_columns(trace: str) -> None:
    lines = run("replay", trace, "--machine", "a5000").stdout.splitlines()
    assert "Kernels that take most of the time" in lines
    assert max(map(len, lines)) <= 100


def test_a_trace_is_replayed_on_its_target_where_no_machine_is_named(tmp_path: Path) -> None:
    found = document("replay", TRACE)
    assert found["machine"] == found["captured_for"] == "a5000"
    assert "a5000: its fusions" in run("replay", TRACE, "-m", "h100").stdout
    assert "its fusions" not in run("replay", TRACE).stdout
    nameless = load_recorded(TRACE)
    nameless.manifest["target"] = None
    nameless.save(tmp_path / "nameless.trace")
    assert "give --machine" in refusal("replay", tmp_path / "nameless.trace")
    assert "give --machine" in refusal("explain", tmp_path / "nameless.trace")


def test_workloads_lists_each_once_with_its_options() -> None:
    found = document("workloads")["workloads"]
    assert {"ferminet", "default"} <= set(found)
    assert found["default"]["aliases"] == ["paulinet"]
    assert found["ferminet"]["options"]["molecule"]["choices"][:4] == ["LiH", "CH4", "C2H6", "C4H4"]
    assert document("workloads", "paulinet")["name"] == "default"


def test_a_workload_lists_the_traces_that_were_recorded_of_it() -> None:
    listed = {name: described["recorded"] for name, described in document("workloads")["workloads"].items()}
    assert "psiformer-ch4-a5000" in listed["psiformer"]
    assert not any(name.startswith("deepqmc") for name in listed["psiformer"])
    assert sorted(name for names in listed.values() for name in names) == recorded_traces()  # each belongs to one workload, none to two
    assert "psiformer-ch4-a5000" in run("workloads", "psiformer").stdout


def test_an_unknown_workload_is_an_error_with_the_nearest_name() -> None:
    assert "did you mean 'ferminet'" in refusal("workloads", "fermnet")


def test_an_unknown_command_or_option_is_exit_status_2() -> None:
    assert "No such command" in refusal("repaly")
    assert "No such option" in refusal("machines", "--jsn")


@pytest.mark.parametrize("arguments", [("replay", LONG, "-m", "a5000"), ("import", LONG, "-o", "x"), ("workloads", "-o", LONG)])
def test_a_name_that_no_file_can_have_is_an_error(arguments: tuple[str, ...]) -> None:
    assert LONG in refusal(*arguments)


def test_settings_must_be_name_and_value() -> None:
    assert "--set takes NAME=VALUE, but got 'steps'" in refusal("capture", "ferminet", "--target", "a5000", "--set", "steps")


def test_a_defect_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("codesign.cli.workloads._describe", broken)
    assert isinstance(run("workloads").exception, ZeroDivisionError)


def test_ctrl_c_ends_with_130_and_no_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("codesign.cli.workloads._describe", interrupted)
    done = run("workloads")
    assert (done.exit_code, done.stdout, done.stderr) == (130, "", "codesign: interrupted\n")
    monkeypatch.setattr("codesign.cli.explore.load_trace", interrupted)
    done = run("explore", "ferminet-ch4-a5000", "--machine", "a5000", "--storage", "trials")
    assert (done.exit_code, done.stdout, done.stderr) == (130, "", "codesign: interrupted; the trials in --storage stay\n")


def test_a_device_that_single_device_leaves_idle_is_named() -> None:
    said = "aim-fp32: idle, for single-device runs all on a machine's first device; --scheduler cut-points shares the work where that pays"
    arguments = ("replay", "ferminet-lih-a5000", "--machine", "a5000", "--machine", "a5000+aim-fp32")
    assert said in run(*arguments).stderr
    assert "idle" not in run(*arguments, "--scheduler", "intensity-threshold").stderr
    assert "idle" not in run(*arguments[:4]).stderr


def test_a_trace_for_a_device_of_ones_own_asks_for_its_file(tmp_path: Path) -> None:
    from traces.recordings import load_recorded

    load_recorded("ferminet-lih-a5000").with_(target="mine").save(tmp_path / "own.trace")
    said = refusal("replay", tmp_path / "own.trace")
    assert "captured for 'mine', which the catalogue does not have; give --machine, such as your mine.toml" in said


def test_bandwidth_that_stacks_of_pim_take_from_a_gpu_is_told() -> None:
    said = "a100-sxm-40gb+hbm-pim-fp32: PIM stacks, which are slower than a100-sxm-40gb's own, leave it"
    assert said in run("replay", "ferminet-lih-a5000", "--machine", "a100+hbm-pim-fp32").stderr
    assert "leave it" not in run("replay", "ferminet-lih-a5000", "--machine", "a5000+aim-fp32").stderr


def test_a_replay_says_what_it_draws_on_average() -> None:
    found = document("replay", "ferminet-lih-a5000")
    shown = run("replay", "ferminet-lih-a5000").stdout
    watts = re.search(r"average power +(\S+) W", shown)
    assert watts is not None
    assert float(watts[1]) == pytest.approx(found["energy_j"] / found["time_s"], rel=5e-3)


def test_an_interrupt_outside_of_a_command_ends_with_130_too(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("codesign.cli.app.app", interrupted)
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 130


def test_an_interrupt_that_a_callback_swallows_is_not_forgotten() -> None:
    before = signal.getsignal(signal.SIGINT)
    with interrupts_remembered() as check:
        check()
        with suppress(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            check()
    assert signal.getsignal(signal.SIGINT) is before


def test_an_interrupt_of_the_real_process_leaves_no_output_and_no_file(tmp_path: Path) -> None:
    output = tmp_path / "result.json"
    command = [sys.executable, "-m", "codesign", "explore", "ferminet-lih-a5000", "-m", "a5000", "--trials", "1000000", "--json"]
    storage = tmp_path / "trials"
    searching = subprocess.Popen([*command, "-o", str(output), "--storage", str(storage)], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    while searching.poll() is None and not storage.exists():
        time.sleep(0.1)
    searching.send_signal(signal.SIGINT)
    written, said = searching.communicate()
    assert (searching.returncode, written) == (130, b"")
    assert b"Traceback" not in said
    assert not output.exists()


def test_what_libraries_print_does_not_reach_the_document(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    from codesign.cli.terminal import quiet_output

    with quiet_output():
        sys.stdout.write("from Python")
        os.write(1, b"from C\n")
    sys.stdout.write("document\n")
    captured = capfd.readouterr()
    assert captured.out == "document\n"
    assert "from Python" in captured.err
    assert "from C" in captured.err


def test_a_reader_that_goes_away_is_no_error() -> None:
    command = f"{sys.executable} -m codesign workloads --json | head -c 1"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert done.stdout == "{"
    assert "Traceback" not in done.stderr


def test_what_is_not_finite_is_null_in_a_document() -> None:
    import numpy as np

    given = {"a": float("nan"), "b": np.float64("inf"), "c": np.arange(2), "d": (1, Path("x")), 5: {"e": np.int64(3), "f": np.bool_(True)}}
    assert plain(given) == {"a": None, "b": None, "c": [0, 1], "d": [1, "x"], "5": {"e": 3, "f": True}}
    assert json.loads(text(given))["b"] is None


def test_a_file_is_written_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "out"
    files.write(target, "old")

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(CodesignError, match="No space left"):
        files.write(target, "new")
    assert [p.name for p in tmp_path.iterdir()] == ["out"]
    assert target.read_text() == "old"


def test_a_link_is_followed_and_a_device_is_not_replaced(tmp_path: Path) -> None:
    target, link = tmp_path / "target", tmp_path / "link"
    target.write_text("old")
    link.symlink_to(target)
    files.write(link, "new")
    assert link.is_symlink()
    assert target.read_text() == "new"
    files.write(Path("/dev/null"), "gone")
    assert Path("/dev/null").is_char_device()


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"", "neither"),
        (b"\x89PNG\r\n", "neither"),
        (b"[1]", "no object"),
        (b'{"kind": "machine"}', "kind 'machine'"),
        (b"[" * 100_000, "neither"),
    ],
)
def test_a_foreign_file_is_an_error_that_says_what_it_is(tmp_path: Path, content: bytes, found: str) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    with pytest.raises(TraceError, match=found):
        read(path)


def test_an_output_that_has_no_place_is_refused_before_the_work(tmp_path: Path) -> None:
    trace = tmp_path / "a.trace"
    trace.write_bytes(b"")
    for output, reason in (
        (tmp_path, "is a folder"),
        (tmp_path / "no" / "file", "folder must exist"),
        (trace, "must not overwrite the input"),
    ):
        with pytest.raises(CodesignError, match=reason):
            files.check_writable(output, trace)


def test_a_folder_that_cannot_be_written_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)  # root may write anywhere
    with pytest.raises(CodesignError, match="must be writable"):
        files.check_writable(tmp_path / "file")


def test_an_input_that_is_missing_or_a_folder_is_refused(tmp_path: Path) -> None:
    for path, reason in ((tmp_path / "no", "there is no file"), (tmp_path, "is a folder")):
        with pytest.raises(CodesignError, match=reason):
            read(path)


TRACE = "ferminet-lih-a5000"


def test_both_engines_give_the_same_keys_and_the_same_numbers() -> None:
    fast = document("replay", TRACE, "--machine", "a5000")
    reference = document("replay", TRACE, "--machine", "a5000", "--engine", "reference")
    assert list(fast) == list(reference)
    same = ("time_s", "kernel_time_s", "host_bound_s", "energy_j", "launches", "peak_memory_bytes", "shares", "captured_for", "ineligible")
    assert {key: fast[key] for key in same} == {key: reference[key] for key in same}
    assert fast["kind"] == "timeline"
    assert fast["captured_for"] == "a5000"
    assert set(fast["shares"]) == {"family", "phase", "stage", "device"}
    assert all(abs(sum(group.values()) - 1) < 1e-9 for group in fast["shares"].values())


def test_a_machine_shows_its_numbers_with_sources_and_counts_the_assumptions() -> None:
    found = document("machines", "a5000+aim")
    numbers = [number for entry in found["catalogue"] for number in entry["numbers"].values()]
    assert all({"value", "unit", "source", "source_kind"} <= set(number) for number in numbers)
    tables = [entry["opcodes"] for entry in found["catalogue"] if "opcodes" in entry]
    assert found["assumptions"] == [n["source_kind"] for n in [*numbers, *tables]].count("assumption") > 0
    assert document("machines")["machines"]["a5000+aim"]["assumptions"] == found["assumptions"]
    assert "a5000+aim-fp32 " in run("machines").stdout


def test_every_device_of_the_catalogue_is_listed_by_kind_with_a_machine_that_has_it() -> None:
    from arch import machine
    from arch.registered import find, names

    listed, shown = document("machines"), run("machines").stdout
    assert set(listed["devices"]) == {find(name).id for name in names()}
    for name, device in listed["devices"].items():
        assert {"kind", "description", "hypothetical", "numbers", "assumptions", "example", "not_modelled"} <= set(device)
        assert device["not_modelled"] or device["kind"] == "dram", name
        assert name in shown
        example = device["example"]
        assert example is None or example in listed["machines"] or machine(example).id in listed["machines"], name
    for caption in ("GPUs", "CPUs", "TPUs", "Links", "GPU extensions", "Reconfigurable accelerators", "Memories of the host"):
        assert caption in shown


@pytest.mark.parametrize(
    ("name", "example", "shows"),
    [
        ("aim", "a5000+aim", "aim.unit_clock"),
        ("pcie4", "a5000+dram@pcie4", "pcie4.bandwidth"),
        ("ssd", "a5000+dram+nvme-gen4", "nvme-gen4.capacity"),
        ("layout-engine", "a5000+layout-engine", "layout-engine.request_bytes"),
        ("dram-hbm2-pim", "a100-sxm-40gb+hbm-pim", "dram-hbm2-pim.timing.RL"),
    ],
)
def test_a_part_that_no_machine_begins_with_is_shown_in_one_that_has_it(name: str, example: str, shows: str) -> None:
    done = run("machines", name)
    assert shows in done.stdout
    assert f"shown as it is in {example}" in " ".join(done.stderr.split())


def test_a_timing_that_no_machine_uses_says_who_does() -> None:
    assert "`codesign predict` uses this timing" in refusal("machines", "dram-hbm3-attacc-npc")


def test_a_changed_parameter_changes_the_machine() -> None:
    slow = document("replay", TRACE, "-m", "a5000", "--set", "host_launch_interval_s=1 ms")
    assert slow["time_s"] > document("replay", TRACE, "-m", "a5000")["time_s"]
    assert slow["host_bound_s"] > 0


def test_a_result_survives_its_file_and_names_its_seed(tmp_path: Path) -> None:
    arguments = ("explore", TRACE, "-m", "a5000+aim-fp32", "--trials", "8", "--objectives", "time,energy", "--seed", "3")
    found = document(*arguments, "-o", str(tmp_path / "any.name"))
    assert (found["kind"], found["seed"], found["trials"]) == ("result", 3, 8)
    assert {"time_s", "energy_j", "machine", "mapping"} <= set(found["best"])
    assert found["bound_gap"] == pytest.approx(found["best"]["time_s"] / found["lower_bound_s"] - 1)
    assert json.loads((tmp_path / "any.name").read_text()) == found
    again = document(*arguments)
    assert {**again, "command": []} == {**found, "command": []}
    assert read(tmp_path / "any.name").to_dict()["best"] == found["best"]


def test_files_are_told_apart_by_what_they_hold(tmp_path: Path) -> None:
    from traces.recordings import FOLDER

    trace, timeline, result = tmp_path / "a.png", tmp_path / "b.trace", tmp_path / "c"
    trace.write_bytes((FOLDER / f"{TRACE}.trace").read_bytes())
    assert run("replay", str(trace), "-m", "a5000", "-o", str(timeline)).exit_code == 0
    assert run("explore", str(trace), "-m", "a5000", "--trials", "3", "-o", str(result)).exit_code == 0
    for source, kind in ((trace, "roofline"), (timeline, "timeline"), (result, "progress")):
        drawn = document("plot", str(source), "-o", str(tmp_path / "picture"))
        assert (drawn["kind"], drawn["figure"], drawn["format"]) == ("figure", kind, "png")
        assert (tmp_path / "picture").read_bytes().startswith(b"\x89PNG")
    document("plot", str(timeline), "-f", "breakdown", "-o", str(tmp_path / "picture.svg"))
    assert b"<svg" in (tmp_path / "picture.svg").read_bytes()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("replay", "nothing.trace", "-m", "a5000"), "no file nothing.trace"),
        (("replay", "ferminet-lih-a500", "-m", "a5000"), "did you mean 'ferminet-lih-a5000'"),
        (("replay", TRACE, "-m", "a500"), "did you mean 'a5000'"),
        (("replay", TRACE, "-m", "a5000+hbm-pim"), "in_memory PIM must replace stacks of the GPU's own kind of memory"),
        (("replay", TRACE, "-m", "a5000", "-s", "cut-point"), "did you mean 'cut-points'"),
        (("replay", TRACE, "-m", "a5000", "--engine", "quick"), "'quick' is not one of"),
        (("replay", TRACE, "-m", "a5000", "--set", "pim_stacks=3"), "no parameter 'pim_stacks'"),
        (("replay", TRACE, "-m", "a5000+aim", "--set", "pim_stacks=99"), "1 <= pim_stacks <= 12"),
        (("replay", TRACE, "-m", "a5000", "-o", "/nowhere/file"), "the output's folder must exist"),
        (("explore", TRACE, "-m", "a5000", "--objectives", "speed"), "no objective 'speed'"),
        (("explore", TRACE, "-m", "a5000", "--trials", "0"), "Invalid value for '--trials'"),
        (("explore", TRACE, "-m", "a5000", "--budget", "area=1"), "no budget 'area'"),
        (("explore", TRACE, "-m", "a5000", "--vary", "sm_count=8"), "--vary takes NAME or NAME=LOW..HIGH, such as sm_count=80..200"),
        (("explore", TRACE, "-m", "a5000", "--vary", "sm_cout"), "no parameter 'sm_cout'; did you mean 'sm_count'"),
        (("explore", TRACE, "-m", "a5000", "--budget", "area_mm2=much"), "the budget area_mm2 must be a number with a unit"),
        (("machines", "a5000++aim"), "has an empty part"),
        (("machines", "a5000+aim+aim"), "at most one PIM"),
        (("capture", "ferminet", "--target", "aim"), "a5000"),
        (("capture", __file__, "--target", "a5000"), "a Python program captures itself: call cd.capture"),
        (("capture", "ferminet", "--target", "a5000", "--molecule", "CH5"), "did you mean 'CH4'"),
        (("capture", "ferminet", "--target", "a5000", "--set", "depth=3"), "no option 'depth'"),
        (("plot", "/"), "is a folder"),
    ],
)
def test_bad_input_is_one_sentence_and_exit_status_2(arguments: tuple[str, ...], message: str) -> None:
    assert message in refusal(*arguments, "--json")


def test_a_damaged_trace_leaves_nothing_behind(tmp_path: Path) -> None:
    from traces.recordings import FOLDER

    whole = (FOLDER / f"{TRACE}.trace").read_bytes()
    (tmp_path / "cut.trace").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "flipped.trace").write_bytes(whole[:3000] + bytes([whole[3000] ^ 255]) + whole[3001:])
    for name in ("cut.trace", "flipped.trace"):
        assert name in refusal("replay", str(tmp_path / name), "-m", "a5000", "-o", str(tmp_path / "out"))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["cut.trace", "flipped.trace"]


def test_a_recorded_trace_is_drawn_by_its_name(tmp_path: Path) -> None:
    picture = tmp_path / "roofline.png"
    run("plot", "ferminet-lih-h200", "-o", str(picture))
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert "did you mean 'ferminet-lih-h200'" in refusal("plot", "ferminet-lih-h20")


def test_a_figure_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    timeline = tmp_path / "t"
    run("replay", TRACE, "-m", "a5000", "-o", str(timeline))
    assert "there is no figure 'pareto' of a timeline, but there are timeline, times, breakdown, memory" in refusal(
        "plot", str(timeline), "-f", "pareto"
    )
    assert "replay the trace to draw it" in refusal("plot", str(timeline), "-f", "memory")
    assert "must not overwrite the input" in refusal("plot", str(timeline), "-o", str(timeline))


def test_a_workload_says_which_combinations_run_and_what_to_choose_instead() -> None:
    combinations = document("workloads", "orbformer")["combinations"]
    refused = [c["values"] for c in combinations if not c["valid"]]
    assert refused == [{"laplacian": name, "attention": "flash"} for name in ("loop", "naive", "hutchinson")]
    assert all("choose laplacian=forward, or attention=plain" in c["instead"] for c in combinations if not c["valid"])
    assert "no: the fused kernel" in " ".join(run("workloads", "orbformer").stdout.split())
    assert document("workloads", "ferminet")["combinations"] == [{"values": {}, "valid": True, "because": None, "instead": None}]
