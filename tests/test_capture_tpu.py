"""Does the text of a program compiled for a TPU become what the TPU runs: instructions with the compiler's cycles, loops, traffic?"""

import importlib.util
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import codesign as cd
from traces import Trace
from traces.capture import hlo
from traces.capture.assemble import Dump, Naming, assemble
from traces.capture.loops import counted
from traces.capture.target import TpuTarget
from traces.capture.work import convolution_flops
from traces.errors import CaptureError, MissingExtra
from traces.saving import save

TEXT = (Path(__file__).parent / "data" / "tpu" / "program-v5e.hlo").read_text()
EXAMPLE = Path(__file__).parents[1] / "docs" / "examples" / "step.bin"
TPUS = ("tpu-v4", "tpu-v5e", "tpu-v5p", "tpu-v6e", "tpu-7x")


def program(**trips: int) -> Trace:
    dump = Dump(hlo=TEXT, thunks="", platform="tpu", allocated_bytes=1_000_000)
    return assemble(dump, Naming("step"), trips or {"while.14": 7}, {"program": "step", "target": "tpu-v5e", "options": {}})


@pytest.fixture(scope="module")
def trace() -> Trace:
    return program()


def row(trace: Trace, name: str) -> int:
    return trace.kernels["name"].tolist().index(name)


def test_every_instruction_keeps_the_compilers_cycles(trace: Trace) -> None:
    kernels = trace.kernels
    estimated = {name: kernels["compiler_cycles"][row(trace, name)] for name in ("fusion.8", "copy.9", "convert.1", "sqrt.2")}
    assert estimated == {"fusion.8": 320, "copy.9": 2966, "convert.1": 1885, "sqrt.2": 1832}
    assert TEXT.count("estimated_cycles") == len(set(kernels["name"][~np.isnan(kernels["compiler_cycles"])]))


def test_what_the_compiler_does_not_estimate_is_unknown(trace: Trace) -> None:
    unknown = np.isnan(trace.kernels["compiler_cycles"])
    families = set(trace.kernels["family"][unknown].tolist())
    assert families == {"copy", "lu", "sort", "elementwise"}
    assert trace.kernels["name"][unknown & (trace.kernels["family"] == "elementwise")].tolist() == ["gather_fusion"]


def test_scalars_and_names_are_no_rows(trace: Trace) -> None:
    """Of the schedule's instructions those on scalars, waits, tuples and bitcasts do not work on arrays."""
    names = set(trace.kernels["name"].tolist())
    assert not names & {"copy-done.1", "add.30", "tuple.20", "bitcast.12", "while.13", "constant.29", "x.1", "select_n.21"}
    assert len(names) == 22
    assert len(trace.kernels) == 23  # the condition of the loop that nobody can count stands before it and in it


def test_loops_run_as_often_as_their_conditions_say(trace: Trace) -> None:
    regions = trace.regions
    assert regions["name"].tolist() == ["step", "while", "while.14"]
    assert regions["trip_count"].tolist() == [1, 5, 7]
    assert set(regions["condition"].tolist()) == {"host"}  # nobody leaves the chip to decide


def test_a_loop_that_nobody_can_count_needs_a_number() -> None:
    with pytest.raises(CaptureError, match=r"does not know that of while\.14 \(scope jit\(step\)/phase_sampling/while\)"):
        assemble(Dump(hlo=TEXT, thunks="", platform="tpu"), Naming("step"))


def test_what_stays_on_the_chip_has_no_bytes_in_memory(trace: Trace) -> None:
    """The product reads and writes vector memory only; the copies around the loop go between it and HBM."""
    tensors, accesses = trace.tensors, trace.accesses
    of_product = accesses["kernel"] == row(trace, "fusion.8")
    assert set(tensors["bytes"][accesses["tensor"][of_product]].tolist()) == {0}
    assert accesses["bytes_unique"][of_product].sum() == trace.kernels["bytes_unique"][row(trace, "fusion.8")] > 0
    fetch = accesses["tensor"][accesses["kernel"] == row(trace, "copy-start.1")]
    assert tensors["bytes"][fetch].tolist() == [1024 * 32 * 4, 0]


