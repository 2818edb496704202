"""Does every command answer with one document, or with an error that says what to do?"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from codesign import files
from codesign.cli.app import app
from codesign.cli.document import plain, text
from traces.errors import CodesignError, TraceError

ENVELOPE = ["kind", "schema_version", "codesign_version", "command", "seed"]


def run(*arguments: str) -> Any:
    return CliRunner().invoke(app, list(arguments))


def document(*arguments: str) -> dict[str, Any]:
    """Run a command with --json; return its one document, after checking that it is one and that its head is right."""
    done = run(*arguments, "--json")
    assert done.exit_code == 0, done.output
    found: dict[str, Any] = json.loads(done.stdout, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert list(found)[:5] == ENVELOPE
    assert found["command"] == ["codesign", *arguments, "--json"]
    return found


def refusal(*arguments: str) -> str:
    """Run a command that must fail; return its message, after checking exit status 2, no traceback and an empty stdout."""
    done = run(*arguments)
    assert done.exit_code == 2, done.output
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    return " ".join(done.stderr.split())


def test_every_command_has_help_with_an_example() -> None:
    for command in ("workloads", "machines", "capture", "replay", "explore", "plot"):
        done = run(command, "--help")
        assert done.exit_code == 0
        assert f"Example: codesign {command}" in done.stdout
        assert "--json" in done.stdout


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


def test_workloads_lists_each_once_with_its_options() -> None:
    found = document("workloads")["workloads"]
    assert {"ferminet", "default"} <= set(found)
    assert found["default"]["aliases"] == ["paulinet"]
    assert found["ferminet"]["options"]["molecule"]["choices"] == ["LiH", "CH4", "C2H6", "C4H4"]
    assert document("workloads", "paulinet")["name"] == "default"


def test_an_unknown_workload_is_an_error_with_the_nearest_name() -> None:
    assert "did you mean 'ferminet'" in refusal("workloads", "fermnet")


def test_an_unknown_command_or_option_is_exit_status_2() -> None:
    assert "No such command" in refusal("repaly")
    assert "No such option" in refusal("machines", "--jsn")


def test_settings_must_be_name_and_value() -> None:
    assert "--set takes NAME=VALUE, but got 'steps'" in refusal("capture", "ferminet", "--target", "a5000", "--set", "steps")


def test_a_defect_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("codesign.cli.catalog._describe", broken)
    assert isinstance(run("workloads").exception, ZeroDivisionError)


def test_ctrl_c_ends_with_130_and_no_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("codesign.cli.catalog._describe", interrupted)
    done = run("workloads")
    assert (done.exit_code, done.stdout) == (130, "")
    assert "Traceback" not in done.stderr


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
        files.read(path)


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
    for path, reason in ((tmp_path / "no", "must exist"), (tmp_path, "is a folder")):
        with pytest.raises(CodesignError, match=reason):
            files.read(path)
