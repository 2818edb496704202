"""Do appends to a cache go where the cache is read, and what does that save?"""

from typing import Any

import numpy as np
import pytest

import codesign as cd
from arch.cost import cost_table
from codesign.engine import fast, reference
from codesign.engine.plan import make_plan, plan
from codesign.search.groups import Groups
from schedulers.in_place import appends_with_readers, next_readers
from schedulers.intensity_threshold import IntensityThreshold
from schedulers.near_cache import NearCache
from schedulers.serial_model import live_bytes, touched
from schedulers.tensors import Offload
from tests.fixed_prices import toy_costs
from tests.replay_toys import Fixed, link, on, toy
from tests.toys import Toy
from traces import Trace

ENGINES = pytest.mark.parametrize("engine", [fast, reference])
WHOLE, PART = 400_000, 10_000
RECORDED = "llama-2-7b-a100-sxm-40gb"


def append(trace: Toy, to: str, flops: float = 0.0) -> int:
    """A kernel that writes the last part of what is there, and reads something new."""
    row = trace.kernel("append", ["new"], [to], flops_vector=flops, family="copy")
    trace.accesses[-1].update(bytes_unique=float(PART), bytes_requested=float(PART))
    return row


def decoding(steps: int = 3, kind: str = "parameter") -> Trace:
    """Each step makes something new, appends it to a cache, and reads the cache."""
    trace = Toy()
    trace.tensor("cache", WHOLE, kind)
    trace.tensor("new", PART)
    with trace.loop(steps):
        trace.kernel("make", [], ["new"])
        append(trace, "cache")
        trace.kernel("attend", ["cache"], ["out"])
    return trace.build()


def attached(refused: tuple[int, ...] = ()) -> Any:
    """Over a link, 10 kB take 2 us and 400 kB 41 us; making takes 10 us, appending 1 us, attending 5 us."""
    us = (10.0, 1.0, 5.0)
    return toy(Fixed("gpu", "hbm", us), Fixed("pim", "far", us, "pim", refused=refused), links=(link(),))


@ENGINES
def test_a_cache_that_another_device_appends_to_is_moved_whole_at_every_step(engine: Any) -> None:
    # made at 10, appended at 11, moved at 52, read at 57; the next append waits for the reader of the copy that it makes stale: 1 + 41 + 5
    assert engine.run(plan(decoding(), attached(), on(0, 0, 1))).time_ps == (57 + 2 * 47) * 1_000_000


@ENGINES
def test_where_the_reader_appends_the_cache_is_moved_once_and_the_new_part_at_every_step(engine: Any) -> None:
    # the cache is there at 41, the new part at 43; appended at 44, read at 49; the next part is made once the one before has left: 10 + 2
    assert engine.run(plan(decoding(), attached(), on(0, 1, 1))).time_ps == (49 + 2 * 12) * 1_000_000


@ENGINES
def test_a_cache_that_lives_with_its_reader_is_not_moved_at_all(engine: Any) -> None:
    mapping = NearCache().schedule(decoding(), attached(), cost_table(decoding(), attached()))
    assert mapping.offload is None  # equally fast: the first device reads it, where it is
    slow = toy(Fixed("gpu", "hbm", (10.0, 1.0, 6.0)), attached().devices[1], links=(link(),))
    mapping = NearCache().schedule(decoding(), slow, cost_table(decoding(), slow))
    assert mapping.device.tolist() == [0, 1, 1]
    program = make_plan(decoding(), slow, mapping)
    # the new part there at 12, appended at 13, read at 18
    assert engine.run(program.program).time_ps == (18 + 2 * 12) * 1_000_000
    assert program.program.memory_initial.tolist() == [0, WHOLE]


def test_a_part_of_something_that_the_trace_makes_itself_needs_no_rest() -> None:
    trace = decoding(kind="temporary")
    assert not trace.access_updates.any()
    assert trace.access_needs.tolist() == (~trace.access_writes).tolist()
    assert decoding().access_updates.tolist() == [False, False, True, False, False]


def test_the_serial_model_keeps_what_an_append_leaves() -> None:
    reads, writes = touched(decoding())
    assert reads == [set(), {0, 1}, {0}]
    assert writes == [{1}, {0}, {2}]
    assert live_bytes(decoding(1), [0, 1, 2]) == [WHOLE, WHOLE + PART, WHOLE]


def test_the_next_reader_is_behind_the_append_or_in_the_next_iteration() -> None:
    trace = Toy()
    trace.tensor("cache", WHOLE, "parameter")
    trace.tensor("new", PART, "parameter")
    trace.kernel("before", ["cache"], ["y"])
    with trace.loop(4):
        first = trace.kernel("head", ["cache"], ["y"])
        again = append(trace, "cache")
    with trace.loop(1):
        trace.kernel("once", ["cache"], ["y"])
        last = append(trace, "cache")
    behind = trace.kernel("behind", ["cache"], ["y"])
    found = next_readers(trace.build())
    assert dict(zip(*(rows.tolist() for rows in found), strict=True)) == {again: first, last: behind}


