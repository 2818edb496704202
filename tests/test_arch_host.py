"""Do CPUs, DRAM, SSDs and links follow from their catalogue, and do machines put them where the name says?"""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import arch
from arch import catalog
from arch.cpu import CPU
from arch.device import Device
from arch.memory import reached
from codesign.engine import replay
from codesign.testing import DeviceConformance, example_trace
from schedulers.scheduler import Mapping
from tests.toys import Toy
from traces.errors import MachineError

KIB, MIB = 2**10, 2**20
TIERS = "t4+xeon-n1+dram+gcp-local-ssd"


class TestEPYC(DeviceConformance):
    def device(self) -> Device:
        return arch.machine("a5000+cpu").device("epyc-9654")


class TestXeonInDoublePrecision(DeviceConformance):
    dtype = "f64"

    def device(self) -> Device:
        return arch.machine("xeon-n1").devices[0]


class TestGraceInHalfPrecision(DeviceConformance):
    dtype = "bf16"

    def device(self) -> Device:
        return arch.machine("grace").devices[0]


def ends(machine: arch.Machine) -> dict[str, tuple[str, str]]:
    return {link.id: (link.source, link.target) for link in machine.links}


def test_a_named_machine_has_its_tiers_one_behind_the_other() -> None:
    machine = arch.machine(TIERS)
    assert [(d.id, d.memory) for d in machine.devices] == [("t4", "t4-memory"), ("xeon-n1", "ddr5-4800-12ch")]
    assert [(m.id, m.role) for m in machine.memories] == [("t4-memory", "device"), ("ddr5-4800-12ch", "dram"), ("gcp-local-ssd", "ssd")]
    assert ends(machine) == {"pcie3": ("t4-memory", "ddr5-4800-12ch"), "gcp-local-ssd-link": ("ddr5-4800-12ch", "gcp-local-ssd")}


def test_a_cpu_brings_its_own_dram_where_none_is_named() -> None:
    assert arch.machine("a5000+xeon-n1").device("xeon-n1").memory == "ddr4-n1"
    assert arch.machine("a5000+xeon-n1+lpddr5x").device("xeon-n1").memory == "lpddr5x-grace"


@pytest.mark.parametrize(
    ("name", "link", "between"),
    [
        ("a5000+dram@pcie3", "pcie3", ("a5000-memory", "ddr5-4800-12ch")),
        ("a5000+ssd@direct", "nvme-gen4-link", ("a5000-memory", "nvme-gen4")),
        ("h200+lpddr5x@c2c", "nvlink-c2c", ("h200-memory", "lpddr5x-grace")),
        ("h200+grace@c2c", "nvlink-c2c", ("h200-memory", "lpddr5x-grace")),
        ("a5000+ssd+dram", "nvme-gen4-link", ("ddr5-4800-12ch", "nvme-gen4")),
        ("a5000+dram+cxl", "cxl2", ("ddr5-4800-12ch", "cxl-ddr5")),
        ("cpu+ssd", "nvme-gen4-link", ("ddr5-4800-12ch", "nvme-gen4")),
    ],
)
def test_a_name_says_what_hangs_where(name: str, link: str, between: tuple[str, str]) -> None:
    assert ends(arch.machine(name))[link] == between


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("a5000+ssd", r"write \+dram\+nvme-gen4, or nvme-gen4@direct"),
        ("a5000+cpu+grace", "at most one PIM and one CPU"),
        ("cpu+grace", "at most one PIM and one CPU"),
        ("cpu+aim@link", "has no host link"),
        ("dram", "'dram' in 'dram' is of kind 'memory'"),
        ("a5000+dram@aim", "is of kind 'pim', not 'link'"),
        ("a5000+dramm", "no device 'dramm'; did you mean 'dram'"),
    ],
)
def test_a_host_that_cannot_be_built_is_refused(name: str, says: str) -> None:
    with pytest.raises(MachineError, match=says):
        arch.machine(name)


@pytest.mark.parametrize(
    ("request_bytes", "gb_per_s"),
    [
        (4 * KIB, 1.25),
        (32 * KIB, 2.25),
        (18 * KIB, 18 / (4 / 1.25 / 2 + 32 / 2.25 / 2)),
        (1 * KIB, 0.25 * 1.25),
        (MIB, 6.0),
        (64 * MIB, 6.0),
    ],
)
def test_an_ssd_reads_as_fast_as_the_size_of_its_requests_allows(request_bytes: int, gb_per_s: float) -> None:
    """Published for a laptop's drive: 1.25 GB/s in 4 KiB, 2.25 in 32 KiB, above 6 in sequence; between, time grows linearly."""
    if request_bytes < 4 * KIB:  # smaller requests take as long as the smallest known
        assert reached(catalog.builtin("apple-ssd"), "read", request_bytes) == pytest.approx(gb_per_s * 1e9)
    else:
        machine = arch.machine("cpu+apple-ssd", ssd_request_bytes=request_bytes)
        assert machine.links[0].bandwidths[1] == pytest.approx(gb_per_s * 1e9)


