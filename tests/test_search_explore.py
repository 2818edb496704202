"""Does a search find what there is to find, survive what kills it, and say honestly how good it is?"""

import itertools
import json
import logging
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import codesign as cd
from arch.building import machine as catalogue_machine
from arch.cost import cost_table
from arch.machine import Machine
from codesign.search import Result, Space, explore, summarizing
from codesign.search.bounds import Bound
from codesign.search.designs import Designer
from codesign.search.result import Border
from codesign.testing import example_trace
from schedulers.scheduler import Mapping
from schedulers.serial_model import serial_cost
from tests.fixed_prices import adjustable_machine, toy_machine
from tests.toys import Toy
from traces import Trace
from traces.errors import SearchError
from traces.recordings import load_recorded


def trace() -> Trace:
    """A matrix product, then a loop of two reductions and a product that feeds the next iteration."""
    toy = Toy()
    toy.kernel("start", ["x"], ["a"], family="gemm", phase="forward")
    with toy.loop(10):
        toy.kernel("sum", ["a"], ["b"], family="reduce", phase="gradient")
        toy.kernel("norm", ["b"], ["c"], family="reduce", phase="gradient")
        toy.kernel("step", ["c", "x"], ["a"], family="gemm", phase="gradient")
    return toy.build()


def machine(**options: Any) -> Machine:
    """The reductions are faster on the PIM, by far if it is large."""
    return adjustable_machine([10, 40, 40, 10], [1000, 8, 8, 1000], **options)


def search(**options: Any) -> Result:
    return explore(trace(), machine(), **{"trials": 40, "seed": 3} | options)


def test_the_best_design_beats_the_single_device_and_not_the_lower_bound() -> None:
    result = search()
    assert result.best_single_device == "gpu"
    assert result.lower_bound_s is not None
    assert result.best_single_device_s is not None
    assert result.lower_bound_s <= result.best.time_s < result.best_single_device_s
    assert result.bound_gap == pytest.approx(result.best.time_s / result.lower_bound_s - 1)
    assert result.best.mapping.device.tolist() == [0, 1, 1, 0]


def test_an_optimum_on_a_border_of_the_space_is_reported_with_its_side() -> None:
    space = Space(machine={"units": (1, 8)}, policies=("cut-points",))
    result = search(space=space)
    assert result.best.machine == {"units": 8}
    assert result.on_border == (Border("units", 8, "high", 1, 8, matters=True),)


def test_a_parameter_on_a_border_that_changes_nothing_is_said_not_to_matter() -> None:
    space = Space(machine={"units": (1, 4)}, policies=("single-device",))
    assert search(space=space, trials=3).on_border == (Border("units", 4, "high", 1, 4, matters=False),)


def test_a_search_over_mappings_leaves_the_machine_as_it_is() -> None:
    result = search(space=Space(machine={}))
    assert result.best.machine == {}
    assert result.on_border == ()
    assert result.best.area_mm2 == pytest.approx(140.0)


def test_equal_seeds_give_equal_searches_and_others_do_not() -> None:
    assert search().to_dict() == search().to_dict()
    assert search(seed=4).tried != search().tried


def test_several_objectives_give_a_front_on_which_no_design_beats_another() -> None:
    result = search(objectives=("time", "area"), trials=60)
    values = [(d.time_s, d.area_mm2 or 0.0) for d in result.pareto]
    assert len(values) > 3
    for one, other in itertools.permutations(values, 2):
        assert one[0] < other[0] or one[1] < other[1]
    assert result.best.time_s == min(time for time, _ in values)
    front = {design.trial: design for design in result.pareto}
    for tried in result.tried:
        if tried.dominated_by is not None:
            better = front[tried.dominated_by]
            assert better.time_s <= (tried.time_s or 0)
            assert (better.area_mm2 or 0) <= (tried.area_mm2 or 0)
        else:
            assert any(design.time_s == tried.time_s and design.area_mm2 == tried.area_mm2 for design in result.pareto)


def test_a_budget_keeps_designs_over_it_out_of_best_and_front() -> None:
    result = search(budget={"area_mm2": 125.0}, objectives=("time", "area"))
    assert all((design.area_mm2 or 0) <= 125.0 for design in result.pareto)
    assert any(not tried.feasible and (tried.area_mm2 or 0) > 125.0 for tried in result.tried)
    assert result.best.time_s > search().best.time_s


def test_a_budget_that_no_design_keeps_is_an_error_with_the_nearest_value() -> None:
    with pytest.raises(SearchError, match=r"none of 5 does: area_mm2 <= 50 \(least tried: 1\d\d"):
        search(budget={"area_mm2": 50.0}, trials=5)


