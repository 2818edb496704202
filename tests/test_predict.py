"""Does a prediction keep the table as it is, never read its times, compare with them where they are, and refuse faulty rows?"""

import gzip
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

import codesign as cd
from arch.uncertainty import prior
from codesign.cli.app import app
from codesign.predicting import notes, registry, summarise
from codesign.predicting.registry import Options

ADDED = ["predicted_us", "kernel_us", "relative_uncertainty"]


def kernels() -> pd.DataFrame:
    """One row of each op and source, in no particular order, with columns and an index that mean nothing to us."""
    nothing = pd.NA
    table = pd.DataFrame(
        [
            ("t4", "softmax", "softmax", "float32", nothing, nothing, nothing, nothing, 65536, 512, 900.0, "neusight"),
            ("a100-sxm", "gemm", "gemm", "bfloat16", 1, 4096, 4096, 4096, nothing, nothing, 600.0, "aiconfigurator"),
            ("t4", "elementwise", "addu", "float32", nothing, nothing, nothing, nothing, 4096, 4096, 600.0, "neusight"),
            ("l4", "elementwise", "add", "float16", nothing, nothing, nothing, nothing, 1, 1, 26.0, "neusight"),
            ("H100-SXM", "layernorm", "ln", "float32", nothing, nothing, nothing, nothing, 8192, 4096, 150.0, "neusight"),
            ("a40", "gemm", "mlp_up_proj", "float16", 1, 128, 4096, 11008, nothing, nothing, 200.0, "vidur"),
            ("v100-pcie-32gb", "gemm", "bmm", "float32", 512, 64, 64, 64, nothing, nothing, 50.0, "my own"),
        ],
        columns=["device", "op", "name", "dtype", "batch", "m", "n", "k", "rows", "cols", "latency_us", "source"],
        index=[7, 3, 3, 0, 11, 2, 1],
    )
    sizes = dict.fromkeys(("batch", "m", "n", "k", "rows", "cols"), "Int64")
    return table.astype(sizes).assign(remark=list("abcdefg"))


def test_the_table_comes_back_as_it_was_with_three_columns_at_its_end() -> None:
    table = kernels()
    predicted = cd.predict(table)
    assert list(predicted.columns) == [*table.columns, *ADDED]
    pd.testing.assert_frame_equal(predicted[table.columns], table)
    assert all(np.isfinite(predicted[name]).all() and (predicted[name] > 0).all() for name in ADDED)


@pytest.mark.parametrize(
    ("device", "dtype", "measured"),
    [("t4", "float32", True), ("h100", "bfloat16", True), ("h100", "float64", False), ("t4", "int8", False)],
)
def test_dtypes_that_nobody_measured_are_as_uncertain_as_any_that_is_not_validated(device: str, dtype: str, measured: bool) -> None:
    row = {"device": device, "op": "gemm", "dtype": dtype, "batch": 1, "m": 4096, "n": 4096, "k": 4096}
    found = cd.predict(pd.DataFrame([row])).relative_uncertainty[0]
    assert found < prior("family") if measured else found == prior("family")


def test_times_in_the_table_are_never_read() -> None:
    table = kernels()
    expected = cd.predict(table)[ADDED]
    rng = np.random.default_rng(1)
    for changed in (
        table.drop(columns="latency_us"),
        table.assign(latency_us=rng.permutation(table.latency_us) * 1e3),
        table.assign(latency_us=-1),
    ):
        pd.testing.assert_frame_equal(cd.predict(changed)[ADDED], expected)


def test_the_order_of_rows_and_their_company_change_nothing() -> None:
    table = kernels()
    expected = cd.predict(table)
    order = np.random.default_rng(2).permutation(len(table))
    pd.testing.assert_frame_equal(cd.predict(table.iloc[order])[ADDED], expected.iloc[order][ADDED])
    for row in range(len(table)):
        np.testing.assert_array_equal(cd.predict(table.iloc[[row]])[ADDED].to_numpy(), expected[ADDED].iloc[[row]].to_numpy())


