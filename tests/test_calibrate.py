"""Are the fitted constants few, from the data that they name, and the same each time; and do left-out devices stay within the bars?"""

import hashlib
import tomllib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import arch
import codesign as cd
from arch import catalog
from arch.uncertainty import rule
from codesign.calibrating import Calibration, calibrate
from codesign.calibrating.calibrating import COLUMNS, fit
from codesign.calibrating.residuals import classes, left_out, statistics
from codesign.calibrating.streams import STARTS
from codesign.predicting import floors, tables
from codesign.predicting.predicting import predict

CATALOG = Path(arch.__file__).parent / "catalog"
TABLE = Path(arch.__file__).parent / "calibration" / "gpu_kernels.parquet"
OPS = ("elementwise", "layernorm", "softmax")


def fitted(document: dict[str, object]) -> int:
    """Count the numbers of a catalogue file that are fitted: entries of lists too."""
    if "value" in document:
        value = document["value"]
        return (len(value) if isinstance(value, list) else 1) if document["source_kind"] == "fitted" else 0
    return sum(fitted(value) for value in document.values() if isinstance(value, dict))


def test_at_most_thirty_numbers_are_fitted_for_all_gpus_together() -> None:
    documents = {path.stem: tomllib.loads(path.read_text()) for path in sorted(CATALOG.glob("*.toml"))}
    counts = {name: fitted(document) for name, document in documents.items() if document["kind"] == "gpu"}
    assert counts["calibrated"] > 0
    assert sum(counts.values()) <= 30
    assert {name for name, count in counts.items() if count} == {"calibrated"}  # shared by all devices


def test_the_file_names_the_data_it_comes_from() -> None:
    said = tomllib.loads((CATALOG / "calibrated.toml").read_text())["calibration"]
    assert said["sha256"] == hashlib.sha256(TABLE.read_bytes()).hexdigest()
    assert said["command"] == "codesign calibrate"
    assert {"data", "split", "date", "rows"} <= set(said)


def test_every_gpu_shares_the_constants() -> None:
    constants = tomllib.loads((CATALOG / "calibrated.toml").read_text())["numbers"]
    for name in catalog.builtin_ids():
        entry = catalog.builtin(name)
        if entry.kind == "gpu":
            own = {key for key in constants if entry.quantity(key).source_kind != "fitted"}
            assert own <= {"gemm_batched_tile", "capped_energy_tensor"}  # of other libraries, of chips on which others measured it


