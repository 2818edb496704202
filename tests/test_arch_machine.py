"""Do machines follow from their parts, and do overrides change what must follow and nothing else?"""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import arch
from arch.area import at_node
from arch.machine import Machine
from arch.rows import machine_tables
from codesign.testing import example_trace
from traces.capture.target import CompileTarget
from traces.errors import MachineError

GIB = 2**30


def test_a_gpu_alone_is_one_device_and_its_memory() -> None:
    machine = arch.machine("a100")
    assert machine.id == "a100-sxm-40gb"
    assert [(d.id, d.kind) for d in machine.devices] == [("a100-sxm-40gb", "gpu")]
    assert machine.memories[0].capacity_bytes == 40 * GIB
    assert (machine.links, machine.hand_overs) == ((), ())


@pytest.mark.parametrize(("stacks", "capacity"), [(1, 23), (6, 18), (12, 12)])
def test_pim_packages_lose_half_of_their_capacity(stacks: int, capacity: int) -> None:
    """Twelve packages of 2 GiB; an AiM package has 1."""
    machine = arch.machine("a5000+aim", pim_stacks=stacks)
    assert machine.memories[0].capacity_bytes == capacity * GIB
    assert machine.hand_overs[0].closed_fraction == stacks / 12
    assert machine.memories[0].bandwidth == 768e9


def test_hbm_pim_stacks_lose_two_of_eight_gib_and_a_little_bandwidth() -> None:
    machine = arch.machine("a100+hbm-pim")
    assert machine.memories[0].capacity_bytes == (2 * 8 + 3 * 6) * GIB
    assert machine.memories[0].bandwidth == pytest.approx(2 * 311e9 + 3 * 307e9)
    assert machine.gpu.dram_bandwidth == machine.memories[0].bandwidth


def test_half_of_the_stacks_are_pim_unless_told_otherwise() -> None:
    assert arch.machine("a5000+aim").parameters["pim_stacks"].value == 6
    assert arch.machine("a100+hbm-pim").parameters["pim_stacks"].value == 3


@pytest.mark.parametrize(("stacks", "share", "passes"), [(12, 0.25, 0.5), (6, 0.25, 1.0), (12, 0.01, 0.02), (3, 1.0, 2.75)])
def test_data_moves_into_the_pim_stacks_and_some_of_it_is_laid_out_anew(stacks: int, share: float, passes: float) -> None:
    machine = arch.machine("a5000+aim", pim_stacks=stacks, pim_layout_share=share)
    assert machine.hand_overs[0].layout_bandwidth == pytest.approx(stacks * 64e9 * 0.94 / passes)


def test_a_hand_over_flushes_half_of_l2() -> None:
    hand_over = arch.machine("a5000+aim").hand_overs[0]
    reached = 768e9 * 0.94
    assert hand_over.mode_switch_s == pytest.approx(16e-9)
    assert hand_over.flush_s == pytest.approx(3 * 2**20 / reached)
    assert (hand_over.device, hand_over.memory) == ("aim", "a5000-memory")


def test_units_cost_area_and_more_of_them_capacity() -> None:
    sold, dense, sparse = (arch.machine("a5000+aim-fp32", pim_banks_per_unit=b) for b in (1, 1, 4))
    assert sold.area_mm2 == pytest.approx(628.4 + 192 * 0.38)
    assert sparse.area_mm2 == pytest.approx(628.4 + 48 * 0.38)
    assert sparse.memories[0].capacity_bytes == (12 + 6 * 1.75) * GIB
    assert dense.memories == sold.memories


def test_attached_pim_has_a_memory_of_its_own_behind_a_link() -> None:
    by_name, by_word = arch.machine("a5000+aim@link"), arch.machine("a5000+aim", organisation="attached")
    for machine in (by_name, by_word):
        assert [m.id for m in machine.memories] == ["a5000-memory", "aim-memory"]
        assert machine.memories[0].capacity_bytes == 24 * GIB
        assert machine.memories[1].capacity_bytes == 16 * GIB
        assert (machine.links[0].source, machine.links[0].target) == ("a5000-memory", "aim-memory")
        assert machine.links[0].bandwidth == 24.8e9
        assert machine.hand_overs == ()
        assert machine.id == "a5000+aim@link"


