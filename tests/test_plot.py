"""Do the figures show what they should, and can everybody read them?"""

from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from numpy.typing import NDArray

from codesign.figures import breakdown, designs, memory, queues, roofline, style
from codesign.figures.notebook import NotebookFigure
from traces.errors import CodesignError
from traces.schema import FAMILIES

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Floats = NDArray[np.float64]

# Machado, Oliveira and Fernandes (2009), severity 1.0, on linear RGB.
EYES = {
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
    "full colour vision": [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
}
TO_XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])


def seen(colour: str, eye: str) -> Floats:
    """Return the CIELAB coordinates of a colour as an eye sees it."""
    from matplotlib.colors import to_rgb

    encoded = np.array(to_rgb(colour))
    linear = np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)
    xyz = TO_XYZ @ np.clip(np.array(EYES[eye]) @ linear, 0, 1) / np.array([0.9505, 1.0, 1.089])
    f = np.where(xyz > 216 / 24389, np.cbrt(xyz), (24389 / 27 * xyz + 16) / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def distance(a: str, b: str, eye: str) -> float:
    return float(np.linalg.norm(seen(style.COLOURS[a], eye) - seen(style.COLOURS[b], eye)))


@pytest.mark.parametrize("eye", EYES)
def test_families_that_touch_in_a_stack_stay_apart_for_every_eye(eye: str) -> None:
    """A difference of 10 in CIELAB is plain to see between areas that touch."""
    near = {(a, b): distance(a, b, eye) for a, b in zip(style.STACK, style.STACK[1:], strict=False)}
    assert min(near.values()) > 10, min(near, key=near.__getitem__)


@pytest.mark.parametrize("eye", EYES)
def test_the_seven_main_families_stay_apart_for_every_eye(eye: str) -> None:
    near = {pair: distance(*pair, eye) for pair in combinations(style.STACK[:7], 2)}
    assert min(near.values()) > 10, min(near, key=near.__getitem__)


def test_every_family_has_a_colour_and_a_marker_of_its_own() -> None:
    assert set(style.COLOURS) == set(style.MARKERS) == set(style.STACK) == set(FAMILIES)
    assert len(set(style.COLOURS.values())) == len(set(style.MARKERS.values())) == len(FAMILIES)


def test_text_on_every_colour_has_the_contrast_of_large_text() -> None:
    def luminance(colour: str) -> float:
        return float(((seen(colour, "full colour vision")[0] + 16) / 116) ** 3)

    for colour in style.COLOURS.values():
        low, high = sorted((luminance(colour), luminance(style.ink_on(colour))))
        assert (high + 0.05) / (low + 0.05) > 4.5, colour


def test_a_bar_has_phases_in_order_and_families_in_stack_order() -> None:
    bar = breakdown.bar_of(
        "x", {("b", "lu"): 0.1, ("b", "gemm"): 0.2, ("a", "elementwise+slice_concat"): 0.3, ("a", ""): 0.4, ("a", "copy"): 0.0}
    )
    assert [(s.phase, s.families) for s in bar.segments] == [
        ("b", ("gemm",)),
        ("b", ("lu",)),
        ("a", ("elementwise", "slice_concat")),
        ("a", ()),
    ]


def drawn_texts(figure: "Figure") -> list[str]:
    figure.draw_without_rendering()
    return [t.get_text() for axes in figure.axes for t in axes.texts]


def test_the_breakdown_writes_phases_and_shares() -> None:
    ours = breakdown.bar_of("FermiNet", {("sampling", "gemm"): 0.25, ("laplacian", "gemm"): 0.75})
    survey = breakdown.bar_of("survey", {("sampling", ""): 0.28, ("rest", "gemm"): 0.72}, published=True)
    texts = drawn_texts(breakdown.breakdown([ours, survey]))
    assert texts == ["25", "75", "sampling 25 %", "laplacian 75 %", "28", "72"]


def test_names_of_narrow_phases_do_not_overlap() -> None:
    bar = breakdown.bar_of("x", {(phase, "gemm"): share for phase, share in (("sampling", 0.05), ("forward", 0.05), ("laplacian", 0.9))})
    figure = breakdown.breakdown([bar])
    figure.draw_without_rendering()
    renderer = figure._get_renderer()  # type: ignore[attr-defined]
    boxes = [t.get_window_extent(renderer) for t in figure.axes[0].texts if "%" in t.get_text()]
    assert len(boxes) == 3
    assert not any(a.overlaps(b) for a, b in combinations(boxes, 2))


def test_the_busy_fraction_of_a_slice_is_what_operations_cover() -> None:
    start, end = np.array([0.0, 1.5, 3.0]), np.array([1.0, 2.5, 4.0])
    assert queues.busy_fraction(start, end, np.linspace(0, 4, 5)).tolist() == [1.0, 0.5, 0.5, 1.0]
    assert queues.busy_fraction(np.array([]), np.array([]), np.linspace(0, 4, 5)).tolist() == [0.0, 0.0, 0.0, 0.0]


def operations(count: int = 100) -> queues.Operations:
    queue = np.array([1 if i % 10 == 9 else 0 for i in range(count)])
    family = np.where(queue == 1, "hand-over", "gemm").astype(object)
    start = np.arange(count) * 1e-5
    return queues.Operations(("GPU", "hand-over"), queue, start, start + 8e-6, family)


def test_the_window_holds_the_queue_that_is_used_least() -> None:
    made = operations()
    low, high = queues.default_window(made)
    rare = made.queue == 1
    assert np.any(rare & (made.start >= low) & (made.end <= high))
    assert 50 <= np.sum((made.start >= low) & (made.end <= high)) <= 62


@pytest.mark.parametrize("window", [(2e-4, 1e-4), (1e-4, 1e-4), (-1.0, 1.0), (float("nan"), 1.0), (0.0, float("inf"))])
def test_a_window_that_is_none_is_refused(window: tuple[float, float]) -> None:
    with pytest.raises(CodesignError, match="`0 <= from < to` must hold"):
        queues.timeline(operations(), window=window)


def test_only_a_timeline_has_a_window() -> None:
    import arch
    from codesign.figures import plot

    with pytest.raises(CodesignError, match="the figure is 'graph'; leave the window out"):
        plot(arch.machine("a5000"), window=(0.0, 1.0))


def test_the_title_of_a_timeline_fits_beside_long_names_of_queues() -> None:
    made, link = operations(), "pcie4: a5000-memory to aim-fp32-memory"
    figure = queues.timeline(
        replace(made, names=("a5000", link)), title="ferminet on a5000+aim-fp32@link (hypothetical), intensity-threshold: 859 ms"
    )
    figure.canvas.draw()
    title = figure._suptitle  # type: ignore[attr-defined]
    box = title.get_window_extent()
    assert box.x0 >= 0
    assert box.x1 <= figure.bbox.x1


def test_the_timeline_names_its_queues_and_marks_the_window() -> None:
    figure = queues.timeline(operations(), window=(1e-4, 2e-4))
    whole, zoomed = figure.axes
    assert [t.get_text() for t in whole.get_yticklabels()] == ["GPU", "hand-over"]
    assert zoomed.get_xlim() == (1e-4, 2e-4)
    assert "100 µs" in zoomed.get_xlabel()


def test_an_empty_timeline_can_be_drawn() -> None:
    nothing = queues.Operations(("GPU",), *(np.array([], dtype=t) for t in (np.int64, np.float64, np.float64, object)))
    assert len(queues.timeline(nothing).axes) == 2


def test_the_roofline_says_how_much_time_has_no_place_in_it() -> None:
    points = roofline.Points(
        np.array([0.5, 0.0, 1e-8, 50.0]),
        np.array([1e11, 0.0, 1e4, 1e13]),
        np.array([0.5, 0.1, 0.1, 0.3]),
        np.array(["reduce", "copy", "slice_concat", "gemm"], dtype=object),
    )
    figure = roofline.roofline(points, [roofline.Roof("roof", 2e13, 7e11)])
    assert drawn_texts(figure) == ["roof"]
    assert "not shown: 20 % of the time in kernels without DRAM traffic" in figure.legends[0].get_title().get_text()


def test_kernels_of_next_to_no_time_do_not_widen_the_roofline() -> None:
    share = np.array([0.995, 0.004, 0.001])
    points = roofline.Points(np.array([1.0, 1.0, 1e-2]), np.array([1e11, 1e10, 1.0]), share, np.array(["gemm"] * 3, dtype=object))
    assert points.important().share.tolist() == [0.995]
    assert "2 kernels with together 1 %" in roofline.roofline(points, []).legends[0].get_title().get_text()


def test_families_that_nobody_could_see_are_other() -> None:
    bar = breakdown.bar_of("x", {("a", "gemm"): 0.99, ("a", "lu"): 0.004, ("b", "sort"): 0.004, ("b", "gemm"): 0.002})
    assert [(s.phase, s.families, s.share) for s in bar.segments if s.families != ("gemm",)] == [
        ("a", ("other",), 0.004),
        ("b", ("other",), 0.004),
    ]


def test_the_roofline_draws_a_point_a_kernel_below_the_roof() -> None:
    points = roofline.Points(
        np.array([0.5, 50.0]), np.array([1e11, 1e13]), np.array([0.5, 0.5]), np.array(["reduce", "gemm"], dtype=object)
    )
    axes = roofline.roofline(points, [roofline.Roof("roof", 2e13, 7e11)]).axes[0]
    drawn = sorted(tuple(xy) for c in axes.collections for xy in np.asarray(c.get_offsets()))
    assert drawn == [(0.5, 1e11), (50.0, 1e13)]
    assert axes.lines[0].get_ydata()[-1] == 2e13  # type: ignore[index]


def test_products_are_drawn_under_the_roof_of_the_unit_that_computes_them() -> None:
    import arch
    from codesign.figures import views
    from traces import load

    in_bf16 = views.roofs(arch.machine("h100-sxm"), load("llama-3-8b-h200"))
    assert [(roof.peak / 1e12, roof.dashed) for roof in in_bf16] == [
        (pytest.approx(67, rel=0.01), False),
        (pytest.approx(989, rel=0.01), True),
    ]
    in_fp32 = views.roofs(arch.machine("a5000"), load("ferminet-ch4-a5000"))
    assert len(in_fp32) == 1


def test_many_equal_gpus_are_a_grid_whose_foot_says_how_they_are_joined() -> None:
    import arch
    from codesign.figures import plot

    figure = plot(arch.machine("8xh100-sxm"))
    (axes,) = figure.axes
    texts = [text.get_text() for text in axes.texts]
    assert sum(text.startswith("h100-sxm-memory-") for text in texts) == 8
    assert not any("nvlink4-" in text for text in texts)
    assert any("every two joined: 378 GB/s one way, 749 GB/s both ways, 800 ns" in text for text in texts)


def test_what_each_of_many_equal_gpus_has_hangs_below_it() -> None:
    import arch
    from codesign.figures import plot

    figure = plot(arch.machine("4xa100-sxm-80gb+attacc-bank@nvlink3"))
    (axes,) = figure.axes
    at = {text.get_text(): text.get_position() for text in axes.texts}
    for i in range(4):
        gpu, pim = at[f"a100-sxm-80gb-{i}"], at[f"attacc-bank-{i}"]
        assert gpu[0] == pim[0]
        assert gpu[1] > pim[1]
    drawn = [text for text in at if text.startswith("nvlink3-")]
    assert sorted(text.splitlines()[0] for text in drawn) == [f"nvlink3-pim-{i}" for i in range(4)]
    assert any("every two GPUs joined: 279 GB/s one way" in text for text in at)


def test_memory_names_peak_and_capacity() -> None:
    figure = memory.memory([memory.Filling("GDDR6", np.array([0.0, 1.0, 2.0]), np.array([1e9, 6e9, 2e9]), 24e9)])
    assert drawn_texts(figure) == ["GDDR6: peak 6.00 GB of 24.0 GB, 25.0 %"]


def test_the_front_is_a_staircase_and_hypothetical_designs_are_hollow() -> None:
    values = np.array([[1.0, 4.0], [2.0, 2.0], [3.0, 3.0]])
    front = np.array([True, True, False])
    figure = designs.pareto(
        [designs.Cloud("a", values, front, bound=0.5), designs.Cloud("b", values + 1, front, hypothetical=True)],
        (designs.Objective("time", "s"), designs.Objective("energy", "J")),
    )
    axes = figure.axes[0]
    assert axes.lines[0].get_xydata().tolist() == [[1.0, 4.0], [2.0, 2.0]]  # type: ignore[union-attr]
    labels = [t.get_text() for t in figure.legends[0].get_texts()]
    assert labels == ["a", "lower bound 500 ms", "b (hypothetical)"]
    assert len(axes.collections[1].get_facecolor()) == 1
    assert len(axes.collections[3].get_facecolor()) == 0


def test_replays_stand_beside_the_first_with_their_whole_time_and_doubt(tmp_path: Path) -> None:
    from codesign.figures import default_kind, plot
    from codesign.reading import read
    from tests.command_line import run

    run("replay", "ferminet-lih-a5000", "-m", "a5000", "-m", "h100", "-o", tmp_path / "both.json")
    first, second = timelines = read(tmp_path / "both.json")
    assert default_kind(timelines) == "times"
    (axes,) = plot(timelines).axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["a5000", "h100-sxm"]
    assert f"{first.time_s / second.time_s:.2f}×" in drawn_texts(axes.figure)[1]
    lengths = [sum(bar.get_width() for bar in axes.patches if round(bar.get_y() + bar.get_height() / 2) == place) for place in (0, 1)]
    assert lengths[1] / lengths[0] == pytest.approx(second.kernel_time_s / first.kernel_time_s)


def test_progress_draws_the_best_so_far() -> None:
    figure = designs.progress(np.array([3.0, np.nan, 1.0, 2.0]), designs.Objective("time", "s"))
    assert figure.axes[0].lines[0].get_ydata().tolist() == [3.0, 3.0, 1.0, 1.0]  # type: ignore[union-attr]
    assert figure.legends[0].get_title().get_text() == "of 4 designs 1 cannot run or break the budget"


def test_a_notebook_draws_a_figure_without_pyplot() -> None:
    figure = style.canvas(3.0)[0]
    assert isinstance(figure, NotebookFigure)
    picture, size = figure._repr_png_()
    assert picture.startswith(b"\x89PNG")
    assert size == {"width": 768, "height": 288}


def test_figures_leave_matplotlib_as_it_was() -> None:
    import matplotlib
    from matplotlib import pyplot

    before = dict(matplotlib.rcParams)
    queues.timeline(operations())
    assert dict(matplotlib.rcParams) == before
    assert pyplot.get_fignums() == []


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (0.1834, "s", "183 ms"),
        (0.9996, "s", "1.00 s"),
        (27.8e12, "FLOP/s", "27.8 TFLOP/s"),
        (0.0, "B", "0 B"),
        (None, "J", "—"),
        (3.2e-13, "s", "0.320 ps"),
    ],
)
def test_units_show_three_digits_under_an_si_prefix(value: float | None, unit: str, text: str) -> None:
    from traces.si import show

    assert show(value, unit) == text


