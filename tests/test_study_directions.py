"""Do the answers about the survey's directions hold together, and does what the page says hold?"""

from functools import cache
from pathlib import Path

import pytest

from studies import directions as study


@cache
def of_psiformer() -> dict[str, study.Answer]:
    return {answer.direction: answer for answer in study.answers("psiformer")}


def test_nothing_found_beats_its_bound() -> None:
    for answer in of_psiformer().values():
        assert 0 < answer.found <= answer.bound * (1 + 1e-9), answer


def test_a_design_beside_the_gpu_is_never_worse_than_the_gpu_alone() -> None:
    found = of_psiformer()
    for direction in ("PIM in the memory packages", study.PCIE, "PIM behind a link of up to 32 times that"):
        assert found[direction].found >= 1 - 1e-9
    assert found["PIM behind a link of up to 32 times that"].found >= found[study.PCIE].found * (1 - 1e-9)


def test_more_modes_are_never_worse_than_one() -> None:
    found = of_psiformer()
    assert found[study.MODES].found >= found[study.ONE_MODE].found * (1 - 1e-3)


def test_the_array_has_the_gpus_silicon_and_bandwidth() -> None:
    machine = study.array_on_the_gpus_silicon()
    assert machine.memory(machine.devices[0].memory).bandwidth == pytest.approx(768e9)
    assert machine.parameters["array_scale"].value == pytest.approx(0.29, abs=0.02)  # 1,040 mm² of 5 nm on 628 mm² of 8 nm


def test_orbformer_fits_with_its_idle_tensors_away_and_pays_with_time() -> None:
    slower, needed = study.offloaded("orbformer", "c4h4", "pcie4")
    assert needed > 25.8
    assert 1 < slower < 1.6


def test_the_page_has_a_row_a_direction() -> None:
    page = (Path(study.__file__).parents[1] / "docs" / "directions.md").read_text(encoding="utf-8")
    for direction in of_psiformer():
        assert f"| {direction} |" in page
