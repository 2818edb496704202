"""Does each package depend only on those above it?"""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
ORDER = ("traces", "arch", "schedulers", "codesign", "studies")


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """Yield line and full name of every import in a file, those inside functions and under TYPE_CHECKING too."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: imports must be absolute"
            yield node.lineno, node.module or ""


def sources(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


@pytest.mark.parametrize("package", ORDER)
def test_a_package_imports_only_itself_and_those_above(package: str) -> None:
    forbidden = {*ORDER[ORDER.index(package) + 1 :], "tests", "benchmarks"}
    found = [
        f"{p.relative_to(ROOT)}:{line} imports {name}"
        for p in sources(package)
        for line, name in imports(p)
        if name.split(".")[0] in forbidden
    ]
    assert sources(package)
    assert found == []


def test_studies_use_the_public_names_only() -> None:
    ours = {*ORDER} - {"studies"}
    allowed = {"codesign", "codesign.errors", "codesign.testing"}
    found = [
        f"{p.relative_to(ROOT)}:{line} imports {name}"
        for p in sources("studies")
        for line, name in imports(p)
        if name.split(".")[0] in ours and name not in allowed
    ]
    assert found == []


def test_traces_knows_no_hardware() -> None:
    """No number of a device may stand in traces: what a compiler must know comes in a CompileTarget."""
    found = [str(p) for p in sources("traces") for _, name in imports(p) if name.split(".")[0] == "arch"]
    assert found == []
