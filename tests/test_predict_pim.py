"""Do the closed forms reproduce cycle-level runs of four PIM simulators, from sizes and named timing parameters alone?"""

import itertools
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from arch.pim import attention, global_buffer, state_update
from codesign.cli.app import app
from codesign.predicting import predict, summarise
from codesign.predicting.pim_settings import setting
from tests import pim_pages
from traces.errors import CodesignError

RUNS = Path(__file__).parent / "data" / "pim_runs.csv"
GIVEN = ["simulator", "device_preset", "kernel", "dims", "dtype", "channels", "banks", "options"]
BANKS = {"attacc_simulator": 64, "pimba": 32}
"""Of the presets whose channels have not 16."""


@pytest.fixture(scope="module")
def runs() -> pd.DataFrame:
    return pd.read_csv(RUNS)


def one(**changed: object) -> pd.DataFrame:
    row = {
        "simulator": "PIMSimulator b464dde",
        "device_preset": "HBM2_samsung_2M_16B_x64.ini",
        "kernel": "GEMV",
        "dims": "1024x1024",
        "dtype": "fp16",
        "channels": 16,
        "options": "mode=PIM;refresh=on;ranks=2(1 used by PIM);pim_blocks/ch=8",
    }
    banks = BANKS.get(str(changed.get("simulator", "")).split(" ")[0], 16)
    return pd.DataFrame([{**row, "banks": banks, **changed}])


def cycles(**changed: object) -> float:
    return float(predict(one(**changed))["predicted_cycles"].iloc[0])


def test_every_simulators_kernels_take_as_long_as_it_says(runs: pd.DataFrame) -> None:
    """The bar is 3 % on average and 15 % at worst, by simulator and kernel; the closed forms are well inside."""
    cells = summarise(predict(runs))
    assert len(cells) == 5 + 8 + 3 + 8
    for cell in cells:
        assert cell.model.mean < 0.01, cell
        assert cell.model.worst < 0.03, cell


def test_without_refresh_three_simulators_are_met_to_the_clock(runs: pd.DataFrame) -> None:
    found = predict(runs)
    off = found["device_preset"].str.contains("noref") | found["simulator"].str.startswith(("aim", "pimba"))
    rows = found[off & found["predicted_us"].notna()]
    assert len(rows) > 90
    assert (rows["predicted_cycles"] - rows["cycles"]).abs().max() < 0.5


def test_what_was_measured_is_not_read(runs: pd.DataFrame) -> None:
    whole = predict(runs)
    without = predict(runs[GIVEN])
    wrong = predict(runs.assign(cycles=1, time_us=-7.0, counts="nonsense"))
    for other in (without, wrong):
        np.testing.assert_array_equal(other["predicted_us"].to_numpy(), whole["predicted_us"].to_numpy())


def test_only_the_hosts_own_kernels_have_no_prediction(runs: pd.DataFrame) -> None:
    found = predict(runs)
    assert (found["predicted_us"].isna() == found["kernel"].str.startswith("HOST")).all()
    assert (found.loc[found["predicted_us"].notna(), "predicted_us"] > 0).all()


@pytest.mark.parametrize("order", ["reversed", "one by one"])
def test_rows_do_not_depend_on_each_other(runs: pd.DataFrame, order: str) -> None:
    some = runs[GIVEN].iloc[::7]
    whole = predict(some)["predicted_us"].to_numpy()
    if order == "reversed":
        again = predict(some.iloc[::-1])["predicted_us"].to_numpy()[::-1]
    else:
        again = np.array([predict(some.iloc[[i]])["predicted_us"].iloc[0] for i in range(len(some))])
    np.testing.assert_array_equal(again, whole)


def numbers(text: str) -> dict[str, float]:
    return {name: float(value) for name, value in re.findall(r"([A-Za-z_0-9]+)=(\d+)", text)}


