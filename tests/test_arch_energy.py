"""Do a GPU's joules add up, stay below its power cap, and agree with measured boards and published systems?"""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import arch
import codesign as cd
from arch.closure import Closure, closure, table
from arch.energy import of_the_cap
from arch.gpu import GPU
from arch.registered import find, names
from arch.work import Work
from codesign.validation.energy import attacc_saving, cent_joules, duplex_saving
from codesign.validation.published import published
from tests.gpu_kernels import product

GPUS = [name for name in names() if find(name).kind == "gpu"]
ENERGY = published()["energy"]
PAGE = Path(__file__).parents[1] / "docs" / "energy.md"


def gpu(name: str) -> GPU:
    return GPU.of(find(name))


@pytest.fixture(scope="module")
def closures() -> dict[str, Closure]:
    found = {name: closure(gpu(name)) for name in GPUS}
    return {name: one for name, one in found.items() if one is not None}


def test_every_gpu_of_the_catalogue_has_a_closure(closures: dict[str, Closure]) -> None:
    assert sorted(closures) == sorted(GPUS)


def test_no_board_draws_more_than_its_cap(closures: dict[str, Closure]) -> None:
    for name, found in closures.items():
        assert found.cap_w is not None
        assert found.idle_w < min(found.watts["copy"], found.watts["product"]), name
        assert max(found.watts.values()) <= found.cap_w * (1 + 1e-9), name


def test_the_constants_alone_ask_for_hardly_more_than_the_cap(closures: dict[str, Closure]) -> None:
    over = {name: found.asked_w / (found.cap_w or np.inf) for name, found in closures.items()}
    assert {name: ratio for name, ratio in over.items() if ratio > 1.05} == {}


def test_boards_draw_what_was_measured(closures: dict[str, Closure]) -> None:
    """One copy misses: at the bandwidth that a benchmark copies with, the constants give less than the boards drew."""
    judged = sum(bounds is not None for found in closures.values() for bounds in found.ranges.values())
    assert judged >= 20
    assert {name: found.outside for name, found in closures.items() if found.outside} == {"l40s": ("copy",)}


def test_the_page_shows_the_table(closures: dict[str, Closure]) -> None:
    assert table(closures.values()) in PAGE.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["a5000", "l40s", "t4"])
def test_terms_add_up_to_the_energy(name: str) -> None:
    prices = gpu(name).price(Work.of(product(4096, 4096, 4096, "highest").build()))
    assert {"compute_matrix_j", "l2_j", "dram_j", "cap_j"} <= set(prices.energy_terms)
    assert sum(prices.energy_terms.values()) == pytest.approx(prices.energy_j)
    assert all((term >= 0).all() for key, term in prices.energy_terms.items() if key != "cap_j")


@given(st.floats(0, 1e3), st.floats(1e-9, 1.0))
def test_the_cap_takes_exactly_what_exceeds_it(joules: float, seconds: float) -> None:
    entry = find("t4")
    taken = of_the_cap(entry, 26.0, np.array([joules]), np.array([seconds]))[0]
    assert taken <= 0
    assert joules + taken == pytest.approx(min(joules, (70.0 - 26.0) * seconds))


def test_a_board_without_a_cap_or_static_power_is_not_capped() -> None:
    entry, much, second = find("t4"), np.array([1e3]), np.ones(1)
    assert of_the_cap(entry.without("board_power"), 26.0, much, second)[0] == 0
    assert of_the_cap(entry, None, much, second)[0] == 0
    assert closure(replace(gpu("t4"), static_watts=None)) is None


def test_published_energies_are_met() -> None:
    rows = cd.validate(["energy"]).rows
    assert sum(row.met is not None for row in rows) == 5
    assert [row.id for row in rows if row.met is False] == []


def test_dynamic_energy_alone_saves_no_more_than_the_way_that_bytes_do_not_go() -> None:
    part = {**ENERGY["duplex"], "static": False}
    outside, inside = 28.72 + 3.7475, 0.88 + 21.44
    for case in part["cases"].values():
        assert 0 < duplex_saving(part, case) < 1 - inside / outside < duplex_saving(ENERGY["duplex"], case)


def test_a_sequence_that_takes_longer_to_attend_costs_more() -> None:
    part, case = ENERGY["cent"], ENERGY["cent"]["cases"]["llama-2-70b"]
    assert cent_joules(part, {**case, "context": 4096}) > cent_joules(part, case)


def test_units_in_the_banks_save_more_where_more_memory_lets_them_batch() -> None:
    part, case = ENERGY["attacc"], ENERGY["attacc"]["cases"]["gpt-3-175b"]
    savings = [attacc_saving({**part, "memory": memory}, case) for memory in (640e9, 1280e9)]
    assert 0 < savings[1] < savings[0], "with much memory on both sides the weights are shared by many, and attention alone is left"


def test_a_machines_tables_say_what_is_not_modelled() -> None:
    from arch.rows import machine_tables

    for parts in (["a5000", "epyc-9654"], ["a5000", "aim-fp32"], ["h200", "duplex"], ["a5000", "plasticine"], ["h200", "near-l2"]):
        found = {table.caption: table.rows for table in machine_tables(arch.machine("+".join(parts)).to_dict())}
        assert {row[0] for row in found["Not modelled"]} == set(parts)
