"""Do the lower bounds bound?"""

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from arch.building import machine as machine_of
from arch.cost import cost_table
from arch.host import Host
from codesign.engine import replay
from codesign.search import Space, bounds
from codesign.testing import example_trace
from schedulers.scheduler import Mapping
from schedulers.serial_model import unrolled
from tests.fixed_prices import US, adjustable_machine, random_traces, toy_machine
from tests.toys import Toy
from traces import Trace


def durations(trace: Trace) -> st.SearchStrategy[Any]:
    return st.lists(st.integers(0, 20), min_size=len(trace.kernels), max_size=len(trace.kernels)).map(lambda us: np.array(us) * US)


def longest_chain(trace: Trace, duration: Any, one_memory: bool) -> float:
    """The critical path by definition: every launch after all earlier ones that it conflicts with, or whose values it reads."""
    accesses = list(zip(trace.accesses["kernel"], trace.access_alias, trace.access_writes, strict=True))
    touched = {row: {(int(alias), bool(write)) for k, alias, write in accesses if k == row} for row in range(len(trace.kernels))}
    rows, ends = list(unrolled(trace)), []
    for now, row in enumerate(rows):
        before: list[float] = [0.0]
        for alias, write in touched[row]:
            writers = [i for i in range(now) if (alias, True) in touched[rows[i]]]
            readers = [i for i in range(now) if (alias, False) in touched[rows[i]]]
            before += [ends[i] for i in (writers + readers if one_memory else []) if write]
            before += [ends[i] for i in (writers if one_memory else writers[-1:]) if not write]
        ends.append(max(before) + duration[row])
    return max(ends, default=0.0)


@settings(max_examples=100, deadline=None)
@given(random_traces(kernels=6, depth=2, trips=3), st.booleans(), st.data())
def test_the_critical_path_is_the_longest_chain_of_launches_that_need_each_other(trace: Trace, one_memory: bool, data: Any) -> None:
    duration = data.draw(durations(trace))
    found = bounds.critical_path(trace, duration, one_memory=one_memory)
    assert found == pytest.approx(longest_chain(trace, duration, one_memory), rel=1e-12, abs=1e-18)


@settings(max_examples=50, deadline=None)
@given(random_traces(kernels=6, depth=3, trips=6), st.integers(1, 30))
def test_the_first_launches_are_a_beginning_of_all(trace: Trace, most: int) -> None:
    assert bounds.first_launches(trace, most).tolist() == list(unrolled(trace))[:most]


def test_independent_kernels_have_a_critical_path_of_one_and_a_loop_carried_value_chains_iterations() -> None:
    toy = Toy()
    toy.kernel("one", ["x"], ["a"])
    toy.kernel("two", ["x"], ["b"])
    assert bounds.critical_path(toy.build(), np.array([5, 7]), one_memory=True) == 7
    toy = Toy()
    with toy.loop(10):
        toy.kernel("carries", ["a"], ["a"])
    assert bounds.critical_path(toy.build(), np.array([5]), one_memory=False) == 50


def test_what_is_written_into_two_memories_need_not_wait_for_readers_of_the_other_copy() -> None:
    toy = Toy()
    toy.tensor("a", 1000, "parameter")
    toy.kernel("reads", ["a"], ["b"])
    toy.kernel("overwrites", [], ["a"])
    assert bounds.critical_path(toy.build(), np.array([5, 7]), one_memory=True) == 12
    assert bounds.critical_path(toy.build(), np.array([5, 7]), one_memory=False) == 7


def test_a_walk_of_a_very_long_loop_is_cut_short() -> None:
    toy = Toy()
    with toy.loop(10**12):
        toy.kernel("carries", ["a"], ["a"])
    assert bounds.critical_path(toy.build(), np.array([1.0]), one_memory=True) == bounds.MOST_LAUNCHES


