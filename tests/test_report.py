"""Is the report page whole, self-contained, and does it say what it should?"""

import base64
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

import codesign as cd
from codesign.figures import style
from codesign.html_figures import LARGE_BYTES, figure_html
from codesign.html_report import CSS
from traces import html
from traces.recordings import load_recorded

VOID = {"meta", "img", "br", "hr", "link", "input"}


class Page(HTMLParser):
    """Collects what a page links to, its texts by tag, and whether its tags nest."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.links: list[str] = []
        self.texts: dict[str, list[str]] = {}
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self.links += [str(value) for name, value in attrs if name in ("src", "href", "data", "action")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and data.strip():
            self.texts.setdefault(self.open[-1], []).append(data.strip())


@pytest.fixture(scope="module")
def trace() -> cd.Trace:
    return load_recorded("ferminet-lih-a5000")


@pytest.fixture(scope="module")
def page(trace: cd.Trace) -> Page:
    machine = cd.machine("a5000+aim-fp32")
    timeline = cd.replay(trace, machine)
    result = cd.explore(trace, machine, trials=4, seed=1)
    items = ["# A heading", "A text with <b> & more.", trace, timeline, result, machine, ("A table", ("name", "value"), [("x", "1.5")])]
    return Page(cd.report(items, title="A <title>"))


def test_the_page_needs_nothing_beside_itself(page: Page) -> None:
    assert page.links
    assert all(link.startswith("data:image/") for link in page.links)
    assert not {"script", "link", "iframe", "object"} & {tag for tag, _ in page.tags}
    assert not any("url(" in text or "@import" in text for text in page.texts["style"])


def test_every_figure_has_words_that_stand_for_it(page: Page) -> None:
    words = [attributes["alt"] for tag, attributes in page.tags if tag == "img"]
    assert len(words) == 6
    assert all(words)
    assert any("hypothetical" in str(text) for text in words)


def test_text_can_be_read_on_light_and_on_dark_screens() -> None:
    """Contrasts of WCAG 2.2: 7 for text, 4.5 for what stands beside it."""
    themes = re.findall(r":root {([^}]*)}", CSS)
    assert len(themes) == 2
    assert "prefers-color-scheme: dark" in CSS
    for theme in themes:
        colours = {name: luminance(value) for name, value in re.findall(r"--(\w+): (#\w+)", theme)}
        for name, least in (("ink", 7.0), ("muted", 4.5)):
            dark, light = sorted((colours[name], colours["paper"]))
            assert (light + 0.05) / (dark + 0.05) > least


def luminance(colour: str) -> float:
    from matplotlib.colors import to_rgb

    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(colour)]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_what_users_write_is_escaped(page: Page) -> None:
    assert page.texts["h1"] == ["A <title>"]
    assert page.texts["h2"] == ["A heading"]
    assert "A text with <b> & more." in " ".join(page.texts["p"])


def test_the_tables_say_what_was_computed(page: Page) -> None:
    captions = " | ".join(page.texts["caption"])
    for wanted in ("Share of kernel time", "Best design", "What a device cannot run", "A table"):
        assert wanted in captions
    assert "library call getrf" in page.texts["td"]
    assert any("numbers are assumptions" in text for text in page.texts["h3"])
    assert any("numbers with their sources" in text for text in page.texts["summary"])


def test_columns_of_numbers_are_aligned_to_the_right() -> None:
    cells = Page(html.table(("name", "ms"), [("a", "1.0"), ("b", "—")]))
    kinds = [attributes.get("class") for tag, attributes in cells.tags if tag in ("th", "td")]
    assert kinds == [None, "number"] * 3


def test_a_page_is_written_whole(tmp_path: Path, trace: cd.Trace) -> None:
    path = tmp_path / "page.html"
    page = cd.report([trace], path)
    assert path.read_text(encoding="utf-8") == page
    assert page.startswith("<!DOCTYPE html>")
    assert [p.name for p in tmp_path.iterdir()] == ["page.html"]


def test_a_page_is_shown_at_a_prompt_by_its_size_and_in_a_notebook_whole() -> None:
    page = cd.report("a text")
    assert page.startswith("<!DOCTYPE html>")
    assert re.fullmatch(r"<Page [\d.]+ kB>", repr(page))
    (frame,) = [attributes for tag, attributes in Page(page._repr_html_()).tags if tag == "iframe"]
    assert frame["srcdoc"] == page


def test_anything_that_shows_itself_in_a_notebook_may_stand_on_the_page() -> None:
    class Own:
        def _repr_html_(self) -> str:
            return "<em>own</em>"

    assert "<em>own</em>" in cd.report([Own()])


def test_a_single_item_needs_no_list() -> None:
    machine = cd.machine("a5000")
    assert Page(cd.report(machine)).texts == Page(cd.report([machine])).texts
    assert cd.report("A text") == cd.report(["A text"])


def test_a_table_takes_texts_and_numbers() -> None:
    page = cd.report([("A table", ("name", "count", "value"), [("x", 12345, 0.123456), ("y", 2, float("nan"))])])
    cells = Page(page)
    assert cells.texts["td"] == ["x", "12,345", "0.1235", "y", "2", "—"]
    assert [dict(given).get("class") for tag, given in cells.tags if tag == "td"] == [None, "number", "number"] * 2
    with pytest.raises(cd.errors.CodesignError, match="every row of the table 'A table' must have 2 cells, one a column"):
        cd.report([("A table", ("a", "b"), [("only",)])])


@pytest.mark.parametrize("item", [3, object(), ("only", "two")])
def test_what_cannot_be_shown_is_an_error(item: Any) -> None:
    with pytest.raises(cd.errors.CodesignError, match="a report takes traces"):
        cd.report([item])


def svg_of(drawn: str) -> str:
    (encoded,) = re.findall(r"data:image/svg\+xml;base64,([^\"]*)", drawn)
    return base64.b64decode(encoded).decode()


def test_what_stands_in_the_axes_of_a_figure_of_very_many_parts_is_drawn_in_pixels() -> None:
    from matplotlib.figure import Figure

    small, large = Figure(), Figure()
    small.subplots().plot([0, 1])
    dots = large.subplots().scatter(range(6000), range(6000))
    assert "<image" not in svg_of(figure_html(small))
    drawn = figure_html(large)
    assert "<image" in svg_of(drawn)
    assert len(drawn) < LARGE_BYTES
    assert not dots.get_rasterized()


def test_figures_of_ours_follow_a_dark_screen_and_others_are_turned_by_the_page() -> None:
    from matplotlib.figure import Figure

    ours, other = figure_html(style.canvas(2.0)[0]), figure_html(Figure())
    assert 'class="themed"' in ours
    assert f'[style*="fill: {style.INK}"] {{ fill: #e2e2e2 !important }}' in svg_of(ours)
    assert "prefers-color-scheme" not in other + svg_of(other)
    paper = luminance(style.DARK[style.PAPER])
    for colour in style.COLOURS.values():
        assert (luminance(style.DARK.get(colour, colour)) + 0.05) / (paper + 0.05) > 2.5
