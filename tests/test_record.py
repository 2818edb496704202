"""Does recording run a program under JAX's profiler and give its times to a captured trace?"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

import codesign as cd
from codesign.cli.app import app

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


def run(*arguments: str | Path) -> Any:
    return CliRunner().invoke(app, [str(a) for a in arguments])


def document(*arguments: str | Path) -> dict[str, Any]:
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
