"""Is a profiled kernel's work what its operator's input shapes say, so that another GPU can be asked for its time?"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import codesign as cd
from tests.kineto_profiles import event, profile, sample, trace_of
from traces.errors import MachineError
from traces.formats.kineto import Kineto
from traces.formats.operator_shapes import Inputs, Movement, Product, movement, product

DIMS = list[Any]


def given(*shapes: Any, values: tuple[str, ...] = ()) -> Inputs:
    return Inputs(shapes, ("float",) * len(shapes), values)


def call(name: str, dims: DIMS, kind: str = "float", id: int = 1, **args: Any) -> dict[str, Any]:
    shapes = {"Input Dims": dims, "Input type": [kind if d != "" else "" for d in dims]}
    return {"ph": "X", "cat": "cpu_op", "name": name, "ts": 0, "dur": 1, "pid": 9, "tid": 9, "args": {"External id": id, **shapes, **args}}


@pytest.mark.parametrize(
    ("name", "shapes", "expected"),
    [
        ("aten::mm", [(5, 7), (7, 3)], (1, 5, 3, 7)),
        ("aten::addmm", [(3,), (5, 7), (7, 3)], (1, 5, 3, 7)),
        ("aten::addmm_", [(5, 3), (5, 7), (7, 3)], (1, 5, 3, 7)),
        ("aten::bmm", [(2, 5, 7), (2, 7, 3)], (2, 5, 3, 7)),
        ("aten::baddbmm", [(2, 5, 3), (2, 5, 7), (2, 7, 3)], (2, 5, 3, 7)),
        ("aten::matmul", [(4, 1, 5, 7), (6, 7, 3)], (24, 5, 3, 7)),
        ("aten::matmul", [(4, 5, 7), (7, 3)], (1, 20, 3, 7)),
        ("aten::linear", [(4, 5, 7), (3, 7), (3,)], (1, 20, 3, 7)),
        ("aten::mv", [(5, 7), (7,)], (1, 5, 1, 7)),
    ],
)
def test_matrix_products(name: str, shapes: DIMS, expected: tuple[int, ...]) -> None:
    found = product(name, given(*shapes))
    assert found is not None
    assert (found.batch, found.m, found.n, found.k) == expected
    assert found.flops == 2 * np.prod(expected)


def test_operands_and_result_are_counted_once() -> None:
    assert product("aten::mm", given((5, 7), (7, 3))) == Product(1, 5, 3, 7, 35 + 21 + 15)
    assert product("aten::bmm", given((2, 5, 7), (2, 7, 3))) == Product(2, 5, 3, 7, 70 + 42 + 30)


CONV = ("", "", "", "[2, 2]", "[1, 1]", "[1, 1]", "False", "[0, 0]", "1")


def test_a_convolution_is_an_implicit_product() -> None:
    """ResNet's first layer on a 224 x 224 image: 112 x 112 outputs of 7 x 7 x 3 products with stride 2 and padding 3."""
    values = ("", "", "", "[2, 2]", "[3, 3]", "[1, 1]", "False", "[0, 0]", "1")
    found = product("aten::convolution", given((8, 3, 224, 224), (64, 3, 7, 7), None, values=values))
    assert found is not None
    assert (found.batch, found.m, found.n, found.k) == (1, 8 * 112 * 112, 64, 3 * 49)
    assert found.flops == 2 * 8 * 118_013_952  # the layer's published multiply-adds


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("aten::cudnn_convolution", ("", "", "[1, 1]", "[2, 2]", "[1, 1]", "1", "False", "False", "True")),
        ("aten::miopen_convolution", ("", "", "", "[1]", "[2]", "[1]", "1", "False", "False")),
        ("aten::_convolution", CONV),
    ],
)
def test_convolutions_of_each_library_find_their_arguments(name: str, values: tuple[str, ...]) -> None:
    found = product(name, given((1, 2, 9, 9), (4, 2, 3, 3), None, values=values))
    assert found is not None
    assert found.m == 25


def test_groups_share_neither_channels_nor_filters() -> None:
    values = (*CONV[:8], "2")
    found = product("aten::convolution", given((1, 4, 9, 9), (6, 2, 3, 3), None, values=values))
    assert found is not None
    assert (found.batch, found.n, found.k, found.flops) == (2, 3, 18, 2 * 25 * 6 * 18)


