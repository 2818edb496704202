"""Are workloads declared completely, and are impossible ones refused before anything is traced?"""

import re
import subprocess
import sys
from dataclasses import replace
from itertools import pairwise, product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.targets import A5000
from traces import registry
from traces.errors import CaptureError, CodesignError
from traces.workloads import Conflict, Option, Program, Workload
from traces.workloads.molecules import Molecule, molecules
from traces.workloads.nnvmc import DEFAULT, FERMINET
from traces.workloads.orbformer import ORBFORMER
from traces.workloads.psiformer import PSIFORMER
from traces.workloads.stages import DEEPQMC_STAGES

BOHR = 0.529177210903  # angstrom, CODATA 2018


def toy(*conflicts: Conflict) -> Workload:
    def build(settings: object) -> list[Program]:
        raise AssertionError("nothing may be built")

    options = (Option("laplacian", "loop", "how", choices=("loop", "forward")), Option("steps", 10, "how many"))
    return Workload("toy", "jax", "a toy", "this test", options, build, conflicts)


def test_the_built_in_workloads_are_registered_like_a_users() -> None:
    assert {"ferminet", "default", "paulinet"} <= set(registry.names("workloads"))
    assert registry.get("workloads", "paulinet") is registry.get("workloads", "default") is DEFAULT
    assert registry.get("workloads", "deepqmc-psiformer").settings()["steps"] == 30  # decorr_metropolis_psiformer.yaml


def test_listing_workloads_loads_no_framework() -> None:
    code = "import sys; from traces import registry; registry.load('workloads'); print({'jax', 'deepqmc', 'hydra'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


@pytest.mark.parametrize("workload", [FERMINET, DEFAULT, PSIFORMER, ORBFORMER])
def test_every_option_has_a_default_that_it_accepts_and_a_doc(workload: Workload) -> None:
    for option in workload.options:
        assert option.check(option.default) == option.default
        assert option.doc
    ours = workload in (PSIFORMER, ORBFORMER)
    expected = {"molecule": "CH4", "batch": 1024, "sampler": "metropolis", "steps": 60 if ours else 10}
    assert workload.settings().items() >= (expected | {"laplacian": "forward" if ours else "loop"}).items()


EVERY = sorted({workload.name for workload in registry.load("workloads").values()})


@pytest.mark.parametrize("name", EVERY)
def test_every_combination_of_the_matrix_is_accepted_or_refused_with_one_that_works(name: str) -> None:
    workload = registry.get("workloads", name)
    for values, conflict in workload.combinations():
        if conflict is None:
            assert workload.settings(**values).items() >= values.items()
            continue
        with pytest.raises(CaptureError, match=re.escape(conflict.because)) as refused:
            workload.settings(**values)
        assert works_with_advice(workload, values, str(refused.value), steps=len(workload.conflicts)), values


def test_every_conflict_of_a_workload_is_in_its_matrix() -> None:
    for name in EVERY:
        workload = registry.get("workloads", name)
        met = [conflict for _, conflict in workload.combinations() if conflict]
        assert all(conflict in met for conflict in workload.conflicts if conflict.before is None), name


NUMBERS = (1, 2, 3, 5, 8, 64, 4096)


@pytest.mark.parametrize("name", EVERY)
def test_counts_that_cannot_be_are_refused_with_the_formula_of_the_matrix(name: str) -> None:
    """Every formula is broken by some numbers of the options that it names, one or two at a time, and kept by the defaults."""
    workload = registry.get("workloads", name)
    for limit in workload.limits:
        assert limit.holds(workload.settings())
        assert limit.instead.startswith("choose ")
        named = [option for option in workload.options if re.search(rf"\b{option.name}\b", limit.must)]
        assert named, limit.must
        values = [option.choices or ((0, *NUMBERS) if option.at_least == 0 else NUMBERS) for option in named]
        broken = [dict(zip((o.name for o in named), chosen, strict=True)) for chosen in product(*values)]
        messages = [refusal(workload, given_) for given_ in broken if not limit.holds(workload_defaults(workload) | given_)]
        assert any(f"`{limit.must}` must hold" in message and limit.instead in message for message in messages), limit.must


