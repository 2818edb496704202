"""What must hold of a trace in memory and on disk."""

import json
import zipfile
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

import traces
from tests.toys import Toy
from traces import Table, Trace, loading, schema
from traces.errors import CodesignError, TraceError


def chain(trips: int = 10) -> Toy:
    toy = Toy()
    toy.tensor("x", 1000, "parameter")
    toy.kernel("first", ["x"], ["a"], family="gemm", phase="sampling")
    with toy.loop(trips):
        toy.kernel("body", ["a", "x"], ["b"], phase="sampling")
        toy.kernel("back", ["b"], ["a"], family="reduce", phase="laplacian", launches=3)
    toy.kernel("last", ["a"], ["y"])
    return toy


def test_loops_multiply_executions_and_library_calls_multiply_launches() -> None:
    trace = chain(10).build()
    assert trace.executions.tolist() == [1, 10, 10, 1]
    assert trace.launches == 1 + 10 + 30 + 1


def test_trip_counts_whose_product_leaves_64_bits_are_refused() -> None:
    toy = Toy()
    with toy.loop(2**40), toy.loop(2**23):
        toy.kernel("k", [], ["a"])
    with pytest.raises(TraceError, match="2\\^63"):
        _ = toy.build().executions
    toy = Toy()
    with toy.loop(2**40), toy.loop(2**22):
        toy.kernel("k", [], ["a"])
    assert toy.build().executions.tolist() == [2**62]


def test_the_last_writer_in_a_loop_is_that_of_the_steady_state() -> None:
    trace = chain().build()
    accesses = zip(*(trace.accesses[name] for name in ("kernel", "tensor", "mode")), strict=True)
    writer = dict(zip(accesses, trace.last_writer, strict=True))
    x, a, b = (trace.tensors["name"].tolist().index(n) for n in ("x", "a", "b"))
    assert writer[0, x, "read"] == -1
    assert writer[1, a, "read"] == 2  # from the second iteration on, 'back' wrote it, not 'first'
    assert writer[2, b, "read"] == 1
    assert writer[3, a, "read"] == 2
    assert writer[2, a, "write"] == -1


def test_reuse_distance_counts_distinct_bytes_since_the_last_touch() -> None:
    toy = Toy()
    for name, size in (("a", 100), ("b", 10), ("c", 1)):
        toy.tensor(name, size, "parameter")
    toy.kernel("k", ["a", "b", "c", "b", "a"])
    distance = toy.build().reuse_distance_bytes
    assert distance.tolist() == [np.inf, np.inf, np.inf, 1.0, 11.0]


def test_reuse_distance_wraps_around_a_loop_once() -> None:
    toy = Toy()
    toy.tensor("a", 100, "parameter")
    toy.tensor("b", 10, "parameter")
    with toy.loop(5):
        toy.kernel("k", ["a", "b"])
    assert toy.build().reuse_distance_bytes.tolist() == [10.0, 100.0]
    with (once := Toy()).loop(1):
        once.kernel("k", ["a", "b"])
    assert once.build().reuse_distance_bytes.tolist() == [np.inf, np.inf]


def test_a_small_write_does_not_bring_a_whole_tensor_back() -> None:
    """A decoding step reads a cache of keys, reads weights, writes one row of the cache, and reads the cache again."""
    toy = Toy()
    toy.tensor("cache", 1000, "parameter")
    toy.tensor("row", 10, "parameter", alias="cache")
    toy.tensor("weights", 300, "parameter")
    toy.kernel("k", ["cache", "weights"], ["row"])
    toy.kernel("k", ["cache"])
    assert toy.build().reuse_distance_bytes.tolist() == [np.inf, np.inf, 300.0, 300.0]
    never = Toy()
    never.tensor("cache", 1000, "parameter")
    never.tensor("row", 10, "parameter", alias="cache")
    never.kernel("k", [], ["row"])
    never.kernel("k", ["cache"])
    assert never.build().reuse_distance_bytes.tolist() == [np.inf, np.inf]


@given(st.lists(st.integers(0, 4), min_size=1, max_size=30), st.integers(1, 3))
def test_reuse_distance_equals_a_walk_over_an_explicit_lru_stack(order: list[int], trips: int) -> None:
    sizes = [1.0, 10.0, 100.0, 1000.0, 10000.0]
    toy = Toy()
    for i, size in enumerate(sizes):
        toy.tensor(str(i), int(size), "parameter")
    with toy.loop(trips):
        for i in order:
            toy.kernel("k", [str(i)])
    expected, stack = [np.inf] * len(order), list[int]()
    for _ in range(min(trips, 2)):
        for position, i in enumerate(order):
            if i in stack:
                expected[position] = sum(sizes[j] for j in stack[stack.index(i) + 1 :])
                stack.remove(i)
            stack.append(i)
    assert toy.build().reuse_distance_bytes.tolist() == expected


