"""Are variance and autocorrelation time of known chains found, with honest errors, and is the time to an error what they imply?"""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from codesign.cli.app import app
from traces.errors import TraceError
from traces.measure import SETTINGS, table, unmeasured
from traces.measuring import SAMPLERS
from traces.record import recordings
from traces.recorded_statistics import read_statistics
from traces.recordings import load_recorded
from traces.statistics import autocorrelation_time, clipped, inefficiency, seconds_to_error, variance

PAGE = Path(__file__).parents[1] / "docs" / "workloads.md"


def chain(rho: float, samples: int, walkers: int, seed: int = 0) -> np.ndarray:
    """Return x' = rho x + noise, started in equilibrium: variance 1 / (1 - rho^2), correlations rho^k."""
    rng = np.random.default_rng(seed)
    series = np.empty((samples, walkers))
    series[0] = rng.normal(size=walkers) / np.sqrt(1 - rho**2)
    for step in range(1, samples):
        series[step] = rho * series[step - 1] + rng.normal(size=walkers)
    return series


@pytest.mark.parametrize("rho", [0.0, 0.5, 0.9])
def test_the_autocorrelation_time_of_an_autoregressive_series_is_its_closed_form(rho: float) -> None:
    """1/2 + sum of rho^k = (1 + rho) / (1 - rho) / 2."""
    found, error = autocorrelation_time(chain(rho, 2000, 64))
    expected = (1 + rho) / (1 - rho) / 2
    assert found == pytest.approx(expected, rel=0.05)
    assert abs(found - expected) < 4 * error + 0.01 * expected


def test_the_errors_are_as_large_as_runs_really_scatter() -> None:
    """Over 40 independent runs the standard deviation is within a third of the error that each run tells."""
    runs = [chain(0.7, 150, 32, seed) for seed in range(40)]
    for statistic in (autocorrelation_time, variance):
        values, errors = np.array([statistic(run) for run in runs]).T
        assert np.std(values) == pytest.approx(np.mean(errors), rel=0.35)


def test_a_series_that_does_not_move_has_no_variance_and_the_shortest_time() -> None:
    assert variance(np.ones((10, 3))) == (0.0, 0.0)
    assert autocorrelation_time(np.ones((10, 3))) == (0.5, 0.0)


def test_energies_are_clipped_to_five_mean_deviations() -> None:
    series = np.array([[-1.0, 1.0, -1.0, 1.0, 0.0, 0.0, 0.0, 1000.0]])
    assert clipped(series).max() == pytest.approx(5 * (4 + 1000) / 8)
    np.testing.assert_array_equal(clipped(series)[0, :7], series[0, :7])


ROW = {"variance": 0.5, "spacing": [5, 10, 60], "inefficiency": [8.0, 4.5, 1.0]}


def test_the_time_to_an_error_is_that_of_as_many_independent_energies() -> None:
    """0.5 hartree^2 to 1e-3 hartree takes 5e5 independent energies: of 1,000 walkers 500 steps, times 2 tau."""
    assert seconds_to_error(ROW, 0.1, walkers=1000, transitions=60, error=1e-3) == pytest.approx(50.0)
    assert seconds_to_error(ROW, 0.1, walkers=1000, transitions=10, error=1e-3) == pytest.approx(50.0 * 4.5)


def test_more_transitions_than_were_measured_are_independent_and_fewer_remember_as_much() -> None:
    assert inefficiency(ROW, 1000) == 1.0
    assert inefficiency(ROW, 1) == pytest.approx(5 * 8.0)
    assert inefficiency(ROW, 5) == 8.0
    assert 1.0 < inefficiency(ROW, 30) < 4.5


@given(transitions=st.integers(1, 200))
def test_a_longer_step_never_remembers_more(transitions: int) -> None:
    assert inefficiency(ROW, transitions + 1) <= inefficiency(ROW, transitions)


@pytest.mark.parametrize(
    ("changed", "message"),
    [({"walkers": 0}, "walkers=0"), ({"error": 0.0}, "error=0.0"), ({"transitions": 0}, "at least one transition, but got 0")],
)
def test_impossible_questions_are_refused(changed: dict[str, float], message: str) -> None:
    with pytest.raises(TraceError, match=message):
        seconds_to_error(ROW, 0.1, **({"walkers": 1, "transitions": 1, "error": 1.0} | changed))  # type: ignore[arg-type]


def test_a_trace_finds_the_statistics_of_its_program() -> None:
    trace = load_recorded("ferminet-lih-a5000")
    assert trace.manifest["options"]["laplacian"] == "loop"
    rows = trace.statistics
    assert [row["precision"] for row in rows] == ["fp32", "tf32", "fp64"]
    assert {(row["workload"], row["molecule"], row["sampler"], row["laplacian"]) for row in rows} == {
        ("ferminet", "LiH", "metropolis", "forward")
    }
    assert seconds_to_error(rows[0], 0.1, walkers=1024, transitions=10, error=1e-3) > 0.1
    assert load_recorded("llama-3-8b-a5000").statistics == []


def test_the_documentation_shows_what_was_measured() -> None:
    """`python -m traces.measure --table` prints it."""
    assert "\n".join(table(read_statistics())) in PAGE.read_text(encoding="utf-8")


def test_what_was_not_measured_is_said_with_what_would_measure_it() -> None:
    """Every wave function whose traces ship has a setting for each of its molecules: rows, or a place in the list of those without."""
    shipped = {(r.workload, r.molecule) for r in recordings() if r.framework == "jax"}
    assert shipped == {(setting.workload, setting.molecule) for setting in SETTINGS}
    for workload, molecule in shipped:
        samplers = {row["sampler"] for row in read_statistics() if (row["workload"], row["molecule"]) == (workload, molecule)}
        assert samplers | set(unmeasured(workload).get(molecule, [])) == set(SAMPLERS)
    told = " ".join(CliRunner().invoke(app, ["workloads", "deepqmc-psiformer"]).stdout.split())
    assert ("was measured for LiH" in told) == bool(unmeasured("deepqmc-psiformer").get("LiH"))


def test_an_estimate_with_a_random_probe_scatters_more_and_rounding_does_not() -> None:
    """Hutchinson's estimate has the exact energy in its mean: its variance is larger. Rounding moves energies by less than they scatter."""
    rows = read_statistics()
    exact = {key_of(row): row for row in rows if (row["laplacian"], row["precision"]) == ("forward", "fp32")}
    assert exact, "python -m traces.measure"
    for row in rows:
        beside = exact[key_of(row)]
        if row["laplacian"] == "hutchinson":
            assert row["variance"] > beside["variance"]
        if row["precision"] != "fp32":
            assert row["difference"] < beside["variance"] ** 0.5


def test_the_documentations_example_turns_a_step_into_seconds(capsys: pytest.CaptureFixture[str]) -> None:
    blocks = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    (example,) = (block for block in blocks if "seconds_to_error" in block)
    names: dict[str, Any] = {}
    exec(example, names)
    row, seconds = names["row"], float(capsys.readouterr().out.splitlines()[-1])
    assert seconds == pytest.approx(names["step_s"] * row["variance"] * row["inefficiency"][1] / (1024 * 1e-6))


def key_of(row: dict[str, Any]) -> tuple[str, ...]:
    return row["workload"], row["molecule"], row["sampler"]
