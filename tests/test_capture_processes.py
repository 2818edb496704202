"""Is a capture the same in every process, and does it leave the process as it was?"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from traces.errors import CaptureError, MissingExtra

pytest.importorskip("jax_plugins.xla_cuda12", reason="needs the extra xla-gpu")

ROOT = Path(__file__).parent.parent


def in_a_process(*preparations, **environment):
    """Run the small capture in a process of its own; a variable that is None is not set there."""
    given = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
    command = [sys.executable, "-m", "tests.captured_in_a_process", *preparations]
    done = subprocess.run(
        command, env={k: v for k, v in given.items() if v is not None}, cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout) | {"stderr": done.stderr}


@pytest.fixture(scope="module")
def here():
    from tests.captured_in_a_process import captured

    return captured()


@pytest.fixture(scope="module")
def notebook():
    """What a plain notebook sees: JAX_PLATFORMS unset, jax imported first."""
    return in_a_process("highest", "error", JAX_PLATFORMS=None, NVIDIA_TF32_OVERRIDE="0")


def test_a_plain_notebook_captures_the_same_trace(here, notebook):
    assert notebook["platforms"] is None
    assert notebook["precision"] == "highest"
    assert notebook["hash"] == here.content_hash


def test_the_users_configuration_and_environment_stay_as_they_were(notebook):
    assert notebook["config_unchanged"]
    assert notebook["environment_unchanged"]


def test_a_machine_without_a_gpu_is_no_error_on_the_screen(notebook):
    assert "Traceback" not in notebook["stderr"]


def test_an_error_of_the_worker_process_is_told_as_if_it_were_here(notebook):
    assert "pass trip_counts=" in notebook["error"]


def test_flags_of_the_process_do_not_steer_the_compiler(here):
    steered = in_a_process(JAX_PLATFORMS="cpu", XLA_FLAGS="--xla_gpu_enable_command_buffer= --xla_gpu_enable_triton_gemm=true")
    assert steered["hash"] == here.content_hash
    assert steered["environment_unchanged"]


def test_what_was_imported_before_does_not_matter(here):
    pytest.importorskip("deepqmc", reason="needs the extra nnvmc")
    raised = in_a_process("deepqmc", JAX_PLATFORMS="cpu")
    assert raised["precision"] == "highest"
    assert raised["hash"] == here.content_hash


def test_a_capture_leaves_no_files(monkeypatch, tmp_path):
    from tests.captured_in_a_process import captured

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    captured()
    assert list(tmp_path.iterdir()) == []


def test_the_manifest_says_how_the_trace_was_captured(here):
    import jax

    assert here.manifest["versions"]["jax"] == jax.__version__
    assert set(here.manifest["versions"]) >= {"jax", "jaxlib", "jax-cuda12-plugin", "nvidia-cuda-nvcc-cu12", "python"}
    assert (here.manifest["precision"], here.manifest["x64"], here.target) == ("default", False, "a5000")
    assert here.manifest["captured"]["target"] == "NVIDIA RTX A5000"


def test_other_systems_are_told_where_capture_works(monkeypatch):
    from tests.captured_in_a_process import captured

    monkeypatch.setattr(sys, "platform", "darwin")
    with pytest.raises(CaptureError, match="needs Linux"):
        captured()


def test_a_missing_compiler_is_an_error_that_names_the_command(monkeypatch):
    import importlib.util

    from tests.captured_in_a_process import captured

    monkeypatch.setattr(importlib.util, "find_spec", lambda name, package=None: None)
    with pytest.raises(MissingExtra, match=r"pip install 'codesign\[xla-gpu\]'"):
        captured()


def test_a_program_that_cannot_be_read_is_an_error_from_the_worker():
    from tests.targets import A5000
    from traces.capture.job import Job
    from traces.capture.program import ExportedProgram
    from traces.capture.worker import run_in_worker

    with pytest.raises(CaptureError, match="must end with a trace, but ended with status 1"):
        run_in_worker(Job(A5000, "broken", "default", False), ExportedProgram(b"nonsense"))