def test_layers_in_one_tensor_are_another_part_in_every_iteration() -> None:
    """Weights of four layers: the loop reads each once, the next execution of the loop all of them again."""
    toy = Toy()
    toy.tensor("weights", 400, "parameter")
    toy.tensor("layer", 100, "parameter", alias="weights")
    toy.tensor("state", 10, "parameter")
    with toy.loop(4):
        toy.kernel("k", ["layer", "state"])
        toy.kernel("k", ["layer"])
    assert toy.build().reuse_distance_bytes.tolist() == [np.inf, 200.0, 10.0]  # one layer after the state, the next before it
    twice = Toy()
    twice.tensor("weights", 400, "parameter")
    twice.tensor("layer", 100, "parameter", alias="weights")
    twice.tensor("state", 10, "parameter")
    with twice.loop(2), twice.loop(4):
        twice.kernel("k", ["layer", "state"])
    assert twice.build().reuse_distance_bytes.tolist() == [310.0, 100.0]


def test_a_part_that_is_read_more_often_than_there_are_parts_is_the_same_part() -> None:
    toy = Toy()
    toy.tensor("weights", 400, "parameter")
    toy.tensor("part", 100, "parameter", alias="weights")
    with toy.loop(5):
        toy.kernel("k", ["part"])
    assert toy.build().reuse_distance_bytes.tolist() == [0.0]


PLACES = st.lists(st.integers(0, 3), min_size=1, max_size=6)
"""Tensors that kernels touch in turn: 0 and 1 in parts that change with the iteration, 2 and 3 whole."""


@given(PLACES, PLACES, st.integers(2, 4))
def test_sweeps_have_the_distances_of_a_walk_through_every_iteration(body: list[int], around: list[int], trips: int) -> None:
    parts, whole = {0: 8.0, 1: 64.0}, {2: 1000.0, 3: 30000.0}
    around = [2 + place % 2 for place in around]
    toy = Toy()
    for tensor, size in parts.items():
        toy.tensor(f"all{tensor}", int(size) * trips, "parameter")
        toy.tensor(str(tensor), int(size), "parameter", alias=f"all{tensor}")
    for tensor, size in whole.items():
        toy.tensor(str(tensor), int(size), "parameter")
    with toy.loop(3):
        with toy.loop(trips):
            for tensor in body:
                toy.kernel("k", [str(tensor)])
        for tensor in around:
            toy.kernel("k", [str(tensor)])
    expected, stack = [np.inf] * (len(body) + len(around)), list[tuple[int, int]]()

    def touch(place: int, tensor: int, iteration: int) -> None:
        item = (tensor, iteration if tensor in parts else 0)
        if item in stack:
            others = stack[stack.index(item) + 1 :]
            expected[place] = sum((parts | whole)[name] for name, _ in others)
            stack.remove(item)
        stack.append(item)

    for _ in range(3):
        for iteration in range(trips):
            for place, tensor in enumerate(body):
                touch(place, tensor, iteration)
        for place, tensor in enumerate(around, start=len(body)):
            touch(place, tensor, 0)
    assert toy.build().reuse_distance_bytes.tolist() == expected


def test_a_saved_trace_loads_equal_and_saves_to_the_same_bytes(tmp_path: Path) -> None:
    trace = chain().build(options={"molecule": "CH4"})
    trace.save(tmp_path / "a.trace")
    again = traces.load(tmp_path / "a.trace")
    again.save(tmp_path / "b.trace")
    assert again.content_hash == trace.content_hash
    assert again.manifest == trace.manifest
    for name, table in trace.tables.items():
        for column in table.columns:
            np.testing.assert_array_equal(table[column], again.tables[name][column])
    assert (tmp_path / "a.trace").read_bytes() == (tmp_path / "b.trace").read_bytes()


def test_missing_values_are_nulls_in_the_file(tmp_path: Path) -> None:
    toy = Toy()
    toy.kernel("k", [], ["a"], registers=-1, flops_vector=np.nan, dtype="")
    trace = toy.build()
    arrow = trace.kernels.to_arrow()
    assert [arrow.column(c)[0].as_py() for c in ("registers", "flops_vector", "dtype", "measured_s")] == [None] * 4
    again = Table.from_arrow("kernels", arrow)
    assert again["registers"][0] == -1
    assert np.isnan(again["flops_vector"][0])
    assert again["dtype"][0] == ""


