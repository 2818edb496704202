"""Does the page about replay run as it stands?"""

import re
from pathlib import Path

import codesign as cd
from codesign.engine.program import Program
from tests.replay_cases import chain
from tests.replay_toys import Fixed, toy

PAGE = Path(__file__).parents[1] / "docs" / "replay.md"


def blocks() -> list[str]:
    return re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)


def test_the_examples_in_python_run() -> None:
    machine = toy(Fixed("gpu", "a5000-memory", (10,)), Fixed("aim-fp32", "a5000-memory", (5,)), bandwidth=1e12)
    names = {"trace": chain(), "machine": machine, "cd": cd}
    for block in blocks()[1:]:
        exec(block, names)
    assert names["run"].time_ps >= 20_000_000  # type: ignore[attr-defined]
    assert isinstance(names["builder"].build(), Program)  # type: ignore[attr-defined]
