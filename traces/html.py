"""The little HTML that results need to show themselves in a notebook."""

from collections.abc import Iterable, Sequence
from html import escape


def table(headers: Sequence[str], rows: Iterable[Sequence[object]], caption: str = "") -> str:
    """Return an HTML table; every cell is escaped, numbers are aligned to the right."""
    head = "".join(f"<th>{escape(h)}</th>" for h in headers)
    body = "".join("<tr>" + "".join(_cell(value) for value in row) + "</tr>" for row in rows)
    title = f"<caption>{escape(caption)}</caption>" if caption else ""
    return f"<table>{title}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _cell(value: object) -> str:
    if isinstance(value, int | float):
        shown = f"{value:,.4g}" if isinstance(value, float) else f"{value:,}"
        return f'<td style="text-align:right">{shown}</td>'
    return f'<td style="text-align:left">{escape(str(value))}</td>'