def machine_texts(name: str) -> list[str]:
    import arch
    from codesign.figures import plot

    return drawn_texts(plot(arch.machine(name)))


def test_a_machine_shows_devices_memories_and_links_with_their_rates() -> None:
    texts = machine_texts("a5000+aim-fp32@link")
    assert {"a5000", "gpu", "a5000-memory", "24 GiB", "768 GB/s", "aim-fp32", "pim", "hypothetical", "16 GiB"} <= set(texts)
    assert "pcie4\n→ 24.8 GB/s\n← 24.8 GB/s\nboth 22.0 GB/s\n1.00 µs" in texts


def test_an_ssd_shows_both_directions_and_its_latency() -> None:
    texts = machine_texts("t4+cpu+dram+ssd")
    assert {"reads 6.80 GB/s", "writes 4.00 GB/s", "80.0 µs"} <= set(texts)
    assert "nvme-gen4-link\n→ 4.00 GB/s\n← 6.80 GB/s\nboth 6.80 GB/s\n80.0 µs" in texts


def test_a_hand_over_is_shown_at_its_device() -> None:
    assert {"hand-over 361 GB/s", "+ 4.37 µs"} <= set(machine_texts("a5000+aim"))


@pytest.mark.parametrize(
    "name",
    [
        "8xh100-sxm",
        "a5000",
        "a5000+layout-engine+near-l2+fused-chains+sn40l",
        "t4+cpu+dram+ssd",
        "a5000+aim-fp32@link+cpu+dram+ssd",
        "a100+duplex",
    ],
)
def test_no_text_of_a_machine_leaves_its_figure_or_covers_another(name: str) -> None:
    import arch
    from codesign.figures import plot

    figure = plot(arch.machine(name))
    figure.draw_without_rendering()
    renderer = figure._get_renderer()  # type: ignore[attr-defined]
    boxes = [t.get_window_extent(renderer) for t in figure.axes[0].texts]
    width, height = figure.get_size_inches() * figure.dpi
    assert width == 1200
    assert all(box.x0 >= 0 and box.y0 >= 0 and box.x1 <= width and box.y1 <= height for box in boxes)
    assert not any(a.overlaps(b) for a, b in combinations((box.shrunk(0.96, 0.8) for box in boxes), 2))


