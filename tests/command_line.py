"""Commands as a user gives them, run in this process."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from codesign.cli.app import app

ENVELOPE = ["kind", "schema_version", "codesign_version", "command", "seed"]


def run(*arguments: str | Path) -> Any:
    """Run a command; return its exit status, standard output and standard error."""
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def document(*arguments: str | Path) -> dict[str, Any]:
    """Run a command with --json; return its one document, after checking that it is one and that its head is right."""
    done = run(*arguments, "--json")
    assert done.exit_code == 0, done.output
    found: dict[str, Any] = json.loads(done.stdout, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert list(found)[:5] == ENVELOPE
    assert found["command"] == ["codesign", *map(str, arguments), "--json"]
    return found


def refusal(*arguments: str | Path) -> str:
    """Run a command that must fail; return its message, after checking exit status 2, no traceback and an empty stdout."""
    done = run(*arguments)
    assert done.exit_code == 2, done.output
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    return " ".join(done.stderr.split())
