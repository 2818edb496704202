"""Is the project put together as it says?"""

import os
import re
import subprocess
import sys
import tomllib
import venv
from pathlib import Path

import pytest

import codesign

ROOT = Path(__file__).resolve().parents[1]
HEAVY = ("jax", "torch", "optuna", "matplotlib", "pandas", "numba", "scipy", "networkx", "pyarrow", "simpy", "deepqmc")
EXTRAS = ("torch", "deepqmc", "folx", "kfac_jax", "flatbuffers", "jax_plugins", "libtpu")
"""What the extras bring."""


def run(code: str, cwd: Path = ROOT, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], cwd=cwd, env={**os.environ, **env}, capture_output=True, text=True, check=False)


def test_importing_codesign_loads_nothing_heavy() -> None:
    done = run(f"import codesign, sys; print([m for m in {HEAVY!r} if m in sys.modules])")
    assert done.stdout.strip() == "[]", done.stderr


def test_every_public_name_can_be_imported_and_there_are_at_most_25() -> None:
    assert len(codesign.__all__) <= 25
    assert sorted(codesign.__all__) == codesign.__all__
    for name in codesign.__all__:
        assert getattr(codesign, name) is not None
    assert set(codesign.__all__) <= set(dir(codesign))


def test_the_public_names_are_those_of_the_documentations_table() -> None:
    table = re.findall(r"^\| `(\w+)` \|", (ROOT / "docs" / "api.md").read_text(), re.MULTILINE)
    assert sorted(table) == codesign.__all__


def test_a_public_name_stays_a_function_after_its_modules_are_imported() -> None:
    done = run(
        "import codesign.engine, codesign.figures, codesign.search, codesign.cli, codesign as cd\n"
        "assert all(callable(f) for f in (cd.replay, cd.plot, cd.report, cd.explore, cd.capture, cd.machine))"
    )
    assert done.returncode == 0, done.stderr


def test_an_unknown_public_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'replya'"):
        _ = codesign.replya


def test_another_projects_package_of_the_same_name_is_named(tmp_path: Path) -> None:
    (tmp_path / "arch").mkdir()
    (tmp_path / "arch" / "__init__.py").write_text("")
    done = run("import codesign", cwd=tmp_path, PYTHONPATH=str(tmp_path))
    assert "the package 'arch' must be codesign's own" in done.stderr
    assert "pip uninstall arch" in done.stderr


def test_constraints_hold_names_and_versions_only() -> None:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    wrong = [line for line in lines if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*==[0-9][A-Za-z0-9.!]*", line)]
    assert len(lines) > 50
    assert wrong == []


def test_constraints_pin_what_the_project_names() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = project["dependencies"] + [line for extra in project["optional-dependencies"].values() for line in extra]
    names = {re.split(r"[^A-Za-z0-9._-]", line)[0].lower().replace("_", "-") for line in wanted}
    pinned = {line.split("==")[0].lower().replace("_", "-") for line in (ROOT / "constraints.txt").read_text().splitlines()}
    assert names - pinned == set()


def test_extras_pin_jaxs_plugin_to_jaxs_own_version() -> None:
    pinned = dict(line.split("==") for line in (ROOT / "constraints.txt").read_text().splitlines())
    assert pinned["jax"] == pinned["jaxlib"] == pinned["jax-cuda12-plugin"] == pinned["jax-cuda12-pjrt"]


def test_a_wheel_works_without_extras_outside_the_clone(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path), str(ROOT)]
    subprocess.run(build, check=True, capture_output=True, text=True)
    (wheel,) = tmp_path.glob("codesign-*.whl")
    python = fresh_environment(tmp_path / "fresh")
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--no-index", "--no-deps", "--ignore-installed", str(wheel)]
    subprocess.run(pip, check=True, capture_output=True, text=True)
    command = python.with_name("codesign")
    done = subprocess.run([command, "machines", "a5000+aim", "--json"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert '"a5000+aim"' in done.stdout
    code = (
        f"import sys; sys.modules.update(dict.fromkeys({EXTRAS!r}))\n"  # importing them fails
        "import codesign\n"
        "print(codesign.__file__, codesign.load('ferminet-lih-a5000').launches > 0, codesign.machine('a5000').id)"
    )
    done = subprocess.run([python, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    where, *ran = done.stdout.split()
    assert ran == ["True", "a5000"]
    assert Path(where).is_relative_to(tmp_path)


def fresh_environment(folder: Path) -> Path:
    """Make an environment in which this one's dependencies can be imported, but not the clone; return its Python."""
    venv.create(folder)
    (site,) = folder.glob("lib/python*/site-packages")
    (site / "dependencies.pth").write_text("\n".join(path for path in sys.path if path.endswith("site-packages")))
    return folder / "bin" / "python"