def test_energy_is_an_objective_where_every_part_knows_its_own() -> None:
    result = search(objectives=("energy", "time"))
    assert result.objectives == ("energy_j", "time_s")
    assert result.best.energy_j == min(design.energy_j or 0.0 for design in result.pareto)
    with pytest.raises(SearchError, match=r"energy of every part must be known .* 'adjustable' \(gpu, pim\)"):
        explore(trace(), machine(energy=False), objectives=("energy",))
    with pytest.raises(SearchError, match="energy"):
        explore(trace(), machine(energy=False), budget={"energy_j": 1.0})


def test_an_unknown_area_cannot_be_an_objective() -> None:
    with pytest.raises(SearchError, match="area of every part must be known"):
        explore(trace(), toy_machine(), objectives=("area",))


def test_a_price_is_an_objective_where_every_part_has_one() -> None:
    given = machine()
    priced = [replace(device, price_usd=price) for device, price in zip(given.devices, (9000.0, 500.0), strict=True)]
    result = explore(trace(), replace(given, devices=tuple(priced), parameters={}), objectives=("price", "time"), trials=5)
    assert result.best.price_usd == 9500.0
    assert "9,500 USD" in result._repr_html_()
    with pytest.raises(SearchError, match="price of every part must be known"):
        search(objectives=("price",))


def test_designs_whose_area_is_unknown_are_no_designs_of_a_search_for_area() -> None:
    result = explore(
        example_trace(),
        "a5000",
        space=Space(machine={"vector_scale": (0.5, 2.0), "memory_packages": None}),
        objectives=("time", "area"),
        trials=12,
    )
    assert result.cannot_run["the area of the machine is unknown with these parameters"] > 0
    assert {design.machine["vector_scale"] for design in result.pareto} == {1.0}


def test_a_budget_of_area_and_power_is_kept_and_bounded() -> None:
    space = Space(machine={"sm_count": (16, 128), "memory_packages": (10, 14)})
    free = explore(example_trace(), "a5000", space=space, trials=30)
    held = explore(example_trace(), "a5000", space=space, trials=30, budget={"area_mm2": 500, "power_watts": "150 W"})
    assert held.best.area_mm2 is not None
    assert held.best.power_watts is not None
    assert held.best.area_mm2 <= 500
    assert held.best.power_watts == pytest.approx(held.best.energy_j / held.best.time_s)
    assert held.best.power_watts <= 150
    assert free.lower_bound_s is not None
    assert held.lower_bound_s is not None
    assert free.lower_bound_s < held.lower_bound_s <= held.best.time_s  # machines of more than 500 mm2 count no more
    assert "of no more than 500 mm²" in held.lower_bound_method