def test_a_source_that_is_known_adds_its_floor_and_an_unknown_one_nothing() -> None:
    table = kernels()
    predicted = cd.predict(table)
    eager = (table.source == "neusight").to_numpy()
    assert (predicted.predicted_us[eager] > predicted.kernel_us[eager]).all()
    assert (predicted.predicted_us[~eager] == predicted.kernel_us[~eager]).all()
    assert notes(predicted) == ["1 rows of unknown source ('my own'): predicted_us is the kernel alone, no floor is added"]
    missing = cd.predict(table.drop(columns="source"))
    assert (missing.predicted_us == missing.kernel_us).all()
    assert "7 rows of unknown source (none)" in notes(missing)[0]


def test_the_tiniest_eager_operator_costs_the_hosts_floor() -> None:
    predicted = cd.predict(kernels().iloc[[3]])
    assert 25 <= predicted.predicted_us.item() <= 40  # calibration hosts: 25.7 to 45
    assert predicted.kernel_us.item() < 5


def test_errors_are_summed_up_by_device_op_and_source_beside_a_roofline_and_a_constant() -> None:
    table = pd.concat([kernels().iloc[[2]]] * 3).assign(latency_us=[500.0, 600.0, 900.0])
    predicted = cd.predict(table)
    (cell,) = summarise(predicted)
    assert cell.group == {"device": "t4", "op": "elementwise", "source": "neusight"}
    ours = predicted.predicted_us.to_numpy()
    errors = np.abs(ours / table.latency_us.to_numpy() - 1)
    assert (cell.rows, cell.model.mean, cell.model.median) == (3, pytest.approx(errors.mean()), pytest.approx(np.median(errors)))
    assert cell.model.bias == pytest.approx(ours.sum() / 2000 - 1)
    assert cell.roofline is not None
    assert cell.roofline.bias == pytest.approx(3 * (2 * 4096 * 4096 * 4 / 320e3) / 2000 - 1)
    assert (cell.constant.median, cell.constant.bias) == (pytest.approx(1 / 5), pytest.approx(1800 / 2000 - 1))


def test_a_table_without_times_has_no_summary_and_an_empty_one_no_rows() -> None:
    assert summarise(cd.predict(kernels().drop(columns="latency_us"))) == []
    empty = cd.predict(kernels().iloc[:0])
    assert (len(empty), list(empty.columns)[-3:], summarise(empty)) == (0, ADDED, [])


@pytest.mark.parametrize(
    ("column", "value", "says"),
    [
        ("rows", 0, r"row 2: rows must be a whole number above zero, but is 0"),
        ("cols", -4, r"row 2: cols must be .*, but is -4"),
        ("cols", 3.5, r"row 2: cols must be .*, but is 3.5"),
        ("cols", None, r"row 2: cols must be"),
        ("cols", float("inf"), r"row 2: cols must be"),
        ("device", "t5", r"row 2: device must be a GPU of the catalogue, but is 't5'; did you mean .*'t4'"),
        ("device", "aim", r"row 2: device must be a GPU"),
        ("device", None, r"row 2: device"),
        ("dtype", "float31", r"row 2: dtype must be a known dtype, but is 'float31'; did you mean .*'float32'"),
        ("dtype", "bfloat16", r"row 2: dtype must be one that t4 has for elementwise, f16, f32, f64, but is 'bfloat16'"),
        ("op", "sofmax", r"row 2: op must be one of gemm.*; did you mean 'softmax'"),
        ("name", "addd", r"row 2: name must be a known elementwise operator, but is 'addd'; did you mean 'add'"),
    ],
)
def test_a_row_that_cannot_be_priced_is_named(column: str, value: object, says: str) -> None:
    table = kernels().astype({"rows": object, "cols": object})
    table.iloc[2, table.columns.get_loc(column)] = value
    with pytest.raises(cd.errors.CodesignError, match=says):
        cd.predict(table)


def test_products_need_all_four_sizes_and_others_do_not() -> None:
    table = kernels()
    table.iloc[1, table.columns.get_loc("k")] = 0
    table.iloc[2, table.columns.get_loc("k")] = 0  # an elementwise row has no k
    with pytest.raises(cd.errors.CodesignError, match=r"^row 1: k must be a whole number above zero, but is 0$"):
        cd.predict(table)


