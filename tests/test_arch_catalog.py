"""Does the catalogue hold what data sheets say, with a source for every number, and refuse what it cannot read?"""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import arch
from arch import catalog, registered, units
from arch.examples import example_of
from arch.keys import KINDS, SOURCE_KINDS
from arch.target import compile_target
from traces import registry
from traces.errors import MachineError

GPUS = ("a5000", "a100-sxm-40gb", "h200")
ALL_GPUS = [name for name in catalog.builtin_ids() if catalog.builtin(name).kind == "gpu"]


@pytest.mark.parametrize(
    ("text", "dimension", "si"),
    [
        ("1.5 TB/s", "B/s", 1.5e12),
        ("768 GB/s", "B/s", 7.68e11),
        ("16 Gbit/s", "B/s", 2e9),
        ("6 MiB", "B", 6 * 2**20),
        ("1.695GHz", "Hz", 1.695e9),
        ("5.5 pJ/bit", "J/B", 44e-12),
        ("2 us", "s", 2e-6),
        ("3", "1", 3.0),
        (42, "B", 42.0),
    ],
)
def test_what_a_text_with_a_unit_is_in_si(text: str | int, dimension: str, si: float) -> None:
    assert units.parse(text, dimension, "here") == pytest.approx(si, rel=1e-12)


@pytest.mark.parametrize(
    ("text", "dimension", "says"),
    [
        ("1.5", "B/s", "ambiguous"),
        ("1.5 KB", "B", "kB .* or KiB"),
        ("1.5 Gb/s", "B/s", "Gbit/s or GB/s"),
        ("1.5 GBs", "B/s", "no unit 'GBs'; did you mean"),
        ("1.5 GHz", "B/s", "must be in one of"),
        ("fast", "B/s", "must be a number with a unit"),
        ("-1 GB/s", "B/s", "not negative"),
        (float("nan"), "s", "finite"),
        (float("inf"), "s", "finite"),
        (True, "s", "must be a number"),
    ],
)
def test_a_unit_that_is_ambiguous_unknown_or_of_another_kind_is_refused(text: str | float, dimension: str, says: str) -> None:
    with pytest.raises(MachineError, match=says) as error:
        units.parse(text, dimension, "file.toml: clock")
    assert "file.toml: clock" in str(error.value)


@given(st.floats(1e-3, 1e6, allow_nan=False), st.sampled_from(["GB/s", "TB/s", "GiB/s", "B/s"]))
def test_a_value_means_the_same_whatever_unit_it_is_written_in(value: float, unit: str) -> None:
    factor = units.factor(unit, "B/s", "here")
    assert units.parse(f"{value!r} {unit}", "B/s", "here") == pytest.approx(value * factor)


@pytest.mark.parametrize("name", catalog.builtin_ids())
def test_every_number_has_a_source_and_a_kind_of_source(name: str) -> None:
    entry = catalog.builtin(name)
    for key, quantity in entry.numbers.items():
        assert len(quantity.source) > 15, f"{name}.{key} needs a source that can be found again"
        assert quantity.source_kind in SOURCE_KINDS
        assert quantity.source_kind != "assumption" or quantity.note, f"{name}.{key}: an assumption says why in its note"
    if entry.opcodes.commands:
        assert entry.opcodes.source
        assert entry.opcodes.source_kind in SOURCE_KINDS


@pytest.mark.parametrize("name", catalog.builtin_ids())
def test_every_entry_says_what_is_not_modelled(name: str) -> None:
    assert catalog.builtin(name).not_modelled
    assert all(len(text) > 8 for text in catalog.builtin(name).not_modelled)


@pytest.mark.parametrize("name", catalog.builtin_ids())
def test_every_file_is_registered_under_its_lower_case_id(name: str) -> None:
    assert catalog.builtin(name).id == name == name.lower()
    assert name in registry.names("devices")
    assert registered.find(name) is catalog.builtin(name)