@pytest.mark.parametrize("method", ["acquire", "release"])
def test_ctrl_c_in_the_lock_of_a_storage_is_one(method: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from optuna.storages.journal import JournalFileSymlinkLock

    def interrupted(self: Any) -> None:
        try:
            raise KeyboardInterrupt
        except BaseException as error:
            raise RuntimeError("Error: did not possess lock") from error

    monkeypatch.setattr(JournalFileSymlinkLock, method, interrupted)
    with pytest.raises(KeyboardInterrupt):
        search(storage=tmp_path / "trials", trials=1)


def test_on_one_device_policies_are_the_same_and_one_stands_for_all() -> None:
    result = explore(example_trace(), "a5000", space=Space(machine={"sm_count": (32, 96)}), trials=6)
    assert set(result.table()["policy"]) == {"single-device"}
    assert result.table()["sm_count"].nunique() >= 4  # no trial is spent on a second way to map the same


def test_where_no_device_runs_everything_one_device_for_all_is_no_policy() -> None:
    refused = [[True, False, False, False], [False, True, True, True]]
    split = toy_machine(1, duration_us=[[1] * 4] * 2, refused=refused)
    result = explore(trace(), split, space=Space(machine={}, policies=("single-device", "cut-points")), trials=6)
    assert set(result.table()["policy"]) == {"cut-points"}
    with pytest.raises(SearchError, match="must accept every kernel for all to run on one, but device 'gpu' cannot run kernel 0"):
        explore(trace(), toy_machine(0, duration_us=[[1] * 4], refused=[[True] + [False] * 3]), trials=2)


@pytest.mark.parametrize("area", [330, 500, 700, 900])
def test_bounds_and_comparisons_keep_to_a_budget_whatever_of_the_space_it_leaves(area: float) -> None:
    """Of the smallest budgets the centre of the space is no part, of the largest it is."""
    space = Space(machine={"sm_count": (16, 128), "l2_bytes": ("4 MiB", "48 MiB")})
    result = explore(example_trace(), "a5000", space=space, trials=40, budget={"area_mm2": area})
    assert result.best.area_mm2 is not None
    assert result.best.area_mm2 <= area
    assert result.lower_bound_s is not None
    assert result.lower_bound_s <= result.best.time_s
    assert result.best_single_device_s == pytest.approx(
        result.best.time_s, rel=1e-6
    )  # the machine as sold does not count where it is too large


def test_the_table_of_a_search_has_a_row_a_design() -> None:
    space = Space(machine={"sm_count": (16, 128)})
    result = explore(example_trace(), "a5000", space=space, objectives=("time", "power"), trials=12, budget={"area_mm2": 700})
    table = result.table()
    assert len(table) == result.trials
    best = table.loc[result.best.trial]
    assert (best["sm_count"], best["time_s"], best["area_mm2"]) == (
        result.best.machine["sm_count"],
        result.best.time_s,
        result.best.area_mm2,
    )
    assert best["policy"] == result.best.policy["name"]
    assert set(table.index[table["front"]]) == {design.trial for design in result.pareto}
    assert (table["kept"] == (table["area_mm2"] <= 700)).all()
    assert Result.from_dict(json.loads(json.dumps(result.to_dict()))).table().equals(table)


def test_a_search_in_which_nothing_varies_says_so(caplog: pytest.LogCaptureFixture) -> None:
    explore(example_trace(), "a5000", trials=2)
    assert "nothing varies: 'a5000' has one device" in caplog.text
    assert "sm_count" in caplog.text
    caplog.clear()
    explore(example_trace(), "a5000", space=Space(machine={"sm_count": None}), trials=2)
    assert "nothing varies" not in caplog.text


def test_designs_of_a_sold_machine_are_hypothetical_where_their_parameters_are() -> None:
    assert not explore(example_trace(), "a5000", trials=2).hypothetical
    assert explore(example_trace(), "a5000", space=Space(machine={"sm_count": (96, 128)}), trials=2).hypothetical


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"objectives": ("tiem",)}, "no objective 'tiem'; did you mean 'time'"),
        ({"objectives": ()}, "one or more"),
        ({"objectives": ("time", "time")}, "named once"),
        ({"budget": {"area": 900}}, "no budget 'area'; did you mean 'area_mm2'"),
        ({"budget": {"time_s": "3 J"}}, "the budget time_s must be in one of s, ms, us, ns, ps, but got 'J'"),
        ({"budget": {"time_s": -1.0}}, "positive and finite, but got time_s=-1"),
        ({"trials": 0}, "`trials >= 1` must hold, but got trials=0"),
        ({"seed": -1}, r"`0 <= seed < 2\*\*32` must hold, but got seed=-1"),
        ({"seed": 2**32}, r"`0 <= seed < 2\*\*32` must hold, but got seed=4294967296"),
        ({"space": Space(machine={"unit": (1, 2)})}, "no parameter 'unit'; did you mean 'units'"),
        ({"space": Space(group_by=("famly",))}, "cannot be grouped by 'famly'"),
    ],
)
def test_what_cannot_be_searched_is_refused(options: Any, message: str) -> None:
    with pytest.raises(SearchError, match=message):
        search(**options)


def test_progress_counts_trials_and_tells_the_best_so_far() -> None:
    told: list[tuple[int, int, float | None]] = []
    result = search(trials=10, progress=lambda *now: told.append(now))
    assert [(done, total) for done, total, _ in told] == [(i, 10) for i in range(1, 11)]
    best = [value for *_, value in told if value is not None]
    assert best == sorted(best, reverse=True)
    assert best[-1] == result.best.time_s


@pytest.mark.parametrize("url", ["{}/trials.journal", "sqlite:///{}/trials.db"])
def test_a_stored_search_goes_on_where_it_stopped(url: str, tmp_path: Path) -> None:
    storage = url.format(tmp_path)
    first = search(trials=8, storage=storage)
    told: list[tuple[int, int, float | None]] = []
    second = search(trials=4, storage=storage, progress=lambda *now: told.append(now))
    assert (first.trials, second.trials) == (8, 12)
    assert second.tried[:8] == tuple(old for old in second.tried[:8] if old.trial < 8)
    assert [t.time_s for t in second.tried[:8]] == [t.time_s for t in first.tried]
    assert told[0][2] is not None
    assert told[0][2] <= first.best.time_s


