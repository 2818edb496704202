"""What people read: tables on standard output, progress and messages on standard error."""

import os
import signal
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from typing import TYPE_CHECKING

from traces.rows import is_number
from traces.si import show

if TYPE_CHECKING:
    from rich.console import Console, Group

    from traces.rows import Rows


GAP = 2
"""Columns of space after a column of a table."""
NARROW = 12
"""What a column of sentences keeps at least, the gap included."""


def out() -> "Console":
    """Return the console on standard output; a pipe gets wide lines, so that nothing is cut."""
    from rich.console import Console

    return Console(file=sys.stdout, width=None if sys.stdout.isatty() else 200, highlight=False)


def err() -> "Console":
    """Return the console on standard error."""
    from rich.console import Console

    return Console(file=sys.stderr, highlight=False, soft_wrap=True)


def note(message: str) -> None:
    """Say something on standard error."""
    print(message, file=sys.stderr)


def write(text: str) -> None:
    """Write text to standard output as it is."""
    sys.stdout.write(text)
    sys.stdout.flush()


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> "Group":
    """Return a table; columns of numbers are aligned to the right."""
    from rich import box
    from rich.console import Group
    from rich.markup import escape
    from rich.table import Table
    from rich.text import Text

    made = Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True, show_header=any(columns))
    cells = [tuple(row) for row in rows]
    texts = [(head, *(row[place] for row in cells)) for place, head in enumerate(columns)]
    numbers = [bool(cells) and all(map(is_number, column[1:])) for column in texts]
    whole = _unbroken(texts, numbers, out().width)
    for head, number, keep in zip(columns, numbers, whole, strict=True):
        made.add_column(head, justify="right" if number else "left", overflow="fold", no_wrap=keep)
    for row in cells:
        made.add_row(*map(escape, row))
    return Group(Text(title, style="bold"), made)


def _unbroken(columns: list[tuple[str, ...]], numbers: list[bool], width: int) -> list[bool]:
    """Return which columns of texts keep their lines whole in a terminal of ``width``.

    The widest sentences give way first, each down to its longest word or ``NARROW``; where that is not enough numbers leave their units,
    and only then names are broken.
    """
    lines = [max(map(len, texts), default=0) + GAP for texts in columns]
    words = [max((len(word) for text in texts for word in text.split()), default=0) + GAP for texts in columns]
    whole = [True] * len(columns)
    order = sorted(range(len(columns)), key=lambda place: (lines[place] == words[place], numbers[place], -lines[place]))
    for place in order:
        narrow = [line if keep else min(word, NARROW) for line, word, keep in zip(lines, words, whole, strict=True)]
        if sum(narrow) <= width:
            return whole
        whole[place] = False
    return whole


def tables(parts: "Sequence[Rows]") -> "Group":
    """Return several tables below each other."""
    from rich.console import Group

    return Group(*(table(*part) for part in parts))


@contextmanager
def quiet_output() -> Iterator[None]:
    """Send what libraries print to standard error meanwhile, at the level of the file descriptor too: compilers are not in Python."""
    sys.stdout.flush()
    saved = os.dup(1)
    os.dup2(2, 1)
    try:
        with redirect_stdout(sys.stderr):
            yield
    finally:
        os.dup2(saved, 1)
        os.close(saved)


@contextmanager
def interrupts_remembered() -> Iterator[Callable[[], None]]:
    """Give a function that raises KeyboardInterrupt if Ctrl-C came before: Python forgets one that came in a compiler's callback."""
    came = False

    def remember(*_: object) -> None:
        nonlocal came
        came = True
        raise KeyboardInterrupt

    def check() -> None:
        if came:
            raise KeyboardInterrupt

    before = signal.signal(signal.SIGINT, remember)
    try:
        yield check
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def progress_bar(total: int, objective: str) -> Iterator[Callable[[int, int, float | None], None]]:
    """Give a function (done, total, least ``objective`` so far) that moves a bar on standard error, if that is a terminal."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("searching"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), TextColumn("best {task.fields[best]}"))
    drawn = Progress(*columns, console=err(), transient=True, disable=not sys.stderr.isatty(), redirect_stdout=False)
    unit = {"time": "s", "energy": "J", "area": "mm²", "price": "USD"}.get(objective, "1")
    with interrupts_remembered() as check, drawn as bar:
        task = bar.add_task("", total=total, best="—")

        def move(done: int, _: int, best: float | None) -> None:
            check()
            bar.update(task, completed=done, best=show(best, unit))

        yield move