def test_a_fused_product_is_a_product(trace: Trace) -> None:
    product = row(trace, "fusion.8")
    assert trace.kernels["family"][product] == "gemm"
    assert trace.kernels["flops_matrix"][product] == 2 * 1024 * 32 * 32
    assert trace.kernels["opcodes"][product].startswith("add:1,broadcast:1,convolution:1")


def test_xlas_own_factorisation_has_its_work(trace: Trace) -> None:
    lu = row(trace, "custom-call.2")
    assert trace.kernels["library"][lu] == "getrf"
    assert trace.kernels["flops_matrix"][lu] == pytest.approx(2 / 3 * 32**3)


def test_phases_and_stages_survive(trace: Trace) -> None:
    assert trace.kernels["phase"][row(trace, "fusion.8")] == "sampling"
    assert trace.kernels["stage"][row(trace, "custom-call.2")] == "D"


def test_memory_is_the_compilers(trace: Trace) -> None:
    memory = trace.manifest["memory"]
    assert memory["compiler_allocated_bytes"] == 1_000_000
    assert 4 * (32 + 32 * 32 + 1024 * 32) <= memory["live_peak_bytes"] <= 1_000_000


def test_cycles_survive_a_file(trace: Trace, tmp_path: Path) -> None:
    save(trace, tmp_path / "t")
    assert cd.load(tmp_path / "t").content_hash == trace.content_hash


def test_traces_of_the_version_before_have_no_cycles() -> None:
    assert np.isnan(
        cd.load(Path(cd.__file__).parents[1] / "traces" / "recorded" / "ferminet-lih-a5000.trace").kernels["compiler_cycles"]
    ).all()


# Loops

LOOP = """HloModule m, is_scheduled=true

%body (p: (s32[], f32[8], s32[])) -> (s32[], f32[8], s32[]) {{
  %p = (s32[], f32[8], s32[]) parameter(0)
  %i = s32[] get-tuple-element(%p), index=0
  %x = f32[8] get-tuple-element(%p), index=1
  %n = s32[] get-tuple-element(%p), index=2
  %step = s32[] constant({step})
  %next = s32[] {op}(%i, %step)
  ROOT %t = (s32[], f32[8], s32[]) tuple(%next, %x, %n)
}}

%cond (q: (s32[], f32[8], s32[])) -> pred[] {{
  %q = (s32[], f32[8], s32[]) parameter(0)
  %j = s32[] get-tuple-element(%q), index=0
  %m = s32[] get-tuple-element(%q), index=2
  %limit = s32[] constant({limit})
  ROOT %c = pred[] compare({compare}), direction={direction}
}}

ENTRY %main (x0: f32[8]) -> (s32[], f32[8], s32[]) {{
  %x0 = f32[8] parameter(0)
  %start = s32[] constant({start})
  %carried = s32[] constant(9)
  %first = s32[] copy(%start)
  %in = (s32[], f32[8], s32[]) tuple(%first, %x0, %carried)
  ROOT %w = (s32[], f32[8], s32[]) while(%in), condition=%cond, body=%body
}}
"""


def trips(start: int, limit: int, direction: str, step: int = 1, op: str = "add", compare: str = "%j, %limit") -> int | None:
    text = LOOP.format(start=start, limit=limit, direction=direction, step=step, op=op, compare=compare)
    return counted(hlo.parse(text).by_name["w"])


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ((0, 5, "LT"), 5),
        ((0, 5, "LE"), 6),
        ((2, 5, "LT"), 3),
        ((0, 5, "LT", 2), 3),
        ((0, 6, "LT", 2), 3),
        ((5, 5, "LT"), 0),
        ((6, 5, "LT"), 0),
        ((5, 0, "GT", 1, "subtract"), 5),
        ((5, 0, "GE", 1, "subtract"), 6),
        ((5, 0, "GT", -1), 5),
        ((0, 5, "NE"), 5),
        ((0, 5, "NE", 2), None),
        ((0, 5, "GT"), None),
        ((0, 5, "EQ"), None),
        ((0, 5, "LT", -1), None),
        ((0, 5, "LT", 1, "multiply"), None),
        ((0, 5, "GT", 1, "add", "%limit, %j"), 5),
        ((0, 0, "LT", 1, "add", "%j, %m"), 9),
        ((0, 0, "LT", 1, "add", "%m, %limit"), None),
    ],
    ids=str,
)
def test_trip_counts_are_read_from_conditions(arguments: tuple[int, int, str], expected: int | None) -> None:
    assert trips(*arguments) == expected