def test_a_storage_of_another_search_is_refused_with_what_differs(tmp_path: Path) -> None:
    storage = tmp_path / "trials.journal"
    search(trials=2, storage=storage)
    with pytest.raises(SearchError, match=r"holds another \(objectives: \['time_s'\] there, \['area_mm2'\] here\)"):
        search(trials=2, storage=storage, objectives=("area",))
    with pytest.raises(SearchError, match="trace: "):
        explore(Toy().build(), machine(), trials=2, storage=storage)
    with pytest.raises(SearchError, match=r"holds another \(machine\.clock: 1\.0 there, 2\.0 here\)"):
        explore(trace(), machine().with_(clock=2.0), trials=2, storage=storage)


def test_a_storage_that_cannot_be_used_is_an_error_that_names_it(tmp_path: Path) -> None:
    foreign = tmp_path / "foreign"
    foreign.write_text("no journal\nat all\n")
    with pytest.raises(SearchError, match="foreign cannot be used"):
        search(storage=foreign)
    assert foreign.read_text() == "no journal\nat all\n"
    with pytest.raises(SearchError, match=r"no .*absent; make it first"):
        search(storage=tmp_path / "absent" / "trials.journal")
    with pytest.raises(SearchError, match="cannot be used"):
        search(storage=f"sqlite:///{tmp_path}/absent/trials.db")
    with pytest.raises(SearchError, match="cannot be used"):
        search(storage=tmp_path)


KILLED = """
import os, signal
from tests.test_search_explore import search
search(trials=20, storage={path!r}, progress=lambda done, *_: os.kill(os.getpid(), signal.SIGKILL) if done == 6 else None)
"""


def test_a_killed_run_loses_nothing_that_it_had_finished(tmp_path: Path) -> None:
    path = str(tmp_path / "trials.journal")
    killed = subprocess.run([sys.executable, "-c", KILLED.format(path=path)], cwd=Path(__file__).parents[1], check=False)
    assert killed.returncode == -signal.SIGKILL
    with open(path, "ab") as journal:
        journal.write(b'{"op_code": 5, "worker')  # what a write that is cut short leaves
    result = search(trials=4, storage=path)
    assert result.trials == 10
    assert [t.time_s for t in result.tried[:6]] == [t.time_s for t in search(trials=6).tried]


def test_a_run_stopped_within_a_trial_loses_that_trial_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    original = Designer.design

    def stop_at_three(self: Designer, point: Any, number: int) -> Any:
        if number == 3:
            raise KeyboardInterrupt
        return original(self, point, number)

    with monkeypatch.context() as patch:
        patch.setattr(Designer, "design", stop_at_three)
        with pytest.raises(KeyboardInterrupt):
            search(trials=10, storage=tmp_path / "trials.journal")
    result = search(trials=3, storage=tmp_path / "trials.journal")
    assert [t.trial for t in result.tried] == [0, 1, 2, 4, 5, 6]


@pytest.mark.parametrize(("over_best", "holds"), [(1.0, True), (1.001, False)])
def test_a_bound_that_a_design_beats_is_none(monkeypatch: pytest.MonkeyPatch, over_best: float, holds: bool) -> None:
    """Bounds rest on prices that are monotone in the machine's parameters: a faster design shows that they are not."""
    stated = over_best * search(trials=4).best.time_s
    monkeypatch.setattr(summarizing, "lower_bound", lambda *_: Bound(stated, "load: stated", {"load": stated}))
    result = search(trials=4)
    assert result.lower_bound_s == (stated if holds else None)
    assert result.bound_gap == (0.0 if holds else None)
    assert ("not monotone" in result.lower_bound_method) != holds


def test_a_design_that_cannot_run_is_counted_with_its_reason_and_never_best() -> None:
    toy = Toy()
    toy.tensor("large", 1 << 29, "parameter")
    toy.tensor("larger", 1 << 30, "temporary")
    toy.kernel("first", ["large"], ["a"], phase="forward")
    toy.kernel("second", ["large"], ["a"], phase="gradient")
    toy.kernel("third", [], ["larger"], phase="optimizer")
    result = explore(toy.build(), adjustable_machine([10, 10, 10], [1, 1, 1]), trials=10, space=Space(machine={}))
    assert result.cannot_run
    assert all("memory" in message or "dram" in message or "hbm" in message for message in result.cannot_run)
    assert sum(result.cannot_run.values()) == sum(not tried.feasible for tried in result.tried)


