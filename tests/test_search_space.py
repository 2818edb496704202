"""What may a search vary, and what does it say about borders?"""

import dataclasses
from typing import Any

import numpy as np
import pytest

from arch.machine import Machine
from arch.parameter import Parameter
from codesign.search.groups import Groups
from codesign.search.space import Range, Space
from tests.fixed_prices import toy_costs, toy_machine
from tests.toys import Toy
from traces import Trace
from traces.errors import SearchError


def adjustable() -> Machine:
    parameters = {
        "stacks": Parameter(2.0, "1", 1.0, 6.0, "", integer=True),
        "clock_hz": Parameter(1e9, "Hz", 5e8, 2e9, ""),
        "banks": Parameter(4.0, "1", 1.0, 16.0, "", True, (1.0, 2.0, 4.0, 16.0)),
        "host_s": Parameter(1e-6, "s", 0.0, 1e-3, "", design=False),
    }
    return dataclasses.replace(toy_machine(), parameters=parameters)


def test_by_default_every_parameter_of_the_design_varies_in_the_range_that_the_machine_declares() -> None:
    ranges = Space().resolved(adjustable()).ranges
    banks = Range(1, 16, whole=True, choices=(1, 2, 4, 16))
    assert ranges == {"stacks": Range(1, 6, whole=True), "clock_hz": Range(5e8, 2e9), "banks": banks}


def test_a_space_may_narrow_a_range_and_leave_parameters_alone() -> None:
    assert Space(machine={"stacks": (2, 3)}).resolved(adjustable()).ranges == {"stacks": Range(2, 3, whole=True)}
    assert Space(machine={}).resolved(adjustable()).ranges == {}
    assert Space(machine={"host_s": (0, 1e-6)}).resolved(adjustable()).ranges == {"host_s": Range(0, 1e-6)}
    assert Space(machine={"banks": (2, 8)}).resolved(adjustable()).ranges["banks"].choices == (2, 4)


def test_ends_may_be_texts_with_units_and_none_is_what_the_machine_declares() -> None:
    space = Space(machine={"clock_hz": ("600 MHz", 1.5e9), "stacks": None, "banks": ("2", "8")})
    assert space.resolved(adjustable()).ranges == {
        "clock_hz": Range(6e8, 1.5e9),
        "stacks": Range(1, 6, whole=True),
        "banks": Range(2, 4, whole=True, choices=(2, 4)),
    }


@pytest.mark.parametrize(
    ("space", "message"),
    [
        ({"machine": {"stakcs": (1, 2)}}, "no parameter 'stakcs'; did you mean 'stacks'"),
        ({"machine": {"stacks": (0, 2)}}, "stacks .* between 1 and 6 1, but the space has 0 to 2"),
        ({"machine": {"clock_hz": (1e9, 3e9)}}, r"clock_hz .* Hz, but the space has 1e\+09 to 3e\+09"),
        ({"machine": {"stacks": (3, 2)}}, r"`low <= high` must hold .* \(low=3, high=2\)"),
        ({"machine": {"stacks": (1.5, 2)}}, "must be whole"),
        ({"machine": {"banks": (5, 8)}}, r"banks must be one of \(1, 2, 4, 16\), but the space has 5 to 8"),
        ({"machine": {"clock_hz": (float("nan"), 2)}}, "low <= high"),
        ({"machine": {"clock_hz": ("600 MHz", "2 J")}}, "the range of clock_hz must be in one of Hz, .* but got 'J'"),
        ({"machine": {"clock_hz": ("600", 2e9)}}, "the range of clock_hz: a number without a unit is ambiguous"),
        ({"machine": {"stacks": 3}}, r"the range of stacks must be a pair \(low, high\), but got 3"),
        ({"policies": ("cut-point",)}, "no policy 'cut-point'; did you mean 'cut-points'"),
        ({"policies": ()}, "at least one policy"),
    ],
)
def test_a_space_that_the_machine_cannot_take_is_refused(space: Any, message: str) -> None:
    with pytest.raises(SearchError, match=message):
        Space(**space).resolved(adjustable())


