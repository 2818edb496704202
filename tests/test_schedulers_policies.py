"""What do the simple policies do, and does every registered policy keep the rules of a mapping?"""

import importlib.metadata
import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from arch.link import Link
from arch.memory import Memory
from schedulers.cut_points import CutPoints
from schedulers.intensity_threshold import IntensityThreshold, intensity
from schedulers.scheduler import Mapping, Scheduler, create
from schedulers.single_device import SingleDevice
from tests.fixed_prices import Stated, random_traces, toy_costs, toy_machine
from tests.toys import Toy
from traces import Trace
from traces.errors import MappingError


def on(*device: int) -> Mapping:
    return Mapping(np.array(device, dtype=int), "by hand")


def three_kernels(**columns: Any) -> Trace:
    toy = Toy()
    for name, flops in (("low", 1000.0), ("high", 100_000.0), ("unknown", float("nan"))):
        toy.kernel(name, ["x"], ["y"], flops_vector=flops, **columns)
    return toy.build()


COSTS = [[1, 1, 1], [1, 1, 1], [1, 1, 1]]


def test_a_single_device_is_chosen_by_id_or_index() -> None:
    machine, trace, costs = toy_machine(2), three_kernels(), toy_costs(COSTS)
    assert SingleDevice().schedule(trace, machine, costs) == on(0, 0, 0)
    assert SingleDevice("far1").schedule(trace, machine, costs) == on(2, 2, 2)
    assert SingleDevice(1).schedule(trace, machine, costs) == on(1, 1, 1)


def test_an_unknown_device_is_an_error_with_the_nearest_name() -> None:
    with pytest.raises(MappingError, match="no device 'far7'; did you mean 'far"):
        SingleDevice("far7").schedule(three_kernels(), toy_machine(2), toy_costs(COSTS))
    with pytest.raises(MappingError, match=r"0 <= device < 3.*device=3"):
        SingleDevice(3).schedule(three_kernels(), toy_machine(2), toy_costs(COSTS))


def test_a_single_device_that_refuses_a_kernel_is_an_error_naming_both_and_the_reason() -> None:
    costs = toy_costs(COSTS, [[0, 0, 0], [0, 1, 1], [0, 0, 0]])
    with pytest.raises(MappingError, match=r"device 'far0' cannot run kernel 1 \('high'\): it is a toy \(1 more like it\)"):
        SingleDevice("far0").schedule(three_kernels(), toy_machine(2), costs)


def test_intensity_is_flop_per_unique_byte_and_unknown_work_stays_unknown() -> None:
    assert np.array_equal(intensity(three_kernels()), [1000 / 8192, 100_000 / 8192, np.nan], equal_nan=True)


def test_a_kernel_without_bytes_has_infinite_intensity() -> None:
    toy = Toy()
    toy.kernel("none")
    assert intensity(toy.build()).tolist() == [np.inf]


def test_kernels_below_the_threshold_leave_the_first_device_and_unknown_ones_stay() -> None:
    machine, costs = toy_machine(2), toy_costs(COSTS)
    assert IntensityThreshold(1.0).schedule(three_kernels(), machine, costs) == on(1, 0, 0)
    assert IntensityThreshold(100.0).schedule(three_kernels(), machine, costs) == on(1, 1, 0)
    assert IntensityThreshold(1000 / 8192).schedule(three_kernels(), machine, costs) == on(0, 0, 0)


def test_a_kernel_that_the_second_device_refuses_goes_to_the_next_that_accepts_it() -> None:
    costs = toy_costs(COSTS, [[0, 0, 0], [1, 1, 0], [0, 1, 0]])
    assert IntensityThreshold(100.0).schedule(three_kernels(), toy_machine(2), costs) == on(2, 0, 0)


def test_a_negative_threshold_is_refused() -> None:
    with pytest.raises(MappingError, match=r"threshold >= 0.*threshold=-1"):
        IntensityThreshold(-1.0)


