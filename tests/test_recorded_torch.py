"""Are the shipped traces of PyTorch programs complete, and what a fresh capture gives?"""

import json
from pathlib import Path

import numpy as np
import pytest

from traces import Trace, record, registry
from traces.record import Recording, recordings
from traces.recordings import load_recorded
from traces.workloads.llm_shapes import model, models

EVERY = [pytest.param(r, id=r.name) for r in recordings() if r.framework == "torch"]


@pytest.fixture(scope="module")
def traces() -> dict[str, Trace]:
    return {r.name: load_recorded(r.name) for r in recordings() if r.framework == "torch"}


def test_flashvan_and_every_language_model_are_there_for_three_gpus() -> None:
    of_studies = {r.name for r in (*record.sampling_study(), *record.several_gpus(), *record.offloading(), *record.attention_on_pim())}
    every = [r for r in recordings() if r.framework == "torch"]
    chosen = [r for r in every if r.name not in of_studies]
    for workload, count in {"flashvan": len(record.FLASHVAN), **dict.fromkeys(models(), 1)}.items():
        assert sorted(r.target for r in chosen if r.workload == workload and r.target in record.TARGETS) == sorted(record.TARGETS * count)
    assert of_studies <= {r.name for r in every}


@pytest.mark.parametrize("recording", EVERY)
def test_a_manifest_says_how_to_make_the_trace_again(recording: Recording, traces: dict[str, Trace]) -> None:
    manifest = traces[recording.name].manifest
    assert manifest["captured"]["command"] == recording.command
    assert (manifest["program"], manifest["target"]) == (recording.workload, recording.target)
    settings = registry.get("workloads", recording.workload).settings
    assert settings(**manifest["options"]) == settings(**dict(recording.changed))
    assert set(manifest["versions"]) == {"torch", "python"}
    assert str(Path.home()) + "/" not in json.dumps(manifest)
    assert "/tmp" not in json.dumps(manifest)


@pytest.mark.parametrize("recording", EVERY)
def test_phases_stages_and_work_are_known(recording: Recording, traces: dict[str, Trace]) -> None:
    trace = traces[recording.name]
    step = {"sampling", "energy", "forward", "gradient", "optimizer"}
    changed = dict(recording.changed)
    refined = {"refinement"} if "sweeps" in changed else set()
    decodes = {"prefill"} if changed.get("tokens") == "0" else {"decode"} if changed.get("prefill") == "no" else {"prefill", "decode"}
    assert set(trace.kernels["phase"]) == (step | refined if recording.workload == "flashvan" else decodes)
    assert not np.isnan(trace.kernels["flops_vector"]).any()
    moved = trace.executions * trace.kernels["bytes_unique"]
    whole = ~np.isin(trace.kernels["phase"], ["optimizer", "energy", "refinement"])
    assert moved[whole & (trace.kernels["stage"] == "")].sum() < 0.05 * moved[whole].sum()


def test_the_target_decides_splits_of_keys_but_not_the_work(traces: dict[str, Trace]) -> None:
    for name in models():
        work = {np.sum(t.executions * t.kernels["flops_matrix"]) for t in (traces[f"{name}-{target}"] for target in record.TARGETS)}
        assert len(work) == 1


def test_all_layers_run(traces: dict[str, Trace]) -> None:
    for name in models():
        regions = traces[f"{name}-h200"].regions
        shape = model(name)
        assert set(regions["trip_count"][regions["name"] == "layers"]) == {shape.layers // shape.period}


def test_the_baseline_of_flashvan_does_more_work_and_a_local_window_less(traces: dict[str, Trace]) -> None:
    def sampled(name: str) -> float:
        trace = traces[name]
        return float(np.sum((trace.executions * trace.kernels["flops_matrix"])[trace.kernels["phase"] == "sampling"]))

    assert sampled("flashvan-h200-vanilla-full-fp32") > 100 * sampled("flashvan-h200")
    assert sampled("flashvan-h200-ea2d") == sampled("flashvan-h200") > sampled("flashvan-h200-ea2d-local")


def test_one_captured_afresh_is_the_shipped_one(traces: dict[str, Trace]) -> None:
    pytest.importorskip("torch", reason="needs the extra torch")
    from arch import machine

    fresh = registry.get("workloads", "flashvan").capture(machine("a5000").target, model="ea2d", window="local")
    shipped = traces["flashvan-a5000-ea2d-local"]
    for name, table in shipped.tables.items():
        for column in table.columns:
            np.testing.assert_array_equal(fresh.tables[name][column], table[column], err_msg=f"{name}.{column}")
    assert fresh.content_hash == shipped.content_hash
