"""Are Chakra's execution traces read however they are written, and does what we write come back whole?"""

import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.strategies.launches import traces
from tests.toys import Toy
from traces import Trace
from traces.errors import TraceError
from traces.formats import chakra_nodes, wire
from traces.formats.chakra import Chakra
from traces.formats.source import Source
from traces.formats.to_trace import to_trace

PROFILES = Path(__file__).parent / "data" / "profiles"


def read(path: Path) -> Trace:
    source = Source(path)
    assert Chakra().recognises(source)
    return to_trace(Chakra().read(source), target="", program="p")


def written(tmp_path: Path, content: bytes | str) -> Path:
    path = tmp_path / "trace.et"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


@pytest.mark.parametrize(("value", "raw"), [(0, "00"), (1, "01"), (150, "9601"), (300, "ac02"), (2**64 - 1, "ffffffffffffffffff01")])
def test_numbers_on_the_wire(value: int, raw: str) -> None:
    """150 and 300 are the encoding guide's own examples."""
    assert wire.varint(value).hex() == raw
    assert wire.read_varint(bytes.fromhex(raw), 0) == (value, len(raw) // 2)


@given(st.lists(st.one_of(st.integers(-(2**63), 2**63 - 1), st.floats(allow_nan=False), st.text(max_size=9)), max_size=8))
def test_fields_survive_the_wire(values: list[int | float | str]) -> None:
    message = b"".join(wire.field(i + 1, value) for i, value in enumerate(values))
    found = []
    for (_, kind, value), given_value in zip(wire.fields(message), values, strict=True):
        if isinstance(value, bytes):
            found.append(value.decode())
        else:
            assert isinstance(given_value, (float, int))
            found.append(wire.double(value) if kind == wire.FIXED64 else wire.signed(value))
    assert found == values


def test_a_real_trace_of_the_host_gives_its_operators_and_tensors() -> None:
    """Of 263 nodes 30 copies touch the GPU; each reads one tensor and writes another, of one float."""
    trace = read(PROFILES / "collectives_chakra.json.gz")
    assert trace.kernels["name"].tolist() == ["aten::copy_"] * 30
    assert set(trace.kernels["family"].tolist()) == {"copy"}
    assert np.isnan(trace.kernels["measured_s"]).all()
    assert set(trace.tensors["dtype"].tolist()) == {"f32"}
    assert trace.manifest["captured"]["remarks"][0].startswith("a trace of the host has no kernels")
    writes = np.bincount(trace.accesses["kernel"][trace.accesses["mode"] == "write"], minlength=30)
    assert (writes == 1).all()


def operator(number: int, name: str, inputs: list[Any], outputs: list[Any]) -> dict[str, Any]:
    def side(tensors: list[Any]) -> dict[str, Any]:
        return {"values": [v for v, _ in tensors], "shapes": [s for _, s in tensors], "types": ["Tensor(float)"] * len(tensors)}

    return {"id": number, "name": name, "ctrl_deps": 1, "inputs": side(inputs), "outputs": side(outputs), "attrs": []}


def test_the_work_of_a_matrix_product_follows_from_its_shapes(tmp_path: Path) -> None:
    a, b, c = ([[i, i, 0, n, 4, "cuda:0"], shape] for i, n, shape in ((1, 6, [2, 3]), (2, 12, [3, 4]), (3, 8, [2, 4])))
    nodes = [operator(2, "aten::mm", [a, b], [c]), operator(3, "aten::view", [c], [c]), operator(4, "aten::relu", [c], [c])]
    trace = read(written(tmp_path, json.dumps({"schema": "1.1.0-chakra.0.0.4", "nodes": nodes})))
    assert trace.kernels["name"].tolist() == ["aten::mm", "aten::relu"]
    assert trace.kernels["family"].tolist() == ["gemm", "elementwise"]
    assert [int(trace.kernels[size][0]) for size in "mnk"] == [2, 4, 3]
    assert trace.kernels["flops_matrix"][0] == 2 * 2 * 4 * 3
    assert trace.kernels["bytes_unique"].tolist() == [4 * (6 + 12 + 8), 4 * (8 + 8)]
    assert trace.last_writer.tolist() == [-1, -1, -1, 0, -1]


def test_an_operator_that_asks_or_copies_its_bias_first_is_a_kernel_all_the_same(tmp_path: Path) -> None:
    """Views within an operator launch nothing, so it is innermost; a product counts whatever it holds, what autograd calls it never."""
    a, b, c = ([[i, i, 0, n, 4, "cuda:0"], shape] for i, n, shape in ((1, 6, [2, 3]), (2, 12, [3, 4]), (3, 8, [2, 4])))
    nodes = [operator(2, "AddmmBackward0", [c], [c]), operator(3, "aten::linear", [a, b], [c]) | {"ctrl_deps": 2}]
    nodes += [operator(4, "aten::addmm", [c, a, b], [c]) | {"ctrl_deps": 3}, operator(5, "aten::copy_", [c, c], [c]) | {"ctrl_deps": 4}]
    nodes += [operator(6, "aten::sum", [c], [c]), operator(7, "aten::as_strided", [c], [c]) | {"ctrl_deps": 6}]
    nodes += [operator(8, "TBackward0", [c], [c]), operator(9, "aten::t", [c], [c]) | {"ctrl_deps": 8}]
    trace = read(written(tmp_path, json.dumps({"schema": "1.1.1-chakra.0.0.4", "nodes": nodes})))
    assert trace.kernels["name"].tolist() == ["aten::addmm", "aten::copy_", "aten::sum"]
    assert trace.kernels["flops_matrix"][0] == 2 * 2 * 4 * 3


def test_a_trace_that_was_linked_with_a_profile_gives_its_kernels(tmp_path: Path) -> None:
    gpu = {"cat": "kernel", "ph": "X", "ts": 10, "inclusive_dur": 2.5, "exclusive_dur": 2.5, "stream": 7, "ctrl_deps": 2}
    nodes = [operator(2, "aten::relu", [], []), operator(3, "k", [], []) | gpu, operator(4, "Memcpy", [], []) | gpu | {"cat": "gpu_memcpy"}]
    trace = read(written(tmp_path, json.dumps({"schema": "1.1.0-chakra.0.0.4", "nodes": nodes})))
    assert trace.kernels["name"].tolist() == ["k"]
    assert trace.kernels["measured_s"].tolist() == [2.5e-6]
    assert trace.kernels["stream"].tolist() == [7]


def test_json_of_protobuf_is_read(tmp_path: Path) -> None:
    """As Chakra's own converter writes it: objects behind each other, 64-bit numbers as text, types by name."""
    attributes = [{"name": "is_cpu_op", "boolVal": False}, {"name": "stream", "int64Val": "20"}]
    documents = [
        {"version": "0.0.4"},
        {"id": "1", "name": "host", "type": "COMP_NODE", "attr": [{"name": "is_cpu_op", "boolVal": True}]},
        {"id": "2", "name": "a", "type": "COMP_NODE", "startTimeMicros": "5", "durationMicros": "3", "ctrlDeps": ["1"], "attr": attributes},
        {"id": "3", "name": "b", "type": "COMM_COLL_NODE", "startTimeMicros": "9", "durationMicros": "4", "dataDeps": ["2"]},
    ]
    trace = read(written(tmp_path, "\n".join(json.dumps(d, indent=2) for d in documents)))
    assert trace.kernels["name"].tolist() == ["a", "b"]
    assert (trace.kernels["measured_s"] * 1e6).tolist() == [3.0, 4.0]
    assert trace.kernels["stream"].tolist() == [20, -1]
    assert [name for name in trace.tensors["name"] if name.startswith("end")] == ["end of kernel 0"]


def test_protobuf_of_another_writer_is_read(tmp_path: Path) -> None:
    def node(number: int, name: str, depends: int, cpu: bool) -> bytes:
        head = wire.field(1, number) + wire.field(2, name) + wire.field(3, chakra_nodes.COMP_NODE) + wire.field(4, depends)
        times = wire.field(6, 10 * number) + wire.field(7, 7)
        return wire.delimited(head + times + wire.field(10, chakra_nodes.attribute("is_cpu_op", cpu)) + wire.field(8, b""))

    content = wire.delimited(wire.field(1, "0.0.4")) + node(1, "op", 0, True) + node(2, "kernel", 1, False) + node(3, "next", 2, False)
    trace = read(written(tmp_path, content))
    assert trace.kernels["name"].tolist() == ["kernel", "next"]
    assert trace.kernels["measured_s"].tolist() == [7e-6, 7e-6]


@given(traces())
def test_a_round_trip_loses_no_kernel(trace: Trace) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "trace.et"
        Chakra().write(trace, path)
        back = read(path)
    for column in trace.kernels.columns:
        if column == "measured_s":
            np.testing.assert_allclose(back.kernels[column], trace.kernels[column], rtol=0, atol=5e-13)
        elif column != "region":
            np.testing.assert_array_equal(back.kernels[column], trace.kernels[column])


def test_dependencies_are_written(tmp_path: Path) -> None:
    toy = Toy()
    toy.kernel("a", writes=["x"], stream=1)
    toy.kernel("b", writes=["y"], stream=2)
    toy.kernel("c", reads=["x", "y"], stream=2)
    remarks = Chakra().write(toy.build(), tmp_path / "trace.et")
    nodes = chakra_nodes.read(Source(tmp_path / "trace.et")).nodes
    assert [chakra_nodes.dependencies(node) for node in nodes] == [[], [], [1, 2]]
    assert any("not measured" in remark for remark in remarks)
    back = read(tmp_path / "trace.et")
    assert [name for name in back.tensors["name"] if name.startswith("end")] == ["end of kernel 0"]


@pytest.mark.parametrize("cut", [1, 10, 60])
def test_truncated_protobuf_says_so(tmp_path: Path, cut: int) -> None:
    toy = Toy()
    for name in "abc":
        toy.kernel(name)
    Chakra().write(toy.build(), tmp_path / "whole.et")
    short = written(tmp_path, (tmp_path / "whole.et").read_bytes()[:-cut])
    with pytest.raises(TraceError, match=r"trace\.et must be whole Chakra protobuf, but is truncated or damaged after \d nodes"):
        read(short)


def test_truncated_json_says_so(tmp_path: Path) -> None:
    with pytest.raises(TraceError, match="must be whole JSON, but is truncated"):
        read(written(tmp_path, '{"schema": "1.0.2-chakra.0.0.4", "nodes": [{"id": 1, "ctrl_deps"'))


def test_operands_that_are_none_are_named(tmp_path: Path) -> None:
    node = operator(5, "aten::add", [([1, "x", 0, 1, 4, "cuda:0"], [1])], [])
    with pytest.raises(TraceError, match=r"inputs must have values, types and shapes, but those of node 5 \('aten::add'\) are wrong"):
        read(written(tmp_path, json.dumps({"schema": "1.0.2-chakra.0.0.4", "nodes": [node]})))


def flat(number: int, name: str, inputs: list[Any], outputs: list[Any]) -> dict[str, Any]:
    """A node as schema 1.0.1 has it: no attributes, shapes and types beside the values, the operator around as parent."""
    node: dict[str, Any] = {"id": number, "name": name, "parent": 1, "rf_id": 3}
    for side, tensors in (("input", inputs), ("output", outputs)):
        node |= {f"{side}s": [v for v, _ in tensors], f"{side}_shapes": [s for _, s in tensors]}
        node[f"{side}_types"] = ["Tensor(float)"] * len(tensors)
    return node


def test_the_schema_before_attributes_is_read(tmp_path: Path) -> None:
    a, b, c = ([[i, i, 0, n, 4, "cuda:0"], shape] for i, n, shape in ((1, 6, [2, 3]), (2, 12, [3, 4]), (3, 8, [2, 4])))
    nodes = [{"id": 1, "name": "root", "parent": 1}, flat(2, "aten::mm", [a, b], [c])]
    trace = read(written(tmp_path, json.dumps({"schema": "1.0.1", "pid": 1, "nodes": nodes})))
    assert [int(trace.kernels[c][0]) for c in ("m", "n", "k")] == [2, 4, 3]
    assert trace.kernels["bytes_unique"].tolist() == [4 * (6 + 12 + 8)]


def node(number: int, name: str, *attributes: bytes) -> bytes:
    fields = [wire.field(1, number), wire.field(2, name), wire.field(3, chakra_nodes.COMP_NODE), wire.field(7, 5)]
    return wire.delimited(b"".join(fields + [wire.field(10, a) for a in attributes]))


def bare(name: str, number: int, raw: bytes, kind: int) -> bytes:
    return wire.field(1, name) + wire.varint(number << 3 | kind) + raw


METADATA = {
    "version": wire.field(1, "0.0.4"),
    "attributes": wire.field(2, chakra_nodes.attribute("schema", "1.1.0-chakra.0.0.4")),
    "both": wire.field(1, "0.0.4") + wire.field(2, chakra_nodes.attribute("pid", 7)),
    "empty": b"",
}


@pytest.mark.parametrize("metadata", METADATA)
def test_metadata_may_lack_a_version(tmp_path: Path, metadata: str) -> None:
    gpu = chakra_nodes.attribute("is_cpu_op", False)
    content = wire.delimited(METADATA[metadata]) + node(1, "k", gpu) + node(2, "aten::mm", chakra_nodes.attribute("is_cpu_op", True))
    assert read(written(tmp_path, content)).kernels["name"].tolist() == ["k"]


@pytest.mark.parametrize("content", [b"\x00", b"\x00\x00", b"\x00\x02ab", b"\x00" * 40, b"\x03abc", b"\x02\x12\x00"], ids=repr)
def test_bytes_that_are_no_metadata_are_not_taken_for_it(content: bytes) -> None:
    assert not chakra_nodes.begins_with_metadata(content)


@pytest.mark.parametrize(
    ("attribute", "value"),
    [
        (bare("a", 5, b"\x00\x00\xc0\x3f", wire.FIXED32), 1.5),
        (bare("a", 23, b"\xff\xff\xff\xff", wire.FIXED32), -1),
        (bare("a", 21, b"\x02" + b"\x00" * 7, wire.FIXED64), 2),
        (bare("a", 25, b"\xfe" + b"\xff" * 7, wire.FIXED64), -2),
        (bare("a", 17, b"\x03", wire.VARINT), -2),
    ],
    ids=["float", "sfixed32", "fixed64", "sfixed64", "sint64"],
)
def test_attributes_of_every_type_of_number(tmp_path: Path, attribute: bytes, value: float) -> None:
    content = wire.delimited(METADATA["version"]) + node(1, "k", attribute)
    assert chakra_nodes.attributes(chakra_nodes.read(Source(written(tmp_path, content))).nodes[0]) == {"a": value}


def test_copies_are_known_by_cudas_names_where_no_category_is(tmp_path: Path) -> None:
    names = ("k", "Memcpy HtoD (Pageable -> Device)", "Memset (Device)")
    content = wire.delimited(METADATA["version"]) + b"".join(node(i + 1, name) for i, name in enumerate(names))
    trace = read(written(tmp_path, content))
    assert (trace.kernels["name"].tolist(), trace.manifest["captured"]["left_out"]["copies"]) == (["k"], 2)


def test_a_list_of_nodes_is_read(tmp_path: Path) -> None:
    nodes = [{"id": 1, "name": "k", "type": "COMP_NODE", "ctrlDeps": [], "durationMicros": "3"}]
    assert (read(written(tmp_path, json.dumps(nodes))).kernels["measured_s"] * 1e6).tolist() == pytest.approx([3])