def test_a_link_can_be_named() -> None:
    machine = arch.machine("a5000+hbm-pim@pcie5")
    assert machine.id == "a5000+hbm-pim@pcie5"
    assert machine.links[0].bandwidth == 50e9


@pytest.mark.parametrize(
    ("name", "organisation", "says"),
    [
        ("a5000+hbm-pim", None, "replace stacks of the GPU's own kind.*a5000.hbm-pim@link"),
        ("aim", None, "'aim' in 'aim' is of kind 'pim'"),
        ("a5000+a100", None, "is of kind 'gpu', not 'pim'"),
        ("a5000+aim@aim", None, "is of kind 'pim', not 'link'"),
        ("a5000+aimm", None, "no device 'aimm'; did you mean 'aim'"),
        ("a5000+aim+aim", None, "at most one PIM"),
        ("a5000+aim@link", "in_memory", "leave one of them out"),
        ("a5000+aim", "beside", "organisation must be one of"),
    ],
)
def test_a_machine_that_cannot_be_built_is_refused(name: str, organisation: str | None, says: str) -> None:
    with pytest.raises(MachineError, match=says):
        arch.machine(name, organisation=organisation)


@pytest.mark.parametrize(
    ("parameter", "inside", "outside"),
    [
        ("pim_stacks", 12, 13),
        ("pim_stacks", 1, 0),
        ("pim_stacks", 4, 4.5),
        ("pim_banks_per_unit", 16, 32),
        ("pim_banks_per_unit", 2, 3),
        ("pim_unit_clock_hz", 2e9, 2.01e9),
        ("pim_unit_clock_hz", "250 MHz", "249 MHz"),
        ("pim_unit_clock_hz", "1.5 GHz", "1.5"),
        ("pim_unit_clock_hz", 1e9, float("nan")),
        ("host_launch_interval_s", 0, "1 GB"),
        ("host_launch_interval_s", "2 us", -1e-6),
    ],
)
def test_overrides_are_checked_on_both_sides_of_every_edge(parameter: str, inside: float | str, outside: float | str) -> None:
    machine = arch.machine("a5000+aim")
    changed = machine.with_(**{parameter: inside})
    assert changed.parameters[parameter].value == machine.parameters[parameter].check(parameter, inside)
    with pytest.raises(MachineError, match=parameter):
        machine.with_(**{parameter: outside})


def test_an_unknown_parameter_is_refused_with_the_nearest() -> None:
    with pytest.raises(MachineError, match="no parameter 'pim_stack'; did you mean 'pim_stacks'"):
        arch.machine("a5000+aim").with_(pim_stack=3)


def test_a_machine_without_pim_has_no_pim_parameters() -> None:
    with pytest.raises(MachineError, match="no parameter 'pim_stacks'"):
        arch.machine("a5000").with_(pim_stacks=3)


def test_overrides_add_up_and_leave_the_first_machine_alone() -> None:
    first = arch.machine("a5000+aim@link")
    second = first.with_(pim_stacks=4).with_(link_bandwidth_bytes_per_s="50 GB/s", host_launch_interval_s=2e-6)
    assert first.parameters["pim_stacks"].value == 16
    assert second.parameters["pim_stacks"].value == 4
    assert second.links[0].bandwidth == 50e9
    assert second.links[0].duplex_bandwidth == pytest.approx(22e9 * 50 / 24.8)
    assert second.host.launch_interval_s == 2e-6
    assert second.memories[1].capacity_bytes == 4 * GIB


def test_every_parameter_has_a_range_around_its_value_and_a_meaning() -> None:
    for name in ("a5000", "a5000+aim", "a100+hbm-pim-fp32@link"):
        for parameter in arch.machine(name).parameters.values():
            assert parameter.low <= parameter.value <= parameter.high
            assert parameter.doc
    assert not arch.machine("a5000").parameters["host_launch_interval_s"].design


def test_power_and_area_are_sums_or_unknown() -> None:
    machine = arch.machine("a5000+aim@link")
    assert machine.static_watts == pytest.approx(56 + 16 * 0.6)
    unknown = replace(machine, devices=(replace(machine.gpu, static_watts=None, area_mm2=None), machine.devices[1]))
    assert unknown.static_watts is None
    assert unknown.area_mm2 is None


