"""Print the tables of the study; write the page and the figure if their names are given."""

import sys
from collections.abc import Sequence
from pathlib import Path

from rich.markdown import Markdown

from studies.directions.figure import figure
from studies.directions.page import page
from studies.printing import console


def main(arguments: Sequence[str] = ()) -> None:
    """Print the page; write it, and the figure, where names are given."""
    text = page()
    console().print(Markdown(text))
    if arguments:
        Path(arguments[0]).write_text(text, encoding="utf-8")
    if len(arguments) > 1:
        figure().savefig(arguments[1])


if __name__ == "__main__":
    main(sys.argv[1:])