def test_a_convolutions_gradient_is_two_products_or_one() -> None:
    shapes = (1, 4, 5, 5), (1, 2, 9, 9), (4, 2, 3, 3)
    both = product("aten::convolution_backward", given(*shapes))
    one = product("aten::convolution_backward", given(*shapes, values=("",) * 10 + ("[False, True, False]",)))
    assert both is not None
    assert one is not None
    assert (both.flops, one.flops) == (2 * 2 * 25 * 4 * 18, 2 * 25 * 4 * 18)


@pytest.mark.parametrize(
    ("name", "query", "key"),
    [
        ("aten::_scaled_dot_product_flash_attention", (2, 8, 128, 64), (2, 8, 256, 64)),
        ("aten::_flash_attention_forward", (2, 128, 8, 64), (2, 256, 8, 64)),
    ],
)
def test_attention_is_two_products_a_head(name: str, query: Any, key: Any) -> None:
    found = product(name, given(query, key, key))
    assert found is not None
    assert (found.batch, found.m, found.n, found.k, found.flops) == (16, 128, 256, 64, 4 * 16 * 128 * 256 * 64)


@pytest.mark.parametrize(
    ("name", "shapes"),
    [
        ("aten::mm", [(5, 7), (6, 3)]),
        ("aten::mm", [(5, 7)]),
        ("aten::mm", [None, (7, 3)]),
        ("aten::convolution", [(8, 3, 9, 9), (64, 3, 7, 7)]),
        ("aten::convolution_backward", [(8, 64, 4, 4), None, None]),
        ("aten::_flash_attention_forward", [(100, 8, 64), (100, 8, 64)]),
        ("aten::add", [(5, 7), (5, 7)]),
    ],
)
def test_what_the_shapes_do_not_tell_is_not_known(name: str, shapes: DIMS) -> None:
    assert product(name, given(*shapes)) is None


@pytest.mark.parametrize(
    ("name", "shapes", "expected"),
    [
        ("aten::add", [(5, 7), (7,)], Movement(35 + 7 + 35, 35, 0)),
        ("aten::add_", [(5, 7), (7,)], Movement(35 + 7 + 35, 35, 0)),
        ("aten::exp", [(5, 7)], Movement(70, 0, 35)),
        ("aten::copy_", [(5, 7), (5, 7)], Movement(70, 0, 0)),
        ("aten::fill_", [(5, 7), None], Movement(35, 0, 0)),
        ("aten::_softmax", [(5, 7)], Movement(70, 4 * 35, 35)),
        ("aten::sum", [(5, 7)], Movement(35, 35, 0)),
        ("aten::cat", [((5, 7), (1, 7))], Movement(84, 0, 0)),
        ("aten::embedding", [(1000, 16), (4, 3)], Movement(2 * 12 * 16 + 12, 0, 0)),
        ("aten::_foreach_add_", [((5,), (7, 2)), ((5,), (7, 2))], Movement(3 * 19, 19, 0)),
        ("aten::no_such_operator", [(5, 7)], None),
        ("aten::add", [], None),
    ],
)
def test_what_only_moves_elements(name: str, shapes: DIMS, expected: Movement | None) -> None:
    assert movement(name, given(*shapes)) == expected


def test_a_kernel_gets_the_work_of_its_operator(tmp_path: Path) -> None:
    made = Kineto().read(profile(tmp_path, call("aten::mm", [[64, 32], [32, 16]]), event("ampere_sgemm_64x32", **{"External id": 1})))
    columns = made.launches.columns
    assert [int(columns[c][0]) for c in ("batch", "m", "n", "k")] == [1, 64, 16, 32]
    assert (columns["flops_matrix"][0], columns["bytes_unique"][0]) == (2 * 64 * 16 * 32, 4 * (64 * 32 + 32 * 16 + 64 * 16))
    assert (made.launches.kind, columns["dtype"], columns["precision"]) == (["library"], ["f32"], ["highest"])
    assert made.remarks == ("the operators' shapes tell the work of 1 of 1 kernels; bytes are those of operands, each once",)


def test_the_runtimes_call_tells_the_operator_where_the_kernel_does_not(tmp_path: Path) -> None:
    runtime = event("cudaLaunchKernel", cat="cuda_runtime", correlation=5, **{"External id": 1})
    made = Kineto().read(profile(tmp_path, call("aten::mm", [[4, 4], [4, 4]]), runtime, event("sgemm", correlation=5)))
    assert made.launches.columns["flops_matrix"][0] == 128
    assert made.launches.columns["scope"] == ["aten::mm"]