def test_devices_without_a_path_between_their_memories_are_refused() -> None:
    machine = arch.machine("a5000+aim@link")
    with pytest.raises(MachineError, match="no link leads from 'a5000-memory' to 'aim-memory'; add a Link"):
        replace(machine, links=())


def parts(**changed: object) -> Machine:
    machine = arch.machine("a5000+aim@link")
    fields = {"devices": machine.devices, "memories": machine.memories, "links": machine.links, **changed}
    return Machine("mine", host=machine.host, **fields)  # type: ignore[arg-type]


def test_a_machine_can_be_built_from_parts() -> None:
    machine = parts()
    assert [d.id for d in machine.devices] == ["a5000", "aim"]
    with pytest.raises(MachineError, match="was built from parts"):
        machine.with_(pim_stacks=2)


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"devices": ()}, "at least one device"),
        ({"memories": (arch.Memory("a5000-memory", GIB, 1e9),)}, "names the memory 'aim-memory'"),
        ({"memories": (arch.Memory("a5000-memory", GIB, 1e9),) * 2}, "different ids"),
        ({"links": (arch.Link("wire", "a5000-memory", "aim-memry", 1e9, None, 0.0),)}, "did you mean 'aim-memory'"),
    ],
)
def test_parts_that_do_not_fit_are_refused(changed: dict[str, object], says: str) -> None:
    with pytest.raises(MachineError, match=says):
        parts(**changed)


@pytest.mark.parametrize("bandwidth", [0.0, -1.0, float("nan"), float("inf")])
def test_a_link_or_a_memory_without_bandwidth_is_refused(bandwidth: float) -> None:
    with pytest.raises(MachineError, match=r"bandwidth .* above zero"):
        arch.Link("wire", "a", "b", bandwidth, None, 0.0)
    with pytest.raises(MachineError, match=r"bandwidth .* above zero"):
        arch.Memory("m", GIB, bandwidth)


def test_rates_of_parts_may_be_texts_with_a_unit() -> None:
    link = arch.Link("wire", "a", "b", "1.5 TB/s", "2 TB/s", "1 us")  # type: ignore[arg-type]
    assert (link.bandwidth, link.duplex_bandwidth, link.latency_s) == (1.5e12, 2e12, 1e-6)
    memory = arch.Memory("m", "16 GiB", "768 GB/s")  # type: ignore[arg-type]
    assert (memory.capacity_bytes, memory.bandwidth) == (16 * GIB, 768e9)


@pytest.mark.parametrize(
    ("text", "says"), [("1.5", "without a unit is ambiguous"), ("1.5 Gb/s", "write Gbit/s or GB/s"), ("0 GB/s", "above zero")]
)
def test_a_rate_that_is_ambiguous_or_zero_is_refused_with_part_and_field(text: str, says: str) -> None:
    with pytest.raises(MachineError, match=f"bandwidth of the link 'wire'.*{says}"):
        arch.Link("wire", "a", "b", text, None, 0.0)  # type: ignore[arg-type]
    with pytest.raises(MachineError, match="memory 'm'"):
        arch.Memory("m", GIB, text)  # type: ignore[arg-type]


@pytest.mark.parametrize("attribute", ["id", "kind", "memory"])
def test_a_device_that_does_not_say_what_it_is_or_where_it_works_is_refused(attribute: str) -> None:
    attributes = {"id": "own", "kind": "test", "memory": "a5000-memory", "price": lambda self, work: None}
    device = type("Own", (arch.Device,), {k: v for k, v in attributes.items() if k != attribute})()
    with pytest.raises(MachineError, match=f"must have {attribute} .*but Own has None; set the class attribute {attribute}"):
        parts(devices=(device,))


