"""Does nothing but our own errors come of random machines and programs, and do both engines agree on them?"""

from pathlib import Path

from tests.fuzz import BLOCK, FEATURES, fuzz


def test_five_thousand_random_programs() -> None:
    seen = fuzz(seed=0, first=0, count=5000)
    assert seen["programs"] == 5000
    assert all(seen[feature] > 100 for feature in FEATURES), seen


def test_a_run_that_was_ended_goes_on(tmp_path: Path) -> None:
    state = tmp_path / "fuzz.json"
    first = BLOCK - 100  # what was done is kept at the end of a block
    fuzz(seed=1, first=first, count=100, state=state)
    assert fuzz(seed=1, first=first, count=150, state=state) == fuzz(seed=1, first=first, count=150)
