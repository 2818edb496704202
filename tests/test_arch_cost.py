"""Is the cost table what the devices say, operand by operand?"""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import arch
from arch.device import Device
from arch.parameter import Parameter
from arch.work import Prices, Work
from codesign.testing import example_trace
from tests.toys import Toy
from traces import Trace
from traces.errors import MachineError
from traces.recordings import load_recorded

MIB = 2**20


def ping_pong() -> Toy:
    """Two kernels in a loop, each reading what the other wrote, a third of its own."""
    toy = Toy()
    for name in "abc":
        toy.tensor(name, MIB)
    with toy.loop(10):
        toy.kernel("one", ["b"], ["a"])
        toy.kernel("two", ["a"], ["b"])
        toy.kernel("three", ["c"], ["c"])
    return toy


def test_without_a_mapping_nothing_is_cold() -> None:
    trace, machine = ping_pong().build(), arch.machine("a5000")
    table = arch.cost_table(trace, machine)
    alone = machine.devices[0].price(Work.of(trace))
    np.testing.assert_array_equal(table.duration_s[0], alone.duration_s)
    np.testing.assert_array_equal(table.energy_j[0], alone.energy_j)
    assert table.reasons == (("",),)


def test_an_operand_that_another_device_wrote_is_cold() -> None:
    trace, machine = ping_pong().build(), arch.machine("a5000+aim-fp32")
    warm = arch.cost_table(trace, machine, np.zeros(3, dtype=np.int32))
    mixed = arch.cost_table(trace, machine, np.array([0, 1, 0], dtype=np.int32))
    assert list(warm.dram_bytes[0]) == [0, 0, 0]
    assert list(mixed.dram_bytes[0]) == [MIB, 0, 0]
    assert mixed.duration_s[0, 0] > warm.duration_s[0, 0]
    np.testing.assert_array_equal(mixed.duration_s[1], warm.duration_s[1])


def test_a_price_asked_for_one_device_is_that_of_its_own_cold_operands() -> None:
    """Row d of the table is what each kernel costs on device d, were it there: its inputs' writers stay where they are."""
    trace, machine = ping_pong().build(), arch.machine("a5000+aim-fp32")
    table = arch.cost_table(trace, machine, np.ones(3, dtype=np.int32))
    assert list(table.dram_bytes[0]) == [MIB, MIB, MIB]


def test_a_refused_kernel_costs_infinitely_much_and_says_why() -> None:
    table = arch.cost_table(ping_pong().build(), arch.machine("a5000+aim"))
    assert np.all(np.isinf(table.duration_s[1]))
    assert {table.reasons[1][code] for code in table.refusal[1]} == {"dtype f32"}


def test_a_device_of_a_users_own_is_priced_like_ours() -> None:
    class Slow(Device):
        id, kind, memory = "slow", "toy", "a5000-memory"

        def price(self, work: Work) -> Prices:
            count = len(work)
            return Prices(np.full(count, 1.0), np.zeros(count), np.full(count, np.nan), {})

    machine = arch.machine("a5000")
    table = arch.cost_table(ping_pong().build(), replace(machine, devices=(*machine.devices, Slow())))
    assert list(table.duration_s[1]) == [1.0, 1.0, 1.0]
    assert list(table.refusal[1]) == [0, 0, 0]


@pytest.mark.parametrize("wrong", [[0, 0], [0, 0, 2], [0, -1, 0]])
def test_a_mapping_that_does_not_fit_is_refused(wrong: list[int]) -> None:
    with pytest.raises(MachineError, match="device_of_kernel must"):
        arch.cost_table(ping_pong().build(), arch.machine("a5000+aim"), np.array(wrong, dtype=np.int32))


@given(st.integers(0, 2**32 - 1))
def test_no_mapping_makes_a_kernel_cheaper_than_with_everything_warm(seed: int) -> None:
    trace, machine = example_trace(30, seed=seed % 7), arch.machine("a5000+aim-fp32")
    mapping = np.random.default_rng(seed).integers(0, 2, 30).astype(np.int32)
    warm, mixed = arch.cost_table(trace, machine), arch.cost_table(trace, machine, mapping)
    assert np.all(mixed.duration_s >= warm.duration_s)
    assert np.all(mixed.dram_bytes[0] >= warm.dram_bytes[0])
    assert not np.any(np.isnan(mixed.duration_s))


def test_machines_that_differ_in_pim_only_share_what_the_gpu_worked_out() -> None:
    trace = example_trace(30)
    first, second = arch.machine("a5000+aim-fp32"), arch.machine("a5000+aim-fp32", pim_stacks=2)
    assert first.devices[0] is second.devices[0]
    table, other = arch.cost_table(trace, first), arch.cost_table(trace, second)
    np.testing.assert_array_equal(table.duration_s[0], other.duration_s[0])
    runs = table.refusal[1] == 0
    assert np.all(table.duration_s[1][runs] <= other.duration_s[1][runs])


def test_a_table_is_not_changed_by_pricing_another_mapping() -> None:
    trace, machine = ping_pong().build(), arch.machine("a5000+aim-fp32")
    first = arch.cost_table(trace, machine)
    kept = first.duration_s.copy()
    arch.cost_table(trace, machine, np.ones(3, dtype=np.int32))
    np.testing.assert_array_equal(first.duration_s, kept)


@settings(max_examples=30, deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(["clock_hz", "sm_count", "l2_bytes", "l2_bandwidth_bytes_per_s", "matrix_scale", "vector_scale"]),
        st.floats(0.5, 2.0),
        max_size=3,
    )
)
@example({"clock_hz": 0.6})
@example({"l2_bytes": 0.5})
def test_prices_kept_with_a_trace_are_those_of_a_trace_never_priced(factors: dict[str, float]) -> None:
    """Parts of a price are kept for machines that share what the part depends on: whatever was priced before must not show."""
    base = arch.machine("a5000")
    changed = base.with_(**{name: _scaled(base.parameters[name], factor) for name, factor in factors.items()})
    kept = arch.cost_table(_kept_trace(), changed)
    fresh = arch.cost_table(_products(), changed)
    for name in ("duration_s", "dram_bytes", "energy_j"):
        np.testing.assert_array_equal(getattr(kept, name), getattr(fresh, name))


@cache
def _kept_trace() -> Trace:
    return _products()


def _products() -> Trace:
    """The recorded FermiNet with its library calls: read anew each time, so that nothing is kept with it."""
    return load_recorded("ferminet-ch4-a5000")


def _scaled(parameter: Parameter, factor: float) -> float:
    value = min(max(parameter.value * factor, parameter.low), parameter.high)
    return float(round(value)) if parameter.integer else value