def test_a_log_range_must_be_positive() -> None:
    with pytest.raises(SearchError, match="0 < low"):
        Range(0, 1, log=True)


@pytest.mark.parametrize(
    ("limits", "value", "side"),
    [
        (Range(1, 6, whole=True), 1, "low"),
        (Range(1, 6, whole=True), 2, None),
        (Range(1, 6, whole=True), 6, "high"),
        (Range(1, 4, choices=(1, 2, 4)), 2, None),
        (Range(1, 4, choices=(1, 2, 4)), 4, "high"),
        (Range(0, 100), 0.9, "low"),
        (Range(0, 100), 1.1, None),
        (Range(0, 100), 99.5, "high"),
        (Range(0.01, 100, log=True), 0.0105, "low"),
        (Range(0.01, 100, log=True), 1.0, None),
        (Range(0.01, 100, log=True), 95, "high"),
    ],
)
def test_a_value_within_one_percent_of_an_end_lies_on_the_border(limits: Range, value: float, side: str | None) -> None:
    assert limits.side(value) == side


def two_phases() -> Trace:
    toy = Toy()
    for phase in ("forward", "gradient"):
        for family in ("gemm", "reduce"):
            toy.kernel(f"{phase}-{family}", ["x"], ["y"], phase=phase, family=family)
    return toy.build()


def test_groups_are_the_distinct_values_of_the_columns() -> None:
    groups = Groups.of(two_phases(), ("phase", "family"))
    assert groups.names == ("forward/gemm", "forward/reduce", "gradient/gemm", "gradient/reduce")
    assert groups.of_kernel.tolist() == [0, 1, 2, 3]
    assert Groups.of(two_phases(), ("family",)).of_kernel.tolist() == [0, 1, 0, 1]
    assert Groups.of(two_phases(), ()).names == ("all",)


def test_kernels_are_grouped_by_columns_of_text_only() -> None:
    with pytest.raises(SearchError, match="cannot be grouped by 'familiy'; did you mean 'family'"):
        Groups.of(two_phases(), ("familiy",))


def test_a_group_has_a_choice_only_among_devices_that_accept_one_of_its_kernels() -> None:
    costs = toy_costs(np.ones((3, 4)), [[0, 0, 0, 0], [1, 0, 1, 0], [1, 0, 1, 1]])
    choices = Groups.of(two_phases(), ("family",)).choices(toy_machine(2), costs)
    assert choices == {"reduce": ["gpu", "far0", "far1"]}


def test_refused_kernels_of_a_group_stay_on_the_first_device() -> None:
    costs = toy_costs(np.ones((2, 4)), [[0, 0, 0, 0], [0, 1, 0, 0]])
    mapping = Groups.of(two_phases(), ("phase",)).mapping(toy_machine(1), costs, {"forward": "far0"})
    assert mapping.device.tolist() == [1, 0, 0, 0]


def test_the_fastest_device_of_a_group_counts_what_it_refuses_on_the_first() -> None:
    costs = toy_costs([[10, 10, 10, 10], [1, 1, 30, 2]], [[0, 0, 0, 0], [0, 0, 1, 0]])
    groups, machine = Groups.of(two_phases(), ("phase",)), toy_machine(1)
    assert groups.fastest(machine, costs, np.ones(4, np.int64)) == {"forward": "far0", "gradient": "far0"}
    assert groups.fastest(machine, costs, np.array([1, 1, 1, 0])) == {"forward": "far0", "gradient": "gpu"}


def test_a_step_inward_stays_in_the_range_and_leaves_the_border() -> None:
    assert Range(1, 6, whole=True).inward(6) == 5
    assert Range(1, 6, whole=True).inward(1) == 2
    assert Range(0, 100).inward(99.5) == pytest.approx(89.5)
    assert Range(1, 16, choices=(1, 4, 16)).inward(16) == 4
    assert Range(1, 2, choices=(1, 2)).inward(2) == 1
