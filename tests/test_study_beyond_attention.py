"""Does the study of support beyond attention keep its numbers, and do ceilings and extensions keep their order?"""

import re
from pathlib import Path

import numpy as np
import pytest

import codesign as cd
from studies import beyond_attention as study

PAGE = Path(__file__).parents[1] / "docs" / "accelerators.md"


def documented() -> dict[str, list[float]]:
    """Return the speed-ups on the A5000 that the page states, by ansatz, in the order of ``outcomes``."""
    lines = [line for line in PAGE.read_text().splitlines() if re.match(r"\| .* \|( \d\.\d\d, \d\.\d\d \|){4}", line)]
    return {name: [float(line.split("|")[column].split(",")[0]) for line in lines] for column, name in enumerate(study.ANSATZE, start=2)}


@pytest.mark.parametrize("ansatz", study.ANSATZE)
def test_the_documented_speedups_hold(ansatz: str) -> None:
    """Within a tenth of each gain or three points, whichever is more: the GPU model's constants are fitted anew from time to time."""
    found, known = study.outcomes(ansatz), documented()[ansatz]
    assert [o.variant for o in found] == list(study.COLOURS)
    for outcome, said in zip(found, known, strict=True):
        assert outcome.speedup - 1 == pytest.approx(said - 1, rel=0.1, abs=0.03), outcome.variant


@pytest.mark.parametrize("ansatz", study.ANSATZE)
def test_no_extension_beats_the_ceiling_of_all_that_it_takes_and_no_step_costs_more_energy(ansatz: str) -> None:
    by_name = {o.variant: o for o in study.outcomes(ansatz)}
    ceiling = by_name["all but products, attention, solvers free"].speedup
    for name in (*study.EXTENSIONS, "all three"):
        assert 1 <= by_name[name].speedup <= ceiling
        assert by_name[name].energy < 1
        assert by_name[name].area_mm2 > 0
    assert by_name["all three"].speedup >= max(by_name[name].speedup for name in study.EXTENSIONS)


def test_the_survey_is_right_that_attention_alone_gives_orbformer_less_than_a_fifth() -> None:
    """Section IV-D: less than 20 % of a step of sampling; here of a whole step, and with attention that takes no time."""
    fused = study.outcomes("orbformer")[0]
    assert fused.variant == "fused attention kernels free"
    assert 1.1 < fused.speedup < 1.2


def test_a_free_kernel_is_one_that_takes_nothing() -> None:
    trace, gpu = study.step("orbformer", study.MOLECULE), cd.machine("a5000").devices[0]
    free = study.Free(gpu, study.fused_attention)
    alone = cd.replay(trace, cd.machine("a5000"), record=False)
    chosen = study.fused_attention(trace.kernels)
    assert 0 < chosen.sum() < len(chosen)
    assert not study.fused_attention(study.step("ferminet", study.MOLECULE).kernels).any()
    share = alone.by_group["family"]["attention"]
    time = cd.replay(trace, study.without(cd.machine("a5000"), study.fused_attention), record=False).kernel_time_s
    assert time == pytest.approx(alone.kernel_time_s * (1 - share), rel=1e-6)
    assert free.id == gpu.id
    assert np.all(study.attention_blocks(trace.kernels)[chosen])


def test_the_figure_draws_a_bar_a_variant_and_ansatz() -> None:
    axes = study.figure().axes[0]
    assert len(axes.patches) == len(study.ANSATZE) * len(study.COLOURS)
    assert [label.get_text() for label in axes.get_xticklabels()] == list(study.ANSATZE.values())
