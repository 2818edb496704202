"""Does the difference to the survey's numbers stay what it is known to be?"""

import re
from pathlib import Path

import pytest

import codesign as cd
from studies import nnvmc_survey as survey

WORKLOADS = ("ferminet", "default")
KNOWN = {
    "ferminet": {"sampling": -0.078, "gemm outside sampling": 0.036, "elementwise + slice/concat outside sampling": 0.028},
    "default": {
        "sampling": 0.047,
        "elementwise + slice/concat outside sampling": -0.084,
        "gemm outside sampling": 0.018,
        "triangular solve outside sampling": 0.02,
    },
}
"""Ours minus the published fraction as of 2026-11-26, in its configuration: deepqmc's default sampler, products priced by constants fitted
to measured kernels, rates of DRAM, L2 and L1 as benchmarks measured them. FP32 products on SMs of 128 lanes became slower, and solves too,
as boards are measured: that moved the share of `default`'s elementwise kernels away from the survey, by 4 points. A later model may
come closer, not go further away."""
SLACK = 0.01


@pytest.fixture(scope="module")
def timelines() -> dict[str, cd.Timeline]:
    return {name: survey.recorded(name) for name in WORKLOADS}


@pytest.mark.parametrize("workload", WORKLOADS)
def test_no_share_goes_further_away_from_the_survey(workload: str, timelines: dict[str, cd.Timeline]) -> None:
    found = {row.quantity: row.difference for row in survey.compare(workload, survey.shares(timelines[workload]))}
    assert set(found) == set(KNOWN[workload])
    assert {name: value for name, value in found.items() if abs(value) > abs(KNOWN[workload][name]) + SLACK} == {}


def test_shares_are_compared_by_hand() -> None:
    shares = {("sampling", "gemm"): 0.2, ("laplacian", "gemm"): 0.4, ("laplacian", "elementwise"): 0.1, ("laplacian", "slice_concat"): 0.3}
    rows = {row.quantity: (row.published, row.ours) for row in survey.compare("ferminet", shares)}
    assert rows["sampling"] == (0.28, 0.2)
    assert rows["gemm outside sampling"] == (0.30, 0.4)
    assert rows["elementwise + slice/concat outside sampling"] == (0.29, pytest.approx(0.4))


@pytest.mark.parametrize("workload", ["ferminet", "default", "psiformer", "orbformer"])
def test_a_published_bar_adds_up_to_one(workload: str) -> None:
    assert sum(survey.published_shares(workload).values()) == pytest.approx(1.0)
    assert all(share >= 0 for share in survey.published_shares(workload).values())


def test_the_readme_states_what_the_model_gives(timelines: dict[str, cd.Timeline]) -> None:
    readme = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
    times = re.search(r"they come to (\d+) ms \(FermiNet[^)]*\) and (\d+) ms", " ".join(readme.split()))
    sampling = re.search(r"\((\d+) % against 28 %, (\d+) % against 13 %\)", readme)
    gemm = re.search(r"GEMM (\d+) % against 30 %, (\d+) % against 20 %", readme)
    assert times is not None
    assert sampling is not None
    assert gemm is not None
    for place, workload in enumerate(WORKLOADS, start=1):
        rows = {row.quantity: 100 * row.ours for row in survey.compare(workload, survey.shares(timelines[workload]))}
        assert float(times[place]) == pytest.approx(1e3 * timelines[workload].kernel_time_s, rel=0.02)
        assert float(sampling[place]) == pytest.approx(rows["sampling"], abs=1)
        assert float(gemm[place]) == pytest.approx(rows["gemm outside sampling"], abs=1)