def test_the_exact_partition_is_the_least_serial_cost_of_any_mapping_and_the_gap_compares_like_with_like() -> None:
    result, small = search(), trace()
    best_machine = machine().with_(**result.best.machine)
    costs = cost_table(small, best_machine)
    every = (Mapping(np.array(choice), "by hand") for choice in itertools.product(range(2), repeat=4))
    exact = min(serial_cost(small, best_machine, costs, mapping) for mapping in every)
    assert result.exact_partition_s == pytest.approx(exact)
    own = serial_cost(small, best_machine, costs, result.best.mapping)
    assert result.partition_gap == pytest.approx(own / exact - 1, abs=1e-12)
    assert "serial hand-over model" in result.semantics


def test_a_result_survives_a_file_and_shows_itself(tmp_path: Path) -> None:
    result = search(objectives=("time", "area"))
    result.save(tmp_path / "found")
    document = json.loads((tmp_path / "found").read_text())
    assert (document["kind"], document["schema_version"], document["seed"]) == ("result", 1, 3)
    again = Result.load(tmp_path / "found")
    assert again.to_dict() == result.to_dict()
    assert again.best.mapping == result.best.mapping
    assert os.listdir(tmp_path) == ["found"]
    assert "<table>" in result._repr_html_()
    assert repr(result).startswith("<Result toy on adjustable: best ")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("no JSON", "cannot be read as one"),
        ("[]", "kind 'result' is needed"),
        ('{"kind": "timeline"}', "kind 'result' is needed"),
        ('{"kind": "result", "schema_version": 99}', "at most 1, but .* has 99"),
        ('{"kind": "result", "schema_version": 1}', "must have the keys"),
    ],
)
def test_what_is_no_result_is_refused(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text(text)
    with pytest.raises(SearchError, match=message):
        Result.load(tmp_path / "file")


def test_a_search_says_nothing_and_leaves_the_log_level_of_others_alone(capfd: pytest.CaptureFixture[str]) -> None:
    import optuna

    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(logging.INFO)
    try:
        search(trials=3)
        assert optuna.logging.get_verbosity() == logging.INFO
    finally:
        optuna.logging.set_verbosity(before)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("name", ["a5000", "a5000+aim-fp32", "a5000+aim-fp32@link"])
def test_a_machine_of_the_catalogue_is_searched_over_what_a_designer_chooses(name: str) -> None:
    searched = catalogue_machine(name)
    result = explore(example_trace(kernels=30), searched, trials=12, objectives=("time", "energy"))
    assert set(result.space["machine"]) == {key for key, parameter in searched.parameters.items() if parameter.design}
    assert result.hypothetical == searched.hypothetical
    assert result.best_single_device_s is not None
    assert result.lower_bound_s is not None
    assert result.lower_bound_s <= result.best.time_s <= result.best_single_device_s
    assert result.best.energy_j is not None


def test_an_empty_trace_can_be_searched() -> None:
    result = explore(Toy().build(), machine(), trials=6)
    assert result.best.time_s == 0.0
    assert result.lower_bound_s == 0.0
    assert result.bound_gap is None


def test_prices_that_are_not_monotone_leave_no_bound_but_say_so() -> None:
    peaked = machine()
    fast = machine().with_(clock=2.0).devices[1]
    rebuild = peaked.rebuild
    assert rebuild is not None

    def best_in_the_middle(values: Any) -> Machine:
        built = rebuild(values)
        inside = 0.9 < values.get("clock", 1.0) < 1.5
        return Machine(
            built.id,
            (built.devices[0], fast) if inside else built.devices,
            built.memories,
            built.host,
            built.links,
            parameters=built.parameters,
            rebuild=lambda more: best_in_the_middle({**values, **more}),
        )

    result = explore(trace(), best_in_the_middle({}), trials=6, space=Space(machine={"clock": (0.5, 1.8)}))
    assert result.lower_bound_s is None
    assert result.bound_gap is None
    assert result.lower_bound_method.startswith("none: prices must be monotone")


def test_a_search_for_one_rank_of_several_varies_the_machine_of_all() -> None:
    trace = load_recorded("llama-2-70b-a100-sxm-80gb-tensor_parallel4-batch1-prompt128-tokens0")
    space = Space(machine={"peer_link_bandwidth_bytes_per_s": None})
    found = explore(trace, "4xa100-sxm-80gb", space=space, trials=3, seed=1)
    assert found.best.policy == {"name": "ranks"}
    assert found.lower_bound_s <= found.best.time_s <= cd.replay(trace, "4xa100-sxm-80gb").time_s
    faster = cd.machine("4xa100-sxm-80gb").with_(**found.best.machine)
    assert cd.replay(trace, faster, found.best.mapping).time_s == found.best.time_s
