"""Can a program be captured where its code is not: a file of jax.export, its bytes, or the object?"""

import json
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import pytest

import codesign as cd
from tests.command_line import run
from tests.targets import A5000
from traces import Trace
from traces.capture import capture, capture_exported
from traces.errors import CaptureError

EXAMPLE = Path(__file__).parents[1] / "docs" / "examples" / "step.bin"


def chain(a: Any, b: Any) -> Any:
    return jnp.tanh(a @ b).sum(axis=1)


def shape(*sizes: int, dtype: Any = jnp.float32) -> Any:
    return jax.ShapeDtypeStruct(sizes, dtype)


def exported(function: Any = chain, *args: Any, platforms: tuple[str, ...] = ("cuda",)) -> Any:
    from jax import export

    return export.export(jax.jit(function), platforms=platforms)(*(args or (shape(128, 64), shape(64, 64))))


@pytest.fixture(scope="module")
def example() -> Trace:
    return cd.capture(EXAMPLE, target="a5000")


def test_an_exported_program_is_the_program(tmp_path: Path) -> None:
    path = tmp_path / "chain.bin"
    path.write_bytes(exported().serialize())
    trace = capture_exported(path, target=A5000, program="chain")
    direct = capture(chain, (shape(128, 64), shape(64, 64)), target=A5000)
    assert trace.program == "chain"
    for column in ("name", "family", "flops_matrix", "flops_vector", "bytes_unique", "grid_x", "registers"):
        assert trace.kernels[column].tolist() == direct.kernels[column].tolist()


def test_the_example_keeps_its_phases_and_loop(example: Trace) -> None:
    assert example.program == "step"
    assert set(example.kernels["phase"].tolist()) >= {"recurrence", "norm"}
    assert example.regions["trip_count"].tolist() == [1, 5]
    product = example.kernels["family"].tolist().index("gemm")
    assert example.kernels["phase"][product] == "recurrence"
    assert example.kernels["flops_matrix"][product] == 2 * 128 * 32 * 32


def test_arguments_are_named_by_their_paths(example: Trace) -> None:
    parameters = example.tensors["name"][example.tensors["kind"] == "parameter"].tolist()
    assert parameters == ["args[0]['b']", "args[0]['w']", "args[1]"]
    assert {"output['norm']", "output['rows']"} <= set(example.tensors["name"].tolist())


def test_bytes_and_the_object_are_taken_too(example: Trace) -> None:
    from jax import export

    blob = EXAMPLE.read_bytes()
    for given in (blob, export.deserialize(bytearray(blob)), str(EXAMPLE)):
        assert cd.capture(given, target="a5000").content_hash == example.content_hash


@pytest.mark.parametrize("more", [{"args": (1,)}, {"kwargs": {"a": 1}}, {"precision": "high"}], ids=str)
def test_what_the_program_holds_already_is_refused(more: dict[str, Any]) -> None:
    with pytest.raises(CaptureError, match="holds its shapes and its precision"):
        cd.capture(EXAMPLE, target="a5000", **more)


def test_programs_of_64_bits_are_captured_as_such() -> None:
    with jax.enable_x64(True):
        program = exported(chain, shape(8, 4, dtype=jnp.float64), shape(4, 4, dtype=jnp.float64))
    trace = cd.capture(program, target="a5000")
    assert "f64" in trace.kernels["dtype"].tolist()
    assert trace.manifest["x64"] is True


@pytest.mark.parametrize("cut", [0, 1, 10, 500, 2000, 2900])
def test_a_truncated_file_is_an_error_that_names_it(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "cut.bin"
    path.write_bytes(EXAMPLE.read_bytes()[:cut])
    with pytest.raises(CaptureError, match=r"cut\.bin must be what jax\.export's serialize\(\) returns, whole"):
        cd.capture(path, target="a5000")


@pytest.mark.parametrize(
    "content", [b"nonsense", b"\x7fELF" + bytes(5000), b"{}", bytes(range(256)) * 20], ids=["text", "elf", "json", "bytes"]
)
def test_foreign_bytes_are_an_error(content: bytes) -> None:
    with pytest.raises(CaptureError, match="serialize"):
        capture_exported(content, target=A5000)


def test_a_program_for_another_platform_is_an_error() -> None:
    with pytest.raises(CaptureError, match=r"is for cpu: export it again with jax\.export\.export\(f, platforms=\['cuda'\]\)"):
        capture_exported(exported(platforms=("cpu",)), target=A5000)


def test_sizes_that_are_not_fixed_are_an_error() -> None:
    from jax import export

    (n,) = export.symbolic_shape("n")
    with pytest.raises(CaptureError, match=r"must have fixed sizes, but its argument 0 is float32\[n, 64\]"):
        capture_exported(exported(chain, shape(n, 64), shape(64, 64)), target=A5000)


def test_a_file_that_is_not_there_is_an_error() -> None:
    with pytest.raises(CaptureError, match=r"must be a file that can be read, but nowhere\.bin"):
        cd.capture("nowhere.bin", target="a5000")


def test_the_command_captures_a_file(tmp_path: Path, example: Trace) -> None:
    done = run("capture", EXAMPLE, "--target", "a5000", "-o", tmp_path / "a.trace", "--json")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["kernels"] == len(example.kernels)
    assert cd.load(tmp_path / "a.trace").content_hash == example.content_hash


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("nowhere.bin",), "there is no nowhere.bin"),
        ((EXAMPLE, "--molecule", "CH4"), "an exported program has no options, but got molecule"),
        (("fermine",), "there is no workload 'fermine'"),
        ((Path(__file__).parents[1] / "README.md",), "must be what jax.export's serialize() returns"),
        ((Path(__file__),), "a Python program captures itself: call cd.capture(function, args, target='a5000')"),
    ],
    ids=["no file", "options", "no workload", "foreign", "program"],
)
def test_the_commands_errors(tmp_path: Path, arguments: tuple[str | Path, ...], message: str) -> None:
    done = run("capture", *arguments, "--target", "a5000", "-o", tmp_path / "a.trace")
    assert done.exit_code == 2
    assert message in done.stderr
    assert not list(tmp_path.iterdir())
