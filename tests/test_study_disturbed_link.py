"""Does a policy that decides while it runs leave a link that others load, and come back?"""

from types import SimpleNamespace

import numpy as np
import pytest

import codesign as cd
from studies.disturbed_link import PATIENCE, Watching, runs, spliced


def mapping(device: int, kernels: int = 10) -> cd.Mapping:
    return cd.Mapping(np.full(kernels, device, np.int32), "by hand")


def test_launches_before_the_border_stay_where_they_are() -> None:
    assert spliced(mapping(1), mapping(0), 4).device.tolist() == [1] * 4 + [0] * 6


def test_a_step_that_is_slower_than_on_the_gpu_ends_the_use_of_pim_and_patience_tries_it_again() -> None:
    policy = Watching({"pim": mapping(1), "gpu": mapping(0)}, gpu_step_s=2.0)
    times = [1.0, 2.0, 5.0, *(5.0 + 2.0 * i for i in range(1, PATIENCE + 1))]
    answers = [policy(SimpleNamespace(time_s=time, kernel=3), mapping(1)) for time in times]
    assert [answer is not None for answer in answers] == [False, False, True, *[False] * (PATIENCE - 1), True]
    assert policy.chose == ["pim"] * 3 + ["gpu"] * PATIENCE
    assert policy.where == "pim"


@pytest.mark.slow
def test_deciding_while_it_runs_costs_less_than_deciding_before_and_than_the_gpu_alone() -> None:
    found = runs().time_s
    quiet = found["decided before, undisturbed"]
    assert found["decided while it runs"] / quiet == pytest.approx(1.20, abs=0.03)
    assert found["decided before"] / quiet == pytest.approx(1.30, abs=0.03)
    assert quiet < found["decided while it runs"] < found["GPU alone"] < found["decided before"]