def test_an_empty_program_is_a_trace() -> None:
    trace = Toy().build()
    assert trace.launches == 0
    assert len(trace.reuse_distance_bytes) == len(trace.last_writer) == 0
    assert trace.summary().rows == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"flops_vector": -1.0}, "finite and not negative"),
        ({"flops_vector": np.inf}, "finite and not negative"),
        ({"grid_x": -2}, "finite and not negative"),
        ({"family": "gem"}, "must be one of gemm"),
        ({"launches": 0}, "at least 1"),
        ({"name": ""}, "must not be empty"),
        ({"grid_x": 1.5}, "whole numbers"),
        ({"grid_x": "many"}, "must hold int64"),
    ],
)
def test_values_that_break_a_columns_rule_are_refused(change: dict[str, object], message: str) -> None:
    toy = Toy()
    toy.kernel("k", [], ["a"])
    toy.kernels[0] |= change
    with pytest.raises(TraceError, match=message):
        toy.build()


def test_an_unknown_column_names_the_nearest() -> None:
    with pytest.raises(TraceError, match="'region'"):
        Table.build("kernels", {"regoin": [0]})


@pytest.mark.parametrize(
    ("column", "values"),
    [
        ("parent", [-1, 1]),
        ("parent", [-1, 77]),
        ("parent", [-1, -1]),
        ("first_kernel", [0, 3]),
        ("end_kernel", [2, 3]),
        ("trip_count", [1, 0]),
        ("trip_count", [2, 2]),
    ],
)
def test_regions_that_do_not_nest_are_refused(column: str, values: list[int]) -> None:
    toy = Toy()
    with toy.loop(2):
        toy.kernel("k", [], ["a"])
        toy.kernel("k", ["a"], ["b"])
    good = toy.build()
    regions = Table.build("regions", {**good.regions.decoded(), column: values})
    with pytest.raises(TraceError):
        Trace(good.kernels, good.tensors, good.accesses, regions)


def test_accesses_must_be_sorted_by_kernel() -> None:
    good = chain().build()
    columns = {name: values[::-1] for name, values in good.accesses.decoded().items()}
    with pytest.raises(TraceError, match="sorted by kernel"):
        Trace(good.kernels, good.tensors, Table.build("accesses", columns), good.regions)


def _rewrite(path: Path, member: str, data: bytes) -> None:
    with zipfile.ZipFile(path) as archive:
        held = {name: archive.read(name) for name in archive.namelist()}
    held[member] = data
    with zipfile.ZipFile(path, "w") as archive:
        for name, value in held.items():
            archive.writestr(name, value)