def test_parameters_of_a_policy_are_checked_by_name() -> None:
    assert create(IntensityThreshold, threshold=2.0) == IntensityThreshold(2.0)
    with pytest.raises(MappingError, match="no parameter 'treshold'; did you mean 'threshold'"):
        create(IntensityThreshold, treshold=2.0)
    with pytest.raises(MappingError, match="no parameter 'thorough'; known: bytes_weight"):
        create(CutPoints, thorough=True)


@pytest.mark.parametrize(
    ("device", "message"),
    [
        ([0, 1], "each of the trace's 3 kernels, but got 2"),
        ([0, 3, 0], "below 3 .*gpu, far0, far1.* but kernel 1 .'high'. has 3"),
        ([0, 0, -1], "must not be negative, but kernel 2 has -1"),
        ([0.0, 1.0, 1.0], "dtype float64"),
        ([[0, 1, 1]], r"shape \(1, 3\)"),
    ],
)
def test_a_mapping_that_does_not_fit_is_refused(device: Any, message: str) -> None:
    with pytest.raises(MappingError, match=message):
        Mapping(np.array(device), "by hand").check(three_kernels(), toy_machine(2))


def test_a_mapping_cannot_be_changed_and_is_its_own_copy() -> None:
    given = np.zeros(3, dtype=np.int32)
    mapping = Mapping(given, "by hand")
    given[0] = 1
    assert mapping == on(0, 0, 0)
    with pytest.raises(ValueError, match="read-only"):
        mapping.device[0] = 1


@settings(deadline=None)
@given(st.lists(st.integers(0, 3)), st.text(), st.text())
def test_a_mapping_survives_json(device: list[int], scheduler: str, note: str) -> None:
    mapping = Mapping(np.array(device, dtype=int), scheduler, note)
    copy = Mapping.from_dict(json.loads(json.dumps(mapping.to_dict())))
    assert copy == mapping
    assert (copy.scheduler, copy.note, hash(copy)) == (scheduler, note, hash(mapping))


def test_the_json_of_a_mapping_grows_with_its_switches_not_its_kernels() -> None:
    assert Mapping(np.repeat([0, 1, 0], 1000), "by hand").to_dict()["runs"] == [[0, 1000], [1, 1000], [0, 1000]]


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"scheduler": "x", "kernels": 2, "runs": [[0, 1]]},
        {"scheduler": "x", "kernels": 1, "runs": [[0, -1]]},
        {"scheduler": "x", "kernels": 1, "runs": [[0]]},
        {"scheduler": "x", "kernels": 1, "runs": "no"},
        {"scheduler": "x", "kernels": 1, "runs": [[-2, 1]]},
    ],
)
def test_what_is_no_mapping_is_refused(data: Any) -> None:
    with pytest.raises(MappingError, match="must"):
        Mapping.from_dict(data)


POLICIES = {p.name: p.load() for p in importlib.metadata.entry_points(group="codesign.schedulers")}


def test_our_policies_are_registered_by_their_names() -> None:
    assert {"single-device", "intensity-threshold", "cut-points"} <= set(POLICIES)
    for name, policy in POLICIES.items():
        assert issubclass(policy, Scheduler)
        assert policy.name == name


@pytest.mark.parametrize("name", sorted(POLICIES))
@settings(deadline=None)
@given(random_traces(kernels=6), st.data())
def test_every_policy_gives_a_mapping_that_fits(name: str, trace: Trace, data: Any) -> None:
    machine, kernels = toy_machine(1, 1), len(trace.kernels)
    machine = replace(
        machine,
        devices=(*machine.devices, Stated("cpu", "host", (), ())),
        memories=(*machine.memories, Memory("host", 10**12, 1e11, role="dram")),
        links=(*machine.links, Link("bus", "hbm", "host", 10e9, None, 1e-6)),
    )
    refused = np.zeros((4, kernels), dtype=bool)
    refused[1:] = np.reshape(data.draw(st.lists(st.booleans(), min_size=3 * kernels, max_size=3 * kernels)), (3, kernels))
    costs = toy_costs(np.ones((4, kernels)), refused)
    mapping = POLICIES[name]().schedule(trace, machine, costs)
    assert mapping.check(trace, machine, costs).scheduler == name
