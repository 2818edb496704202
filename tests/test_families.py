"""Does a kernel's family follow from what it does?"""

from pathlib import Path

import pytest

from traces import schema
from traces.families import fusion_family, library_family, triton_family


@pytest.mark.parametrize(
    ("results", "opcodes", "tiled", "family"),
    [
        ([("add", 4)], {"add", "multiply"}, False, "elementwise"),
        ([("broadcast", 4)], {"broadcast"}, False, "elementwise"),
        ([("concatenate", 4)], {"concatenate", "tanh"}, False, "slice_concat"),
        ([("add", 4)], {"concatenate", "add"}, True, "slice_concat"),
        ([("add", 4)], {"concatenate", "add"}, False, "elementwise"),
        ([("slice", 4)], {"slice"}, False, "slice_concat"),
        ([("dynamic-update-slice", 4)], {"dynamic-update-slice", "copy"}, False, "slice_concat"),
        ([("reduce", 4)], {"reduce", "add"}, True, "reduce"),
        ([("multiply", 4), ("reduce", 1)], {"reduce", "add", "multiply"}, True, "reduce"),
        ([("add", 4)], {"reduce", "add"}, False, "elementwise"),
        ([("transpose", 4)], {"transpose"}, False, "transpose"),
        ([("copy", 4)], {"copy"}, False, "transpose"),
        ([("scatter", 4)], {"scatter", "add", "reduce"}, True, "gather_scatter"),
        ([("gather", 4)], {"gather", "add"}, False, "gather_scatter"),
        ([("dot", 4)], {"dot"}, False, "gemm"),
        ([("sort", 4), ("sort", 4)], {"sort", "compare"}, False, "sort"),
        ([("slice", 1), ("add", 8)], {"slice", "add"}, False, "elementwise"),
    ],
)
def test_a_fusion_is_what_makes_its_largest_result(results, opcodes, tiled, family):
    assert fusion_family(results, opcodes, tiled) == family


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
