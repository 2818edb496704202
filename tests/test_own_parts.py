"""Are a policy and a machine of one's own taken everywhere, and do the pages' examples of them run?"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

import arch
import codesign as cd
from arch.cost import CostTable
from arch.machine import Machine
from schedulers.scheduler import Mapping, Scheduler
from tests.fixed_prices import toy_machine
from tests.toys import Toy
from traces import Trace
from traces.errors import MachineError, MappingError, SearchError, TraceError

DOCS = Path(__file__).resolve().parents[1] / "docs"


@dataclass(frozen=True)
class To(Scheduler):
    """Everything goes to one device."""

    name: ClassVar[str] = "to"
    device: int = 0

    def schedule(self, trace: Trace, machine: Machine, costs: CostTable) -> Mapping:
        return Mapping(np.full(len(trace.kernels), self.device, np.int32), self.name)


class Listed(Scheduler):
    """Forgets to make a mapping."""

    name: ClassVar[str] = "listed"

    def schedule(self, trace: Trace, machine: Machine, costs: CostTable) -> Mapping:
        return [0] * len(trace.kernels)  # type: ignore[return-value]


def two() -> Trace:
    toy = Toy()
    toy.kernel("a", ["x"], ["y"])
    toy.kernel("b", ["y"], ["z"])
    return toy.build()


def machine() -> Machine:
    """The second device is ten times as fast, more than the way there takes."""
    return toy_machine(1, duration_us=[[10, 10], [1, 1]])


def test_a_search_tries_policies_of_ones_own_with_their_parameters() -> None:
    found = cd.explore(two(), machine(), space=cd.Space(machine={}, policies=(To(), To(1))), trials=4)
    assert found.best.policy == {"name": "to(device=1)"}
    assert set(found.table()["policy"]) == {"to(device=0)", "to(device=1)"}
    assert found.space["policies"] == ["to(device=0)", "to(device=1)"]


@pytest.mark.parametrize(
    ("policies", "message"),
    [
        ((To, "cut-points"), "there is no policy .*To.*; give its name, or make one"),
        ((To(1), To(1)), "must differ in name or parameters"),
        (("cut-pionts",), "there is no policy 'cut-pionts'; did you mean 'cut-points'"),
    ],
)
def test_what_is_no_policy_is_refused(policies: Any, message: str) -> None:
    with pytest.raises(SearchError, match=message):
        cd.Space(policies=policies)


def test_a_policy_that_returns_no_mapping_is_told_what_to_return() -> None:
    with pytest.raises(MappingError, match=r"Listed.schedule returned a list; return codesign.Mapping\(devices, name\)"):
        cd.replay(two(), machine(), Listed())


def test_a_cost_table_is_short_at_a_prompt() -> None:
    assert repr(arch.cost_table(two(), machine())) == "<CostTable of 2 devices, 2 kernels; refused by each device: 0, 0>"


@pytest.mark.parametrize(
    "name", ["a5000", "a5000+aim-fp32@link", "a5000+cpu+dram", "plasticine", "tpu-v4", "a5000+near-l2", "a5000+fused-chains"]
)
def test_devices_are_short_at_a_prompt(name: str) -> None:
    for device in arch.machine(name).devices:
        assert device.id in repr(device)
        assert len(repr(device)) < 100
        assert device.hypothetical == ("hypothetical" in repr(device))


def test_several_traces_are_sent_to_merge_and_merge_says_how() -> None:
    with pytest.raises(TraceError, match=r"codesign\.merge makes one of several"):
        cd.explore([two(), two()], machine())  # type: ignore[arg-type]
    with pytest.raises(TraceError, match=r"merge takes traces in a list, merge\(\[first, second\]\)"):
        cd.merge(two(), two())  # type: ignore[arg-type]


def test_two_gpus_that_differ_are_sent_to_the_page_that_joins_them() -> None:
    with pytest.raises(MachineError, match="write '2xl4' for two of them; two that differ are joined in Python"):
        arch.machine("h100+l4")
    assert "## Parts of several machines" in (DOCS / "machines.md").read_text()


def blocks(page: str, heading: str) -> dict[str, Any]:
    """Return what the Python of a section of a page defines."""
    section = (DOCS / page).read_text(encoding="utf-8").split(f"## {heading}\n")[1]
    found: dict[str, Any] = {"arch": arch}
    for block in re.findall(r"```python\n(.*?)```", re.split(r"\n## ", section)[0], re.DOTALL):
        exec(compile(block, page, "exec"), found)
    return found


def test_the_pages_policy_runs_in_a_replay_and_in_a_search() -> None:
    names = blocks("schedulers.md", "Your own")
    alone, _, _, ten, few = names["times"]
    assert alone < few < ten  # what it leaves out, hand-overs, costs more than the kernels save
    assert "largest-savings(kernels=2)" in set(names["found"].table()["policy"])


def test_the_pages_machine_of_two_gpus_is_searched_under_its_budget() -> None:
    names = blocks("machines.md", "Parts of several machines")
    made, found = names["chiplets"]({}), names["found"]
    assert made.area_mm2 == pytest.approx(814 + 294.5)
    assert found.best.area_mm2 <= 1200
    assert made.with_(small_sms=100).area_mm2 > 1200