@pytest.mark.parametrize(
    ("alias", "name"),
    [
        ("a100", "a100-sxm-40gb"),
        ("A5000", "a5000"),
        ("h200-sxm", "h200"),
        ("fimdram", "hbm-pim"),
        ("gddr6-aim", "aim"),
        ("a100-sxm", "a100-sxm-80gb"),  # AIConfigurator's: its system file says 2,039 GB/s and 80 GiB
        ("tesla-p100-pcie", "p100-pcie-16gb"),
        ("tesla-p4", "p4"),
        ("3090", "rtx-3090"),
    ],
)
def test_an_alias_leads_to_its_device(alias: str, name: str) -> None:
    assert registered.find(alias).id == name


@pytest.mark.parametrize(
    ("name", "sms", "lanes", "clock", "f32", "bandwidth", "l2"),
    [
        ("a5000", 64, 128, 1.695e9, 27.8e12, 768e9, 6 * 2**20),
        ("a100-sxm-40gb", 108, 64, 1.41e9, 19.5e12, 1555e9, 40 * 2**20),
        ("h200", 132, 128, 1.98e9, 66.9e12, 4.8e12, 50 * 2**20),
        ("t4", 40, 64, 1.59e9, 8.14e12, 320e9, 4 * 2**20),
        ("l40s", 142, 128, 2.52e9, 91.6e12, 864e9, 96 * 2**20),
        ("rtx-3090", 82, 128, 1.695e9, 35.6e12, 936e9, 6 * 2**20),
        ("b200", 148, 128, 1.965e9, 74.45e12, 8e12, 126 * 2**20),
    ],
)
def test_the_numbers_are_those_of_the_data_sheets(
    name: str, sms: int, lanes: int, clock: float, f32: float, bandwidth: float, l2: int
) -> None:
    entry = catalog.builtin(name)
    assert (entry["sm_count"], entry["fp32_lanes_per_sm"], entry["clock"]) == pytest.approx((sms, lanes, clock))
    assert entry["vector_flops.f32"] == pytest.approx(f32)
    assert entry["memory_bandwidth"] == pytest.approx(bandwidth)
    assert entry["l2"] == l2


@pytest.mark.parametrize("name", ALL_GPUS)
def test_the_fp32_peak_is_lanes_times_clock_times_two(name: str) -> None:
    entry = catalog.builtin(name)
    lanes = entry["sm_count"] * entry["fp32_lanes_per_sm"]
    assert entry["vector_flops.f32"] == pytest.approx(2 * lanes * entry["clock"], rel=0.005)


@pytest.mark.parametrize("name", ALL_GPUS)
def test_a_compiler_can_be_told_of_every_gpu(name: str) -> None:
    entry = catalog.builtin(name)
    target = compile_target(entry)
    assert target.id == name
    assert target.threads_per_core == entry["max_warps_per_sm"] * 32
    assert target.shared_memory_per_block <= target.shared_memory_per_block_optin <= target.shared_memory_per_core


@pytest.mark.parametrize("name", ALL_GPUS)
def test_a_boost_clock_is_above_the_base_clock_and_tensor_cores_above_the_vector_pipes(name: str) -> None:
    entry = catalog.builtin(name)
    assert (entry.get("base_clock") or 0.0) < entry["clock"]
    assert all(peak >= entry["vector_flops.f32"] for dtype, peak in entry.group("matrix_flops").items() if dtype not in ("f64", "c128"))


def test_ratios_between_devices_are_the_published_ones() -> None:
    a5000, a100, h200 = (catalog.builtin(name) for name in GPUS)
    assert a100["vector_flops.f32"] / a5000["vector_flops.f32"] == pytest.approx(0.70, abs=0.01)
    assert a100["memory_bandwidth"] / a5000["memory_bandwidth"] == pytest.approx(2.02, abs=0.01)
    assert h200["memory_bandwidth"] / a5000["memory_bandwidth"] == pytest.approx(6.25)
    assert a100["matrix_flops.bf16"] == 2 * a100["matrix_flops.tf32"]
    assert h200["vector_flops.f32"] / a5000["vector_flops.f32"] == pytest.approx(2.4, abs=0.02)