@pytest.mark.parametrize("value", [-1.0, float("nan"), float("inf"), True])
def test_energies_powers_and_prices_that_cannot_be_are_refused_with_part_and_field(value: float) -> None:
    made: list[tuple[str, Callable[[], object]]] = [
        ("pj_per_byte of the memory 'm'", lambda: arch.Memory("m", 1, 1.0, pj_per_byte=value)),
        ("static_watts of the memory 'm'", lambda: arch.Memory("m", 1, 1.0, static_watts=value)),
        ("price_usd of the memory 'm'", lambda: arch.Memory("m", 1, 1.0, price_usd=value)),
        ("pj_per_byte of the link 'l'", lambda: arch.Link("l", "a", "b", 1.0, None, 0.0, pj_per_byte=value)),
        ("pj_per_byte of the hand-over to 'p'", lambda: arch.HandOver("p", "m", 0.0, 0.0, 1.0, 0.0, pj_per_byte=value)),
    ]
    for says, make in made:
        with pytest.raises(MachineError, match=says):
            make()
    gpu = arch.machine("a5000")
    with pytest.raises(MachineError, match="static_watts of the device 'a5000'"):
        replace(gpu, devices=(replace(gpu.gpu, static_watts=value),))


@pytest.mark.parametrize("seconds", [-1e-6, float("nan"), float("inf")])
def test_a_host_of_impossible_times_is_refused(seconds: float) -> None:
    with pytest.raises(MachineError, match=r"round_trip_s of the host .* not negative"):
        replace(arch.machine("a5000").host, round_trip_s=seconds)


@pytest.mark.parametrize("fraction", [-0.1, 1.1])
def test_a_hand_over_closes_a_share_of_the_channels(fraction: float) -> None:
    with pytest.raises(MachineError, match="closed_fraction"):
        arch.HandOver("aim", "m", 0.0, 0.0, 1e9, fraction)


@pytest.mark.parametrize(("name", "capability", "threads"), [("a5000", (8, 6), 1536), ("a100", (8, 0), 2048), ("h200", (9, 0), 2048)])
def test_the_compile_target_is_that_of_the_gpu(name: str, capability: tuple[int, int], threads: int) -> None:
    target = arch.machine(name).target
    assert isinstance(target, CompileTarget)
    assert (target.compute_capability, target.threads_per_core) == (capability, threads)


def test_the_a5000_is_described_to_the_compiler_as_its_data_sheet_says() -> None:
    target = arch.machine("a5000+aim").target
    assert (target.core_count, target.fpus_per_core, target.clock_hz) == (64, 128, 1.695e9)
    assert (target.shared_memory_per_block, target.shared_memory_per_block_optin, target.shared_memory_per_core) == (49152, 101376, 102400)
    assert (target.memory_bandwidth, target.l2_bytes, target.registers_per_core) == (768e9, 6291456, 65536)


def test_a_machine_as_json_counts_its_assumptions_and_names_every_source() -> None:
    shown = json.loads(json.dumps(arch.machine("a5000+aim-fp32").to_dict()))
    assert shown["hypothetical"]
    assert 0 < shown["assumptions"] < shown["numbers"]
    kinds = [q["source_kind"] for e in shown["catalogue"] for q in e["numbers"].values()]
    tables = [e["opcodes"]["source_kind"] for e in shown["catalogue"] if "opcodes" in e]
    assert shown["assumptions"] == [*kinds, *tables].count("assumption")
    assert shown["devices"][1]["units"] == 192


def test_a_machine_shows_itself_in_a_notebook() -> None:
    html = arch.machine("a5000+aim-fp32")._repr_html_()
    assert "hypothetical" in html
    assert "pim_stacks" in html
    assert "hand-over to aim-fp32" in html
    assert "3.47 TB/s" in html
    assert "Sources" not in html


def test_peaks_follow_the_parameters_and_are_shown_once_for_equal_devices() -> None:
    peaks = arch.machine("h100", sm_count=66).to_dict()["devices"][0]["peak_flops_per_s"]
    assert peaks["matrix"]["bf16"] == pytest.approx(989.4e12 / 2)
    (table,) = [part for part in machine_tables(arch.machine("2xh100-sxm").to_dict()) if part.caption.startswith("Peaks")]
    assert ("h100-sxm-0", "bf16", "134 TFLOP/s", "989 TFLOP/s") in table.rows
    assert {row[0] for row in table.rows} == {"h100-sxm-0"}


def test_devices_and_parameters_are_short_at_a_prompt() -> None:
    machine = arch.machine("a5000+aim-fp32")
    assert len(repr(machine.devices)) < 1500
    assert repr(machine.parameters["clock_hz"]) == "<Parameter 1.70 GHz, 424 MHz to 6.78 GHz: boost clock>"