@given(st.floats(512, 2**30), st.floats(1.0, 64.0))
def test_a_larger_request_never_reaches_less(size: float, factor: float) -> None:
    for name in ("apple-ssd", "nvme-gen4", "nvme-gen5", "gcp-local-ssd"):
        for way in ("read", "write"):
            entry = catalog.builtin(name)
            assert reached(entry, way, size * factor) >= reached(entry, way, size) * (1 - 1e-9)


def test_an_ssd_writes_slower_than_it_reads_and_both_share_its_controller() -> None:
    link = arch.machine("a5000+dram+ssd").links[1]
    assert link.bandwidths == (4.0e9, 6.8e9)
    assert link.duplex_bandwidth == 6.8e9
    assert link.latency_s == pytest.approx(80e-6)


@pytest.mark.parametrize(
    ("name", "peak", "share"),
    [
        ("pcie3", 15.75e9, 0.88),
        ("pcie4", 31.5e9, 0.79),
        ("pcie5", 63e9, 0.79),
        ("nvlink3", 300e9, 0.93),
        ("nvlink4", 450e9, 0.84),
        ("nvlink5", 900e9, 0.84),
        ("cxl2", 31.5e9, 0.79),
        ("nvlink-c2c", 450e9, 0.84),
    ],
)
def test_links_reach_the_published_share_of_their_pins(name: str, peak: float, share: float) -> None:
    entry = catalog.builtin(name)
    assert entry["peak_bandwidth"] == peak
    assert entry["bandwidth"] / peak == pytest.approx(share, abs=0.006)
    assert entry["bandwidth"] <= entry["duplex_bandwidth"] * 1.15 or name.startswith("pcie")
    assert entry["duplex_bandwidth"] <= 2 * entry["bandwidth"]


def test_pageable_memory_copies_slower_than_pinned() -> None:
    for name in ("pcie3", "pcie4", "pcie5"):
        link = arch.machine(f"a5000+dram@{name}").links[0]
        assert link.pageable().bandwidths == (link.pageable_bandwidth,) * 2
        assert link.pageable_bandwidth is not None
        assert link.pageable_bandwidth < link.bandwidth
    assert arch.machine("a100+dram@nvlink3").links[0].pageable().bandwidths == (279e9, 279e9)


def test_a_transfer_back_takes_the_time_of_its_own_direction() -> None:
    """A kernel of the GPU reads what a kernel of the CPU wrote, over a link that is slower on the way back."""
    toy = Toy()
    size = 10**9
    toy.tensor("x", size)
    toy.kernel("make", (), ("x",))
    toy.kernel("use", ("x",), ("y",))
    machine = arch.machine("a5000+cpu")
    slow_back = replace(machine.links[0], reverse_bandwidth=5e9, duplex_bandwidth=None)
    mapping_there, mapping_back = ([0, 1], [1, 0])
    times = []
    for devices in (mapping_there, mapping_back):
        mapping = Mapping(np.array(devices, np.int32), "by hand")
        times.append(replay(toy.build(), replace(machine, links=(slow_back,)), mapping).transfer_s)
    waits = 1e-6 + sum(memory.latency_s for memory in machine.memories)  # of the link and of both ends
    assert times[0] == pytest.approx(waits + size / 24.8e9, rel=1e-6)
    assert times[1] == pytest.approx(waits + size / 5e9, rel=1e-6)


def cpu() -> CPU:
    device = arch.machine("cpu").devices[0]
    assert isinstance(device, CPU)
    return device


def test_the_peak_is_cores_pipes_lanes_and_clock() -> None:
    """96 cores, two 256-bit pipes, 3.55 GHz: 10.9 TFLOP/s single, half of it double; halves are computed as singles."""
    assert cpu().peak_flops("f32") == pytest.approx(96 * 2 * 8 * 2 * 3.55e9)
    assert cpu().peak_flops("f64") == cpu().peak_flops("f32") / 2
    assert cpu().peak_flops("bf16") == cpu().peak_flops("f32")


def price(**columns: object) -> arch.Prices:
    toy = Toy()
    size = int(columns.pop("size", 4096))  # type: ignore[call-overload]
    toy.tensor("x", size, kind="parameter")
    toy.kernel("k", ("x",), ("y",), **columns)
    return cpu().price(arch.Work.of(toy.build()))