def test_columns_choose_the_model_and_what_is_missing_is_said() -> None:
    assert registry.find(kernels().columns).name == "GPU kernels"
    with pytest.raises(cd.errors.CodesignError, match="nearest is 'GPU kernels', which also needs device"):
        cd.predict(kernels().drop(columns="device"))
    with pytest.raises(cd.errors.CodesignError, match="must not have the columns that a prediction adds, but it has kernel_us"):
        cd.predict(kernels().assign(kernel_us=1.0))


def test_every_model_of_the_registry_refuses_an_empty_dictionary_of_columns_and_adds_what_it_says() -> None:
    for model in registry.models():
        assert model.columns
        assert model.predicted in model.added
        assert model.measured not in model.added
    added = registry.find(kernels().columns).price(kernels(), Options())
    assert tuple(added.columns) == tuple(ADDED)


@pytest.mark.parametrize("text", ["t4 = 900\nl4 = 1500.5\n", '{"t4": 900, "l4": 1500.5}', "device,mhz\nt4,900\nl4,1500.5\n"])
def test_sustained_clocks_come_from_toml_json_and_csv(tmp_path: Path, text: str) -> None:
    path = tmp_path / "clocks"
    path.write_text(text)
    expected = cd.predict(kernels(), sustained_clocks={"t4": 900, "l4": 1500.5})
    pd.testing.assert_frame_equal(cd.predict(kernels(), sustained_clocks=path), expected)


@pytest.mark.parametrize("clock", [0, -5, float("nan"), "fast", True])
def test_a_clock_that_is_none_is_refused(clock: object) -> None:
    with pytest.raises(cd.errors.CodesignError, match="must be a number of MHz"):
        cd.predict(kernels(), sustained_clocks={"t4": clock})  # type: ignore[dict-item]


def test_a_clock_of_a_gpu_that_does_not_exist_is_refused_and_one_without_rows_is_not() -> None:
    with pytest.raises(cd.errors.CodesignError, match=r"there is none 't5'.*'t4'"):
        cd.predict(kernels(), sustained_clocks={"t5": 900})
    with pytest.raises(cd.errors.CodesignError, match="must have one sustained clock, but t4 has two"):
        cd.predict(kernels(), sustained_clocks={"t4": 900, "tesla-t4": 800})
    pd.testing.assert_frame_equal(cd.predict(kernels(), sustained_clocks={"b200": 900}), cd.predict(kernels()))


def run(*arguments: object) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, [str(argument) for argument in ("predict", *arguments)])
    return result.exit_code, result.stdout, result.stderr


@pytest.mark.parametrize("ending", ["parquet", "csv"])
def test_the_command_writes_the_table_and_one_document(tmp_path: Path, ending: str) -> None:
    source, output = tmp_path / f"kernels.{ending}", tmp_path / "out.parquet"
    table = kernels().reset_index(drop=True)
    _ = table.to_parquet(source) if ending == "parquet" else table.to_csv(source, index=False)
    status, out, err = run(source, "-o", output, "--json")
    assert status == 0, err
    document = json.loads(out)
    assert (document["kind"], document["rows"], len(document["cells"])) == ("prediction", 7, 7)
    assert set(document["cells"][0]) == {"group", "rows", "model", "roofline", "constant"}
    predicted = pd.read_parquet(output)
    np.testing.assert_allclose(predicted[ADDED].to_numpy(), cd.predict(table)[ADDED].to_numpy(), rtol=1e-12)
    assert list(predicted.columns) == [*table.columns, *ADDED]


