"""Do the answers about the survey's directions hold together, and does the page say what they are?"""

from pathlib import Path

import pytest

from studies.directions import answers, others, page, sweeps
from studies.directions.answers import FAST_LINK, IN_MEMORY, MODES, ONE_MODE, PCIE, UNCHAINED, answer
from studies.directions.programs import ANSATZE, TOO_LARGE, fitting

PAGE = (Path(page.__file__).parents[2] / "docs" / "directions.md").read_text(encoding="utf-8")
SMALL = "psiformer", "LiH"


@pytest.mark.parametrize("direction", answers.MACHINES)
def test_nothing_found_beats_its_bound(direction: str) -> None:
    found = answer(direction, *SMALL)
    assert 0 < found.speedup <= found.bound * (1 + 1e-9)


def test_a_design_beside_the_gpu_is_never_slower_than_the_gpu_alone() -> None:
    found = {direction: answer(direction, *SMALL).speedup for direction in (IN_MEMORY, PCIE, FAST_LINK)}
    assert min(found.values()) >= 1 - 1e-9
    assert found[FAST_LINK] >= found[PCIE] * (1 - 1e-9)


def test_more_modes_and_chains_are_never_slower_than_without() -> None:
    modes, one, unchained = (answer(direction, *SMALL).speedup for direction in (MODES, ONE_MODE, UNCHAINED))
    assert modes >= one * (1 - 5e-3)  # operands that a change makes cold are not in the choice
    assert modes >= unchained * (1 - 1e-9)


def test_slower_changes_of_mode_never_pay_more() -> None:
    gains = [sweeps.switching("psiformer", cost) for cost in sweeps.SWITCHES]
    assert gains == sorted(gains, reverse=True)
    assert gains[-1] == pytest.approx(1, abs=1e-3)  # then it stays in one


def test_a_wider_link_never_hurts() -> None:
    narrow, wide = (sweeps.over_a_link("ferminet", times) for times in (8, 32))
    assert 1 - 1e-9 <= narrow <= wide


def test_the_array_has_the_gpus_silicon_and_bandwidth() -> None:
    machine = answers.array_on_the_gpus_silicon()
    assert machine.memory(machine.devices[0].memory).bandwidth == pytest.approx(768e9)
    assert machine.parameters["array_scale"].value == pytest.approx(0.29, abs=0.02)  # 1,040 mm² of 5 nm on 628 mm² of 8 nm


def test_orbformer_fits_with_its_idle_tensors_away_and_pays_with_time() -> None:
    assert sweeps.needed_gb() > 25.8
    slower = {(each.link, each.change): each.slower for each in sweeps.offloading()}
    assert all(1 < value < 1.6 for value in slower.values())
    for link in ("pcie4", "pcie5"):
        ahead = [slower[link, change] for change in ("4 ahead", "1 ahead", "not ahead", "not ahead, and waiting for each copy")]
        assert ahead == sorted(ahead)
        assert slower[link, "pageable memory"] > slower[link, "fetched 2 kernels ahead"]


def test_states_cost_next_to_nothing_and_free_next_to_nothing() -> None:
    for what in ("sampler's state", "optimiser's state"):
        found = sweeps.moved("psiformer", what, 2)
        assert 1 <= found.slower < 1.02
        assert 0 < found.freed_bytes < 0.05 * found.needed_bytes


def test_units_for_attention_pay_where_tokens_are_generated_and_the_page_says_how_much() -> None:
    """AttAcc and NeuPIMs attend; HBM-PIM has no units for it, and its stacks are slower than the GPU's own."""
    found = [others.other("flashvan", direction) for direction in others.MACHINES]
    by_name = dict(zip(others.MACHINES, found, strict=True))
    assert by_name["AttAcc behind NVLink 3"].speedup > by_name["NeuPIMs in the memory"].speedup > 1.5
    assert by_name["HBM-PIM in the memory"].speedup < 1
    line = " | ".join(f"{each.speedup:.2f} ({100 * each.energy:.0f})" for each in found)
    assert f"| {others.PROGRAMS['flashvan']} | {line} |" in PAGE


def test_the_page_says_what_a_search_finds_today() -> None:
    """One cell of each table of molecules, as searched here."""
    for direction in (IN_MEMORY, FAST_LINK, MODES):
        found = answer(direction, "psiformer", "LiH")
        assert f"| Psiformer | {'~' if found.told is False else ''}{found.speedup:.2f} ({100 * found.energy:.0f}) |" in PAGE
    assert page.offload() in PAGE


def test_steps_that_do_not_fit_are_said_not_to() -> None:
    assert PAGE.count("| does not fit |") == 4 * len(TOO_LARGE)
    assert len(fitting()) == 4 * len(ANSATZE) - len(TOO_LARGE)