def arrays(text: str, pattern: str) -> list[np.ndarray]:
    match = re.fullmatch(pattern, text)
    assert match is not None
    return [np.array([float(part or 1)]) for part in match.groups()]


def test_commands_are_counted_as_the_simulators_count_them(runs: pd.DataFrame) -> None:
    """Activations, products, moves: exact in every run (Pimba's transfers where banks share rows evenly)."""
    checked = 0
    uncounted = runs["kernel"].str.startswith(("HOST", "COPY", "AF_only", "CENT", "EWMUL", "WR_GB", "GEMV_AF"))
    for row in runs[~uncounted & ~runs["simulator"].str.startswith("PIMSimulator")].itertuples():
        count, channels = numbers(row.counts), np.array([float(row.channels)])
        if row.simulator.startswith("aim"):
            rows, columns = arrays(row.dims, r"(\d+)x(\d+)")
            reuse = 1 if "no-reuse" in row.options else int(numbers(row.options)["reuse"])
            found = global_buffer.gemv_counts(rows, columns, channels, reuse)
            assert found.activate[0] == count["ACT16"]
            assert found.multiply[0] == count["MAC16"]
            assert found.write_buffer[0] == count["WRGB"]
            assert found.change_mode[0] == count["TMOD"]
        elif row.simulator.startswith("attacc"):
            work = attention.Heads(*arrays(row.dims, r"L(\d+)xheads(\d+)xdh(\d+)"), {"fp16": 2.0, "int8": 1.0}[row.dtype], channels)
            found = attention.counts(row.kernel[5:], work)
            products = next(value for name, value in count.items() if name.startswith("mac"))
            assert found.multiply[0] * channels[0] == products
            assert found.write_input[0] * channels[0] == count["write_to_gemv_buffer"]
            assert found.move_out[0] * channels[0] == count["move_to_softmax_buffer"]
            assert found.move_in[0] * channels[0] == count["move_to_gemv_buffer"]
        else:
            operation, design = row.kernel.split("_", 1)
            heads, rows, columns = arrays(row.dims, r"n(\d+)x(\d+)x(\d+)")
            found = state_update.rounds(operation, design, heads, rows, columns, float(row.dtype[0]), channels)
            each, new = found.count * found.used, found.starting()
            assert (16 * each[0], (each * found.commands)[0]) == (count["num_act"], count["num_comp"]), row  # a round opens 16 banks
            written = 4 * (new * found.first_writes + (found.count - new) * found.next_writes)  # in groups of four
            if row.channels != 40:
                assert ((written + found.count * (8 * found.results + 1)) * found.used)[0] == count["num_rdwr"], row
        checked += 1
    assert checked > 130


@pytest.mark.parametrize(
    ("preset", "options", "name", "value"),
    [
        ("HBM2_samsung_2M_16B_x64.ini(tRP=20)", "", "tRP", 20),
        ("HBM2_samsung_2M_16B_x64.ini(tRP=14->7)", "", "tRP", 7),
        ("HBM2_samsung_2M_16B_x64.ini (tRCDRD20, noref)", "", "tRCDRD", 20),
        ("HBM2_samsung_2M_16B_x64(tCCD_L=8)", "", "tCCDL", 8),
        ("hbm2_samsung_2m_16b_x64.ini", "mode=PIM;tRFC=260;ranks=2(1 used by PIM)", "tRFC", 260),
        ("HBM2_samsung_2M_16B_x64.ini", "mode=PIM; ranks=1", "ranks", 1),
        ("HBM2_samsung_2M_16B_x64.ini(BL=8;tFAW=32)", "", "BL", 8),
        ("HBM2_samsung_2M_16B_x64.ini(tREFI=1e8)", "", "tREFI", 1e8),
        ("HBM2_samsung_2M_16B_x64.ini(NUM_RANKS=1)", "", "ranks", 1),
        ("HBM2_samsung_2M_16B_x64.ini", "mode=PIM;timing=tWR:24", "tWR", 24),
        ("HBM2_samsung_2M_16B_x64.ini", "mode=PIM;changed=tWR=16->24", "tWR", 24),
    ],
)
def test_a_changed_timing_parameter_is_understood(preset: str, options: str, name: str, value: float) -> None:
    assert setting("pimsimulator", preset, options).timing[name] == value


