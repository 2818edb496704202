"""Do workloads leave JAX's configuration, the environment and the warning filters to the user?"""

import json
import os
import subprocess
import sys
import warnings

import jax
import pytest

from traces.workloads.numerics import contained, numerics

IMPORTING = """
import json, os, warnings
import jax
jax.config.update("jax_default_matmul_precision", "high")
def state():
    return [dict(jax.config.values), dict(os.environ), [str(f) for f in warnings.filters]]
before = state()
from traces.workloads.nnvmc import DEFAULT
program = DEFAULT.programs(molecule="LiH", batch=2)[0]
program.shapes()
import deepqmc
print(json.dumps([str(a) for a, b in zip(before, state()) if a != b]))
"""


def test_building_a_workload_changes_nothing_in_the_process() -> None:
    pytest.importorskip("deepqmc", reason="needs the extra nnvmc")
    environment = {name: value for name, value in os.environ.items() if name != "NVIDIA_TF32_OVERRIDE"}
    command = [sys.executable, "-W", "error", "-c", IMPORTING]
    done = subprocess.run(command, env={**environment, "JAX_PLATFORMS": "cpu"}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == []
    assert done.stderr == "", "deepqmc's advice about TF32 is not for our users"


def test_a_contained_block_undoes_its_changes_even_if_it_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CODESIGN_KEPT", "1")
    monkeypatch.delenv("CODESIGN_NEW", raising=False)
    before = jax.config.jax_default_matmul_precision, list(warnings.filters)

    def fails() -> None:
        jax.config.update("jax_default_matmul_precision", "bfloat16")
        os.environ.update(CODESIGN_KEPT="2", CODESIGN_NEW="3")
        warnings.simplefilter("ignore")
        raise RuntimeError("half way")

    with pytest.raises(RuntimeError, match="half way"), contained():
        fails()
    assert (jax.config.jax_default_matmul_precision, list(warnings.filters)) == before
    assert os.environ["CODESIGN_KEPT"] == "1"
    assert "CODESIGN_NEW" not in os.environ


def test_a_program_sets_its_numerics_for_its_own_block_only() -> None:
    before = jax.config.jax_default_matmul_precision, jax.config.jax_enable_x64
    with numerics("highest", x64=True):
        assert jax.numpy.zeros(1).dtype == "float64"
        assert "HIGHEST" in jax.jit(lambda x: x @ x).lower(jax.ShapeDtypeStruct((2, 2), "float32")).as_text()
    assert (jax.config.jax_default_matmul_precision, jax.config.jax_enable_x64) == before
    assert jax.numpy.zeros(1).dtype == "float32"