def test_two_equal_devices_halve_the_load_and_one_alone_bears_it() -> None:
    work = np.array([[4.0, 6.0], [4.0, 6.0]])
    assert bounds.load(work) == pytest.approx(5.0)
    assert bounds.load(work[:1]) == pytest.approx(10.0)


def test_work_that_a_device_refuses_stays_with_the_other() -> None:
    assert bounds.load(np.array([[4.0, 6.0], [np.inf, 1.0]])) == pytest.approx(4.0)
    assert bounds.load(np.array([[4.0, 3.0], [np.inf, np.inf]])) == pytest.approx(7.0)


work_tables = st.integers(1, 3).flatmap(
    lambda d: st.integers(1, 5).flatmap(
        lambda k: st.lists(st.lists(st.integers(0, 50), min_size=k, max_size=k), min_size=d, max_size=d).map(lambda w: np.array(w, float))
    )
)


@settings(max_examples=100, deadline=None)
@given(work_tables, st.data())
def test_no_division_of_work_loads_the_busiest_device_less(work: Any, data: Any) -> None:
    refused = data.draw(st.lists(st.booleans(), min_size=work[1:].size, max_size=work[1:].size))
    work[1:][np.reshape(np.array(refused, dtype=bool), work[1:].shape)] = np.inf
    least = bounds.load(work)
    allowed = np.isfinite(work)
    for _ in range(20):
        parts = np.where(allowed, np.random.default_rng(data.draw(st.integers(0, 99))).random(work.shape), 0.0)
        parts /= parts.sum(axis=0)
        busiest = (parts * np.where(allowed, work, 0.0)).sum(axis=1).max()
        assert least <= busiest * (1 + 1e-9)


@settings(max_examples=50, deadline=None)
@given(work_tables.filter(lambda w: len(w) == 2))
def test_the_load_of_two_devices_is_that_of_the_best_split_by_ratio(work: Any) -> None:
    order = np.argsort(work[0] / np.maximum(work[1], 1e-12), kind="stable")  # cheapest on device 0, relatively, come first
    best = np.inf
    for split in range(work.shape[1]):
        before, after, k = order[:split], order[split + 1 :], order[split]
        base0, base1 = work[0][before].sum(), work[1][after].sum()
        total = work[0][k] + work[1][k]
        share = np.clip((base1 + work[1][k] - base0) / total, 0, 1) if total else 0.0
        best = min(best, max(base0 + share * work[0][k], base1 + (1 - share) * work[1][k]))
    assert bounds.load(work) == pytest.approx(best, rel=1e-7, abs=1e-9)


def test_the_host_bounds_short_kernels_and_a_command_buffer_is_one_issue() -> None:
    toy = Toy()
    with toy.loop(3):
        toy.kernel("a")
        toy.kernel("b")
    assert bounds.issue(toy.build(), np.array([1.0, 2.0]), 10.0) == 5 * 10 + 2
    toy = Toy()
    with toy.loop(3):
        toy.kernel("a", command_buffer=0)
        toy.kernel("b", command_buffer=0)
    assert bounds.issue(toy.build(), np.array([1.0, 2.0]), 10.0) == 2 * 10 + 2


hosts = st.builds(
    Host,
    st.sampled_from([0.0, 2 * US, 20 * US]),
    st.sampled_from([0.0, 3 * US]),
    st.just(1024),
    st.sampled_from([0.0, US]),
    st.just(5 * US),
)