def workload_defaults(workload: Workload) -> dict[str, str | int]:
    return {option.name: option.default for option in workload.options}


def refusal(workload: Workload, given_: dict[str, str | int]) -> str:
    with pytest.raises(CaptureError) as refused:
        workload.settings(**given_)
    return str(refused.value)


def works_with_advice(workload: Workload, values: dict[str, str | int], message: str, steps: int) -> bool:
    """Follow 'choose a=b, or c=d', again where another conflict is left: some way must end with settings that are valid."""
    for name, value in re.findall(r"(\w+)=([\w-]+)", message.split("choose ")[1]):
        changed = values | {name: value}
        try:
            workload.settings(**changed)
        except CaptureError as error:
            if steps and works_with_advice(workload, changed, str(error), steps - 1):
                return True
            continue
        return True
    return False


def test_what_cannot_run_is_what_the_flash_kernel_has_no_derivative_for() -> None:
    refused = [values for values, conflict in ORBFORMER.combinations() if conflict]
    assert refused == [{"laplacian": name, "attention": "flash"} for name in ("loop", "naive", "hutchinson")]


def test_flash_attention_is_refused_for_a_gpu_without_it_before_anything_is_traced() -> None:
    old = replace(A5000, id="t4", compute_capability=(7, 5))
    with pytest.raises(CaptureError, match=r"captured for t4 \(compute capability 7\.5\) with attention=flash: .*choose attention=plain"):
        ORBFORMER.capture(old)


def test_choices_are_matched_in_any_case() -> None:
    assert FERMINET.settings(molecule="lih", sampler="Langevin")["molecule"] == "LiH"


@given(steps=st.integers(1, 10**6), laplacian=st.sampled_from(["loop", "forward"]))
def test_settings_given_back_are_the_same_settings(steps: int, laplacian: str) -> None:
    settings = toy().settings(steps=steps, laplacian=laplacian)
    assert toy().settings(**{name: str(value) for name, value in settings.items()}) == settings


@pytest.mark.parametrize(
    ("given_", "message"),
    [
        ({"molecule": "CH5"}, "there is no molecule 'CH5'; did you mean 'CH4'"),
        ({"molecule": "benzene"}, "there is no molecule 'benzene'; known: LiH, CH4, C2H6, C4H4, H2, He, Cl"),
        ({"laplacien": "loop"}, "the workload 'ferminet' has no option 'laplacien'; did you mean 'laplacian'"),
        ({"batch": 0}, "`batch >= 1` must hold for the whole number batch, but got 0"),
        ({"batch": "many"}, "`batch >= 1` must hold for the whole number batch, but got 'many'"),
        ({"steps": 2.5}, "`steps >= 1` must hold for the whole number steps, but got 2.5"),
    ],
)
def test_an_impossible_setting_is_refused_with_the_nearest_that_works(given_: dict[str, object], message: str) -> None:
    with pytest.raises(CaptureError, match=re.escape(message)):
        FERMINET.programs(**given_)  # type: ignore[arg-type]


def test_an_unknown_workload_is_refused_with_the_nearest() -> None:
    with pytest.raises(CodesignError, match="there is no workload 'fermionet'; did you mean 'ferminet'"):
        registry.get("workloads", "fermionet")


def test_a_combination_that_cannot_run_is_refused_before_anything_is_built() -> None:
    conflict = Conflict({"laplacian": "loop", "steps": 60}, "flash attention has no second derivative", "choose laplacian=forward")
    with pytest.raises(CaptureError, match=r"cannot run with laplacian=loop, steps=60: flash attention .*; choose laplacian=forward"):
        toy(conflict).programs(steps=60)
    assert toy(conflict).settings(steps=60, laplacian="forward")["steps"] == 60


def test_without_the_extra_the_error_names_the_pip_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "deepqmc", None)
    with pytest.raises(CodesignError, match=re.escape("pip install 'codesign[nnvmc]'")):
        FERMINET.programs()


def distances(molecule: Molecule) -> np.ndarray:
    """Return the distances of all pairs of nuclei in angstrom."""
    at = np.array(molecule.coordinates) * (BOHR if molecule.unit == "bohr" else 1.0)
    return np.linalg.norm(at[:, None] - at[None], axis=-1)