def test_the_bandwidth_of_pim_stacks_follows_from_timing_as_published() -> None:
    """HBM-PIM: 1.229 TB/s and 1.2 TFLOP/s a cube (ISSCC 2021); AiM: 1 TB/s and 1 TFLOP/s a package (ISSCC 2022)."""
    cube = arch.machine("a100+hbm-pim", pim_stacks=1).device("hbm-pim")
    package = arch.machine("a5000+aim", pim_stacks=1).device("aim")
    assert isinstance(cube, arch.PIM)
    assert isinstance(package, arch.PIM)
    assert cube.internal_bandwidth == pytest.approx(1.229e12, rel=0.001)
    assert cube.peak_flops == pytest.approx(1.229e12, rel=0.001)
    assert package.internal_bandwidth == pytest.approx(1.024e12)
    assert package.peak_flops == pytest.approx(1.024e12)


USER_LINK = """
id = "wire"
kind = "link"
description = "a link of a user's own"
[sources]
mine = "measured on my desk on a rainy day"
[numbers]
bandwidth = { value = 10, unit = "GB/s", source = "mine", source_kind = "measured" }
latency = { value = 1, unit = "us", source = "mine", source_kind = "measured" }
"""


def write(folder: Path, text: str) -> str:
    path = folder / "user.toml"
    path.write_text(text)
    return str(path)


def test_a_file_of_a_users_own_is_read(tmp_path: Path) -> None:
    entry = arch.load_entry(write(tmp_path, USER_LINK))
    assert entry["bandwidth"] == 10e9
    assert entry.get("duplex_bandwidth") is None
    assert arch.machine(f"a5000+aim@{tmp_path / 'user.toml'}").links[0].bandwidth == 10e9


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('id = "wire"', 'id = "Wire"', "lower case"),
        ('kind = "link"', 'kind = "string"', "kind must be one of"),
        ('description = "a link', 'descripton = "a link', "unknown key 'descripton'; did you mean 'description'"),
        ("bandwidth = {", "bandwith = {", "unknown number 'bandwith'; did you mean 'bandwidth'"),
        ("value = 10,", "valeu = 10,", "unknown field 'valeu'; did you mean 'value'"),
        ("value = 10,", 'value = "10",', "must have its unit once"),
        ('value = 10, unit = "GB/s"', 'value = "10"', "bandwidth: a number without a unit is ambiguous; write one of B/s, .*GB/s"),
        ('value = 10, unit = "GB/s"', 'value = "10 GB"', "bandwidth must be in one of"),
        ('value = 10, unit = "GB/s"', 'value = "fast"', "bandwidth must be a number with a unit"),
        (', unit = "GB/s"', "", "bandwidth must have unit"),
        ("value = 10,", "value = nan,", "bandwidth must be finite"),
        ("value = 10,", "value = -10,", "not negative"),
        ("value = 10,", "value = 0,", "above zero"),
        ('unit = "GB/s"', 'unit = "Gb/s"', "bandwidth: the unit 'Gb/s' is ambiguous"),
        ('unit = "GB/s"', 'unit = "us"', "bandwidth must be in one of"),
        ('source = "mine", source_kind = "measured" }\nlat', 'source = "yours", source_kind = "measured" }\nlat', "source must be a key"),
        ('source_kind = "measured" }\nlat', 'source_kind = "guess" }\nlat', "source_kind must be one of"),
        ("latency = {", "duplex_bandwidth = {", "must be in one of"),
        ("[numbers]", "[numbers", "must be TOML"),
        ('[sources]\nmine = "', 'sources = "', "sources must be a table"),
        ('unit = "GB/s"', 'unit = ["GB/s"]', "bandwidth: unit must be text"),
        ('unit = "GB/s"', "unit = 3", "bandwidth: unit must be text"),
        ('source = "mine", source_kind = "measured" }\nlat', 'source = ["mine"], source_kind = "measured" }\nlat', "source must be text"),
        ("value = 10,", "value = [10],", "must be a number"),
        ('kind = "link"', 'kind = ["link"]', "kind must be text"),
        ('kind = "link"', 'kind = "link"\naliases = "cable"', "aliases must be a list"),
        ('kind = "link"', 'kind = "link"\naliases = [3]', "aliases must be a list"),
        ('kind = "link"', 'kind = "link"\nhypothetical = "no"', "hypothetical must be true or false"),
        ('kind = "link"', 'kind = "link"\nopcodes = 3', "opcodes must be a table"),
        ('kind = "link"', 'kind = "link"\nbase = "user"', "no other file for the base 'user'"),
        ('kind = "link"', 'kind = "link"\nbase = "pcie9"', "no other file for the base 'pcie9'; did you mean 'pcie"),
        ('kind = "link"', 'kind = "link"\nbase = "a5000"', "base must be of the kind 'link', but 'a5000' is of the kind 'gpu'"),
    ],
)
def test_a_faulty_file_is_refused_with_file_and_key(tmp_path: Path, old: str, new: str, says: str) -> None:
    assert old in USER_LINK
    with pytest.raises(MachineError, match=says) as error:
        arch.load_entry(write(tmp_path, USER_LINK.replace(old, new)))
    assert "user.toml" in str(error.value)