@pytest.mark.parametrize(
    ("name", "text"), [("clocks.toml", "T4 = 500\n"), ("clocks.json", '{"tesla-t4": 500}'), ("clocks.csv", "gpu,clock\nt4,500\n")]
)
def test_the_command_takes_sustained_clocks_by_any_name_of_a_gpu(tmp_path: Path, name: str, text: str) -> None:
    """A T4 sustains less under large products than its boost clock; small ones and other GPUs keep theirs."""
    shapes = pd.DataFrame(
        {"device": ["t4", "t4", "l4"], "op": "gemm", "name": "linear", "dtype": "float32", "batch": 1, "m": [8192, 64, 8192]}
    )
    shapes.assign(n=shapes.m, k=shapes.m, rows=pd.NA, cols=pd.NA, source="vidur").to_csv(tmp_path / "kernels.csv", index=False)
    (tmp_path / name).write_text(text)
    times = []
    for options in ([], ["--sustained-clocks", tmp_path / name]):
        status, _, err = run(tmp_path / "kernels.csv", "-o", tmp_path / "out.csv", "--json", *options)
        assert status == 0, err
        times.append(pd.read_csv(tmp_path / "out.csv").kernel_us.to_numpy())
    assert times[1][0] == pytest.approx(2 * 8192**3 / (500 / 1590 * 0.88 * 8.14e12) * 1e6, rel=0.03)
    assert times[1][0] > 1.05 * times[0][0]
    assert times[1][1:] == pytest.approx(times[0][1:])


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("t4 = 0", "must be a number of MHz"),
        ("t5 = 900", "there is none 't5'"),
        ('{"t4": 900', "as TOML, JSON or CSV"),
        ("t4", "one of MHz"),
    ],
)
def test_a_faulty_file_of_sustained_clocks_is_exit_status_2_and_nothing_is_written(tmp_path: Path, text: str, says: str) -> None:
    source, clocks, output = tmp_path / "kernels.csv", tmp_path / "clocks", tmp_path / "out.csv"
    kernels().to_csv(source, index=False)
    clocks.write_text(text)
    status, out, err = run(source, "-o", output, "--sustained-clocks", clocks, "--json")
    assert (status, out) == (2, "")
    assert says in err
    assert not output.exists()


def test_the_help_says_how_a_file_of_sustained_clocks_looks() -> None:
    status, out, _ = run("--help")
    assert status == 0
    assert "t4 = 900" in " ".join(out.split())


@pytest.mark.parametrize("dtype", ["vector_flops.f23", "f23", "", None, "float4"])
def test_a_dtype_that_does_not_exist_is_refused_for_every_op(dtype: object) -> None:
    for row in range(len(kernels())):
        with pytest.raises(cd.errors.CodesignError, match="row 0: dtype must be"):
            cd.predict(kernels().iloc[[row]].assign(dtype=dtype))


def shapes(op: str, seed: int, size: int = 300) -> pd.DataFrame:
    """Random rows of an op on devices of every generation; sizes are spread evenly over orders of magnitude."""
    rng = np.random.default_rng(seed)
    most = {"batch": 9, "m": 13, "n": 13, "k": 13} if op == "gemm" else {"rows": 17, "cols": 14}
    sizes = {name: (2 ** rng.uniform(0, bits, size)).astype(int) for name, bits in most.items()}
    if op == "gemm":
        sizes["batch"] = np.where(rng.random(size) < 0.6, 1, sizes["batch"])
    table = pd.DataFrame(
        sizes | {"device": rng.choice(["p4", "v100-pcie-32gb", "t4", "a100-pcie-80gb", "a40", "l4", "h100-sxm", "b200"], size)}
    )
    names = {"gemm": ["linear"], "softmax": ["softmax"], "layernorm": ["ln"], "elementwise": ["add", "powu", "gelu"]}
    dtype = rng.choice(["float32", "float16"], size)
    table = table.assign(op=op, name=rng.choice(names[op], size), dtype=dtype, source=rng.choice(["neusight", "vidur", ""], size))
    return table.reindex(columns=["device", "op", "name", "dtype", "batch", "m", "n", "k", "rows", "cols", "source"])


