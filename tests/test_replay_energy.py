"""Do the joules of a replay add up by part, on every kind of device, and are they what arithmetic says?"""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import arch
import codesign as cd
from arch.energy import PARTS, part_of
from arch.link import Link
from arch.work import Work
from codesign.engine.joules import PARTS as ALL
from codesign.engine.rows import timeline_tables
from codesign.testing import example_trace
from tests.replay_toys import Fixed, hand_over, on, toy
from tests.toys import Toy
from traces.trace import Trace

MIB = 2**20
MACHINES = (
    "a5000",
    "a100",
    "a5000+aim-fp32",
    "a5000+aim-fp32@link",
    "a100+hbm-pim-fp32",
    "a5000+plasticine@link",
    "a5000+sn40l@pcie4",
    "a5000+cpu+dram",
    "a5000+layout-engine+near-l2+fused-chains",
)


def closes(timeline: cd.Timeline) -> bool:
    values = timeline.energy_parts.values()
    return timeline.energy_j == pytest.approx(sum(v for v in values if v is not None), rel=1e-9)


@pytest.mark.parametrize("machine", MACHINES)
def test_terms_of_every_device_add_up_to_its_energy(machine: str) -> None:
    trace = example_trace()
    work, mine = Work.of(trace), np.ones(40, dtype=np.bool_)
    for device in arch.machine(machine).devices:
        runs = device.refuse(work).code == 0
        for prices in (device.price(work), device.arrange(trace, work, mine & runs)):
            assert prices.energy_terms, device.id
            assert {part_of(name) for name in prices.energy_terms} <= set(PARTS)
            total = np.sum(list(prices.energy_terms.values()), axis=0)
            np.testing.assert_allclose(total[runs], prices.energy_j[runs], rtol=1e-12)
            assert all(np.all(values[runs] >= 0) for name, values in prices.energy_terms.items() if name != "cap_j"), device.id


@given(st.sampled_from(MACHINES), st.integers(0, 50), st.sampled_from(["single-device", "cut-points", "intensity-threshold"]))
@settings(deadline=None, max_examples=25)
def test_the_parts_of_a_replay_add_up_to_its_energy(machine: str, seed: int, scheduler: str) -> None:
    built = arch.machine(machine)
    timeline = cd.replay(example_trace(12, seed), built, scheduler)
    assert list(timeline.energy_parts) == list(ALL)
    if timeline.energy_j is None:
        assert None in timeline.energy_parts.values() or built.static_watts is None
    else:
        assert closes(timeline)
        assert timeline.energy_parts["not_split"] == 0


def looped(trips: int) -> Trace:
    toy_ = Toy()
    toy_.tensor("x", 4 * MIB)
    with toy_.loop(trips):
        toy_.kernel("a", ("x",), ("y",), launches=3)
        toy_.kernel("b", ("y",), ("x",), flops_transcendental=1e6)
    return toy_.build()


@pytest.mark.parametrize("trips", [1, 7, 5000])
def test_parts_count_every_iteration_stepped_over_or_not(trips: int) -> None:
    one, many = (cd.replay(looped(n), cd.machine("a5000")) for n in (1, trips))
    assert closes(many)
    assert many.energy_parts["compute"] == pytest.approx(trips * (one.energy_parts["compute"] or 0), rel=1e-9)


def test_each_part_is_what_was_spent_on_it() -> None:
    """Two kernels of 2 J on devices that know their sum only; 40 kB over a link at 100 pJ a byte; 3 W for the makespan."""
    link = Link("link", "hbm", "far", 1e10, None, 1e-6, pj_per_byte=100.0)
    machine = toy(Fixed("gpu", "hbm", (10,), joules=2.0, static_watts=3.0), Fixed("pim", "far", (5,), joules=2.0), links=(link,))
    plan = Toy()
    plan.tensor("x", 40_000)
    plan.kernel("a", (), ("x",))
    plan.kernel("b", ("x",), ())
    timeline = cd.replay(plan.build(), machine, on(0, 1))
    parts = timeline.energy_parts
    assert (parts["not_split"], parts["compute"], parts["mode_switches"]) == (4.0, 0.0, 0.0)
    assert parts["transfers"] == pytest.approx(40_000 * 100e-12)
    assert parts["static"] == pytest.approx(3.0 * timeline.time_s)
    assert closes(timeline)


def test_an_unknown_part_makes_the_energy_unknown_and_leaves_the_others() -> None:
    machine = toy(Fixed("gpu", "hbm", (10,), joules=2.0), Fixed("pim", "hbm", (5,), kind="pim", joules=2.0), hand_overs=(hand_over(),))
    plan = Toy()
    plan.kernel("a", (), ("x",))
    plan.kernel("b", ("x",), ())
    timeline = cd.replay(plan.build(), machine, on(0, 1))
    assert timeline.energy_j is None
    assert timeline.energy_parts["mode_switches"] is None  # no energy a byte was given
    assert timeline.energy_parts["not_split"] == 4.0


def test_refresh_is_a_share_of_the_hosts_memory_at_rest() -> None:
    """36 W of twelve modules, 30 % of which refresh; with half of the capacity half of both."""
    trace = looped(100)
    for share in (1.0, 0.5):
        machine = cd.machine("a5000+dram", dram_capacity_bytes=share * 768e9)
        timeline = cd.replay(trace, machine)
        assert timeline.energy_parts["refresh"] == pytest.approx(0.3 * 36 * share * timeline.time_s)
        assert timeline.energy_parts["static"] == pytest.approx((56 + 0.7 * 36 * share) * timeline.time_s)
    assert cd.replay(trace, cd.machine("a5000")).energy_parts["refresh"] == 0


def test_a_change_of_mode_of_an_array_is_a_mode_switch() -> None:
    """256 KiB of configuration at 160 pJ/B a switch, and what is spilled."""
    plan = Toy()
    shape = {"batch": 1, "m": 2048, "n": 2048, "k": 2048, "precision": "highest"}
    none = {"batch": -1, "m": -1, "n": -1, "k": -1, "precision": ""}
    plan.kernel("g", ("a",), ("b",), family="gemm", launch_kind="library", stage="A", flops_matrix=2.0 * 2048**3, **shape)
    plan.kernel("v", ("b",), ("c",), flops_vector=1e10, stage="E", **none)
    timeline = cd.replay(plan.build(), cd.machine("plasticine"))
    assert timeline.energy_parts["mode_switches"] == pytest.approx((256 * 1024 + 4096) * 160e-12)
    assert closes(timeline)


def test_the_parts_are_shown_saved_and_read_again(tmp_path: Path) -> None:
    timeline = cd.replay(looped(3), cd.machine("a5000"))
    assert repr(timeline) == "<Timeline toy on a5000, single-device: 40.5 µs, 3.14 mJ, 12 launches>"
    assert "static" in timeline._repr_html_()
    timeline.save(tmp_path / "t.json")
    assert cd.Timeline.load(tmp_path / "t.json").energy_parts == timeline.energy_parts
    document = json.loads((tmp_path / "t.json").read_text())
    (table,) = [t for t in timeline_tables(document) if t.caption == "Energy"]
    assert {row[0] for row in table.rows} >= {"on chip", "compute", "static"}
    assert sum(float(row[2]) for row in table.rows) == pytest.approx(100, abs=0.5)
    del document["energy_parts"]
    assert cd.Timeline.from_dict(document).energy_parts == {}
