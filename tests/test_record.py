"""Does recording run a program under JAX's profiler and give its times to a captured trace?"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import codesign as cd
from tests.command_line import run

EXAMPLE = Path(__file__).parents[1] / "docs" / "examples" / "step.bin"
SCRIPT = """
import sys
import jax, jax.numpy as jnp
f = jax.jit(lambda x: jnp.sort(jnp.cumsum(x, axis=0), axis=0))
for _ in range(int(sys.argv[1])):
    f(jnp.ones((64, 64))).block_until_ready()
print("done", sys.argv)
sys.exit(0)
"""


def document(*arguments: str | Path) -> dict[str, Any]:
    """Record; options stand before the program, which is last."""
    done = run("record", "--json", *arguments)
    assert done.exit_code == 0, done.output
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.fixture
def script(tmp_path: Path) -> Path:
    path = tmp_path / "program.py"
    path.write_text(SCRIPT)
    return path


def test_a_script_is_run_with_its_arguments_and_recorded(tmp_path: Path, script: Path) -> None:
    found = document("-o", tmp_path / "a.trace", script, "3", "--steps", "4")
    trace = cd.load(tmp_path / "a.trace")
    assert found["kind"] == "record"
    assert found["device"] == "CPU"
    assert sum("sort" in name for name in trace.kernels["name"]) == 3
    assert found["total_us"] == pytest.approx(np.nansum(trace.kernels["measured_s"]) * 1e6)


def test_what_was_measured_reaches_a_trace_with_the_same_names(tmp_path: Path) -> None:
    """XLA names a program's operations alike wherever it compiles it alike: here one CPU profile stands in for the captured trace."""
    document("--runs", "2", "-o", tmp_path / "captured.trace", EXAMPLE)
    found = document("--runs", "3", "--join", tmp_path / "captured.trace", "--keep", tmp_path / "kept", "-o", tmp_path / "b.trace", EXAMPLE)
    assert found["kernels"] == found["measured"] > 0
    assert found["share_of_profile"] > 0.9
    assert len(list((tmp_path / "kept").rglob("*.xplane.pb"))) == 1
    measured = cd.load(tmp_path / "b.trace")
    assert measured.manifest["captured"]["measured"]["format"] == "xplane"
    assert (measured.kernels["measured_s"] > 0).all()


def test_a_program_that_fails_is_an_error_with_its_last_words(tmp_path: Path) -> None:
    (tmp_path / "bad.py").write_text("raise SystemExit('no such molecule')\n")
    done = run("record", "-o", tmp_path / "a.trace", tmp_path / "bad.py")
    assert done.exit_code == 2
    assert "ended with status 1; its last words: no such molecule" in done.stderr
    assert not (tmp_path / "a.trace").exists()


def test_a_foreign_file_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "x.bin").write_bytes(b"hello")
    done = run("record", "-o", tmp_path / "a.trace", tmp_path / "x.bin")
    assert done.exit_code == 2
    assert "must be what jax.export's serialize() returns" in done.stderr


def test_a_program_that_computes_nothing_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "idle.py").write_text("pass\n")
    done = run("record", "-o", tmp_path / "a.trace", tmp_path / "idle.py")
    assert done.exit_code == 2
    assert "must hold GPU kernels" in done.stderr


def test_a_workload_is_recorded_by_name_program_by_program(tmp_path: Path) -> None:
    """One record of a small step; its profiles then stand in for those of a later run that is joined to it."""
    pytest.importorskip("folx", reason="needs the extra nnvmc")
    from codesign.cli.record import _joined

    options = ("--molecule", "He", "--batch", "2", "--set", "steps=2", "--runs", "2", "--keep", tmp_path / "kept")
    found = document(*options, "-o", tmp_path / "step.trace", "psiformer")
    trace = cd.load(tmp_path / "step.trace")
    assert list(found["programs"]) == ["sampling", "local_energy"]
    assert found["kernels"] == sum(told["kernels"] for told in found["programs"].values()) == len(trace.kernels)
    assert (trace.program, trace.manifest["batch"], trace.manifest["options"]["molecule"]) == ("psiformer", 2, "He")
    profiles = {name: next((tmp_path / "kept" / name).rglob("*.xplane.pb")) for name in found["programs"]}
    with pytest.warns(UserWarning, match="have a name that another kernel has too"):  # each launch is a row here
        joined, told = _joined(trace, profiles)
    assert told["measured"] == told["kernels"] == len(trace.kernels)
    assert told["share_of_profile"] == pytest.approx(1.0)
    total = np.nansum(trace.kernels["measured_s"])
    assert np.nansum(joined.kernels["measured_s"]) == pytest.approx(total)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("psiformer", "--molecule", "He"), "options stand before the name of a workload"),
        (("llama-3-8b",), "must be JAX's, but 'llama-3-8b' is torch's: run it on the GPU under torch.profiler"),
        (("psiformr",), "there is no file psiformr, and no workload of that name; did you mean 'psiformer'"),
        (("--molecule", "CH5", "psiformer"), "there is no molecule 'CH5'; did you mean 'CH4'"),
        (("--batch", "2", EXAMPLE), "options are of workloads"),
    ],
)
def test_what_cannot_be_recorded_is_refused_before_it_runs(tmp_path: Path, arguments: tuple[str | Path, ...], message: str) -> None:
    done = run("record", "-o", tmp_path / "a.trace", *arguments)
    assert done.exit_code == 2
    assert message in " ".join(done.stderr.split())
    assert not (tmp_path / "a.trace").exists()
