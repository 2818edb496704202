"""What follows when a GPU has more SMs, L2 or stacks, another clock or another power cap: peaks, area, power, time."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import arch
import codesign as cd
from arch.area import at_node, die_mm2
from arch.entry_file import load_entry
from arch.registered import find
from tests.gpu_kernels import product
from traces.errors import MachineError

WISH = """
id = "mine"
kind = "gpu"
base = "h100"
hypothetical = true
[sources]
wish = "ours"
[numbers]
"""

# mm2, SMs, MiB of L2, 32-bit packages as built. NVIDIA's whitepapers of GP104, Turing, GA102, Ada and Blackwell, and TechPowerUp's GPU
# database for the dies that have none.
DIES = {
    "16 nm": {"GP102": (471, 30, 3, 12), "GP104": (314, 20, 2, 8), "GP106": (200, 10, 1.5, 6)},
    "12 nm": {"TU102": (754, 72, 6, 12), "TU104": (545, 48, 4, 8), "TU106": (445, 36, 4, 8)},
    "8 nm": {"GA102": (628.4, 84, 6, 12), "GA104": (392.5, 48, 4, 8), "GA106": (276, 30, 3, 6), "GA107": (200, 20, 2, 4)},
    "4 nm": {
        "AD102": (608.5, 144, 96, 12),
        "AD103": (378.6, 80, 64, 8),
        "AD104": (294.5, 60, 48, 6),
        "AD106": (187.8, 36, 32, 4),
        "AD107": (158.7, 24, 32, 4),
    },
}
BLACKWELL = {"GB202": (750, 192, 128, 16), "GB203": (378, 84, 64, 8), "GB205": (263, 50, 48, 6), "GB206": (181, 36, 32, 4)}
BOARDS = {"16 nm": "p4", "12 nm": "t4", "8 nm": "a5000", "4 nm": "l40"}
STEPS = [(BOARDS[node], *list(dies.values())[:1], die) for node, dies in DIES.items() for die in list(dies.values())[1:]]
STEPS += [("rtx-pro-6000", BLACKWELL["GB202"], die) for die in list(BLACKWELL.values())[1:]]


@pytest.mark.parametrize(("board", "large", "small"), STEPS)
def test_how_near_is_the_area_of_one_published_die_from_another_of_its_family(
    board: str, large: tuple[float, ...], small: tuple[float, ...]
) -> None:
    whole = dict(zip(("die_area", "sm_count", "l2", "memory_stacks"), (large[0], large[1], large[2] * 2**20, large[3]), strict=True))
    found = die_mm2(find(board).changed(whole), small[1], small[2] * 2**20, small[3])
    assert found is not None
    step = (large[0] - found) / (large[0] - small[0])
    assert 1.0 <= step < 1.21  # all that is shared counts with the SMs, so that a step is too large
    assert found / small[0] > (0.88 if small[0] > 0.47 * large[0] else 0.77)


def test_what_an_area_is_made_of() -> None:
    h100 = find("h100-sxm")
    mib, stack = at_node(2.37, "7 nm", "4 nm").mm2, 10.45 + at_node(8.43, "7 nm", "4 nm").mm2
    sms = 814 - 50 * mib - 5 * stack
    assert die_mm2(h100, 132, 50 * 2**20, 5) == pytest.approx(814)
    assert die_mm2(h100, 264, 100 * 2**20, 6) == pytest.approx(2 * sms + 100 * mib + 6 * stack)
    assert h100["l2_area"] == pytest.approx(8 * 2**20 * 1.7e-7 / 0.602, rel=1e-3)
    assert h100["controller_area.hbm"] == pytest.approx(552.743 / 65.6, rel=1e-3)
    assert h100["controller_area.gddr"] == pytest.approx(90.4464 / 65.6, rel=1e-2)


@given(sms=st.integers(1, 528), stacks=st.integers(1, 20))
def test_static_power_is_in_proportion_to_the_area(sms: int, stacks: int) -> None:
    sold, made = arch.machine("h100"), arch.machine("h100", sm_count=sms, hbm_stacks=stacks)
    assert sold.area_mm2 is not None
    assert made.area_mm2 is not None
    assert sold.static_watts is not None
    assert made.static_watts == pytest.approx(sold.static_watts * made.area_mm2 / sold.area_mm2)


@pytest.mark.parametrize("changed", [{"matrix_scale": 2.0}, {"vector_scale": 0.5}, {"l2_bandwidth_bytes_per_s": "12 TB/s"}])
def test_the_area_of_other_units_or_wires_is_unknown(changed: dict[str, float]) -> None:
    made = arch.machine("h100", sm_count=100, **changed)
    assert made.area_mm2 is None
    assert made.static_watts == arch.machine("h100").static_watts


def test_a_die_of_unknown_area_stays_so() -> None:
    assert arch.machine("b200", sm_count=100).area_mm2 is None


def test_larger_stacks_hold_more_and_are_no_faster() -> None:
    sold, made = arch.machine("h100"), arch.machine("h100", stack_bytes="32 GB", hbm_stacks=6)
    assert made.memories[0].capacity_bytes == 6 * 32_000_000_000
    assert made.memories[0].bandwidth == pytest.approx(sold.memories[0].bandwidth * 6 / 5)
    pim = arch.machine("a5000+aim", stack_bytes="4 GiB")
    assert pim.memories[0].capacity_bytes == 6 * 4 * 2**30 + 6 * 2**30  # AiM packages keep their own gibibyte


def test_a_clock_changes_no_area() -> None:
    assert arch.machine("h100", clock_hz="1 GHz").area_mm2 == 814


def test_products_at_the_power_cap_want_watts_and_not_sms() -> None:
    sold = _product({})
    assert _product({"sm_count": 264}) == pytest.approx(sold, rel=0.02)
    assert _product({"power_cap_watts": "350 W"}) == pytest.approx(2 * sold, rel=0.02)
    assert sold / 2 < _product({"sm_count": 264, "power_cap_watts": "1.4 kW"}) < 0.65 * sold  # a last wave, and DRAM


def test_an_explanation_of_a_product_at_the_cap_names_the_cap() -> None:
    why = cd.explain(product(8192, 8192, 8192, precision="", dtype="bf16").build(), arch.machine("h100"))
    first, *others = why.parameters
    assert first.name == "power_cap_watts"
    assert first.elasticity == pytest.approx(-1, abs=0.05)
    assert next(row for row in others if row.name == "matrix_scale").elasticity == pytest.approx(0, abs=0.01)
    more = [size for size in why.sizes if size.name == "sm_count" and size.other == 264]
    assert more[0].time_s == pytest.approx(why.time_s, rel=0.02)


def _product(changed: dict[str, float | str]) -> float:
    """Seconds of a large BF16 product on an H100 with changed parameters."""
    trace = product(8192, 8192, 8192, precision="", dtype="bf16").build()
    return float(arch.cost_table(trace, arch.machine("h100", **changed)).duration_s[0, 0])


def _file(folder: Path, numbers: str, text: str = WISH) -> Path:
    path = folder / "mine.toml"
    path.write_text(text + numbers)
    return path


def _number(name: str, value: str) -> str:
    return f'{name} = {{ value = "{value}", source = "wish", source_kind = "assumption" }}\n'


def test_a_file_with_other_sms_and_another_clock_is_what_a_machine_with_them_is(tmp_path: Path) -> None:
    entry = load_entry(_file(tmp_path, _number("sm_count", "160 1") + _number("clock", "1.5 GHz") + _number("memory_stacks", "6 1")))
    made = arch.machine("h100", sm_count=160, clock_hz="1.5 GHz", hbm_stacks=6).gpu.entry
    for key in (
        "matrix_flops.bf16",
        "vector_flops.f32",
        "l2_bandwidth",
        "l2_latency",
        "memory",
        "memory_bandwidth",
        "die_area",
        "static_power",
    ):
        assert entry[key] == pytest.approx(made[key]), key


def test_what_a_file_gives_itself_stays(tmp_path: Path) -> None:
    peak = '[numbers.matrix_flops]\nbf16 = { value = 1, unit = "PFLOP/s", source = "wish", source_kind = "assumption" }\n'
    entry = load_entry(_file(tmp_path, _number("sm_count", "264 1") + _number("memory_bandwidth", "8 TB/s") + peak))
    assert entry["matrix_flops.bf16"] == 1e15
    assert entry["matrix_flops.tf32"] == pytest.approx(2 * 494.7e12)
    assert entry["memory_bandwidth"] == 8e12
    assert entry.get("die_area") is None  # of tensor cores that are other ones nobody knows the area
    plain = load_entry(_file(tmp_path, _number("memory_bandwidth", "8 TB/s")))
    assert plain["die_area"] == 814
    assert plain["matrix_flops.bf16"] == find("h100-sxm")["matrix_flops.bf16"]


def test_a_file_may_not_pass_for_a_device_of_the_catalogue(tmp_path: Path) -> None:
    with pytest.raises(MachineError, match="id must be its own, but 'h100-sxm' is a device of the catalogue; name that in `base`"):
        load_entry(_file(tmp_path, _number("memory_bandwidth", "8 TB/s"), WISH.replace('"mine"', '"h100-sxm"')))