@pytest.mark.parametrize(
    ("preset", "options", "on"),
    [
        ("HBM2_samsung_2M_16B_x64.ini", "refresh=on", True),
        ("HBM2_samsung_2M_16B_x64.ini", "", True),
        ("HBM2_samsung_2M_16B_x64.ini(noref)", "", False),
        ("HBM2_samsung_2M_16B_x64.ini(refresh=off, tRP=20)", "", False),
        ("HBM2_samsung_2M_16B_x64.ini", "mode=PIM;refresh=off", False),
    ],
)
def test_refresh_is_on_unless_something_says_off(preset: str, options: str, on: bool) -> None:
    assert setting("pimsimulator", preset, options).refresh is on


PIMBA: dict[str, object] = {"simulator": "pimba x", "device_preset": "LAX_8Gb/dramsim3", "kernel": "SU_Pimba", "dims": "n8x64x128"}


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"simulator": "DRAMsim"}, "simulator must be one of"),
        ({"device_preset": "HBM4"}, "device_preset must be a preset of pimsimulator, such as HBM2_samsung"),
        (
            {"device_preset": "HBM2_samsung_2M_16B_x64.ini(tQQQ=3)"},
            "device_preset must be settings of PIMSimulator: there is no timing parameter 'tQQQ'",
        ),
        ({"options": "mode=PIM;tQQQ=3"}, "options must be settings of PIMSimulator: there is no timing parameter 'tQQQ'"),
        ({"kernel": "CONV"}, "kernel must be a kernel of pimsimulator: GEMV"),
        ({"dims": "1024"}, "dims must be sizes above zero like 1024x4096"),
        ({"dims": "0x16"}, "dims must be sizes above zero"),
        ({"channels": 0}, "channels must be a number of channels"),
        (
            {"simulator": "pimba x", "device_preset": "LAX_8Gb/dramsim3", "kernel": "SU_Pimba", "dims": "n8x64x128"},
            "dtype must be a width like 1B or 2B, but is 'fp16'",
        ),
        ({**PIMBA, "dtype": "1B", "options": "chunk_group=False;command_scheduling=True"}, "options must be such that chunk_group=True"),
        (
            {**PIMBA, "dtype": "1B", "options": "chunk_group=True;command_scheduling=off"},
            "options must be such that command_scheduling=True",
        ),
        ({**PIMBA, "dtype": "1B", "options": "chunk_group=maybe"}, "options must be such that chunk_group is True"),
        ({"dtype": "int8"}, "dtype must be fp16 or bf16, but is 'int8'"),
        ({"options": "mode=HOST(no PIM)"}, "kernel must be one of the host (HOST_...) where mode is HOST"),
        (
            {
                **{"simulator": "attacc_simulator", "device_preset": "HBM3_8Gb_2R/HBM3_5.2Gbps", "kernel": "ATTN_bank"},
                **{"dims": "L128xheads16xdh128", "options": "pim=bg"},
            },
            "kernel must be ATTN_bg where the options say pim=bg",
        ),
    ],
)
def test_what_is_not_known_is_an_error_that_names_the_row(changed: dict[str, object], says: str) -> None:
    table = pd.concat([one(), one(**changed)], ignore_index=True)
    with pytest.raises(CodesignError, match=f"^row 1: {re.escape(says)}"):
        predict(table)


def test_an_unknown_kernel_is_exit_status_2_and_writes_nothing(tmp_path: Path) -> None:
    table, out = tmp_path / "runs.csv", tmp_path / "out.csv"
    one(kernel="CONV").to_csv(table, index=False)
    result = CliRunner().invoke(app, ["predict", str(table), "-o", str(out)])
    assert result.exit_code == 2
    assert not out.exists()


