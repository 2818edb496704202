"""How far can a total be off, and when can two designs be told apart?"""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import codesign as cd
from arch.device import Device
from arch.error_bars import by_group, of_difference, total
from arch.memory import Memory
from arch.uncertainty import Trust, prior
from arch.work import Prices, Work
from traces.recordings import load_recorded

groups = st.dictionaries(st.sampled_from(["gpu/gemm", "gpu/reduce", "pim/gemm"]), st.floats(0, 10))


def test_errors_of_two_families_add_as_squares_and_within_one_as_they_are() -> None:
    assert total({"gpu/gemm": 3.0, "gpu/reduce": 4.0}) == 5.0
    assert total({"gpu/gemm": 3.0 + 4.0}) == 7.0


def test_what_two_designs_share_cancels() -> None:
    one = {"gpu/gemm": 3.0, "gpu/reduce": 1.0}
    assert of_difference(one, {"gpu/gemm": 3.0, "gpu/reduce": 1.0}) == 0.0
    assert of_difference(one, {"gpu/gemm": 3.0, "pim/reduce": 1.0}) == pytest.approx(math.sqrt(2.0))


@given(groups, groups)
def test_a_difference_is_at_most_as_uncertain_as_both_together(one: dict[str, float], other: dict[str, float]) -> None:
    assert of_difference(one, other) == pytest.approx(of_difference(other, one))
    assert of_difference(one, other) <= math.hypot(total(one), total(other)) * (1 + 1e-12)


class Known(Device):
    """A device that knows its error: 10 % of everything, measured for products only."""

    id, kind, memory = "known", "gpu", "known-memory"

    def price(self, work: Work) -> Prices:
        ones = np.ones(len(work))
        return Prices(ones, ones, ones, {})

    def trust(self, work: Work) -> Trust:
        return Trust(np.full(len(work), 0.1), work.kernels["family"] == "gemm")


def test_a_step_is_as_uncertain_as_its_families() -> None:
    trace = load_recorded("ferminet-lih-a5000")
    machine = cd.Machine("known", (Known(),), (Memory("known-memory", 10**9, 1e12),), host=cd.machine("a5000").host)
    seconds = np.ones(len(trace.kernels))
    found, unvalidated = by_group(trace, machine, np.zeros(len(seconds), np.intp), seconds)
    families = trace.kernels["family"]
    for family in set(families.tolist()):
        assert found[f"known/{family}"] == pytest.approx(0.1 * (families == family).sum())
    assert unvalidated == pytest.approx((families != "gemm").mean())


def test_a_device_without_measurements_has_the_stated_prior() -> None:
    class Plain(Known):
        trust = Device.trust

    trust = Plain().trust(Work.of(load_recorded("ferminet-lih-a5000")))
    assert set(trust.relative.tolist()) == {prior("device")}
    assert not trust.validated.any()
    assert prior("device") >= 0.4
    assert prior("family") >= 0.4


def test_a_replay_states_its_error_and_what_is_unvalidated() -> None:
    timeline = cd.replay(load_recorded("ferminet-lih-a5000"), cd.machine("a5000+aim-fp32"), "intensity-threshold")
    found = timeline.uncertainty
    assert 0 < found["relative"] < 1
    assert 0 < found["unvalidated_share"] <= 1
    assert found["relative"] * timeline.kernel_time_s == pytest.approx(total(found["by_group"]), rel=1e-6)
    assert {name.split("/")[0] for name in found["by_group"]} == {"a5000", "aim-fp32"}
    assert cd.Timeline.from_dict(timeline.to_dict()).uncertainty == found


def test_a_timeline_of_an_older_version_can_still_be_read() -> None:
    document = cd.replay(load_recorded("ferminet-lih-a5000"), cd.machine("a5000")).to_dict()
    del document["uncertainty"]
    assert cd.Timeline.from_dict(document).uncertainty == {}


def test_a_search_says_which_designs_cannot_be_told_apart() -> None:
    result = cd.explore(load_recorded("ferminet-lih-a5000"), cd.machine("a5000+aim-fp32"), objectives=["time", "energy"], trials=12, seed=1)
    assert [c.design for c in result.told_apart][-1] == "single device"
    assert len(result.told_apart) == len(result.pareto)
    for comparison in result.told_apart:
        assert comparison.told == (abs(comparison.difference_s) > comparison.sigma_s)
    assert cd.Result.from_dict(result.to_dict()).told_apart == result.told_apart


def test_no_measurement_stands_behind_a_convolution() -> None:
    torch = pytest.importorskip("torch", reason="needs the extra torch")
    data, weight = torch.empty(8, 64, 32, 32, dtype=torch.float16), torch.empty(64, 64, 3, 3, dtype=torch.float16)
    trace = cd.capture(torch.nn.functional.conv2d, (data, weight), target="a100")
    assert cd.replay(trace, cd.machine("a100")).uncertainty["unvalidated_share"] == 1
    product = cd.capture(torch.matmul, (data, data.transpose(2, 3)), target="a100")
    assert cd.replay(product, cd.machine("a100")).uncertainty["unvalidated_share"] < 1
