"""Does a kernel's family follow from what it does?"""

from pathlib import Path

import pytest

from traces import schema
from traces.families import fusion_family, library_family, tiled_hero, triton_family


@pytest.mark.parametrize(
    ("results", "opcodes", "hero", "family"),
    [
        ([("add", 4)], {"add", "multiply"}, "", "elementwise"),
        ([("broadcast", 4)], {"broadcast"}, "", "elementwise"),
        ([("concatenate", 4)], {"concatenate", "tanh"}, "", "slice_concat"),
        ([("add", 4)], {"concatenate", "add"}, "concatenate", "slice_concat"),
        ([("add", 4)], {"concatenate", "add"}, "", "elementwise"),
        ([("slice", 4)], {"slice"}, "", "slice_concat"),
        ([("dynamic-update-slice", 4)], {"dynamic-update-slice", "copy"}, "", "slice_concat"),
        ([("reduce", 4)], {"reduce", "add"}, "reduce", "reduce"),
        ([("multiply", 4), ("reduce", 1)], {"reduce", "add", "multiply"}, "reduce", "reduce"),
        ([("add", 4)], {"reduce", "add"}, "", "elementwise"),
        ([("transpose", 4)], {"transpose"}, "", "transpose"),
        ([("copy", 4)], {"copy"}, "", "transpose"),
        ([("scatter", 4)], {"scatter", "add", "reduce"}, "scatter", "gather_scatter"),
        ([("gather", 4)], {"gather", "add"}, "", "gather_scatter"),
        ([("dot", 4)], {"dot"}, "", "gemm"),
        ([("sort", 4), ("sort", 4)], {"sort", "compare"}, "", "sort"),
        ([("slice", 1), ("add", 8)], {"slice", "add"}, "", "elementwise"),
    ],
)
def test_a_fusion_is_what_makes_its_largest_result(results, opcodes, hero, family):
    assert fusion_family(results, opcodes, hero) == family


@pytest.mark.parametrize(
    ("results", "opcodes", "hero"),
    [
        (["reduce", "add"], {"reduce", "add", "transpose"}, "reduce"),
        (["concatenate"], {"concatenate", "reduce", "add"}, "concatenate"),
        (["divide", "transpose"], {"divide", "transpose", "reduce"}, "transpose"),
        (["add"], {"add", "concatenate"}, "concatenate"),
        (["add"], {"add"}, ""),
    ],
)
def test_an_input_fusion_is_built_around_its_result_first(results, opcodes, hero):
    assert tiled_hero(results, opcodes) == hero


@pytest.mark.parametrize(
    ("routine", "family"),
    [("gemm", "gemm"), ("getrf", "lu"), ("triangular_solve", "triangular_solve"), ("fft", "other"), ("cusolver_syevd", "other")],
)
def test_a_library_call_is_its_routine(routine, family):
    assert library_family(routine) == family


@pytest.mark.parametrize(("name", "family"), [("mhsa", "attention"), ("mhsea_forward_laplacian", "attention"), ("softmax", "other")])
def test_a_triton_kernel_is_what_its_author_calls_it(name, family):
    assert triton_family(name) == family


def test_the_documentation_describes_every_family():
    table = (Path(__file__).parent.parent / "docs" / "capture.md").read_text()
    assert {family for family in schema.FAMILIES if f"| `{family}` |" in table} == set(schema.FAMILIES)