def test_a_base_may_be_an_alias(tmp_path: Path) -> None:
    entry = arch.load_entry(write(tmp_path, 'id = "mine"\nkind = "gpu"\nbase = "h100"\n'))
    assert entry.numbers == registered.find("h100-sxm").numbers


def test_a_value_may_be_a_text_with_its_unit(tmp_path: Path) -> None:
    entry = arch.load_entry(write(tmp_path, USER_LINK.replace('value = 10, unit = "GB/s"', 'value = "1.5 TB/s"')))
    assert (entry["bandwidth"], entry.quantity("bandwidth").value, entry.quantity("bandwidth").unit) == (1.5e12, 1.5, "TB/s")


@pytest.mark.parametrize(
    ("base", "number", "says"),
    [
        ("a5000", 'dram_energy_per_byte = { value = -3, unit = "pJ/B"', "dram_energy_per_byte must be .*not negative"),
        (
            "a5000",
            'vector_flops.f23 = { value = 3, unit = "TFLOP/s"',
            "vector_flops .* there is no dtype 'f23'; .*'f32'",
        ),
        ("a5000", 'sm_count = { value = 3.5, unit = "1"', "sm_count must be a whole number"),
        ("a5000", 'dram_efficiency = { value = 1.01, unit = "1"', "dram_efficiency must be at most 1"),
        ("a5000", 'static_power = { value = 231, unit = "W"', "`static_power <= board_power` must hold, but got 231 and 230 W"),
        ("plasticine", 'rows.fft = { value = 16, unit = "1"', "must have engines.fft, as other groups have the mode 'fft'"),
    ],
)
def test_numbers_that_cannot_be_are_refused_with_file_and_key(tmp_path: Path, base: str, number: str, says: str) -> None:
    kind = "gpu" if base == "a5000" else "reconfigurable"
    head = f'id = "mine"\nkind = "{kind}"\nbase = "{base}"\n[sources]\nmine = "a guess"\n[numbers]\n'
    with pytest.raises(MachineError, match=f"user.toml.*{says}"):
        arch.load_entry(write(tmp_path, f'{head}{number}, source = "mine", source_kind = "assumption" }}\n'))


def test_a_share_of_all_is_still_a_share(tmp_path: Path) -> None:
    number = 'dram_efficiency = { value = 1, unit = "1", source = "mine", source_kind = "assumption" }'
    head = 'id = "mine"\nkind = "gpu"\nbase = "a5000"\n[sources]\nmine = "a guess"\n[numbers]\n'
    assert arch.load_entry(write(tmp_path, head + number))["dram_efficiency"] == 1


def test_a_file_without_a_required_number_is_refused(tmp_path: Path) -> None:
    text = "\n".join(line for line in USER_LINK.splitlines() if not line.startswith("latency"))
    with pytest.raises(MachineError, match="must have the number 'latency'"):
        arch.load_entry(write(tmp_path, text))


@pytest.mark.parametrize(
    ("table", "says"),
    [
        ("[numbers]\nunit_clock = 3", "unit_clock must be a table"),
        ("numbers = 3", "numbers must be a table"),
        ('[opcodes]\nsource = "mine"\nsource_kind = "assumption"\nfree = 3', "opcodes.free must be a list of texts"),
        ('[opcodes]\nsource = "mine"\nsource_kind = "assumption"\nfre = []', "opcodes: unknown key 'fre'"),
        ('[opcodes]\nsource = "mine"\nsource_kind = "assumption"\n[opcodes.f32]\nadd = -1', "opcodes.f32.add must be .*not negative"),
    ],
)
def test_faulty_tables_of_pim_are_refused_with_file_and_key(tmp_path: Path, table: str, says: str) -> None:
    head = 'id = "mine"\nkind = "pim"\nbase = "aim"\n'
    tables = f'{table}\n[sources]\nmine = "a guess"\n'
    with pytest.raises(MachineError, match=f"user.toml.*{says}"):
        arch.load_entry(write(tmp_path, head + tables))


