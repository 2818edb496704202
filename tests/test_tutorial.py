"""Does the tutorial on a device of one's own do what it says?"""

import re
from pathlib import Path
from typing import Any

import pytest

import codesign as cd
from traces.errors import MachineError

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs" / "tutorial_device.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def names(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Return what the tutorial's blocks define, run in an empty folder."""
    folder = tmp_path_factory.mktemp("tutorial")
    (folder / "streaming-array.toml").write_text(re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)[0])
    found: dict[str, Any] = {"__name__": "tutorial"}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for block in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL):
            exec(compile(block, "tutorial_device.md", "exec"), found)
    found["folder"] = folder
    return found


def test_its_device_passes_the_tests_that_it_runs(names: dict[str, Any]) -> None:
    conformance = names["TestElementwiseStreamer"]()
    tests = [name for name in dir(conformance) if name.startswith("test_")]
    assert len(tests) >= 13
    for name in tests:
        getattr(conformance, name)()


def test_a_class_with_price_alone_passes_too(names: dict[str, Any]) -> None:
    class Whole(cd.testing.DeviceConformance):
        def device(self) -> cd.Device:
            return names["Streamer"]()  # type: ignore[no-any-return]

    for name in (name for name in dir(Whole) if name.startswith("test_")):
        getattr(Whole(), name)()


def test_its_table_is_what_the_sweep_finds(names: dict[str, Any]) -> None:
    """Within a tenth or 0.03: constants of the catalogue may be calibrated again."""
    printed = [
        tuple(cell.strip() for cell in line.strip("|").split("|")) for line in PAGE.splitlines() if re.match(r"\| \S+ [GT]B/s", line)
    ]
    assert len(printed) == len(names["rows"]) == 8
    for told, found in zip(printed, names["rows"], strict=True):
        assert told[:2] == found[:2]
        assert [float(cell) for cell in found[2:]] == pytest.approx([float(cell) for cell in told[2:]], rel=0.1, abs=0.03)


def test_a_faster_card_or_link_is_never_slower_under_the_threshold(names: dict[str, Any]) -> None:
    speedup = [float(row[3]) for row in names["rows"]]
    assert all(slow <= fast for slow, fast in zip(speedup[::2], speedup[1::2], strict=True))
    assert speedup[::2] == sorted(speedup[::2])
    assert speedup[1::2] == sorted(speedup[1::2])


def test_the_report_holds_the_machine_and_the_table(names: dict[str, Any]) -> None:
    page = (names["folder"] / "streamer.html").read_text(encoding="utf-8")
    assert "a5000+streamer (hypothetical)" in page
    assert "Streamer beside an A5000" in page
    assert "strided operands" in page


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ({"bandwith": 1e12}, "no parameter 'bandwith'; did you mean 'bandwidth'"),
        ({"bandwidth": "3"}, "without a unit is ambiguous"),
        ({"bandwidth": "32 TB/s"}, "<= bandwidth <="),
        ({"link_bandwidth": 0}, "above zero|<= link_bandwidth <="),
        ({"link_bandwidth": -1}, "not negative"),
    ],
)
def test_its_machine_refuses_what_it_cannot_be(names: dict[str, Any], override: dict[str, Any], says: str) -> None:
    with pytest.raises(MachineError, match=says):
        names["machine"].with_(**override)


def test_overrides_of_its_machine_add_up(names: dict[str, Any]) -> None:
    made = names["machine"].with_(bandwidth="8 TB/s").with_(link_bandwidth="1 TB/s")
    assert (made.devices[1].bandwidth, made.memories[1].bandwidth, made.links[0].bandwidth) == (8e12, 8e12, 1e12)


def test_its_file_is_a_machine(names: dict[str, Any]) -> None:
    assert names["array"].hypothetical
    assert names["array"].memories[1].bandwidth == 2e12
    assert names["by_file"].time_s <= names["alone"].time_s * 1.05