@pytest.mark.parametrize("op", ["gemm", "softmax", "layernorm", "elementwise"])
def test_larger_tables_never_take_less_than_85_percent_and_nothing_is_nan(op: str) -> None:
    """Whatever tile, split, alignment or residency a size leads to; one more, a tenth more, twice as much."""
    for seed in range(3):
        table = shapes(op, seed)
        before = cd.predict(table)
        assert np.isfinite(before[ADDED]).all(axis=None)
        assert (before[ADDED] > 0).all(axis=None)
        for column in table.columns[4:10][table.iloc[0, 4:10].notna()]:
            for more in (table[column] + 1, np.floor(1.1 * table[column]) + 1, 2 * table[column]):
                after = cd.predict(table.assign(**{column: more}))
                shorter = after.kernel_us / before.kernel_us
                assert shorter.min() >= 0.85, f"{column}: {table.loc[shorter.idxmin()].to_dict()}"


@pytest.mark.parametrize("column", ["rows", "cols", "batch", "m", "n", "k"])
@pytest.mark.parametrize("size", [0, -1, 1.5, float("nan"), float("inf"), "many"])
def test_a_size_that_is_none_is_refused_in_every_column(column: str, size: object) -> None:
    op = "softmax" if column in ("rows", "cols") else "gemm"
    table = shapes(op, 0, 5).astype({column: object})
    table.loc[3, column] = size
    with pytest.raises(cd.errors.CodesignError, match=f"row 3: {column} must be"):
        cd.predict(table)


def test_a_size_beyond_what_doubles_count_is_refused_for_that() -> None:
    table = shapes("gemm", 0, 5)
    table.loc[2, "n"] = 10**18
    with pytest.raises(cd.errors.CodesignError, match="row 2: n must be at most 9,007,199,254,740,992, but is 1000000000000000000"):
        cd.predict(table)


def test_a_faulty_row_is_exit_status_2_and_nothing_is_written(tmp_path: Path) -> None:
    source, output = tmp_path / "kernels.csv", tmp_path / "out.csv"
    kernels().assign(rows=0).to_csv(source, index=False)
    status, out, err = run(source, "-o", output, "--json")
    assert (status, out) == (2, "")
    assert "row 0: rows must be a whole number above zero" in err
    assert not output.exists()
    assert list(tmp_path.iterdir()) == [source]


@pytest.mark.parametrize(("name", "says"), [("out.xlsx", "must end in .parquet or .csv"), ("kernels.csv", "must not overwrite the input")])
def test_an_output_without_a_place_is_refused(tmp_path: Path, name: str, says: str) -> None:
    source = tmp_path / "kernels.csv"
    kernels().to_csv(source, index=False)
    before = source.read_bytes()
    status, _, err = run(source, "-o", tmp_path / name)
    assert status == 2
    assert says in err
    assert source.read_bytes() == before


@pytest.mark.parametrize("content", [b"", b"PAR1 and then no table", b"\xff\xfe\x00binary"])
def test_a_file_that_is_no_table_is_refused(tmp_path: Path, content: bytes) -> None:
    source = tmp_path / "kernels.parquet"
    source.write_bytes(content)
    status, _, err = run(source, "-o", tmp_path / "out.csv")
    assert status == 2
    assert "codesign: error:" in err


def test_measured_times_that_are_none_are_not_compared_and_change_no_prediction(tmp_path: Path) -> None:
    table = kernels().reset_index(drop=True)
    odd = table.assign(latency_us=["x", "-1", "0", "inf", "", *["50"] * (len(table) - 5)])
    odd.to_csv(tmp_path / "kernels.csv", index=False)
    status, out, err = run(tmp_path / "kernels.csv", "-o", tmp_path / "out.parquet", "--json")
    assert status == 0, err
    document = json.loads(out)
    assert document["notes"][-1] == "4 rows have no number above zero as latency_us: they are not compared"
    assert sum(cell["rows"] for cell in document["cells"]) == len(table) - 5
    np.testing.assert_allclose(pd.read_parquet(tmp_path / "out.parquet")[ADDED].to_numpy(), cd.predict(table)[ADDED].to_numpy(), rtol=1e-12)


def test_whole_numbers_of_a_csv_with_empty_cells_stay_whole(tmp_path: Path) -> None:
    table = kernels().reset_index(drop=True)
    table.to_csv(tmp_path / "kernels.csv", index=False)
    assert run(tmp_path / "kernels.csv", "-o", tmp_path / "out.csv")[0] == 0
    before, after = ((tmp_path / name).read_text().splitlines() for name in ("kernels.csv", "out.csv"))
    assert [line.rsplit(",", 3)[0] for line in after] == before