def test_what_computes_or_writes_something_else_too_is_no_append() -> None:
    trace = Toy()
    trace.tensor("cache", WHOLE, "parameter")
    append(trace, "cache", flops=1.0)
    append(trace, "cache")
    trace.accesses.append({**trace.accesses[-1], "tensor": trace.tensors[trace.tensor("beside", PART)]["row"]})
    trace.kernel("attend", ["cache"], ["y"])
    assert next_readers(trace.build())[0].tolist() == []


def test_an_append_stays_where_its_readers_device_refuses_it() -> None:
    trace, device = decoding(), np.array([0, 0, 1], np.int32)
    assert appends_with_readers(trace, toy_costs([[1, 1, 1]] * 2), device).tolist() == [0, 1, 1]
    assert appends_with_readers(trace, toy_costs([[1, 1, 1]] * 2, [[0, 0, 0], [0, 1, 0]]), device).tolist() == [0, 0, 1]
    assert device.tolist() == [0, 0, 1]


def test_ready_made_policies_append_where_the_cache_is_read() -> None:
    trace, machine = decoding(), attached()
    costs = cost_table(trace, machine)
    low, high = 0.5 * 1024 / WHOLE, 2 * 1024 / WHOLE  # the reader's FLOP a byte lie between; the append's are 0
    assert IntensityThreshold(low).schedule(trace, machine, costs) == on(0, 0, 0)
    assert IntensityThreshold(high).schedule(trace, machine, costs) == on(0, 1, 1)
    groups = Groups.of(trace, ("name",))
    assert groups.mapping(machine, costs, {"attend": "pim"}) == on(0, 1, 1)
    assert groups.mapping(machine, costs, {"append": "pim"}) == on(0, 0, 0)


def test_a_mapping_by_hand_that_moves_a_cache_at_every_step_is_warned_of() -> None:
    says = r"kernel 1 \('append'\) appends to 'cache' on 'gpu', but 'pim' reads it next"
    with pytest.warns(UserWarning, match=says):
        cd.replay(decoding(), attached(), on(0, 0, 1))
    cd.replay(decoding(), attached(), on(0, 1, 1))
    cd.replay(decoding(), attached(refused=(1,)), on(0, 0, 1))  # there is no remedy
    cd.replay(decoding(), attached(), cd.Mapping(np.array([0, 0, 1]), "by hand", "", Offload(np.array([1, -1, -1]), slices=True)))
    beside = toy(Fixed("gpu", "hbm", (1,)), Fixed("engine", "hbm", (1,)))
    cd.replay(decoding(), beside, on(0, 0, 1))  # one memory, one view: nothing moves


@pytest.mark.parametrize("pim", ["attacc-bank", "attacc-bank@nvlink3", "neupims"])
def test_decoding_with_attention_near_the_cache_is_faster_than_a_gpu_alone(pim: str) -> None:
    trace, machine = cd.load(RECORDED), cd.machine(f"a100-sxm-80gb+{pim}")
    alone, near = cd.replay(trace, machine, record=False), cd.replay(trace, machine, "near-cache", record=False)
    assert near.time_s < 0.95 * alone.time_s
    assert near.shares("family")["attention"] < 0.1 * alone.shares("family")["attention"]


def test_a_search_over_mappings_finds_attention_near_the_cache_by_itself() -> None:
    trace, machine = cd.load(RECORDED), cd.machine("a100-sxm-80gb+attacc-bank@nvlink3")
    found = cd.explore(trace, machine, space=cd.Space(machine={}), trials=30, seed=1)
    attention = (trace.kernels["family"] == "attention") & (trace.kernels["phase"] == "decode")
    assert found.best.mapping is not None
    assert (found.best.mapping.device[attention] == 1).all()
    assert found.best.time_s < 0.95 * found.best_single_device_s


RANKS = "opt-175b-a100-sxm-80gb-tensor_parallel8-prompt1922-batch30-tokens128-no-segments1"


def test_ranks_attend_on_pim_of_their_own() -> None:
    trace, machine = cd.load(RANKS).side_by_side(), cd.machine("8xa100-sxm-80gb+attacc-bank@nvlink3")
    device = NearCache().schedule(trace, machine, cost_table(trace, machine)).device
    near = np.isin(trace.kernels["family"], ["attention"]) | (np.diff(trace.access_offsets) == 2) & (trace.kernels["family"] == "copy")
    rank = trace.kernels["stream"]
    assert (device == rank + 8 * ((trace.kernels["stage"] == "attention") & near)).all()


def test_a_search_for_ranks_tries_pim_where_each_has_its_own() -> None:
    found = cd.explore(cd.load(RANKS), "8xa100-sxm-80gb+attacc-bank@nvlink3", space=cd.Space(machine={}), trials=2, seed=1)
    assert found.best.policy == {"name": "near-cache"}
    with pytest.raises(cd.errors.MachineError, match="for 8 ranks, one a device, but '6x"):
        cd.replay(cd.load(RANKS), "6xa100-sxm-80gb+attacc-bank@nvlink3")