def test_the_examples_of_the_documentation_run(tmp_path: Path) -> None:
    text = (Path(__file__).resolve().parents[1] / "docs" / "machines.md").read_text()
    names: dict[str, Any] = {}
    for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL):
        exec(block, names)
    assert names["machine"].device("aim-fp32").unit_clock_hz == 5e8
    work = arch.Work.of(example_trace())
    assert np.all(names["Scratchpad"]().price(work).duration_s > 1e-6)
    (tmp_path / "user.toml").write_text(re.findall(r"```toml\n(.*?)```", text, re.DOTALL)[0])
    assert arch.machine(str(tmp_path / "user.toml")).memories[0].bandwidth == 1.536e12


@pytest.mark.parametrize("page", ["accelerators", "tiers"])
def test_the_examples_of_pages_beside_it_stand_alone(page: str) -> None:
    text = (Path(__file__).resolve().parents[1] / "docs" / f"{page}.md").read_text()
    blocks = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert blocks
    for block in blocks:
        exec(block, {})


def test_the_documentation_names_every_parameter_and_term() -> None:
    text = (Path(__file__).resolve().parents[1] / "docs" / "machines.md").read_text()
    for name, parameter in arch.machine("a5000+aim@link").parameters.items():
        assert f"`{name}`" in text or not parameter.design
    prices = arch.machine("a5000").gpu.price(arch.Work.of(example_trace()))
    for term in prices.terms:
        assert f"`{term.removesuffix('_s')}`" in text


def test_an_area_moves_between_processes_and_stays_in_its_own() -> None:
    gpu, array = arch.machine("a5000"), arch.machine("sn40l")
    assert gpu.area_at("8 nm") == gpu.area_mm2 == 628.4
    assert array.area_at("8 nm") == pytest.approx(at_node(1040, "5 nm", "8 nm").mm2)
    assert arch.machine("a5000", vector_scale=2.0).area_at("8 nm") is None
    with pytest.raises(MachineError, match="there is no node '9 nm'"):
        gpu.area_at("9 nm")


def test_equal_gpus_have_pim_each_attached_or_in_memory() -> None:
    machine = arch.machine("3xa100-sxm-80gb+attacc-bank@nvlink3", link_latency_s="2 us", stack_bandwidth_bytes_per_s="500 GB/s")
    assert machine.id == "3xa100-sxm-80gb+attacc-bank@nvlink3"
    gpus, pims = (tuple(f"{name}-{i}" for i in range(3)) for name in ("a100-sxm-80gb", "attacc-bank"))
    assert tuple(d.id for d in machine.devices) == gpus + pims
    assert [m.bandwidth for m in machine.memories] == [5 * 500e9] * 3 + [5 * 670.4e9] * 3
    own = [link for link in machine.links if link.target.startswith("attacc")]
    assert [(link.source[-2:], link.target[-2:], link.latency_s) for link in own] == [(f"-{i}", f"-{i}", 2e-6) for i in range(3)]
    assert len({link.id for link in machine.links}) == len(machine.links) == 3 + 3
    inside = arch.machine("2xa100-sxm-80gb@pcie4+attacc-bank")
    assert [(over.device, over.memory) for over in inside.hand_overs] == [(d.id, d.memory) for d in inside.devices[2:]]
    alone = arch.machine("a100-sxm-80gb+attacc-bank")
    assert [over.flush_s for over in inside.hand_overs] == [alone.hand_overs[0].flush_s] * 2


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("2xa100-sxm-80gb+dram", "equal GPUs have PIM beside them or nothing"),
        ("2xa100-sxm-80gb+attacc-bank+attacc-bank", "equal GPUs have PIM beside them or nothing"),
        ("2xa100-sxm-80gb+aim", "HBM and 'aim' is GDDR6; write 2xa100-sxm-80gb.aim@link to attach it"),
        ("2xa100-sxm-80gb+attacc-bank@aim", "'aim' in '2xa100"),
    ],
)
def test_equal_gpus_with_something_else_beside_them_are_refused(name: str, says: str) -> None:
    with pytest.raises(MachineError, match=says):
        arch.machine(name)
