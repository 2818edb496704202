"""Is the cut-points policy optimal under the model it names, and is that model what it says?"""

import itertools
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schedulers.cut_points import CutPoints, mapping_cost, partition, program_events
from schedulers.least_cost import least_cost
from schedulers.live_cuts import live_cuts
from schedulers.scheduler import Mapping
from schedulers.serial_model import live_bytes, serial_cost, unrolled
from tests.fixed_prices import US, random_traces, toy_costs, toy_machine
from tests.toys import Toy
from traces import Trace
from traces.errors import MachineError, MappingError


def on(*device: int) -> Mapping:
    return Mapping(np.array(device, dtype=int), "by hand")


def chain(size: int = 40_000) -> Trace:
    toy = Toy()
    toy.tensor("a", size)
    toy.kernel("first", [], ["a"])
    toy.kernel("second", ["a"], ["b"])
    return toy.build()


def test_a_cut_costs_latency_and_bytes_over_bandwidth_of_the_link() -> None:
    costs = toy_costs([[10, 10], [5, 5]])
    assert serial_cost(chain(), toy_machine(), costs, on(0, 1)) == pytest.approx((10 + 1 + 4 + 5) * US)


def test_an_in_memory_hand_over_costs_switch_flush_and_layout() -> None:
    costs = toy_costs([[10, 10], [5, 5]])
    assert serial_cost(chain(), toy_machine(0, 1), costs, on(0, 1)) == pytest.approx((10 + 2 + 2 + 5) * US)


def test_without_live_bytes_a_link_costs_nothing_but_a_mode_switch_does() -> None:
    toy = Toy()
    toy.kernel("first", [], ["a"])
    toy.kernel("second", [], ["b"])
    costs = toy_costs([[10, 10], [5, 5]])
    assert serial_cost(toy.build(), toy_machine(), costs, on(0, 1)) == pytest.approx(15 * US)
    assert serial_cost(toy.build(), toy_machine(0, 1), costs, on(0, 1)) == pytest.approx(17 * US)


def test_parameters_move_before_a_first_kernel_that_runs_elsewhere() -> None:
    toy = Toy()
    toy.tensor("x", 10_000, "parameter")
    toy.kernel("only", ["x"], ["y"])
    assert serial_cost(toy.build(), toy_machine(), toy_costs([[10], [5]]), on(1)) == pytest.approx((1 + 1 + 5) * US)


def test_two_attached_devices_hand_over_through_the_memory_between_them() -> None:
    costs = toy_costs([[10, 10], [5, 5], [5, 5]])
    assert serial_cost(chain(), toy_machine(2), costs, on(1, 2)) == pytest.approx((5 + 2 * (1 + 4) + 5) * US)


def loop_of_two(trips: int) -> Trace:
    toy = Toy()
    toy.tensor("a", 40_000)
    toy.tensor("b", 40_000)
    with toy.loop(trips):
        toy.kernel("gpu", ["b"], ["a"])
        toy.kernel("pim", ["a"], ["b"])
    return toy.build()


def test_a_loop_pays_the_way_back_between_iterations_and_its_first_iteration_finds_nothing_to_move() -> None:
    costs = toy_costs([[10, 10], [5, 5]])
    switch, layout = 2, 2
    iteration = 10 + switch + layout + 5
    expected = 10 * iteration + 9 * (switch + layout)
    assert serial_cost(loop_of_two(10), toy_machine(0, 1), costs, on(0, 1)) == pytest.approx(expected * US)
    from_pim = switch + 5 + switch + layout + 10
    assert serial_cost(loop_of_two(1), toy_machine(0, 1), costs, on(1, 0)) == pytest.approx(from_pim * US)


def test_a_value_that_is_overwritten_before_it_is_read_does_not_move() -> None:
    toy = Toy()
    toy.tensor("a", 40_000)
    toy.kernel("first", [], ["a"])
    toy.kernel("second", [], ["a"])
    toy.kernel("third", ["a"], ["b"])
    trace = toy.build()
    assert live_bytes(trace, list(unrolled(trace))) == [0, 0, 40_000]


def test_cuts_count_first_and_last_iterations_apart() -> None:
    toy = Toy()
    toy.tensor("carry", 1000)
    with toy.loop(5):
        toy.kernel("reads", ["carry"], [])
        toy.kernel("writes", [], ["carry"])
    cuts = live_cuts(toy.build())
    back = 2 + 1  # after the two rows: the root region, then the loop
    assert cuts.passes[[0, 1, back]].tolist() == [1, 5, 4]
    assert cuts.moved_bytes[[0, 1, back]].tolist() == [0, 0, 4000]


def all_mappings(devices: int, kernels: int) -> Any:
    return (Mapping(np.array(choice, dtype=int), "by hand") for choice in itertools.product(range(devices), repeat=kernels))