@pytest.mark.parametrize("damage", ["absent", "foreign", "truncated", "newer", "version", "no table", "edited", "nan", "folder", "array"])
def test_a_file_that_is_no_sound_trace_is_an_error_that_names_it(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "t.trace"
    trace = chain().build()
    trace.save(path)
    manifest = {"format_version": schema.FORMAT_VERSION, "content_hash": trace.content_hash}
    if damage == "absent":
        path.unlink()
    elif damage == "foreign":
        path.write_text("hello")
    elif damage == "truncated":
        path.write_bytes(path.read_bytes()[:-200])
    elif damage == "newer":
        _rewrite(path, loading.MANIFEST, json.dumps({**manifest, "format_version": schema.FORMAT_VERSION + 1}).encode())
    elif damage == "version":
        _rewrite(path, loading.MANIFEST, b'{"format_version": "one"}')
    elif damage == "array":
        _rewrite(path, loading.MANIFEST, b"[]")
    elif damage == "no table":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr(loading.MANIFEST, json.dumps(manifest))
    elif damage in ("edited", "nan"):
        arrow = trace.kernels.to_arrow()
        at = arrow.column_names.index("flops_vector")
        values = [7.0 if damage == "edited" else float("nan")] * len(trace.kernels)
        import pyarrow as pa

        pq.write_table(arrow.set_column(at, "flops_vector", pa.array(values)), tmp_path / "kernels.parquet")
        _rewrite(path, "kernels.parquet", (tmp_path / "kernels.parquet").read_bytes())
    elif damage == "folder":
        path.unlink()
        path.mkdir()
    with pytest.raises(TraceError, match=r"t\.trace"):
        traces.load(path)


def test_a_failed_save_leaves_nothing_behind(tmp_path: Path) -> None:
    trace = chain().build(options={"bad": object()})
    with pytest.raises(TypeError):
        trace.save(tmp_path / "t.trace")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(TraceError, match="folder that exists"):
        chain().build().save(tmp_path / "none" / "t.trace")
    with pytest.raises(TraceError, match="is a folder"):
        chain().build().save(tmp_path)


def test_an_older_format_is_upgraded_one_version_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chain().build().save(tmp_path / "old.trace")
    now = schema.FORMAT_VERSION
    monkeypatch.setattr(schema, "FORMAT_VERSION", now + 2)
    steps: list[int] = []
    monkeypatch.setitem(loading.UPGRADES, now, lambda tables, manifest: (steps.append(1), (tables, manifest))[1])
    monkeypatch.setitem(loading.UPGRADES, now + 1, lambda tables, manifest: (steps.append(2), (tables, {**manifest, "batch": 7}))[1])
    assert traces.load(tmp_path / "old.trace").manifest["batch"] == 7
    assert steps == [1, 2]


def test_a_merged_step_runs_one_program_after_the_other_and_shares_weights() -> None:
    first, second = Toy(), Toy()
    for toy, name in ((first, "sampling"), (second, "energy")):
        toy.tensor("weights", 1000, "parameter")
        toy.tensor("walkers", 10, "parameter")
        with toy.loop(3):
            toy.kernel(name, ["weights", "walkers"], ["out"], command_buffer=0)
    first.tensors["out"]["kind"] = "output"
    merged = traces.merge([first.build(), second.build()], ["sampling", "energy"], feeds={"walkers": "out"})
    assert merged.regions["name"].tolist() == ["root", "sampling", "loop", "energy", "loop"]
    assert merged.regions["parent"].tolist() == [-1, 0, 1, 0, 3]
    assert merged.executions.tolist() == [3, 3]
    assert merged.kernels["command_buffer"].tolist() == [0, 1]
    assert merged.tensors["name"].tolist() == ["weights", "walkers", "out", "out"]
    assert len(set(merged.tensors["alias_set"].tolist())) == 4, "each program's allocations are its own"
    reads = merged.accesses["tensor"][(merged.accesses["kernel"] == 1) & (merged.accesses["mode"] == "read")]
    assert merged.tensors["name"][reads].tolist() == ["weights", "out"]
    assert merged.program == "sampling+energy"


def test_merging_refuses_other_targets_and_feeds_that_match_nothing() -> None:
    with pytest.raises(TraceError, match="one target"):
        traces.merge([chain().build(), chain().build(target="h200")])
    with pytest.raises(TraceError, match="nowhere"):
        traces.merge([chain().build(), chain().build()], feeds={"nowhere": "y"})
    with pytest.raises(TraceError, match="at least one"):
        traces.merge([])


def test_merging_one_trace_keeps_its_kernels() -> None:
    trace = chain().build()
    merged = traces.merge([trace])
    assert merged.executions.tolist() == trace.executions.tolist()
    assert merged.last_writer.tolist() == trace.last_writer.tolist()


def test_a_summary_counts_launches_and_bytes_of_all_iterations() -> None:
    rows = chain(10).build().summary("family").to_dict()
    assert rows["reduce"]["launches"] == 30
    assert rows["elementwise"]["bytes_unique"] == 10 * (4096 + 1000 + 4096) + 2 * 4096
    assert rows["gemm"]["kernels"] == 1
    assert chain().build().summary("phase").to_dict()["none"]["kernels"] == 1
    with pytest.raises(TraceError, match="family, phase, stage"):
        chain().build().summary("colour")


def test_a_trace_shows_itself_in_a_notebook() -> None:
    toy = Toy()
    toy.kernel("<b>", [], ["a"], phase="<script>")
    shown = toy.build(program="<em>")._repr_html_()
    assert "&lt;script&gt;" in shown
    assert "<script>" not in shown
    assert "<em>" not in shown


def test_errors_are_also_the_built_in_kind_that_fits() -> None:
    assert issubclass(TraceError, CodesignError)
    assert issubclass(TraceError, ValueError)


def test_rows_taken_are_the_table_built_of_them() -> None:
    """Also where a text is used no more, or first by another row than before."""
    toy = Toy()
    for name, family in (("a", "gemm"), ("b", "lu"), ("a", "copy"), ("c", "gemm")):
        toy.kernel(name, family=family)
    kernels = toy.build().kernels
    rows = np.array([3, 2, 2, 0])
    stream = np.array([0, 1, 2, 3])
    taken = kernels.take(rows, {"stream": stream})
    built = Table.build("kernels", {name: values[rows] for name, values in kernels.decoded().items()} | {"stream": stream})
    for column in kernels.columns:
        np.testing.assert_array_equal(taken[column], built[column])
    assert (taken.categories("name"), taken.codes("name").tolist()) == (["c", "a"], [0, 1, 1, 1])
    with pytest.raises(TraceError, match="finite and not negative"):
        kernels.take(rows, {"region": np.array([0, 0, -1, 0])})
