"""Do a GPU's energies close: idle, a copy and dense products within what boards were measured to draw, and under the cap?"""

import numpy as np
import pytest

import arch
from arch.energy import closure
from codesign.testing import example_trace

MEASURED = ("a5000", "a100-sxm-40gb", "h200", "v100-pcie-32gb")


@pytest.mark.parametrize("name", ["a100-sxm-40gb", "h200", "a5000"])
def test_the_terms_of_a_kernels_energy_add_up(name: str) -> None:
    prices = arch.machine(name).gpu.price(arch.Work.of(example_trace()))
    np.testing.assert_allclose(np.sum(list(prices.energy_terms.values()), axis=0), prices.energy_j, rtol=1e-12)
    assert all(np.all(term >= 0) for term in prices.energy_terms.values())


@pytest.mark.parametrize("name", MEASURED)
def test_rest_and_a_copy_draw_what_boards_were_measured_to_draw(name: str) -> None:
    gpu = arch.machine(name).gpu
    found = closure(gpu)
    assert found is not None
    for key, watts in (("idle_power_range", found.idle_w), ("copy_power_range", found.copy_w)):
        if key in gpu.entry.numbers:
            low, high = gpu.entry.list(key)
            assert low <= watts <= high, (key, watts)


@pytest.mark.parametrize("name", MEASURED)
def test_no_load_of_the_closure_draws_more_than_the_cap(name: str) -> None:
    gpu = arch.machine(name).gpu
    found = closure(gpu)
    assert found is not None
    assert found.cap_w is not None
    assert found.highest_w <= found.cap_w
    if "product_power_range" in gpu.entry.numbers:
        low, high = gpu.entry.list("product_power_range")
        assert low <= found.product_w["bf16"] <= high


def test_a_machines_tables_say_what_is_not_modelled() -> None:
    from codesign.rows import machine_tables

    found = {table.caption: table.rows for table in machine_tables(arch.machine("a5000+cpu").to_dict())}
    assert {row[0] for row in found["Not modelled"]} == {"a5000", "epyc-9654"}
