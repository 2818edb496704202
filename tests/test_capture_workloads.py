"""Is the memory of real programs the compiler's?"""

import pytest

from tests.targets import A5000
from traces.record import TPU, recordings
from traces.recordings import load_recorded


@pytest.mark.parametrize("name", [r.name for r in recordings() if r.target == TPU])
def test_the_live_peak_on_a_tpu_is_at_most_the_compilers(name):
    """No buffer assignment is read there, so it is no closer."""
    memory = load_recorded(name).manifest["memory"]
    assert all(0 < program["live_peak_bytes"] <= program["compiler_allocated_bytes"] for program in memory.values()), memory


def within(memory):
    return 0.85 * memory["compiler_allocated_bytes"] <= memory["live_peak_bytes"] <= memory["compiler_allocated_bytes"]


WORKSPACE = {"h200": 32 * 2**20, "other": 4 * 2**20}
"""What XLA gives cuBLASLt as scratch memory, by GPU."""


def within_a_workspace(memory, scratch):
    """Small programs: at least what the compiler's own live ranges say, and the rest of the allocation is one workspace."""
    ours, allocated = memory["live_peak_bytes"], memory["compiler_allocated_bytes"]
    return memory["compiler_live_peak_bytes"] <= ours <= allocated <= ours + scratch


@pytest.mark.parametrize("name", [r.name for r in recordings() if r.framework == "jax" and r.target != TPU])
def test_the_live_peak_of_a_recorded_program_is_within_the_compilers_memory(name):
    """Or short of the allocation by no more than the scratch memory of a GEMM, which a trace leaves out."""
    manifest = load_recorded(name).manifest
    scratch = WORKSPACE["h200" if manifest["target"] == "h200" else "other"]
    memory = manifest["memory"]
    assert all(within(program) or within_a_workspace(program, scratch) for program in memory.values()), memory


@pytest.mark.slow(reason="compiles for a minute and more")
@pytest.mark.parametrize(("workload", "molecule"), [("ferminet", "LiH"), ("default", "LiH"), ("ferminet", "CH4"), ("default", "CH4")])
def test_the_live_peak_of_a_wave_function_is_within_the_compilers_memory(workload, molecule):
    pytest.importorskip("jax_plugins.xla_cuda12", reason="needs the extra xla-gpu")
    pytest.importorskip("deepqmc", reason="needs the extra nnvmc")
    from traces import registry
    from traces.capture import capture

    for program in registry.get("workloads", workload).programs(molecule=molecule):
        trace = capture(program.function, program.shapes(), target=A5000, precision=program.precision, x64=program.x64)
        assert within(trace.manifest["memory"])