def test_a_stream_takes_its_bytes_over_what_dram_reaches() -> None:
    size = 8 * 2**30
    found = price(size=size, flops_vector=1.0)
    assert found.terms["dram_s"][0] == pytest.approx((size + 4096) / 378e9)
    assert found.duration_s[0] == pytest.approx(5e-6 + found.terms["dram_s"][0])


@pytest.mark.parametrize(("m", "n", "tiles"), [(32 * 96, 6, 1), (32 * 96 + 1, 6, 2), (1, 1, 1), (3072, 3072, 512)])
def test_the_busiest_core_computes_whole_tiles(m: int, n: int, tiles: int) -> None:
    """Tiles of 32 x 6: the busiest of 96 cores has ceil(tiles / 96), each 2 * 32 * 6 * k FLOP at 0.8 of a core's peak."""
    k = 1000
    found = price(family="gemm", launch_kind="library", batch=1, m=m, n=n, k=k, flops_matrix=2.0 * m * n * k, precision="highest")
    core = cpu().peak_flops("f32") / 96 * 0.8
    assert found.terms["compute_matrix_s"][0] == pytest.approx(tiles * 2 * 32 * 6 * k / core)


@pytest.mark.parametrize(("batch", "turns"), [(1, 1), (96, 1), (97, 2)])
def test_a_core_factorises_a_matrix_at_a_time(batch: int, turns: int) -> None:
    flops = 1e6
    found = price(family="lu", launch_kind="library", batch=batch, m=20, n=20, flops_matrix=flops * batch)
    assert found.terms["solver_s"][0] == pytest.approx(turns * flops / (cpu().peak_flops("f32") / 96 * 0.15))


def test_a_cpu_with_more_cores_is_never_slower() -> None:
    work = arch.Work.of(example_trace())
    few, many = (arch.machine("cpu", cpu_cores=cores).devices[0].price(work).duration_s for cores in (48, 96))
    assert np.all(many <= few * (1 + 1e-12))
    assert arch.machine("cpu", cpu_cores=48).hypothetical


def test_dense_work_on_all_cores_stays_under_the_power_cap() -> None:
    n = 8192.0
    found = price(
        family="gemm", launch_kind="library", batch=1, m=n, n=n, k=n, flops_matrix=2 * n**3, precision="highest", size=4 * 8192**2
    )
    watts = 100 + found.energy_j[0] / found.duration_s[0]
    assert 250 < watts < 360


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"read_bandwidth": 0.0}, "read_bandwidth .* above zero"),
        ({"write_bandwidth": 2e9}, "0 < write_bandwidth <= bandwidth"),
        ({"latency_s": -1.0}, "latency_s of the memory 'm'"),
        ({"role": "tape"}, "role of the memory 'm' must be one of"),
        ({"bandwidth": 0.0}, "bandwidth .* above zero"),
        ({"capacity_bytes": 0}, "capacity_bytes .* above zero"),
    ],
)
def test_a_memory_that_cannot_be_is_refused(changed: dict[str, object], says: str) -> None:
    with pytest.raises(MachineError, match=says):
        arch.Memory(**{"id": "m", "capacity_bytes": 10, "bandwidth": 1e9, **changed})  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["reverse_bandwidth", "duplex_bandwidth", "pageable_bandwidth"])
def test_a_link_with_a_direction_of_no_bandwidth_is_refused(name: str) -> None:
    with pytest.raises(MachineError, match=f"{name} of .* above zero"):
        replace(arch.machine("a5000+dram").links[0], **{name: 0.0})