@pytest.mark.parametrize("banks", [16, 16.0, "16", None])
def test_banks_are_those_of_the_preset(banks: object) -> None:
    assert cycles(banks=banks) == cycles()


@pytest.mark.parametrize("banks", [8, 32, "many"])
def test_banks_that_a_preset_does_not_have_are_refused(banks: object) -> None:
    with pytest.raises(CodesignError, match="row 0: banks must be 16, as in all presets of pimsimulator"):
        predict(one(banks=banks))


def test_the_command_says_that_host_rows_are_empty(tmp_path: Path) -> None:
    table, out = tmp_path / "runs.csv", tmp_path / "out.csv"
    pd.concat([one(), one(kernel="HOST_ADD", dims="1024")]).to_csv(table, index=False)
    result = CliRunner().invoke(app, ["predict", str(table), "-o", str(out)])
    assert result.exit_code == 0
    assert "1 rows are the host's own kernels" in result.output
    assert pd.read_csv(out)["predicted_us"].isna().tolist() == [False, True]


def test_a_slower_clock_makes_the_same_clocks_longer() -> None:
    plain, slow = (predict(one(device_preset=f"HBM2_samsung_2M_16B_x64.ini{x}")).iloc[0] for x in ("(noref)", "(noref, tCK=1.25)"))
    assert slow["predicted_cycles"] == plain["predicted_cycles"]
    assert slow["predicted_us"] == pytest.approx(1.25 * plain["predicted_us"])


LONGER = ["tRP", "tRCDRD", "tRCDWR", "tCCDL", "tWR", "tWTRL", "RL", "WL", "tRTPL", "tRFC", "tRAS", "tRC", "tRRDS"]


@pytest.mark.parametrize("kernel", ["GEMV", "GEMVTREE", "ADD", "RELU"])
@pytest.mark.parametrize("name", LONGER)
def test_no_kernel_gets_faster_when_a_time_gets_longer(kernel: str, name: str) -> None:
    dims = "1024x1024" if "GEMV" in kernel else "1048576"
    base = setting("pimsimulator", "HBM2_samsung_2M_16B_x64.ini", "").timing[name]
    times = [cycles(kernel=kernel, dims=dims, device_preset=f"HBM2_samsung_2M_16B_x64.ini({name}={base * f:g})") for f in (1, 1.5, 2, 4)]
    assert times == sorted(times)


def test_a_longer_refresh_interval_is_no_slower() -> None:
    times = [cycles(dims="4096x4096", device_preset=f"HBM2_samsung_2M_16B_x64.ini(tREFI={x})") for x in (1950, 3900, 7800, 100_000_000)]
    assert times == sorted(times, reverse=True)
    assert times[-1] == pytest.approx(cycles(dims="4096x4096", device_preset="HBM2_samsung_2M_16B_x64.ini(noref)"))


def test_the_tables_of_the_page_are_made_from_the_runs_and_the_catalogue() -> None:
    page = pim_pages.PAGE.read_text(encoding="utf-8")
    assert page == pim_pages.written(page), "python -m tests.pim_pages writes them anew"


SIZES = (1, 2, 7, 16, 17, 63, 64, 127, 257, 509, 1000, 1024, 1025, 4093, 4099, 11008, 65521)
PRIMES = (1, 31, 64, 509, 1024, 4099)
LEVELS = ("bank", "bg", "buffer")