def test_products_are_shared_by_time_and_helpers_get_none(tmp_path: Path) -> None:
    """A gradient of a convolution: one product takes three times as long as the other, and a change of layout comes first."""
    operator = call("aten::convolution_backward", [[1, 4, 5, 5], [1, 2, 9, 9], [4, 2, 3, 3]], "c10::Half")
    names = ("nchwToNhwc", 1), ("dgrad_engine", 30), ("wgrad_engine", 10)
    kernels = [event(name, 100 * i, dur, **{"External id": 1}) for i, (name, dur) in enumerate(names)]
    columns = Kineto().read(profile(tmp_path, operator, *kernels)).launches.columns
    total = 2 * 2 * 25 * 4 * 18
    np.testing.assert_allclose(columns["flops_matrix"], [np.nan, 0.75 * total, 0.25 * total])
    np.testing.assert_allclose(np.nansum(columns["bytes_unique"]), 2 * 2 * (100 + 162 + 72))


def test_types_come_from_the_kernels_name_where_arguments_are_lists(tmp_path: Path) -> None:
    operator = call("aten::_foreach_add_", [[[8], [4, 2]]], "TensorList")
    kernel = event("multi_tensor_apply_kernel<c10::Half>", **{"External id": 1})
    columns = Kineto().read(profile(tmp_path, operator, kernel)).launches.columns
    assert (columns["dtype"], columns["bytes_unique"][0]) == (["f16"], 2 * 32)
    unknown = Kineto().read(profile(tmp_path, operator, kernel | {"name": "multi_tensor_apply_kernel"})).launches.columns
    assert np.isnan(unknown["bytes_unique"][0])


@pytest.mark.parametrize("dims", ["none", [3], [[2, 2]], [["a"], ["b"]], None], ids=repr)
def test_shapes_that_are_not_as_the_profiler_writes_them_are_ignored(tmp_path: Path, dims: Any) -> None:
    operator = call("aten::mm", [[4, 4], [4, 4]])
    operator["args"]["Input Dims"] = dims
    columns = Kineto().read(profile(tmp_path, operator, event("sgemm", **{"External id": 1}))).launches.columns
    assert np.isnan(columns.get("flops_matrix", [np.nan])[0])


def test_a_real_profile_with_shapes() -> None:
    """Of the MI250 sample's 14 kernels, one copies a bias for a product: its bytes are not the product's."""
    kernels = trace_of(sample("mi250")).kernels
    products = kernels["family"] == "gemm"
    assert kernels["flops_matrix"][products].tolist() == [2 * 5 * 128 * 128] * 2
    assert int(np.isnan(kernels["bytes_unique"]).sum()) == 1
    relu = kernels["scope"].tolist().index("aten::clamp_min")
    assert (kernels["flops_vector"][relu], kernels["bytes_unique"][relu]) == (640, 2 * 4 * 640)


@pytest.mark.filterwarnings("ignore::traces.formats.profile.ProfileWarning")
def test_elsewhere_a_kernel_of_known_shapes_is_scaled_by_the_model(tmp_path: Path) -> None:
    name, dims = "vectorized_elementwise_kernel<float>", [[4096, 4096], [4096, 4096]]
    kernel = event(name, 0, 200, grid=[32768, 1, 1], block=[128, 1, 1], **{"External id": 1})
    text = {"traceEvents": [call("aten::add", dims), kernel]}
    path = tmp_path / "p.json"
    path.write_text(json.dumps(text))
    trace = cd.import_profile(path, target="a100")
    here, there = (cd.replay(trace, cd.machine(m)).kernel_time_s for m in ("a100", "a5000"))
    assert here == pytest.approx(200e-6)
    assert 1.5 < there / here < 2.5  # bound by memory: 1555 against 768 GB/s


@pytest.mark.filterwarnings("ignore::traces.formats.profile.ProfileWarning")
def test_elsewhere_a_kernel_without_shapes_is_still_refused(tmp_path: Path) -> None:
    path = tmp_path / "p.json"
    path.write_text(json.dumps({"traceEvents": [event("vectorized_elementwise_kernel<float>")]}))
    with pytest.raises(MachineError, match="1 of 1 kernels, 100"):
        cd.replay(cd.import_profile(path, target="a100"), cd.machine("a5000"))