@pytest.mark.parametrize(
    ("name", "overrides", "what", "factor"),
    [
        ("a5000", {"memory_packages": 24}, lambda m: (m.memories[0].capacity_bytes, m.gpu.dram_bandwidth), 2),
        ("a100", {"hbm_stacks": 10}, lambda m: (m.memories[0].capacity_bytes, m.memories[0].bandwidth), 2),
        ("a5000", {"sm_count": 32}, lambda m: (m.gpu.entry["vector_flops.f32"], m.gpu.entry["matrix_flops.tf32"]), 0.5),
        ("a5000", {"clock_hz": "3.39 GHz"}, lambda m: (m.gpu.entry["vector_flops.f32"], m.gpu.entry["l2_bandwidth"]), 2),
        ("a5000", {"clock_hz": "3.39 GHz"}, lambda m: (m.gpu.entry["l2_latency"],), 0.5),  # as many cycles
        ("a5000", {"l2_bytes": "48 MiB"}, lambda m: (m.gpu.entry["l2"],), 8),
        ("a100", {"stack_bandwidth_bytes_per_s": "622 GB/s"}, lambda m: (m.memories[0].bandwidth, m.gpu.dram_bandwidth), 2),
        ("a5000", {"l2_bandwidth_bytes_per_s": "6.94 TB/s"}, lambda m: (m.gpu.entry["l2_bandwidth"],), 2),
        ("a5000", {"matrix_scale": 2}, lambda m: (m.gpu.entry["matrix_flops.tf32"], m.gpu.entry["matrix_flops.f16"]), 2),
        ("a5000", {"vector_scale": 2}, lambda m: (m.gpu.entry["vector_flops.f32"],), 2),
    ],
)
def test_a_gpu_can_be_changed_and_what_follows_follows(name: str, overrides: dict[str, float], what: object, factor: float) -> None:
    before, after = arch.machine(name), arch.machine(name).with_(**overrides)
    assert what(after) == pytest.approx([factor * value for value in what(before)])  # type: ignore[operator]
    assert after.hypothetical
    assert not before.hypothetical
    assert after.with_(**{key: before.parameters[key].value for key in overrides}).hypothetical is False


def test_a_changed_die_has_the_area_of_its_parts_but_none_that_is_known_with_wider_units() -> None:
    whole, half, quarter = (arch.machine("a5000", sm_count=count).area_mm2 for count in (64, 32, 16))
    assert (whole - half) == pytest.approx(2 * (half - quarter))
    assert arch.machine("a5000", memory_packages=24).area_mm2 > whole == 628.4
    assert arch.machine("a5000", stack_bandwidth_bytes_per_s="128 GB/s").area_mm2 == 628.4
    assert arch.machine("a5000", matrix_scale=2).area_mm2 is None


def test_parameters_of_a_gpu_combine() -> None:
    """Twice the SMs at half the clock with units twice as wide: twice the peak; L2 at twice its bandwidth runs at half the clock."""
    plain = arch.machine("a5000").gpu.entry
    gpu = arch.machine("a5000", sm_count=128, clock_hz="847.5 MHz", vector_scale=2, l2_bandwidth_bytes_per_s="6.94 TB/s").gpu.entry
    assert gpu["vector_flops.f32"] == pytest.approx(2 * plain["vector_flops.f32"])
    assert gpu["l2_bandwidth"] == pytest.approx(plain["l2_bandwidth"])
    assert gpu["base_clock"] == pytest.approx(plain["base_clock"] / 2)
    memory = arch.machine("a5000", memory_packages=6, stack_bandwidth_bytes_per_s="128 GB/s").memories[0]
    assert memory.bandwidth == pytest.approx(768e9)
    assert memory.capacity_bytes == 12 * 2**30


def test_more_stacks_make_room_for_more_pim_in_one_call() -> None:
    machine = arch.machine("a100+hbm-pim").with_(hbm_stacks=10, pim_stacks=8)
    assert machine.hand_overs[0].closed_fraction == 0.8
    with pytest.raises(MachineError, match="1 <= pim_stacks <= 4"):
        arch.machine("a100+hbm-pim", pim_stacks=5).with_(hbm_stacks=4)


def test_the_same_change_gives_the_same_device() -> None:
    """What a GPU prepares for a trace is shared by all machines that have it: a sweep over other parameters stays cheap."""
    one, other = (arch.machine("a5000+aim@link", sm_count=32, link_latency_s=latency) for latency in (1e-6, 2e-6))
    assert one.gpu is other.gpu


def test_a_larger_gpu_is_never_slower() -> None:
    work = arch.Work.of(example_trace(dtype="f32"))
    before = arch.machine("a5000").gpu.price(work).duration_s
    for change in ({"memory_packages": 24}, {"clock_hz": 2e9}, {"l2_bytes": 48 * MIB}, {"matrix_scale": 2}, {"vector_scale": 2}):
        assert np.all(arch.machine("a5000", **change).gpu.price(work).duration_s <= before * (1 + 1e-12)), change  # type: ignore[arg-type]


def test_the_program_is_captured_for_the_changed_gpu() -> None:
    target = arch.machine("a5000", sm_count=32, l2_bytes=2**24).target
    assert (target.core_count, target.l2_bytes) == (32, 2**24)


def test_a_machine_costs_what_its_parts_cost_where_that_is_known() -> None:
    assert arch.machine("cpu+ssd").price_usd == 11805 + 3000 + 500
    assert arch.machine("cpu+ssd", dram_capacity_bytes=384e9).price_usd == 11805 + 1500 + 500
    assert arch.machine("xeon-n1").price_usd is None