def grid() -> pd.DataFrame:
    """Every kernel and option of the simulators at sizes that divide nothing, from one element and one channel to all channels.

    ``series`` numbers the rows that differ in ``size`` alone.
    """
    rows: list[tuple[str, str, str, str, str, int, str, tuple[object, ...], int]] = []
    pim, aim, hbm3 = "HBM2_samsung_2M_16B_x64.ini", "GDDR6_AiM_org/GDDR6_AiM_timing", "HBM3_8Gb_2R/HBM3_5.2Gbps"
    for preset, channels in itertools.product((pim, f"{pim}(noref)"), (1, 3, 64)):
        for kernel, size in itertools.product(("ADD", "MUL", "RELU"), (*SIZES, 10**6 + 3)):
            rows.append(("PIMSimulator", preset, kernel, f"{size}", "fp16", channels, "", (kernel, preset, channels), size))
        for kernel, a, b in itertools.product(("GEMV", "GEMVTREE"), SIZES, PRIMES):
            rows.append(("PIMSimulator", preset, kernel, f"{a}x{b}", "fp16", channels, "", (kernel, preset, channels, "x", b), a))
            rows.append(("PIMSimulator", preset, kernel, f"{b}x{a}", "fp16", channels, "", (kernel, preset, channels, b, "x"), a))
    for channels, order in itertools.product((1, 31, 32), ("order=no-reuse", "order=reuse-GB", "order=reuse-GB;reuse=7", "")):
        for kernel, a, b in itertools.product(("GEMV", "GEMV_AF"), SIZES, PRIMES):
            rows.append(("aim_simulator", aim, kernel, f"{a}x{b}", "fp16", channels, order, (kernel, order, channels, "x", b), a))
            rows.append(("aim_simulator", aim, kernel, f"{b}x{a}", "fp16", channels, order, (kernel, order, channels, b, "x"), a))
    for kernel, size in itertools.product(("AF_only", "EWMUL", "CENT_score", "COPY_BKGB", "COPY_GBBK", "WR_GB"), SIZES):
        rows.append(("aim_simulator", aim, kernel, f"{size}", "fp16", 32, "", (kernel,), size))
    switches = itertools.product((hbm3, f"{hbm3}_NPC"), LEVELS, ("True", "False"), ("on", "off"), ("fp16", "int8"), (1, 3, 16, 32, 97))
    for preset, level, power, refresh, dtype, heads in switches:
        said, which = f"pim={level};power_constraint={power};refresh={refresh}", (preset, level, power, refresh, dtype)
        sizes = [(f"L{size}xheads{heads}xdh80", ("L", heads), size) for size in SIZES]
        sizes += [(f"L{size}xheads{heads}xdh64", ("heads", size), heads) for size in PRIMES[:4]]
        rows += [("attacc_simulator", preset, f"ATTN_{level}", dims, dtype, 16, said, (*which, *key), size) for dims, key, size in sizes]
    designs = itertools.product(state_update.OPERATIONS, state_update.DESIGNS, (1, 8, 40), ("1B", "2B"), PRIMES[:4], (1, 31, 33, 257))
    for operation, design, channels, dtype, a, b in designs:
        for size in (1, 3, 80):
            name = f"{operation}_{design}"
            rows.append(("pimba", "LAX_8Gb/dramsim3", name, f"n{size}x{a}x{b}", dtype, channels, "", (name, dtype, channels, a, b), size))
    columns = ("simulator", "device_preset", "kernel", "dims", "dtype", "channels", "options", "series", "size")
    made = pd.DataFrame(rows, columns=columns)
    return made.assign(banks=made["simulator"].map(BANKS).fillna(16))


def test_sizes_that_divide_nothing_are_priced_and_never_fall_as_they_grow() -> None:
    table = grid()
    found = predict(table[GIVEN])
    assert len(found) > 8000
    assert np.all(np.isfinite(found["predicted_cycles"]))
    assert np.all(found["predicted_cycles"] > 0)
    by_size = table.assign(cycles=found["predicted_cycles"]).sort_values(["size"], kind="stable")
    falls = by_size.groupby("series", sort=False)["cycles"].diff() < -1e-6
    assert not falls.any(), by_size[falls].head().to_string()
