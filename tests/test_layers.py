"""Does each package depend only on those above it?"""

import ast
from collections.abc import Iterator
from pathlib import Path

import networkx
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


def modules() -> dict[str, Path]:
    """Return the file of every module of ours by its full name."""
    found = {path.relative_to(ROOT).with_suffix(""): path for package in ORDER for path in sources(package)}
    return {".".join(name.parts[:-1] if name.name == "__init__" else name.parts): path for name, path in found.items()}


def run_time_imports(node: ast.AST, known: dict[str, Path]) -> Iterator[str]:
    """Yield our modules that a module imports when it runs, inside functions too, but not for annotations only."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            continue
        if isinstance(child, ast.Import):
            yield from (alias.name for alias in child.names if alias.name in known)
        elif isinstance(child, ast.ImportFrom):
            base = child.module or ""
            yield from (name if (name := f"{base}.{alias.name}") in known else base for alias in child.names if base.split(".")[0] in ORDER)
        else:
            yield from run_time_imports(child, known)


def test_no_modules_import_each_other_in_a_circle() -> None:
    """``codesign`` itself does not count: its names are imported when they are first used, wherever they live."""
    known = modules()
    graph = networkx.DiGraph()
    for name, path in known.items():
        graph.add_edges_from((name, other) for other in run_time_imports(ast.parse(path.read_text()), known) if other != name)
    graph.remove_node("codesign")
    assert [sorted(circle) for circle in networkx.strongly_connected_components(graph) if len(circle) > 1] == []


def test_no_module_imports_another_ones_private_names() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{node.lineno} imports {alias.name} of {node.module}"
        for path in modules().values()
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in ORDER
        for alias in node.names
        if alias.name.startswith("_") and not alias.name.startswith("__")
    ]
    assert found == []


def test_what_several_files_of_tests_need_is_in_none_of_them() -> None:
    found = [
        f"{path.name}:{line} imports {name}" for path in sources("tests") for line, name in imports(path) if name.startswith("tests.test_")
    ]
    assert found == []
