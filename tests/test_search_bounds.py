"""Do the lower bounds bound?"""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codesign.search import bounds
from schedulers.serial_model import unrolled
from tests.fixed_prices import US, random_traces
from tests.toys import Toy
from traces import Trace


def durations(trace: Trace) -> st.SearchStrategy[Any]:
    return st.lists(st.integers(0, 20), min_size=len(trace.kernels), max_size=len(trace.kernels)).map(lambda us: np.array(us) * US)


def longest_chain(trace: Trace, duration: Any) -> float:
    """The critical path by definition: every launch after all earlier launches that it conflicts with."""
    rows = list(unrolled(trace))
    accesses = list(zip(trace.accesses["kernel"], trace.access_alias, trace.access_writes, strict=True))
    touched = {row: {(int(alias), bool(write)) for k, alias, write in accesses if k == row} for row in rows}
    ends: list[float] = []
    for row in rows:
        conflicts = [any(a == b and (w or v) for a, w in touched[row] for b, v in touched[earlier]) for earlier in rows[: len(ends)]]
        ends.append(max((end for end, c in zip(ends, conflicts, strict=True) if c), default=0.0) + duration[row])
    return max(ends, default=0.0)


@settings(max_examples=100, deadline=None)
@given(random_traces(kernels=6, depth=2, trips=3), st.data())
def test_the_critical_path_is_the_longest_chain_of_conflicting_launches(trace: Trace, data: Any) -> None:
    duration = data.draw(durations(trace))
    assert bounds.critical_path(trace, duration) == pytest.approx(longest_chain(trace, duration), rel=1e-12, abs=1e-18)


@settings(max_examples=50, deadline=None)
@given(random_traces(kernels=6, depth=3, trips=6), st.integers(1, 30), st.data())
def test_a_critical_path_over_fewer_iterations_is_not_longer(trace: Trace, most: int, data: Any) -> None:
    duration = data.draw(durations(trace))
    full = bounds.critical_path(trace, duration)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bounds, "MOST_LAUNCHES", most)
        assert bounds.critical_path(trace, duration) <= full


def test_independent_kernels_have_a_critical_path_of_one_and_a_loop_carried_value_chains_iterations() -> None:
    toy = Toy()
    toy.kernel("one", ["x"], ["a"])
    toy.kernel("two", ["x"], ["b"])
    assert bounds.critical_path(toy.build(), np.array([5, 7])) == 7
    toy = Toy()
    with toy.loop(10):
        toy.kernel("carries", ["a"], ["a"])
    assert bounds.critical_path(toy.build(), np.array([5])) == 50


def test_a_walk_of_a_very_long_loop_is_cut_short() -> None:
    toy = Toy()
    with toy.loop(10**12):
        toy.kernel("carries", ["a"], ["a"])
    assert bounds.MOST_LAUNCHES / 2 <= bounds.critical_path(toy.build(), np.array([1.0])) <= bounds.MOST_LAUNCHES


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