@settings(max_examples=60, deadline=None)
@given(random_traces(kernels=4, depth=2, trips=4), st.sampled_from([(1, 0), (0, 1), (1, 1)]), hosts, st.data())
def test_no_mapping_replays_faster_than_the_lower_bound(trace: Trace, pims: tuple[int, int], host: Host, data: Any) -> None:
    shape = (1 + sum(pims), len(trace.kernels))
    cells = st.lists(st.lists(st.integers(0, 40), min_size=shape[1], max_size=shape[1]), min_size=shape[0], max_size=shape[0])
    refused = data.draw(st.lists(st.lists(st.booleans(), min_size=shape[1], max_size=shape[1]), min_size=shape[0], max_size=shape[0]))
    machine = toy_machine(*pims, duration_us=data.draw(cells), refused=[[False] * shape[1], *refused[1:]], cold_us=3.0, host=host)
    bound = bounds.lower_bound(trace, machine)
    costs = cost_table(trace, machine)
    assert bound.seconds is not None
    for choice in itertools.product(range(shape[0]), repeat=shape[1]):
        device = np.array(choice, dtype=int)
        if not costs.refusal[device, np.arange(shape[1])].any():
            time_s = replay(trace, machine, Mapping(device, "by hand"), record=False).time_s
            assert bound.seconds <= time_s * (1 + 1e-9) + 1e-15, (bound, device)


@settings(max_examples=20, deadline=None)
@given(random_traces(kernels=3, depth=1, trips=3), st.floats(1, 8), st.floats(0.5, 2), st.data())
def test_no_machine_of_the_space_replays_faster_than_its_lower_bound(trace: Trace, units: float, clock: float, data: Any) -> None:
    prices = st.lists(st.integers(0, 40), min_size=len(trace.kernels), max_size=len(trace.kernels))
    machine = adjustable_machine(data.draw(prices), data.draw(prices))
    bound = bounds.lower_bound(trace, machine, Space())
    changed = machine.with_(units=round(units), clock=clock)
    assert bound.seconds is not None
    for choice in itertools.product(range(2), repeat=len(trace.kernels)):
        time_s = replay(trace, changed, Mapping(np.array(choice, dtype=int), "by hand"), record=False).time_s
        assert bound.seconds <= time_s * (1 + 1e-9) + 1e-15


def test_whole_parameters_are_priced_at_every_value_for_prices_are_not_monotone_in_them() -> None:
    trace, gpu = example_trace(), machine_of("a5000")
    bound = bounds.lower_bound(trace, gpu, Space(machine={"sm_count": (40, 80), "clock_hz": ("1 GHz", "2 GHz")}))
    assert bound.seconds is not None
    assert "its cheapest of all values of sm_count and at the ends of clock_hz, in each of which" in bound.method
    for sm_count, clock_hz in itertools.product(range(40, 81, 3), (1e9, 1.6e9, 2e9)):
        changed = gpu.with_(sm_count=sm_count, clock_hz=clock_hz)
        assert bound.seconds <= replay(trace, changed, record=False).time_s * (1 + 1e-9)


def test_where_whole_values_are_too_many_those_of_most_values_are_priced_at_every_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not SMs, in which prices are not monotone, but packages, in which they are, are priced at their ends."""
    trace, gpu = example_trace(), machine_of("a5000")
    space = Space(machine={"sm_count": (40, 80), "memory_packages": (6, 24)})
    whole = bounds.lower_bound(trace, gpu, space)
    assert "of all values of memory_packages, sm_count" in whole.method
    monkeypatch.setattr(bounds, "MOST_VALUES", 2 * 41)
    some = bounds.lower_bound(trace, gpu, space)
    assert "of all values of sm_count and at the ends of memory_packages" in some.method
    assert some.seconds == whole.seconds
    monkeypatch.setattr(bounds, "MOST_VALUES", 2 * 41 - 1)
    assert "at the ends of sm_count" in bounds.lower_bound(trace, gpu, space).method


def test_the_bound_of_one_device_without_a_host_is_the_replay_itself() -> None:
    toy = Toy()
    with toy.loop(10):
        toy.kernel("one", ["a"], ["b"])
        toy.kernel("two", ["b"], ["a"])
    bound = bounds.lower_bound(toy.build(), toy_machine(0, duration_us=[[3, 4]]))
    assert bound.seconds == pytest.approx(70 * US)
    assert bound.method.startswith("critical path: longest chain of dependent launches")
    assert replay(toy.build(), toy_machine(0, duration_us=[[3, 4]]), record=False).time_s == pytest.approx(70 * US)
