"""Do the example programs of the documentation do what a user of one's own program would do?"""

import runpy
from pathlib import Path

import pytest

import codesign as cd

EXAMPLES = Path(__file__).parent.parent / "docs" / "examples"


def check(timelines, phases):
    assert set(timelines) == {"a5000", "h200"}
    for timeline in timelines.values():
        assert set(timeline.shares("phase")) == phases
        assert timeline.time_s >= timeline.kernel_time_s * (1 - 1e-9)
    faster = timelines["a5000"].time_s / timelines["h200"].time_s
    assert 1 < faster < 13  # more than the ratio of any of their peaks (BF16 products: 989 over 111 TFLOP/s) cannot be


def test_a_pytorch_program_of_ones_own():
    pytest.importorskip("torch", reason="needs the extra torch")
    timelines = runpy.run_path(str(EXAMPLES / "own_torch.py"))["timelines"]()
    check(timelines, {"forward", "gradient", "optimizer"})


def test_the_first_program_of_the_readme(tmp_path, monkeypatch):
    pytest.importorskip("jax_plugins.xla_cuda12", reason="needs the extra xla-gpu")
    monkeypatch.chdir(tmp_path)
    trace = runpy.run_path(str(EXAMPLES / "first.py"))["trace"]
    assert sum(trace.kernels["flops_matrix"]) == 11 * 2 * 8192 * 4096**2  # four layers forward and twice back, but for the input's gradient
    assert (tmp_path / "step.trace").exists()


def test_a_jax_program_of_ones_own():
    pytest.importorskip("jax_plugins.xla_cuda12", reason="needs the extra xla-gpu")
    timelines = runpy.run_path(str(EXAMPLES / "own_jax.py"))["timelines"]()
    check(timelines, {"relaxation", "residual"})
    assert all(timeline.launches > 200 for timeline in timelines.values())  # 100 sweeps


def test_a_study_of_gpus(tmp_path):
    study = runpy.run_path(str(EXAMPLES / "gpu_study.py"))
    gpu = cd.machine("h100")
    table = study["sweep"](gpu)
    times = table.pivot(index=["program", "SMs"], columns="TB/s", values="time_s")
    assert times.shape == (10, 3)
    assert (times.diff(axis=1).iloc[:, 1:] < 0).all(axis=None)  # more bandwidth is faster, whatever the SMs
    study["draw"](table, tmp_path / "sweep.png")
    assert (tmp_path / "sweep.png").stat().st_size > 10_000
    found, why = study["best"](gpu, trials=20)
    assert found.best.area_mm2 <= 858
    assert found.best.power_watts <= 600
    assert found.lower_bound_s < found.best.time_s
    assert why.time_s == pytest.approx(found.best.time_s, rel=1e-6)
