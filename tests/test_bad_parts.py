"""Does a part that cannot be say what must hold, what was given, and where, instead of failing later?"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

import arch
import codesign as cd
from arch.units import parse
from codesign.cli.app import app
from tests.toys import Toy
from traces.errors import MachineError

WRONG: tuple[Any, ...] = (None, float("nan"), float("inf"), -1.0, True, [1.0], "1.5", "fast")
HOST = arch.machine("a5000").host


def link(**changed: Any) -> arch.Link:
    given = {"id": "bus", "source": "a", "target": "b", "bandwidth": 1e9, "duplex_bandwidth": None, "latency_s": 0.0}
    return arch.Link(**{**given, **changed})


def memory(**changed: Any) -> arch.Memory:
    return arch.Memory(**{"id": "a", "capacity_bytes": 10**12, "bandwidth": 1e9, **changed})


def hand_over(**changed: Any) -> arch.HandOver:
    given = {"device": "pim", "memory": "a", "mode_switch_s": 0.0, "flush_s": 0.0, "layout_bandwidth": 1e9, "closed_fraction": 0.5}
    return arch.HandOver(**{**given, **changed})


def host(**changed: Any) -> arch.Host:
    given = {"launch_interval_s": 1e-6, "launch_latency_s": 0.0, "queue_depth": 4, "graph_gap_s": 0.0, "round_trip_s": 0.0}
    return arch.Host(**{**given, **changed})


REQUIRED = (
    *((link, name) for name in ("bandwidth", "latency_s", "collective_s")),
    *((memory, name) for name in ("capacity_bytes", "bandwidth", "latency_s", "refresh_watts")),
    *((hand_over, name) for name in ("mode_switch_s", "flush_s", "layout_bandwidth")),
    *((host, name) for name in ("launch_interval_s", "launch_latency_s", "graph_gap_s", "round_trip_s")),
)


@pytest.mark.parametrize("wrong", WRONG, ids=repr)
@pytest.mark.parametrize(("make", "name"), REQUIRED)
def test_an_amount_is_a_finite_number_or_a_text_with_its_unit(make: Callable[..., object], name: str, wrong: object) -> None:
    with pytest.raises(MachineError, match=name):
        make(**{name: wrong})


@pytest.mark.parametrize("make", [link, memory, hand_over])
def test_energy_that_is_not_known_is_none(make: Callable[..., Any]) -> None:
    assert make(pj_per_byte=None).pj_per_byte is None


def test_texts_with_a_unit_are_parsed() -> None:
    assert link(bandwidth="1.5 TB/s", latency_s="2 us").bandwidth == 1.5e12
    assert hand_over(layout_bandwidth="3 GB/s").layout_bandwidth == 3e9
    assert memory(capacity_bytes="16 GB", static_watts="5 W") == memory(capacity_bytes=16 * 10**9, static_watts=5.0)
    assert memory(capacity_bytes="1.3 kB").capacity_bytes == 1300
    assert memory(capacity_bytes=np.int64(7)).capacity_bytes == 7


@pytest.mark.parametrize("name", ["id", "source", "target"])
def test_a_link_has_names(name: str) -> None:
    with pytest.raises(MachineError, match=f"{name} of a link must be a text"):
        link(**{name: None})


@pytest.mark.parametrize(
    ("text", "meant"), [("1.5 TBps", "write TB/s"), ("1.5 tb/s", "'TB/s'"), ("1.5 GBps", "GB/s"), ("1.5 Gb/s", "Gbit/s or GB/s")]
)
def test_a_unit_that_is_written_otherwise_is_named(text: str, meant: str) -> None:
    with pytest.raises(MachineError, match=meant):
        parse(text, "B/s", "memory_bandwidth")


class One(arch.Device):
    """Prices every kernel with what the test says."""

    id, kind, memory = "one", "accelerator", "a"

    def __init__(self, prices: Callable[[int], Any]) -> None:
        self.prices = prices

    def price(self, work: arch.Work) -> arch.Prices:
        found: arch.Prices = self.prices(len(work))
        return found


def lasting(seconds: float) -> Callable[[int], arch.Prices]:
    return lambda n: arch.Prices(np.full(n, seconds), np.zeros(n), np.zeros(n), {})


@pytest.mark.parametrize(
    ("prices", "says"),
    [
        (lasting(float("nan")), r"'one' gives kernel 0 \(.*\) nan s"),
        (lasting(float("inf")), "finite time of at least 0 s"),
        (lasting(-1.0), "finite time of at least 0 s"),
        (lambda n: arch.Prices(np.ones(n + 1), np.ones(n), np.ones(n), {}), "duration_s of the device 'one' must have one entry a kernel"),
        (lambda n: arch.Prices(np.ones(n), np.ones(n + 1), np.ones(n), {}), "dram_bytes of the device 'one'"),
        (lambda n: None, "must return Prices, but returned NoneType"),
    ],
)
def test_a_device_that_prices_nonsense_is_named(prices: Callable[[int], Any], says: str) -> None:
    program, machine = Toy(), arch.Machine("own", (One(prices),), (memory(),), HOST)
    program.kernel("first", ["a"], ["b"])
    with pytest.raises(MachineError, match=says):
        cd.replay(program.build(), machine)


@pytest.mark.parametrize(
    ("parts", "says"),
    [
        ({"devices": ()}, "at least one device"),
        ({"devices": One(lasting(1.0))}, "devices of the machine 'own' must be a sequence"),
        ({"devices": (3,)}, "must each be a Device"),
        ({"memories": ()}, "names the memory 'a', which the machine does not have"),
        ({"memories": ("a",)}, "must each be a Memory"),
        ({"links": ("bus",)}, "must each be a Link"),
        ({"host": None}, "must be a Host"),
    ],
)
def test_a_machine_of_other_things_is_refused(parts: dict[str, Any], says: str) -> None:
    whole = {"devices": (One(lasting(1.0)),), "memories": (memory(),), "host": HOST}
    with pytest.raises(MachineError, match=says):
        arch.Machine("own", **{**whole, **parts})


@pytest.mark.parametrize(("name", "says"), [(None, "must be a text"), ("a5000@pcie4+dram", "'@' must stand behind the part")])
def test_a_machines_name_is_checked(name: Any, says: str) -> None:
    with pytest.raises(MachineError, match=says):
        arch.machine(name)


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("kind =", "knd =", "unknown key 'knd'; did you mean 'kind'"),
        ('kind = "gpu"', 'kind = "gpus"', "kind must be one of .*; did you mean 'gpu'"),
        ("memory_bandwidth =", "memory_bandwith =", "unknown number 'memory_bandwith'; did you mean 'memory_bandwidth'"),
        ('value = "1.5 TB/s"', 'value = "1.5"', "ambiguous"),
        ('value = "1.5 TB/s"', 'value = "-1.5 TB/s"', "not negative"),
        ('value = "1.5 TB/s"', 'value = "0 TB/s"', "above zero"),
    ],
)
def test_a_faulty_file_names_itself_and_the_key(tmp_path: Path, old: str, new: str, says: str) -> None:
    path = tmp_path / "mine.toml"
    text = 'id = "mine"\nkind = "gpu"\nbase = "a5000"\n[sources]\nwish = "our own"\n[numbers]\nmemory_bandwidth = '
    text += '{ value = "1.5 TB/s", source = "wish", source_kind = "assumption" }\n'
    path.write_text(text)
    assert arch.machine(str(path)).memories[0].bandwidth > 1e12
    path.write_text(text.replace(old, new))
    with pytest.raises(MachineError, match=rf"(?s)mine\.toml.*{says}"):
        arch.machine(str(path))


def test_the_command_shows_a_machine_with_other_parameters() -> None:
    changed = CliRunner().invoke(app, ["machines", "a100", "--set", "hbm_stacks=6"])
    assert changed.exit_code == 0
    assert "hypothetical" in changed.output
    for wrong in (["a100", "--set", "hbm_stack=6"], ["a100", "--set", "clock_hz=1.5"], ["--set", "sm_count=3"]):
        assert CliRunner().invoke(app, ["machines", *wrong]).exit_code == 2


@pytest.mark.parametrize(
    ("name", "status", "says"), [("8xh100-sxm", 0, "nvlink4"), ("2xa5000@pcie4", 0, "pcie4"), ("2xa5000", 2, ""), ("999xh100-sxm", 2, "")]
)
def test_the_command_shows_machines_of_equal_gpus(name: str, status: int, says: str) -> None:
    shown = CliRunner().invoke(app, ["machines", name])
    assert shown.exit_code == status
    assert says in shown.output