def test_a_group_that_is_one_number_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MachineError, match=r"user\.toml: vector_flops must be a table of numbers by name"):
        arch.load_entry(write(tmp_path, 'id = "mine"\nkind = "gpu"\nbase = "a5000"\n[numbers]\nvector_flops = 3\n'))


def test_a_file_that_is_not_there_is_an_error_of_ours(tmp_path: Path) -> None:
    with pytest.raises(MachineError, match="readable TOML"):
        arch.load_entry(tmp_path / "none.toml")


def test_a_users_gpu_takes_a_base_and_changes_a_number(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        'id = "bigger"\nkind = "gpu"\nbase = "a5000"\nhypothetical = true\n[sources]\nwish = "a wish for the sake of this test"\n'
        '[numbers]\nmemory_bandwidth = { value = 1.536, unit = "TB/s", source = "wish", source_kind = "assumption", note = "twice" }\n',
    )
    device = arch.load_device(path)
    assert isinstance(device, arch.GPU)
    assert device.hypothetical
    assert device.dram_bandwidth == 2 * 768e9
    assert arch.machine(path).gpu.entry["sm_count"] == 64


def test_an_unknown_device_is_refused_with_the_nearest() -> None:
    with pytest.raises(MachineError, match="no device 'a500'; did you mean 'a5000'"):
        arch.machine("a500")


def test_every_key_of_every_kind_says_what_it_is() -> None:
    for keys in KINDS.values():
        assert all(key.doc for key in keys.values())


def test_an_entry_becomes_json_with_values_as_written() -> None:
    shown = catalog.builtin("a5000").to_dict()["numbers"]["clock"]
    assert (shown["value"], shown["unit"], shown["source_kind"]) == (1.695, "GHz", "datasheet")


def test_every_device_has_a_documented_example_that_can_be_built() -> None:
    """The page is made by `python -m codesign.catalogue_page > docs/catalogue.md`: make it again after a change of the catalogue."""
    from codesign.catalogue_page import page

    written = (Path(__file__).parents[1] / "docs" / "catalogue.md").read_text()
    assert written == page()
    for name in registered.names():
        example = example_of(registered.find(name))
        assert f"`{registered.find(name).id}`" in written
        assert example is None or any(registered.find(name).id in entry.id for entry in arch.machine(example).entries), name


@pytest.mark.parametrize(
    ("name", "device"),
    [
        ("NVIDIA H100 80GB HBM3", "h100-sxm"),
        ("NVIDIA H100 PCIe", "h100-pcie"),
        ("h100_sxm", "h100-sxm"),
        ("gb200_sxm", "gb200"),
        ("Tesla V100-SXM2-16GB", "v100-sxm2-16gb"),
        ("NVIDIA A100 80GB PCIe", "a100-pcie-80gb"),
        ("NVIDIA GeForce RTX 4090", "rtx-4090"),
        (" A10 ", "a10"),
    ],
)
def test_a_gpu_is_found_by_the_name_that_its_driver_prints(name: str, device: str) -> None:
    assert registered.find(name).id == device


@pytest.mark.parametrize("name", ALL_GPUS)
def test_every_dtype_of_tensor_cores_has_an_energy_and_a_byte_draws_half_of_what_two_do(name: str) -> None:
    """Where it was missing, or another board's beside the board's own FP16, a power cap held FP8 to the rate of FP16."""
    entry = catalog.builtin(name)
    rates, energies = entry.group("matrix_flops"), entry.group("matrix_energy_per_flop")
    assert set(rates) <= set(energies)
    bytes_ = [dtype for dtype in rates if dtype == "s8" or dtype.startswith("f8")]
    for dtype in bytes_:
        slower = rates[dtype] / rates["f16"] / 2  # GeForce boards add up FP16 and FP8 in FP32 at half the rate of integers
        assert 0.25 <= energies[dtype] / energies["f16"] * slower <= 0.52