def made(devices: tuple[str, ...] = ("t4", "a100-pcie-40gb"), seed: int = 0) -> pd.DataFrame:
    """Operators whose times the model itself says, under other constants than the catalogue's: the truth that a fit must find."""
    rng = np.random.default_rng(seed)
    frames = []
    for device in devices:
        for op, names in {"elementwise": ["add", "mulu"], "softmax": ["softmax"], "layernorm": ["ln"]}.items():
            for name in names:
                size = 300
                cols = rng.integers(130, 2000, size) * 8 if op != "elementwise" else rng.integers(1, 4000, size)
                rows = np.maximum(2 ** rng.uniform(2, 29, size) // cols, 1).astype(int)
                frames.append(pd.DataFrame({"device": device, "op": op, "name": name, "rows": rows, "cols": cols}))
    table = pd.concat(frames, ignore_index=True).assign(dtype="float32", source="neusight")
    return table.assign(batch=pd.NA, m=pd.NA, n=pd.NA, k=pd.NA)


TRUTH = {
    **STARTS,
    "eager_floors": (20e-6, 25e-6, 30e-6, 40e-6, 60e-6),
    "eager_overlap": 0.4,
    "block_softmax_instructions": 700.0,
    "layernorm_row_instructions": 600.0,
}


def test_a_fit_finds_the_constants_that_made_the_times() -> None:
    from codesign.calibrating.streams import fit_streams

    table = made()
    table = table.assign(latency_us=predict(table, constants=TRUTH)["predicted_us"])
    found = fit_streams(table)
    assert found["eager_overlap"] == pytest.approx(TRUTH["eager_overlap"], abs=0.03)
    again = predict(table, constants=found | {"eager_floors": TRUTH["eager_floors"]})
    error = np.abs(again["predicted_us"] / table["latency_us"] - 1)
    assert error.groupby(table["op"]).median().max() < 0.02


def test_what_is_fitted_does_not_depend_on_what_was_fitted_before_nor_on_the_order_of_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    from codesign.calibrating import streams

    monkeypatch.setattr(streams, "_EVALUATIONS", 20)
    table = made().assign(latency_us=lambda t: predict(t, constants=TRUTH)["predicted_us"])
    first = streams.fit_streams(table)
    assert streams.fit_streams(table) == first
    shuffled = streams.fit_streams(table.sample(frac=1.0, random_state=1))
    for key, value in first.items():
        assert shuffled[key] == pytest.approx(value, rel=1e-9)


def test_statistics_are_the_68th_percentile_of_rows_and_the_root_mean_square_of_totals() -> None:
    table = pd.DataFrame(
        {
            "device": ["a"] * 100 + ["b"] * 100,
            "op": "softmax",
            "dtype": "float32",
            "latency_us": 200.0,
            "kernel_us": 1e6 * rule("long_kernel_s"),
            "predicted_us": 200 * np.exp(np.concatenate([np.linspace(0, 0.99, 100), np.full(100, -0.1)])),
        }
    )
    found = statistics(table)
    assert list(found) == ["softmax_long"]
    assert found["softmax_long"]["row"] == pytest.approx((0.6732 + 0.1) / 2, abs=1e-4)
    total = np.log(table.predicted_us[:100].mean() / 200)
    assert found["softmax_long"]["total"] == pytest.approx(np.sqrt((total**2 + 0.01) / 2))


def test_products_are_told_apart_by_who_multiplies_and_kernels_by_their_length() -> None:
    table = pd.DataFrame({"op": ["gemm", "gemm", "softmax"], "dtype": ["float32", "float16", "float32"], "kernel_us": [1.0, 1e3, 49.9]})
    assert classes(table).tolist() == ["gemm_vector_short", "gemm_matrix_long", "softmax_short"]


def test_what_a_left_out_device_showed_is_judged_on_rows_above_its_floor() -> None:
    short = pd.DataFrame({"device": "t4", "op": "gemm", "dtype": "float32", "latency_us": 30.0, "predicted_us": 300.0}, index=range(98))
    long = pd.DataFrame({"device": "t4", "op": "gemm", "dtype": "float32", "latency_us": [100.0, 200.0], "predicted_us": [110.0, 160.0]})
    found = left_out(pd.concat([short, long]))["t4/gemm_vector"]
    assert found == {"median": pytest.approx(0.15), "bias": pytest.approx(-0.1)}


def test_a_calibration_is_written_as_a_catalogue_file_that_reads_back() -> None:
    one = Calibration(
        {"reuse_l1_share": 0.70624, "eager_floors": (26e-6, 30.5e-6)},
        {"softmax_long": {"row": 0.1, "total": 0.05}},
        {"t4/softmax": {"median": 0.08, "bias": -0.02}},
        {"x": 3},
        "0",
    )
    read = tomllib.loads(one.to_toml())
    assert read["numbers"]["reuse_l1_share"]["value"] == 0.7062
    assert read["numbers"]["eager_floors"] == {"value": [26, 30.5], "unit": "us", "source": "calibration", "source_kind": "fitted"}
    assert read["residuals"]["softmax_long"] == {"row": 0.1, "total": 0.05}
    assert read["left_out"]["t4/softmax"] == {"median": 0.08, "bias": -0.02}
    assert repr(one) == "<Calibration: 3 constants from 3 kernels>"


def test_a_table_that_lacks_a_column_is_refused() -> None:
    with pytest.raises(cd.errors.CodesignError, match="but it lacks latency_us, source"):
        calibrate(pd.DataFrame(columns=[name for name in COLUMNS if name not in ("latency_us", "source")]))


def test_starts_are_the_constants_that_the_search_moves() -> None:
    constants = tomllib.loads((CATALOG / "calibrated.toml").read_text())["numbers"]
    assert set(STARTS) < set(constants)


@pytest.mark.slow
def test_calibrating_again_writes_the_same_file_byte_for_byte() -> None:
    assert calibrate().to_toml() == (CATALOG / "calibrated.toml").read_text()


@pytest.mark.slow
def test_a_left_out_device_is_predicted_within_15_percent_by_each_op() -> None:
    table = tables.read(TABLE)
    table = table[table.op.isin(OPS)]
    errors = {}
    for device in table.device.unique():
        here = table.device == device
        found = predict(table[here], constants=fit(table[~here]))
        long = found.latency_us > 3 * found.groupby("op").latency_us.transform(lambda t: t.quantile(0.02))
        error = (found.predicted_us / found.latency_us - 1).abs()[long]
        errors[device] = error.groupby(found.op).median()
    median = pd.DataFrame(errors).mean(axis=1)
    assert median.max() <= 0.15
    assert median["elementwise"] <= 0.07


def test_known_times_of_the_calibration_table_come_out_within_the_bars() -> None:
    """In sample, a tenth of the rows: every op's median over devices, above three times the 2nd percentile."""
    table = tables.read(TABLE)
    table = table[table.op.isin(OPS)]
    table = table[table.latency_us > 3 * table.groupby(["device", "op"]).latency_us.transform(lambda t: t.quantile(0.02))].iloc[::10]
    found = predict(table)
    error = (found.predicted_us / found.latency_us - 1).abs().groupby([found.op, found.device]).median()
    assert error.max() <= 0.20
    assert error.groupby("op").mean().max() <= 0.10
    assert floors.known("neusight")