def test_only_hypothetical_devices_are_dashed_and_hollow() -> None:
    import arch
    from codesign.figures import plot

    figure = plot(arch.machine("a5000+aim-fp32@link"))
    hollow = [p for p in figure.axes[0].patches if p.get_linestyle() == "--" and p.get_facecolor() == (1.0, 1.0, 1.0, 1.0)]
    assert (len(hollow), len(figure.axes[0].patches)) == (1, 4)


def test_extensions_say_what_they_are_built_into_and_a_gpu_which_chains_it_fuses() -> None:
    texts = machine_texts("a5000+layout-engine+near-l2+fused-chains")
    assert {"layout-engine", "near-l2", "with fused-chains"} <= set(texts)
    assert texts.count("32 units in a5000") == 2


def test_a_picture_of_a_machine_is_written_by_its_extension(tmp_path: Path) -> None:
    from typer.testing import CliRunner

    from codesign.cli.app import app

    for ending, magic in (("png", b"\x89PNG"), ("svg", b"<?xml"), ("pdf", b"%PDF"), ("json", b"{")):
        path = tmp_path / f"machine.{ending}"
        done = CliRunner().invoke(app, ["machines", "a5000+aim", "-o", str(path)])
        assert done.exit_code == 0, done.output
        assert path.read_bytes().startswith(magic)
        assert "Not modelled" in done.stdout
    done = CliRunner().invoke(app, ["machines", "-o", str(tmp_path / "all.png")])
    assert done.exit_code == 2
    assert "a picture shows one machine" in " ".join(done.stderr.split())
    assert not (tmp_path / "all.png").exists()
