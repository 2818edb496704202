"""Is an imported kernel of unknown work refused elsewhere unless the user says what to assume, and is the result marked then?"""

import json
from dataclasses import replace
from pathlib import Path

import pytest

import codesign as cd
from arch.gpu import GPU
from codesign.engine.rows import timeline_tables
from tests.command_line import document, run
from tests.kineto_profiles import A100, event
from tests.toys import Toy
from traces import Trace
from traces.errors import MachineError

pytestmark = pytest.mark.filterwarnings("ignore::traces.formats.profile.ProfileWarning")


def bandwidth(name: str) -> float:
    """Bytes a second that streaming reaches on the GPU of a machine."""
    from arch import streaming
    from arch.registered import find

    entry = find(name)
    return float(streaming.dram_rate(entry, entry["memory_bandwidth"]))


@pytest.fixture
def imported(tmp_path: Path) -> Trace:
    path = tmp_path / "p.json"
    path.write_text(json.dumps({"traceEvents": [event("a_kernel", 0, 30), event("b_kernel", 40, 10)]}))
    return cd.import_profile(path, target="a100")


def test_what_was_measured_on_the_machine_itself_is_not_off(imported: Trace) -> None:
    found = cd.replay(imported, cd.machine("a100"))
    assert found.kernel_time_s == pytest.approx(40e-6)
    assert (found.uncertainty["relative"], found.uncertainty["unvalidated_share"]) == (0, 0)


def test_without_an_assumption_replay_refuses_and_says_how_to_make_one(imported: Trace) -> None:
    with pytest.raises(MachineError, match=r"2 of 2 kernels, 100\.0 % of the measured time lack .* \(--assume memory-bound\)"):
        cd.replay(imported, cd.machine("a5000"))


def test_bound_by_memory_is_the_ratio_of_bandwidths(imported: Trace) -> None:
    found = cd.replay(imported, cd.machine("a5000"), assume="memory-bound")
    assert found.kernel_time_s == pytest.approx(40e-6 * bandwidth("a100") / bandwidth("a5000"), rel=1e-6)
    assert found.assumed == {"memory-bound": {"kernels": 2, "share": pytest.approx(1)}}
    assert cd.Timeline.from_dict(found.to_dict()).assumed == found.assumed
    assert ("assumed memory-bound", "2 kernels, 100.0% of kernel time") in timeline_tables(found.to_dict())[0].rows


def test_more_bandwidth_of_the_machines_own_counts(imported: Trace) -> None:
    machine = cd.machine("a5000")
    gpu = machine.devices[0]
    assert isinstance(gpu, GPU)
    half = replace(machine, devices=(replace(gpu, dram_bandwidth=gpu.dram_bandwidth / 2),))
    times = [cd.replay(imported, m, assume="memory-bound").kernel_time_s for m in (half, machine)]
    assert times[0] == pytest.approx(2 * times[1], rel=1e-6)


def test_on_its_own_device_nothing_is_assumed(imported: Trace) -> None:
    found = cd.replay(imported, cd.machine("a100"), assume="memory-bound")
    assert found.kernel_time_s == pytest.approx(40e-6)
    assert found.assumed == {"memory-bound": {"kernels": 0, "share": 0}}


def test_known_work_is_not_assumed() -> None:
    toy = Toy()
    toy.tensor("x", 2**20)
    toy.kernel("known", ["x"], ["x"], flops_vector=2.0**18, measured_s=float("nan"))
    toy.kernel("riddle", ["x"], ["x"], flops_vector=float("nan"), measured_s=5e-6)
    trace = toy.build(target="a100-sxm-40gb")
    found = cd.replay(trace, cd.machine("a5000"), assume="memory-bound")
    assert found.assumed["memory-bound"]["kernels"] == 1
    assert found.assumed["memory-bound"]["share"] < 1


def test_without_an_assumption_the_result_says_nothing(imported: Trace) -> None:
    assert cd.replay(imported, cd.machine("a100")).assumed == {}


def test_a_profile_of_a_device_that_nobody_knows_is_still_refused(imported: Trace) -> None:
    imported.manifest["target"] = "tesla-x"
    with pytest.raises(MachineError, match="2 of 2 kernels"):
        cd.replay(imported, cd.machine("a5000"), assume="memory-bound")


def test_an_unknown_assumption_is_an_error(imported: Trace) -> None:
    with pytest.raises(MachineError, match="what can be assumed is memory-bound, but got 'compute-bound'"):
        cd.replay(imported, cd.machine("a5000"), assume="compute-bound")


def test_the_command_marks_the_result(tmp_path: Path) -> None:
    run("import", A100, "-o", tmp_path / "a.trace")
    arguments = ("replay", tmp_path / "a.trace", "--machine", "a5000", "--assume", "memory-bound")
    assert document(*arguments)["assumed"]["memory-bound"]["kernels"] == 79
    assert "assumed memory-bound" in run(*arguments).stdout
    assert run("replay", tmp_path / "a.trace", "--machine", "a5000").exit_code == 2