def test_a_csv_with_two_columns_of_one_name_is_refused(tmp_path: Path) -> None:
    (tmp_path / "kernels.csv").write_text("device,op,dtype,batch,m,m,n,k\na100,gemm,float32,1,2,3,4,5\n")
    status, _, err = run(tmp_path / "kernels.csv", "-o", tmp_path / "out.csv")
    assert (status, "must have each column once, but it has several named m" in err) == (2, True)
    assert not (tmp_path / "out.csv").exists()


def test_a_gzipped_csv_is_read_as_what_it_holds(tmp_path: Path) -> None:
    text = kernels().reset_index(drop=True).to_csv(index=False).encode()
    (tmp_path / "kernels.csv").write_bytes(text)
    (tmp_path / "kernels.csv.gz").write_bytes(gzip.compress(text))
    outputs = []
    for name in ("kernels.csv", "kernels.csv.gz"):
        assert run(tmp_path / name, "-o", tmp_path / "out.csv")[0] == 0
        outputs.append((tmp_path / "out.csv").read_bytes())
    assert outputs[0] == outputs[1]
    (tmp_path / "cut.csv.gz").write_bytes(gzip.compress(text)[:-20])
    status, _, err = run(tmp_path / "cut.csv.gz", "-o", tmp_path / "none.csv")
    assert (status, "must be a table" in err) == (2, True)


def test_true_is_no_size(tmp_path: Path) -> None:
    (tmp_path / "kernels.csv").write_text("device,op,dtype,batch,m,n,k\na100,gemm,float32,1,True,3,4\n")
    status, _, err = run(tmp_path / "kernels.csv", "-o", tmp_path / "out.csv")
    assert (status, "row 0: m must be a whole number above zero, but is True" in err) == (2, True)


UNUSUAL = """device,op,name,dtype,batch,m,n,k,rows,cols,source
h100-sxm,gemm,linear,float32,1.0,1,4096,4096.0,,,neusight
l4,gemm,bmm,float32,1,4096,4096,1,,,neusight
b200,gemm,bmm,bfloat16,1,1,1,1,,,aiconfigurator
h200,gemm,linear,bfloat16,1,1,1048577,16,,,aiconfigurator
a100-pcie-80gb,gemm,bmm,float32,100000,4,4,4,,,neusight
h200,gemm,linear,float8_e4m3fn,1,5000000,5000000,3,,,vidur
h100-sxm,gemm,linear,int8,1,9007199254740992,1,1,,,
l4,elementwise,add,float16,,,,,1,9007199254740992,
l4,layernorm,ln,float32,,,,,1,100000000,neusight
h100-sxm,softmax,softmax,float32,,,,,1,100000000,neusight
h100-sxm,softmax,softmax,float32,,,,,100000000,1,neusight
"""


@pytest.mark.parametrize("change", ["", "\r\n", "\ufeff"])
def test_unusual_rows_have_a_price_however_the_lines_end(tmp_path: Path, change: str) -> None:
    text = UNUSUAL.replace("\n", change) if change == "\r\n" else change + UNUSUAL
    (tmp_path / "kernels.csv").write_bytes(text.encode())
    status, _, err = run(tmp_path / "kernels.csv", "-o", tmp_path / "out.csv")
    assert status == 0, err
    found = pd.read_csv(tmp_path / "out.csv")[ADDED]
    assert np.isfinite(found).all(axis=None)
    assert (found > 0).all(axis=None)


def test_one_row_of_a_softmax_is_read_by_one_sm() -> None:
    """A block a row: one SM moves 128 bytes a clock, three reads and a write of 400 MB, and a hundred rows hardly take longer."""
    row = {"device": "h100-sxm", "op": "softmax", "dtype": "float32", "cols": 100_000_000}
    one, many = cd.predict(pd.DataFrame([row | {"rows": rows} for rows in (1, 100)])).kernel_us
    assert one >= 4 * 4e8 / (128 * 1.98e9) * 1e6
    assert one <= many < 15 * one
