"""Does FlexGen's placement put things where it says, and how near do its published throughputs come out?"""

from dataclasses import replace

import numpy as np
import pytest

import codesign as cd
from arch.cost import cost_table
from codesign.engine import replay
from codesign.validation.offload import shortened, time_s, tokens_per_s, with_room
from codesign.validation.published import published
from schedulers.flexgen import FlexGen
from traces.errors import MappingError
from traces.recordings import load_recorded

PART = published()["offload"]["flexgen"]
CASE = PART["cases"]["opt-30b-512"]
KNOWN = {"opt-30b-512": 0.98, "opt-30b-256": 0.88}
"""Ours over published when this was written; OPT-175B, 0.84 and 0.83, is in the slow test."""


@pytest.mark.parametrize("name", KNOWN)
def test_the_difference_to_a_published_throughput_does_not_grow(name: str) -> None:
    case = PART["cases"][name]
    ours = tokens_per_s(PART, case)
    assert ours is not None
    assert abs(ours / case["value"] - 1) < abs(KNOWN[name] - 1) + 0.02


@pytest.mark.slow
@pytest.mark.parametrize("name", ["opt-175b-512", "opt-175b-256"])
def test_opt_175b_is_within_a_fifth(name: str) -> None:
    case = PART["long"][name]
    ours = tokens_per_s(PART, case)
    assert ours is not None
    assert ours / case["value"] == pytest.approx(1, abs=0.2)


@pytest.mark.slow
def test_steps_repeat_so_that_few_of_them_say_all() -> None:
    """Prompt and 31 steps, replayed whole, take what one and two steps say: to a thousandth."""
    one, two = (time_s(PART, CASE, steps, True) for steps in (1, 2))
    whole = time_s(PART, CASE, 31, True)
    assert one is not None
    assert two is not None
    assert one + 30 * (two - one) == pytest.approx(whole, rel=1e-3)


def test_weights_and_cache_are_where_the_policy_puts_them() -> None:
    trace, machine = load_recorded(CASE["trace"]), cd.machine(PART["machine"])
    made = FlexGen().schedule(trace, machine, cost_table(trace, machine))
    assert made.offload is not None
    name = trace.tensors["name"].astype(str)
    of_cache = np.char.startswith(name, "cache[")
    assert set(made.offload.home[of_cache].tolist()) == {1}
    weights = np.char.startswith(name, "weights[")
    size = trace.tensors["bytes"].astype(float)
    share = size[weights & (made.offload.home == 1)].sum() / size[weights].sum()
    assert share == pytest.approx(1 - 4.93 / 59.9, abs=0.002), "of 80 %: one of six stacked matrices stays, whole tensors give no less"
    assert set(made.offload.home[~of_cache & ~weights].tolist()) == {-1}
    hosted = made.device == 1
    assert set(trace.kernels["phase"][hosted]) == {"decode"}
    assert set(trace.kernels["family"][hosted]) == {"copy", "elementwise", "gemm", "reduce"}
    assert set(trace.kernels["stage"][hosted]) == {"cache"}


def test_the_cpu_converts_keys_and_values_and_multiplies_in_single_precision() -> None:
    """Of 144 sequences, 56 heads of 128 and 528 positions: read as FP16, written and read again as FP32, 60 GB/s: 0.18 s a layer."""
    trace, machine = load_recorded(CASE["trace"]), cd.machine(PART["machine"])
    mine = (trace.kernels["stage"] == "cache") & (trace.kernels["phase"] == "decode")
    seconds = cost_table(trace, machine).duration_s[1, mine].sum()
    assert seconds == pytest.approx(2 * 144 * 56 * 128 * 528 * (2 + 4 + 4) / 60e9, rel=0.02)


def test_a_trace_is_shortened_to_so_many_steps() -> None:
    trace = load_recorded(CASE["trace"])
    decoding = np.flatnonzero(trace.kernels["phase"] == "decode")
    assert trace.executions[decoding].tolist() == [31 * n for n in shortened(trace, 1).executions[decoding].tolist()]


def test_synchronous_copies_take_longer_and_a_prefetch_less() -> None:
    trace, machine = shortened(load_recorded(CASE["trace"]), 1), with_room(cd.machine(PART["machine"]), PART["room"])
    ahead, together = (replay(trace, machine, policy, record=False).time_s for policy in (FlexGen(), FlexGen(distance=0, synchronous=True)))
    assert ahead < together


def test_what_cannot_be_placed_is_refused() -> None:
    trace, machine = load_recorded(CASE["trace"]), cd.machine("t4+ddr4-n1")
    with pytest.raises(MappingError, match=r"add '\+cpu'"):
        FlexGen().schedule(trace, machine, cost_table(trace, machine))
    with pytest.raises(MappingError, match="add up to at most 1"):
        FlexGen(weights_dram=0.6, weights_ssd=0.6)
    assert replace(FlexGen(), host_attention=False).schedule(trace, machine, cost_table(trace, machine)).device.max() == 0
