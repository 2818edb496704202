"""How far is ResNet-50 from what was published, and does that difference grow?"""

import pytest

pytest.importorskip("torch", reason="needs the extra torch")

from studies import resnet50
from studies.resnet50 import RUNS, images_per_s, main, network

KNOWN = (1.12, 0.90, 0.93, 0.68, 1.16, 1.09, 1.18, 1.73)
"""Ours over published when this was written."""


@pytest.mark.parametrize("number", [0, 1, 3, 6])
def test_the_difference_to_a_published_run_does_not_grow(number: int) -> None:
    ratio = images_per_s(RUNS[number]) / RUNS[number].published
    assert abs(ratio - 1) < abs(KNOWN[number] - 1) + 0.03, ratio


def test_the_network_has_the_published_parameters() -> None:
    """25,557,032: He et al.'s network in every framework."""
    assert sum(parameter.numel() for parameter in network().parameters()) == 25_557_032


def test_the_table_is_printed(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resnet50, "RUNS", RUNS[2:3])
    main()
    assert "1,190" in capsys.readouterr().out
