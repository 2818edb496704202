"""Do published PIM systems, accelerators and drives come out of the closed forms and the catalogue within their bars?"""

import numpy as np
import pytest

import codesign as cd
from codesign.validation.pim import attacc_speedup, cent_tokens_per_s, duplex_speedup, pimba_over_gpu, pimba_ratio
from codesign.validation.published import published

PIM = published()["pim"]


def test_every_published_number_is_met_within_its_bar() -> None:
    rows = cd.validate(["pim"]).rows
    computed = {row.id.split("/")[1] for row in rows if row.met is not None}
    assert computed == {"pimba", "pimba-gpu", "attacc", "attacc-serving", "cent", "duplex", "devices"}
    assert [row.id for row in rows if row.met is False] == []


def test_every_published_number_of_accelerators_and_drives_is_met_within_its_bar() -> None:
    rows = cd.validate(["systems"]).rows
    assert {row.id.split("/")[1] for row in rows if row.met} == {"sn40l", "flash"}
    assert [row.id for row in rows if row.met is False] == []


@pytest.mark.parametrize("part", ["pim", "systems"])
def test_a_published_number_without_ours_says_why(part: str) -> None:
    without = [row for row in cd.validate([part]).rows if row.ours is None]
    assert without
    assert all(row.met is None and row.published is not None and len(row.note) > 20 for row in without)


def test_a_batch_that_memory_holds_and_bandwidth_inside_make_attacc_faster() -> None:
    part, case = PIM["attacc_serving"], PIM["attacc_serving"]["cases"]["gpt-3-175b"]
    assert 1.0 < attacc_speedup({**part, "memory": 6400e9}, case) < attacc_speedup({**part, "memory": 500e9}, case)
    assert attacc_speedup({**part, "input": 64, "output": 0, "memory": 500e9}, case) < attacc_speedup({**part, "memory": 500e9}, case)


def test_pimba_at_half_the_clock_gains_half_over_the_gpu() -> None:
    part = PIM["pimba_gpu"]
    for case in part["cases"].values():
        assert pimba_over_gpu({**part, "clock_hz": part["clock_hz"] / 2}, case) == pytest.approx(pimba_over_gpu(part, case) / 2)


def test_a_layer_bound_by_memory_speeds_up_by_the_bandwidth() -> None:
    """One vector on units in the banks: an operation a byte is what a GEMV in FP16 needs, so that 16x bandwidth is 16x."""
    part = {**PIM["duplex"], "models": {"dense": {"hidden": 4096, "intermediate": 16384, "queries_a_key": 1, "matrices": 2}}}
    case = {"model": "dense", "pim": "bank", "input": 1024, "output": 0, "batch": 1}
    assert duplex_speedup(part, case) == pytest.approx(16)
    assert duplex_speedup(part, {**case, "pim": "logic"}) == pytest.approx(4, rel=1e-3)


def test_a_layer_bound_by_operations_stays_on_the_gpu() -> None:
    case = {"model": "llama-3-70b", "pim": "logic", "input": 1, "output": 0, "batch": 4096}
    assert duplex_speedup(PIM["duplex"], case) == pytest.approx(1, rel=0.02)


def test_half_as_many_layers_a_device_are_nearly_twice_as_fast() -> None:
    part, case = PIM["cent"], PIM["cent"]["cases"]["llama-2-70b"]
    one, two = (cent_tokens_per_s({**part, "devices": devices}, case) for devices in (40, 80))
    assert two == pytest.approx(2 * one)
    assert cent_tokens_per_s(part, {**case, "context": 8192}) < cent_tokens_per_s(part, case)


def test_pimba_gains_what_its_commands_and_bytes_save_at_most() -> None:
    """Four times fewer commands a column and half the bytes: eight times, less what opening rows and reading out cost both."""
    case = PIM["pimba"]["cases"]["state-update"]
    ratios = [pimba_ratio(PIM["pimba"], {**case, "heads": heads}) for heads in (2048, 8192, 32768)]
    assert all(5 < ratio < 8 for ratio in ratios)
    assert np.ptp(ratios) < 0.5
