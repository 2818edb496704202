"""One HTML page of results that needs nothing beside itself: tables, figures as inline SVG, no scripts, no fonts, no network."""

from collections.abc import Iterable
from html import escape
from pathlib import Path
from typing import Any

from codesign import files
from codesign.html_figures import figure_html
from traces import html
from traces.errors import CodesignError
from traces.si import show

CSS = """
:root { color-scheme: light dark; --ink: #222; --paper: #fff; --muted: #555; --strong: #888; --line: #ccc; --faint: #e4e4e4; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e2e2e2; --paper: #1b1b1b; --muted: #a3a3a3; --strong: #777; --line: #4a4a4a; --faint: #303236; }
  figure img:not(.themed) { background: #fff; border-radius: 4px; filter: invert(0.895) hue-rotate(180deg); }
}
body { font: 15px/1.5 system-ui, "DejaVu Sans", sans-serif; color: var(--ink); background: var(--paper); }
body { max-width: 62rem; margin: 2rem auto; padding: 0 1.2rem; }
h1 { font-size: 1.7rem; margin-bottom: 0.2rem; }
h2 { font-size: 1.3rem; margin-top: 2.4rem; border-bottom: 1px solid var(--line); padding-bottom: 0.2rem; }
h3 { font-size: 1.05rem; margin: 1.6rem 0 0.3rem; } p { max-width: 48rem; margin: 0.4rem 0; }
table { border-collapse: collapse; margin: 0.8rem 0; font-size: 0.9rem; font-variant-numeric: tabular-nums; }
caption { text-align: left; color: var(--muted); padding-bottom: 0.3rem; }
th { text-align: left; border-bottom: 1.5px solid var(--strong); padding: 0.2rem 0.9rem 0.2rem 0; vertical-align: bottom; }
td { border-bottom: 1px solid var(--faint); padding: 0.2rem 0.9rem 0.2rem 0; vertical-align: top; }
.facts td:first-child { white-space: nowrap; }
th.number, td.number { text-align: right; white-space: nowrap; }
figure { margin: 1rem 0; } figure img { width: 100%; max-width: 54rem; height: auto; }
figcaption, .meta { color: var(--muted); font-size: 0.85rem; }
details { margin: 0.8rem 0; } summary { cursor: pointer; } .scroll { overflow-x: auto; }
@media print { details[open] summary { display: none; } figure { break-inside: avoid; } }
"""


class Page(str):
    """The text of a page; a prompt shows how long it is, a notebook the page itself."""

    def __repr__(self) -> str:
        return f"<Page {show(len(self), 'B')}>"

    def _repr_html_(self) -> str:
        return f'<iframe srcdoc="{escape(self)}" style="width: 100%; height: 40rem; border: 1px solid #ccc"></iframe>'


def report(items: Any, path: Path | str | None = None, *, title: str = "codesign") -> Page:
    """Return one self-contained HTML page, and write it to ``path`` if given.

    Each item, or the only one, is a trace, a timeline, a result or a machine (its tables and figures), a matplotlib figure, a text (a
    heading if it starts with '# ', else a paragraph), a table as (caption, column heads, rows of texts and numbers), or anything that
    shows itself in a notebook (``_repr_html_``). Raises CodesignError for anything else, and if the page cannot be written.
    """
    several = isinstance(items, Iterable) and not isinstance(items, str)
    body = "\n".join(_section(item) for item in (items if several else [items]))
    page = Page(_page(title, body))
    if path is not None:
        files.write(Path(path), page)
    return page


def _page(title: str, body: str) -> str:
    from codesign import __version__

    return (
        f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<title>{escape(title)}</title>\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n<style>{CSS}</style>\n</head>\n<body>\n'
        f'<h1>{escape(title)}</h1>\n<p class="meta">codesign {__version__}</p>\n{body}\n</body>\n</html>\n'
    )


def _section(item: Any) -> str:
    from matplotlib.figure import Figure

    if isinstance(item, str):
        return f"<h2>{escape(item[2:])}</h2>" if item.startswith("# ") else f"<p>{escape(item)}</p>"
    if isinstance(item, Figure):
        return figure_html(item)
    if isinstance(item, tuple) and len(item) == 3:
        caption, columns, rows = item
        return html.table(columns, rows, caption)
    from codesign import html_sections

    made: str | None = html_sections.section(item)
    if made is None:
        raise CodesignError(
            f"a report takes traces, timelines, results, machines, figures, texts and tables, but got {type(item).__name__}"
        )
    return made
