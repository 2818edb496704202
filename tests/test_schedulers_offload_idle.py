"""Does a program that does not fit fit once its idle tensors leave, and do the right ones leave?"""

from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import codesign as cd
from arch.cost import cost_table
from arch.machine import Machine
from arch.memory import Memory
from schedulers.offload_idle import OffloadIdle
from tests.replay_toys import Fixed, host, link
from tests.toys import Toy
from traces import Trace
from traces.errors import CapacityError, MappingError

MB = 1_000_000
ENGINES = pytest.mark.parametrize("engine", ["fast", "reference"])


def there_and_back(layers: int, size: int = 10 * MB) -> Trace:
    """A forward pass that keeps what each layer makes, and a backward pass that needs it in the reverse order."""
    toy = Toy()
    for i in range(layers):
        toy.tensor(f"a{i}", size)
        toy.kernel(f"forward {i}", [f"a{i - 1}"] if i else [], [f"a{i}"])
    toy.tensor("g", size)
    for i in reversed(range(layers)):
        toy.kernel(f"backward {i}", [f"a{i}"] if i == layers - 1 else [f"a{i}", "g"], ["g"])
    return toy.build()


def machine(capacity: int, us: float = 2000, gb: float = 10.0) -> Machine:
    memories = (Memory("hbm", capacity, 1e12), Memory("dram", 10**12, 1e11, role="dram"))
    return Machine("toy", (Fixed("gpu", "hbm", (us,)),), memories, host(), (link("hbm", "dram", gb),))


def leaves(trace: Trace, capacity: int, **options: Any) -> set[str]:
    """Return the names of the tensors that leave."""
    made = machine(capacity)
    mapping = OffloadIdle(headroom=0.0, **options).schedule(trace, made, cost_table(trace, made))
    assert mapping.offload is not None
    return {str(name) for name, home in zip(trace.tensors["name"], mapping.offload.home, strict=True) if home >= 0}


def test_nothing_leaves_a_memory_that_holds_all() -> None:
    assert leaves(there_and_back(8), 90 * MB) == set()


def test_what_is_idle_longest_leaves_first() -> None:
    """Eight layers need 90 MB in the middle. With room for 80 one must leave: the first layer's, idle for 14 kernels; for 70 two."""
    assert leaves(there_and_back(8), 80 * MB, distance=1) == {"a0"}
    assert leaves(there_and_back(8), 70 * MB, distance=1) == {"a0", "a1"}


@ENGINES
def test_a_program_that_does_not_fit_runs_in_the_time_of_one_that_does_where_copies_hide(engine: str) -> None:
    trace, options = there_and_back(8), {"engine": engine, "record": False}
    with pytest.raises(CapacityError, match="offload-idle"):
        cd.replay(trace, machine(80 * MB), **options)
    found = cd.replay(trace, machine(80 * MB), OffloadIdle(headroom=0.0, distance=1), **options)
    assert found.time_s == pytest.approx(16 * 2e-3)
    assert found.peak_memory_bytes["hbm"] <= 80 * MB


def test_a_copy_that_sticks_out_of_its_gap_makes_a_tensor_leave_later() -> None:
    """Both are idle over eight kernels of 2 ms; at 10 GB/s the 120 MB of u take 12 ms each way, the 20 MB of w only 2."""
    toy = Toy()
    toy.tensor("w", 20 * MB)
    toy.tensor("u", 120 * MB)
    toy.tensor("middle", 20 * MB)
    toy.kernel("make", [], ["w", "u"])
    for i in range(8):
        toy.kernel(f"k{i}", ["middle"] if i == 5 else [], ["middle"] if i == 3 else [])
    toy.kernel("use", ["w", "u"], [])
    assert leaves(toy.build(), 140 * MB, distance=0) == {"w"}


def test_what_a_loop_touches_stays() -> None:
    toy = Toy()
    for name in ("x", "big", "y"):
        toy.tensor(name, 50 * MB)
    toy.kernel("make", [], ["x", "big"])
    with toy.loop(100):
        for i in range(12):
            toy.kernel(f"k{i}", ["x"] if i in (0, 11) else [], ["y"] if i == 5 else [])
    for i in range(3):
        toy.kernel(f"after {i}")
    toy.kernel("use", ["x", "big"], [])
    assert leaves(toy.build(), 110 * MB, distance=0) == {"big"}


def test_too_little_idle_is_an_error_that_says_where() -> None:
    with pytest.raises(MappingError, match=r"at kernel 3 30,000,000 bytes are needed at once and there is room for 19,000,000"):
        leaves(there_and_back(3), 19 * MB, distance=0)


def test_a_machine_without_dram_is_an_error_with_the_remedy() -> None:
    trace, made = there_and_back(3), cd.machine("a5000")
    with pytest.raises(MappingError, match=r"add '\+dram'"):
        OffloadIdle().schedule(trace, made, cost_table(trace, made))


@given(layers=st.integers(2, 12), room=st.integers(3, 12), distance=st.integers(0, 3), us=st.sampled_from([10.0, 2000.0]))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_what_is_said_to_fit_fits(layers: int, room: int, distance: int, us: float) -> None:
    trace, made = there_and_back(layers), machine(room * 10 * MB, us)
    policy = OffloadIdle(headroom=0.0, distance=distance)
    try:
        mapping = policy.schedule(trace, made, cost_table(trace, made))
    except MappingError:
        assert room < layers + 1
        return
    found = cd.replay(trace, made, mapping, record=False)
    assert found.peak_memory_bytes["hbm"] <= room * 10 * MB
    assert found.time_s >= len(trace.kernels) * us * 1e-6 * (1 - 1e-9)
    assert np.all(mapping.device == 0)