@given(st.integers(-50, 50), st.integers(-50, 50), st.sampled_from(["LT", "LE", "GT", "GE"]), st.integers(-7, 7).filter(bool))
def test_a_counted_loop_runs_as_often_as_it_would(start: int, limit: int, direction: str, step: int) -> None:
    """Where the counter moves towards its limit; otherwise nothing is claimed."""
    found = trips(start, limit, direction, step)
    if (direction in ("LT", "LE")) != (step > 0):
        assert found is None
        return
    compare = {"LT": int.__lt__, "LE": int.__le__, "GT": int.__gt__, "GE": int.__ge__}[direction]
    runs, value = 0, start
    while compare(value, limit):
        runs, value = runs + 1, value + step
    assert found == runs


# Convolutions

CONVOLUTION = """HloModule m, is_scheduled=true

ENTRY %main (a: {a}, b: {b}) -> {c} {{
  %a = {a} parameter(0)
  %b = {b} parameter(1)
  ROOT %c = {c} convolution(%a, %b), {attributes}
}}
"""


@pytest.mark.parametrize(
    ("shapes", "attributes", "expected"),
    [
        (("f32[8,4]", "f32[4,6]", "f32[8,6]"), "dim_labels=bf_io->bf", 2 * 8 * 4 * 6),
        (("f32[8,10,4]", "f32[1,4,6]", "f32[8,10,6]"), "window={size=1}, dim_labels=b0f_0io->b0f", 2 * 8 * 10 * 4 * 6),
        (("f32[1,9,4]", "f32[3,4,6]", "f32[1,7,6]"), "window={size=3}, dim_labels=b0f_0io->b0f", 2 * 7 * 3 * 4 * 6),
        (("f32[1,9,4]", "f32[3,4,6]", "f32[1,9,6]"), "window={size=3 pad=1_1}, dim_labels=b0f_0io->b0f", 2 * (9 * 3 - 2) * 4 * 6),
        (("f32[1,5,4]", "f32[5,4,6]", "f32[1,1,6]"), "window={size=5}, dim_labels=b0f_0io->b0f", 2 * 5 * 4 * 6),
        # five products of a batch, as TPUs write them: a window over the batch that meets one element of it
        (("f32[2,5,4]", "f32[5,4,6]", "f32[2,5,6]"), "window={size=5 stride=4 lhs_dilate=5}, dim_labels=b0f_0io->b0f", 2 * 2 * 5 * 4 * 6),
        (("f32[1,10,4]", "f32[1,4,6]", "f32[1,5,6]"), "window={size=1 pad=-5_0}, dim_labels=b0f_0io->b0f", 2 * 5 * 4 * 6),
    ],
)
def test_a_convolution_counts_what_meets(shapes: tuple[str, str, str], attributes: str, expected: int) -> None:
    a, b, c = shapes
    text = CONVOLUTION.format(a=a, b=b, c=c, attributes=attributes)
    assert convolution_flops(hlo.parse(text).entry.root) == expected


# The whole way


def test_without_libtpu_a_tpu_cannot_be_compiled_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("traces.capture.compile_tpu.find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match="xla-tpu"):
        cd.capture(jnp.sin, (jax.ShapeDtypeStruct((8,), jnp.float32),), target="tpu-v5e")


def test_the_catalogues_tpus_are_targets() -> None:
    found = [cd.machine(name).target for name in TPUS]
    assert all(isinstance(target, TpuTarget) for target in found)
    assert [target.id for target in found] == list(TPUS)


@pytest.mark.slow
@pytest.mark.parametrize("name", TPUS)
def test_a_program_is_captured_for_every_tpu(name: str) -> None:
    if importlib.util.find_spec("libtpu") is None:
        pytest.skip("needs the extra xla-tpu")
    trace = cd.capture(EXAMPLE, target=name)
    assert trace.target == name
    assert trace.regions["trip_count"].tolist() == [1, 5]
    product = trace.kernels["family"].tolist().index("gemm")
    assert trace.kernels["flops_matrix"][product] == 2 * 128 * 32 * 32
    assert trace.kernels["compiler_cycles"][product] > 0
    assert trace.manifest["versions"]["libtpu"].startswith("0.0.42")
    assert cd.replay(trace, cd.machine(name)).kernel_time_s > 0