@settings(max_examples=150, deadline=None)
@given(random_traces(), st.integers(0, 2), st.integers(0, 2), st.data())
def test_no_mapping_beats_the_dynamic_programme_under_the_serial_model(trace: Trace, attached: int, in_memory: int, data: Any) -> None:
    machine = toy_machine(attached, in_memory)
    shape = (1 + attached + in_memory, len(trace.kernels))
    cells = shape[0] * shape[1]
    duration = data.draw(st.lists(st.integers(0, 40), min_size=cells, max_size=cells))
    refused = data.draw(st.lists(st.integers(0, 5).map(lambda n: n == 0), min_size=cells, max_size=cells))
    costs = toy_costs(np.reshape(duration, shape), np.reshape(refused, shape))
    costs.refusal[0] = 0
    found = partition(trace, machine, costs)
    fitting = [m for m in all_mappings(*shape) if not costs.refusal[m.device, np.arange(shape[1])].any()]
    best = min(serial_cost(trace, machine, costs, mapping) for mapping in fitting)
    assert found.serial_s == pytest.approx(best, rel=1e-9, abs=1e-15)
    assert serial_cost(trace, machine, costs, found.mapping) == pytest.approx(found.serial_s, rel=1e-9, abs=1e-15)


@settings(max_examples=100, deadline=None)
@given(random_traces(kernels=8, depth=3, trips=6), st.data())
def test_cuts_add_up_to_what_unrolling_gives_for_any_mapping(trace: Trace, data: Any) -> None:
    machine, kernels = toy_machine(1, 1), len(trace.kernels)
    device = data.draw(st.lists(st.integers(0, 2), min_size=kernels, max_size=kernels))
    costs = toy_costs(np.arange(3 * kernels).reshape(3, kernels))
    expected = serial_cost(trace, machine, costs, on(*device))
    assert mapping_cost(trace, machine, costs, on(*device)) == pytest.approx(expected, rel=1e-9, abs=1e-15)


def test_a_loop_switches_devices_only_if_its_iterations_gain_more_than_the_way_there_and_back() -> None:
    cheap, dear = toy_costs([[10, 10], [20, 1]]), toy_costs([[10, 10], [20, 5]])
    machine = toy_machine(0, 1)
    assert partition(loop_of_two(10), machine, cheap).mapping.device.tolist() == [0, 1]
    assert partition(loop_of_two(10), machine, dear).mapping.device.tolist() == [0, 0]


def test_the_time_to_partition_does_not_depend_on_trip_counts() -> None:
    costs = toy_costs([[10, 10], [20, 1]])
    found = partition(loop_of_two(10**12), toy_machine(0, 1), costs)
    assert found.serial_s == pytest.approx(10**12 * (11 + 2 * 4) * US, rel=1e-9)


def test_a_kernel_that_every_device_refuses_is_an_error_with_the_reasons() -> None:
    with pytest.raises(MappingError, match=r"some device .* must accept every kernel, but .*'gpu'.*kernel 1.*'second'.*it is a toy"):
        CutPoints().schedule(chain(), toy_machine(), toy_costs([[1, 1], [1, 1]], [[0, 1], [0, 1]]))


def test_a_kernel_that_the_first_device_refuses_goes_elsewhere() -> None:
    mapping = CutPoints().schedule(chain(), toy_machine(), toy_costs([[1, 1], [100, 100]], [[0, 1], [0, 0]]))
    assert mapping.device[1] == 1


def test_devices_without_a_path_between_them_are_an_error() -> None:
    connected = toy_machine()
    machine: Any = SimpleNamespace(**{**connected.__dict__, "links": ()})  # a Machine refuses to be so
    with pytest.raises(MachineError, match="no path from hbm to dram0"):
        CutPoints().schedule(chain(), machine, toy_costs([[1, 1], [1, 1]]))


def test_charging_for_fewer_bytes_switches_sooner() -> None:
    machine, costs = toy_machine(0, 1), toy_costs([[10, 10], [20, 5]])
    assert CutPoints(0.25).schedule(loop_of_two(10), machine, costs).device.tolist() == [0, 1]
    assert partition(loop_of_two(10), machine, costs, 0.25).serial_s == pytest.approx((10 * (10 + 2.5 + 5) + 9 * 2.5) * US)


def test_the_share_of_bytes_must_be_a_share() -> None:
    with pytest.raises(MappingError, match=r"0 <= bytes_weight <= 1.*bytes_weight=1.5"):
        CutPoints(1.5)


@settings(max_examples=100, deadline=None)
@given(random_traces(), st.integers(2, 3), st.integers(0, 2**32 - 1))
def test_the_dynamic_programme_is_exact_for_moves_that_cost_differently_in_each_direction(trace: Trace, devices: int, seed: int) -> None:
    (op, row, entry, back), depth = program_events(trace)
    random = np.random.default_rng(seed)
    run_s = random.integers(0, 20, (devices, len(trace.kernels))).astype(float)
    move_s = random.integers(0, 20, (len(trace.kernels) + len(trace.regions), devices, devices)).astype(float)
    seconds, found = least_cost(op, row, entry, back, depth, run_s, move_s)

    def cost(device: Any) -> float:
        total = run_s[device, np.arange(len(device))].sum()
        total += sum(move_s[k, device[k - 1] if k else 0, device[k]] for k in range(len(device)))
        first, end = trace.regions["first_kernel"], trace.regions["end_kernel"]
        loops = [r for r in range(len(trace.regions)) if trace.regions["trip_count"][r] > 1 and first[r] < end[r]]
        return float(total + sum(move_s[len(device) + r, device[end[r] - 1], device[first[r]]] for r in loops))

    assert seconds == min(cost(mapping.device) for mapping in all_mappings(devices, len(trace.kernels)))
    assert cost(found) == seconds