def test_every_molecule_has_a_source_and_the_surveys_number_of_electrons() -> None:
    expected = {"LiH": 4, "CH4": 10, "C2H6": 18, "C4H4": 28, "H2": 2, "He": 2, "Cl": 17}
    assert {name: m.electrons for name, m in molecules().items()} == expected
    assert all(m.source and m.formula == name for name, m in molecules().items())


def test_bonds_are_as_long_as_the_sources_say() -> None:
    assert distances(molecules()["LiH"])[0, 1] == pytest.approx(1.595)
    assert distances(molecules()["CH4"])[0, 1:] == pytest.approx([1.08967] * 4, abs=1e-5)
    square = distances(molecules()["C4H4"])
    assert [square[i, j] for i, j in [*pairwise(range(4)), (3, 0)]] == pytest.approx([1.451] * 4, abs=1e-4)
    assert [square[i, i + 4] for i in range(4)] == pytest.approx([1.078] * 4, abs=1e-4)


def test_ethane_is_staggered_with_the_experimental_bonds_and_angle() -> None:
    ethane = molecules()["C2H6"]
    apart, at = distances(ethane), np.array(ethane.coordinates)
    assert apart[0, 1] == pytest.approx(1.536)
    assert [*apart[0, 2:5], *apart[1, 5:8]] == pytest.approx([1.091] * 6, abs=1e-4)
    cosine = (at[2] - at[0]) @ (at[1] - at[0]) / (apart[0, 2] * apart[0, 1])
    assert np.degrees(np.arccos(cosine)) == pytest.approx(110.91, abs=0.01)
    inverted = {tuple(np.round(-position, 5) + 0.0) for position in at}
    assert inverted == {tuple(np.round(position, 5) + 0.0) for position in at}, "a staggered ethane has a centre of inversion"


@pytest.mark.parametrize(
    ("change", "message"),
    [({"unit": "nm"}, "unit must be one of angstrom, bohr"), ({"charges": (1,)}, "each nuclear charge must have three")],
)
def test_a_molecule_that_makes_no_sense_is_refused(change: dict[str, object], message: str) -> None:
    good = Molecule("H2", (1, 1), ((0.0, 0.0, 0.0), (0.0, 0.0, 1.4)), "bohr", 0, "a test")
    with pytest.raises(CaptureError, match=message):
        replace(good, **change)  # type: ignore[arg-type]


STEP = "jit(sample)/phase_sampling/while/body/closed_call/"
ENERGY = "jit(energy)/phase_laplacian/"


@pytest.mark.parametrize(
    ("scope", "stage"),
    [
        (STEP + "vmap(neural_network_wave_function)/omni_net/electron_gnn/edge_factory/electron_gnn/concatenate", "A"),
        (STEP + "vmap(neural_network_wave_function)/omni_net/electron_gnn/electron_gnn_layer_2/u/linear_0/dot_general", "B"),
        (STEP + "vmap(neural_network_wave_function)/omni_net/Backflow/mlp/linear_0/dot_general", "C"),
        (STEP + "vmap(neural_network_wave_function)/exponential_envelopes/sqrt", "C"),
        (STEP + "vmap(neural_network_wave_function)/jit(slogdet)/lu", "D"),
        (STEP + "vmap(transpose(jvp(neural_network_wave_function)))/omni_net/electron_gnn/add_any", "E"),
        (STEP + "jit(_uniform)/slice", "sampler"),
        (ENERGY + "vmap(jvp(jvp(neural_network_wave_function)))/omni_net/electron_gnn/electron_gnn_layer/u/tanh", "B"),
        (ENERGY + "vmap(jvp(transpose(jvp(neural_network_wave_function))))/omni_net/electron_gnn/electron_gnn_layer/u/mul", "E"),
        (ENERGY + "vmap()/while/body/closed_call/jvp(jvp(neural_network_wave_function))/omni_net/electron_gnn/mul", "E"),
        (ENERGY + "vmap(jit(wrapped))/dot_general", "E"),
        (ENERGY + "vmap()/add", "E"),
    ],
)
def test_stages_follow_from_scopes(scope: str, stage: str) -> None:
    assert next(letter for letter, pattern in DEEPQMC_STAGES if re.search(pattern, scope)) == stage
