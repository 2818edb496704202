"""Does a TPU cost what its compiler says, and does nobody else's price stand in for it?"""

import numpy as np
import pytest

import codesign as cd
from arch.catalog import builtin
from arch.tpu import TPU
from arch.work import Prices, Work
from tests.toys import Toy
from traces import Trace
from traces.errors import MachineError

MIB = 2**20
TPUS = ("tpu-v4", "tpu-v5e", "tpu-v5p", "tpu-v6e", "tpu-7x")


def toy(target: str = "tpu-v5e", **manifest: str) -> Trace:
    """An instruction of 3,000 cycles in a loop, and a transfer from HBM that the compiler does not estimate."""
    made = Toy()
    made.tensor("weights", MIB)
    made.tensor("on chip", 0)
    made.kernel("copy-start", ["weights"], ["on chip"], family="copy", launch_kind="copy", compiler_cycles=float("nan"), flops_vector=0.0)
    with made.loop(10):
        made.kernel("fusion", ["on chip"], ["on chip"], compiler_cycles=3000.0)
    return made.build(target=target, **manifest)


def price(trace: Trace, name: str = "tpu-v5e") -> Prices:
    return TPU.of(builtin(name)).price(Work.of(trace))


def test_an_instruction_costs_the_compilers_cycles_at_the_clock() -> None:
    assert price(toy()).duration_s[1] == 3000 / 1.5e9
    assert price(toy()).terms["cycles_s"].tolist() == [0, 2e-6]


def test_what_is_not_estimated_costs_at_least_its_bytes() -> None:
    found = price(toy())
    assert found.duration_s[0] == pytest.approx(MIB / 819e9)
    assert found.terms["unestimated_s"].tolist() == [found.duration_s[0], 0]


def test_or_its_arithmetic_on_the_vector_unit() -> None:
    made = Toy()
    made.tensor("x", 64)
    made.kernel("lu", ["x"], ["x"], family="lu", compiler_cycles=float("nan"), flops_matrix=1e9, flops_vector=0.0)
    assert price(made.build(target="tpu-v5e")).duration_s[0] == pytest.approx(1e9 / builtin("tpu-v5e")["vector_flops.f32"])


def test_operands_on_the_chip_are_no_traffic() -> None:
    assert price(toy()).dram_bytes.tolist() == [MIB, 0]


def test_a_replay_runs_the_program_without_launches_in_between() -> None:
    trace = toy()
    timeline = cd.replay(trace, cd.machine("tpu-v5e"))
    assert timeline.kernel_time_s == pytest.approx(10 * 2e-6 + MIB / 819e9)
    assert timeline.uncertainty["unvalidated_share"] == 1
    assert timeline.launches == 11


@pytest.mark.parametrize("name", ["tpu-v4", "tpu-v6e"])
def test_another_tpu_refuses_the_trace(name: str) -> None:
    with pytest.raises(MachineError, match=f"this one is for tpu-v5e and the device is {name}: capture it again with --target {name}"):
        cd.replay(toy(), cd.machine(name))


def test_a_gpu_refuses_a_tpus_trace() -> None:
    with pytest.raises(MachineError, match=r"must replay on that TPU only.*'toy' is for tpu-v5e and 'a5000' has a5000"):
        cd.replay(toy(), cd.machine("a5000"))


def test_a_tpu_refuses_a_gpus_trace() -> None:
    with pytest.raises(MachineError, match="this one is for a5000"):
        cd.replay(toy("a5000"), cd.machine("tpu-v5e"))


def test_a_machine_holds_nothing_beside_a_tpu() -> None:
    with pytest.raises(MachineError, match=r"a machine has nothing beside it, but got 'tpu-v5e.dram'; write tpu-v5e"):
        cd.machine("tpu-v5e+dram")


def test_a_faster_clock_runs_the_same_cycles_faster() -> None:
    machine = cd.machine("tpu-v5e").with_(clock_hz="3 GHz")
    assert machine.devices[0].price(Work.of(toy())).duration_s[1] == 1e-6
    assert machine.hypothetical


@pytest.mark.parametrize("name", TPUS)
def test_every_tpu_of_the_issue_is_in_the_catalogue(name: str) -> None:
    entry = builtin(name)
    lanes = {"tpu-v4": 4 * 128**2, "tpu-v5e": 4 * 128**2, "tpu-v5p": 8 * 128**2, "tpu-v6e": 4 * 256**2, "tpu-7x": 4 * 256**2}[name]
    assert entry["matrix_flops.bf16"] == pytest.approx(2 * lanes * entry["clock"], rel=0.01)
    assert entry.not_modelled
    assert entry.quantity("memory_bandwidth").source_kind == "datasheet"


def test_energy_is_not_known() -> None:
    assert np.isnan(price(toy()).energy_j).all()
