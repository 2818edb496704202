"""Is the memory of real programs the compiler's?"""

import pytest

from tests.targets import A5000

pytest.importorskip("jax_plugins.xla_cuda12", reason="needs the extra xla-gpu")
pytest.importorskip("deepqmc", reason="needs the extra nnvmc")


@pytest.mark.parametrize(
    ("workload", "molecule"),
    [
        ("ferminet", "LiH"),
        pytest.param("default", "LiH", marks=pytest.mark.slow(reason="compiles for a quarter of a minute")),
        pytest.param("ferminet", "CH4", marks=pytest.mark.slow(reason="compiles for a quarter of a minute")),
        pytest.param("default", "CH4", marks=pytest.mark.slow(reason="compiles for half a minute")),
    ],
)
def test_the_live_peak_of_a_wave_function_is_within_the_compilers_memory(workload, molecule):
    from traces import registry
    from traces.capture import capture

    for program in registry.get("workloads", workload).programs(molecule=molecule):
        trace = capture(program.function, program.shapes(), target=A5000, precision=program.precision, x64=program.x64)
        memory = trace.manifest["memory"]
        assert 0.85 * memory["compiler_allocated_bytes"] <= memory["live_peak_bytes"] <= memory["compiler_allocated_bytes"]
