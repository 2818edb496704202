"""Is what the README and the documentation say true?"""

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

import codesign as cd
from traces import schema_docs

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


def test_the_python_of_the_readme_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    _, code = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert sum(1 for line in code.splitlines() if line.strip()) <= 10
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "README.md", "exec"), {})
    assert "ms of kernels" in capsys.readouterr().out
    assert (tmp_path / "pareto.png").read_bytes().startswith(b"\x89PNG")


def test_the_readme_shows_what_its_first_command_prints() -> None:
    from codesign.cli.app import app

    (command,) = re.findall(r"^codesign (replay .*?) +#", README, re.MULTILINE)
    (shown,) = re.findall(r"```text\n(.*?)```", README, re.DOTALL)
    printed = CliRunner().invoke(app, command.split()).stdout.partition("Kernel time\n")[0].split()
    assert len(shown.split()) == len(printed)
    for said, true in zip(shown.split(), printed, strict=True):
        is_number = re.fullmatch(r"[\d.]+", said)
        assert float(said) == pytest.approx(float(true), rel=0.05) if is_number else said == true


def test_the_first_program_of_the_readme_is_the_example_that_is_captured() -> None:
    own, _ = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert (ROOT / "docs" / "examples" / "first.py").read_text(encoding="utf-8").endswith(f'"""\n\n{own}')


def test_the_readme_lists_every_command() -> None:
    from codesign.cli.app import app

    listed = re.findall(r"^\| `codesign (\w+)", README, re.MULTILINE)
    assert listed == [command.name or command.callback.__name__ for command in app.registered_commands if command.callback]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8"))
    assert [link for link in links if "://" not in link and not (page.parent / link).exists()] == []


def test_the_examples_of_the_help_are_commands() -> None:
    from codesign.cli.app import app

    for command in app.registered_commands:
        example = str(command.epilog).removeprefix("Example: codesign ").split()
        options = set(re.findall(r"(?<!\S)(-{1,2}\w[\w-]*)", " ".join(example)))
        assert options <= set(re.findall(r"-{1,2}\w[\w-]*", CliRunner().invoke(app, [example[0], "--help"]).stdout))


def test_the_page_of_the_schema_is_made_from_the_schema() -> None:
    assert (ROOT / "docs" / "schema.md").read_text(encoding="utf-8") == schema_docs.page()


def test_the_changelog_and_the_citation_name_this_version() -> None:
    changelog = re.findall(r"^## (\S+) – (\S+)$", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    citation = dict(re.findall(r"^(version|date-released): (\S+)$", (ROOT / "CITATION.cff").read_text(encoding="utf-8"), re.MULTILINE))
    assert changelog[0] == (cd.__version__, citation["date-released"])
    assert citation["version"] == cd.__version__
